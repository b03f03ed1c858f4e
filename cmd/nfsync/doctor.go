package main

import (
	"context"
	"io/fs"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/doctor"
	"nfsync.dev/nfsync/internal/view"
)

func doctorCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check whether nfsync can do its work here",
		Long: `Doctor checks what nfsync needs: the kernel's conntrack and modules, the
privileges, the node's network namespace, Virtuozzo, the containers, the state
directory and the lock. Of the agent's configuration, if there is one, it checks
the file, the keys and secrets that it names, and whether each repository
delivers a good revision. It changes nothing, and ends with 1 where something
fails.`,
		Example: `  nfsync doctor
  nfsync doctor --config agent.yaml
  nfsync doctor -o json`,
		Args:              argCount(0, 0, ""),
		Annotations:       prints(view.Checks),
		ValidArgsFunction: completeNothing,
		// A configuration that is not valid is a finding here.
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.checkFlags(cmd) },
		RunE:              withContext(a.doctor),
	}
}

func (a *app) doctor(ctx context.Context, _ []string) error {
	c := doctor.Configuration{File: a.configFile, Named: a.flags.Changed("config") && a.configFile != noConfig}
	if a.configFile == noConfig {
		c.Err = fs.ErrNotExist
	} else if c.Agent, c.Diagnostics, c.Err = loadConfig(c.File); c.Err == nil && len(c.Diagnostics) == 0 {
		if err := a.takeConfig(c.Agent); err != nil {
			return err
		}
	}
	host := a.host()
	node := doctor.Node{
		Machine: a.machine(host), Virtuozzo: host.Virtuozzo(), Runtimes: a.runtimes, NetnsDir: a.netnsDir, NodeNetns: a.nodeNetns,
		VZRoot: a.vzRoot, StateDir: a.stateDir, RunDir: a.runDir, Config: c, Fetching: a.fetching,
	}
	checks, err := node.Examine(ctx)
	if err != nil {
		return err
	}
	code := exitOK
	if doctor.Failed(checks) {
		code = exitError
	}
	return show(a, code, view.Checks, checks)
}
