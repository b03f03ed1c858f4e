package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

// defaultConfig is the agent's configuration file unless --config names one.
const defaultConfig = "/etc/nfsync/agent.yaml"

// noConfig is the value of --config that stands for no configuration.
const noConfig = "none"

// configure reads the configuration file that --config names, or the default one if it
// exists and the verb looks at this node, and takes from it what the flags do not say. So
// a plan or an apply by hand has the labels, runtimes, source and trust of the agent.
func (a *app) configure(looksAtNode bool) error {
	a.config, a.given = spec.DefaultAgentConfig(), a.options
	a.given.labels = maps.Clone(a.labels)
	named := a.flags.Changed("config")
	if a.configFile == noConfig || !named && !looksAtNode {
		return nil
	}
	err := a.readConfig()
	switch {
	case !named && errors.Is(err, fs.ErrNotExist):
		return nil
	case !named && err != nil:
		return hinted{err, "use --config none to go without the agent's configuration"}
	}
	return err
}

// looksAtNode reports whether a verb looks at this node.
func looksAtNode(verb *cobra.Command) bool {
	if isBelow(verb, "fleet") {
		return false // it asks for the configuration where it needs it
	}
	return slices.Contains([]string{"plan", "apply", "show", "agent", "snapshot", "recover", "forget", "import", "init"}, verb.Name()) && !verb.Flags().Changed("snapshot") && !verb.Flags().Changed("nodes-from")
}

// isBelow reports whether a verb is one of another verb.
func isBelow(verb *cobra.Command, other string) bool {
	return verb.HasParent() && (verb.Parent().Name() == other || isBelow(verb.Parent(), other))
}

func (a *app) readConfig() error {
	config, diagnostics, err := loadConfig(a.configFile)
	if err != nil {
		return err
	}
	if len(diagnostics) > 0 {
		message := fmt.Sprintf("the configuration %s is not valid: nothing was done", a.configFile)
		if !a.flags.Changed("config") {
			message += "; --config none goes without it"
		}
		return a.refuse(exitError, diagnostics, message)
	}
	if a.format != view.FormatText {
		a.say(slog.LevelInfo, "the configuration is "+a.configFile, "")
	}
	return a.takeConfig(config)
}

// takeConfig takes from the configuration what the flags do not say.
func (a *app) takeConfig(config spec.AgentConfig) error {
	a.config, a.configRead = config, true
	if !a.flags.Changed("node") {
		a.node = config.Node.Name
	}
	labels := map[string]string{}
	maps.Copy(labels, config.Node.Labels)
	maps.Copy(labels, a.labels)
	a.labels = labels
	if !a.flags.Changed("runtime") && len(config.Runtimes) > 0 {
		a.runtimes = config.Runtimes
	}
	return a.check()
}

// loadConfig reads and parses a configuration file.
func loadConfig(path string) (spec.AgentConfig, []spec.Diagnostic, error) {
	file, err := readDocument(path)
	if err != nil {
		return spec.AgentConfig{}, nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	config, diagnostics := spec.ParseAgentConfig(file)
	return config, diagnostics, nil
}
