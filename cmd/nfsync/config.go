package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"nfsync.dev/nfsync/internal/spec"
)

// defaultConfig is the agent's configuration file unless --config names one.
const defaultConfig = "/etc/nfsync/agent.yaml"

// configure reads the configuration file that --config names and takes from it
// what the flags do not say.
func (a *app) configure() error {
	a.config = spec.DefaultAgentConfig()
	if !a.flags.Changed("config") {
		return nil
	}
	return a.readConfig()
}

// configureAgent reads the default file, if there is one and --config names no
// other.
func (a *app) configureAgent() error {
	if a.flags.Changed("config") {
		return nil // configure has read it
	}
	if err := a.readConfig(); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (a *app) readConfig() error {
	config, diagnostics, err := loadConfig(a.configFile)
	if err != nil {
		return err
	}
	if len(diagnostics) > 0 {
		if err := a.writeInvalid(diagnostics); err != nil {
			return err
		}
		return fmt.Errorf("the configuration %s is not valid: nothing was done", a.configFile)
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
