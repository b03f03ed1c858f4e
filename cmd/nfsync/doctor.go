package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/doctor"
	"nfsync.dev/nfsync/internal/host"
	"nfsync.dev/nfsync/internal/view"
	"nfsync.dev/nfsync/internal/web"
)

func doctorCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check whether nfsync can do its work here",
		Long: `Doctor checks the whole installation and names a command for each fault:

  node           the kernel's conntrack and modules, the privileges, the node's
                 network namespace, Virtuozzo, the containers, the network
                 namespaces without one, the boot files, the clock
  state          the state directory, its room, the lock, runs that are stuck or
                 wait for a confirmation, the last good revision
  configuration  the file, the keys and secrets that it names, and whether each
                 repository delivers a good revision
  fleet          the node's name, the credentials and certificates, and whether
                 the fleet has a good roll-out
  agent          whether the one that runs is this nfsync, its last lap, its
                 conditions, its address, its limit of open files
  service        the units of systemd and the watchdog
  installation   the manual and the completion

It changes nothing, and ends with 1 where something fails. As an ordinary user
it says what it could not check.`,
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
	config := a.host()
	node := doctor.Node{
		Machine: a.machine(config), Virtuozzo: config.Virtuozzo(), Runtimes: a.runtimes, NetnsDir: a.netnsDir, NodeNetns: a.nodeNetns,
		VZRoot: a.vzRoot, StateDir: a.stateDir, RunDir: a.runDir, Config: c, Fetching: a.fetching,
		Root: a.root, Version: buildInfo().Version, Unprivileged: os.Geteuid() != 0, Agent: web.NewClient(a.runDir).Status, Units: readUnits, Space: space, FileLimit: fileLimit,
		FleetName: a.nodeName(), AskFleet: a.askAsMember, Unowned: host.New(config).Unowned, LookupGroup: user.LookupGroup, Now: time.Now,
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

// space returns what the file system of a directory has left for this user (statfs(2)).
func space(dir string) (doctor.Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return doctor.Space{}, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return doctor.Space{Bytes: s.Bavail * uint64(s.Bsize), Inodes: s.Ffree, NoInodes: s.Files == 0}, nil
}

// fileLimit returns how many files a process may open (prlimit(2)).
func fileLimit(pid int) (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		return 0, fmt.Errorf("cannot read the limit of open files of process %d: %w", pid, err)
	}
	return limit.Cur, nil
}
