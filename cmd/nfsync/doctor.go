package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
)

func doctorCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check whether nfsync can do its work here",
		Long: `Doctor looks at what nfsync needs: the kernel's conntrack and modules, the
privileges, the node's network namespace, Virtuozzo, the containers, the state
directory and the lock. Of the agent's configuration, if there is one, it checks
the file, the keys and secrets that it names, and whether each repository
delivers a good revision. It changes nothing, and ends with 1 where something
fails.`,
		Example: `  nfsync doctor
  nfsync doctor --config agent.yaml
  nfsync doctor -o json`,
		Args: args(0, 0, ""),
		// A configuration that is not valid is a finding here.
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.check() },
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context(), cmd.Flags()) }
	return cmd
}

func (a *app) doctor(ctx context.Context, flags *pflag.FlagSet) error {
	config := a.checkConfig(ctx, flags)
	nothing := func() (nf.Memory, error) { return nf.Memory{}, nil } // checkMemory reads it
	s, err := apply.Observe(ctx, apply.Live(a.machine(a.host()), nothing), func(*nf.Snapshot) nf.Ask { return nf.Ask{} })
	if err != nil {
		return err
	}
	checks := []view.Check{
		checkKernel(&s), checkModules(&s), checkConntrack(&s),
		a.checkNode(&s), checkModulePrivilege(&s), a.checkVirtuozzo(&s), a.checkContainers(&s),
		a.checkMemory(), a.checkState(), a.checkLock(),
	}
	checks = slices.Concat(checks, config, a.checkLastGood())
	code := exitOK
	for _, c := range checks {
		if c.Status == view.Fail {
			code = exitError
		}
	}
	return finish(code, view.Doctor(a.stdout, a.format, checks, a.viewOptions(a.stdout)))
}

func passed(name, detail string) view.Check {
	return view.Check{Name: name, Status: view.OK, Detail: detail}
}

func checkKernel(s *nf.Snapshot) view.Check {
	return passed("kernel", fmt.Sprintf("Linux %s on %s, node %s", s.Kernel.Release, s.Kernel.Machine, s.Node.Name))
}

// supports are what the modules of a kernel are, in words.
var supports = map[string]string{
	nf.SupportLoadable: "loadable",
	nf.SupportLocked:   "locked",
	nf.SupportNone:     "built in only",
}

func checkModules(s *nf.Snapshot) view.Check {
	m := &s.Modules
	c := passed("modules", fmt.Sprintf("%s; %d known", supports[m.Support], len(m.List)))
	if m.Reason != "" {
		c.Detail += ": " + m.Reason
	}
	if !m.Complete {
		c.Status = view.Warn
		c.Detail = "which modules exist cannot be said: " + m.Unknown
		c.Remedy = "make /proc/modules, /sys/module or /lib/modules readable, or name their root with --root"
	}
	return c
}

func checkConntrack(s *nf.Snapshot) view.Check {
	live := s.Host.Fact(nf.KeyMax).Live
	switch max, ok := live.Number(); {
	case ok:
		return passed("conntrack", fmt.Sprintf("nf_conntrack_max is %d", max))
	case live.IsUnknown():
		return view.Check{Name: "conntrack", Status: view.Fail, Detail: "nf_conntrack_max cannot be read: " + live.Why(),
			Remedy: "run nfsync where /proc/sys is mounted"}
	}
	return view.Check{Name: "conntrack", Status: view.Warn, Detail: "nf_conntrack is not loaded: its keys do not exist yet",
		Remedy: "a policy with level stateful loads it, or modprobe nf_conntrack"}
}

const nodeRemedy = "run nfsync as root in the node's own network namespace, or name that with --node-netns PATH"

func (a *app) checkNode(s *nf.Snapshot) view.Check {
	if why := s.Capabilities.Denied[nf.AbilityNode]; why != "" {
		return view.Check{Name: "node", Status: view.Fail, Detail: why, Remedy: nodeRemedy}
	}
	where := "nfsync is in the node's network namespace"
	if a.nodeNetns != "" {
		where = "the node's network namespace is " + a.nodeNetns
	}
	return passed("node", where+", and its values can be changed")
}

func checkModulePrivilege(s *nf.Snapshot) view.Check {
	if why := s.Capabilities.Denied[nf.AbilityModules]; why != "" && s.Modules.Support == nf.SupportLoadable {
		return view.Check{Name: "module loading", Status: view.Warn, Detail: why, Remedy: "run nfsync with CAP_SYS_MODULE"}
	}
	if s.Modules.Support != nf.SupportLoadable {
		return passed("module loading", "not possible on this kernel: modules are "+supports[s.Modules.Support])
	}
	return passed("module loading", "allowed")
}

func (a *app) checkContainers(s *nf.Snapshot) view.Check {
	named := 0
	for i := range s.Containers {
		if s.Containers[i].Runtime == nf.RuntimeNetns {
			named++
		}
	}
	c := passed("containers", fmt.Sprintf("%d in %s", named, a.netnsDir))
	if n := len(s.Containers) - named; n > 0 {
		c.Detail += fmt.Sprintf(", %d of Virtuozzo", n)
	}
	if why := s.Capabilities.Denied[nf.AbilityContainers]; why != "" {
		c.Status, c.Detail, c.Remedy = view.Fail, why, "run nfsync as root"
		if why == s.Capabilities.Denied[nf.AbilityNode] {
			c.Remedy = nodeRemedy
		}
		return c
	}
	for _, w := range s.Warnings {
		c.Status = view.Warn
		c.Detail += "; " + w.Message
	}
	if s.Broken() != "" {
		c.Status, c.Remedy = view.Fail, "nothing is known of these containers, and nothing done to them, until they can be listed"
	}
	return c
}

func (a *app) checkMemory() view.Check {
	memory, err := state.ReadMemory(a.stateDir)
	if err != nil {
		remedy := "see the file; without memory nfsync starts anew"
		if errors.Is(err, fs.ErrPermission) {
			remedy = "run nfsync as root"
		}
		return view.Check{Name: "memory", Status: view.Fail, Detail: err.Error(), Remedy: remedy}
	}
	if len(memory.Keys) == 0 {
		return passed("memory", "empty: nothing has been applied here yet")
	}
	return passed("memory", fmt.Sprintf("%d keys remembered", len(memory.Keys)))
}

// checkState looks whether the state directory can be written and what earlier
// runs have left. It does not make one.
func (a *app) checkState() view.Check {
	failed := func(err error, remedy string) view.Check {
		return view.Check{Name: "state", Status: view.Fail, Detail: err.Error(), Remedy: remedy}
	}
	if _, err := os.Stat(a.stateDir); errors.Is(err, fs.ErrNotExist) {
		return passed("state", a.stateDir+" does not exist yet: the first apply makes it")
	}
	dir, err := state.Open(a.stateDir)
	if err != nil {
		return failed(err, "run nfsync as its owner, or name another directory with --state-dir")
	}
	stuck, err := dir.Stuck()
	if err != nil {
		return failed(err, "nfsync recover --accept sets a damaged file aside")
	}
	if n := len(stuck.Left); n > 0 {
		return failed(fmt.Errorf("%d changes of run %s could not be undone", n, stuck.Run), "nfsync recover shows them")
	}
	run, open, err := dir.Unfinished()
	if err != nil {
		return failed(err, "nfsync recover --accept sets a damaged file aside")
	}
	if open {
		return view.Check{Name: "state", Status: view.Warn, Detail: "run " + run.ID + " has not come to its end",
			Remedy: "the next apply looks after what it has left, unless it is still at work"}
	}
	return passed("state", a.stateDir+" can be written, no run is open")
}

// checkLock looks whether another nfsync is at work. The lock is flock(2) on a
// file that apply makes; here it is only tried for a moment, and not made.
func (a *app) checkLock() view.Check {
	path := filepath.Join(a.runDir, "lock")
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return passed("lock", "free")
	}
	if err != nil {
		return view.Check{Name: "lock", Status: view.Fail, Detail: "cannot open the lock: " + err.Error(),
			Remedy: "run nfsync as its owner, or name another directory with --run-dir"}
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(f, 32))
		return view.Check{Name: "lock", Status: view.Warn, Detail: "process " + strings.TrimSpace(string(holder)) + " is at work",
			Remedy: "wait for it to end: only one apply runs at a time"}
	}
	return passed("lock", "free")
}
