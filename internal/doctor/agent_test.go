package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
	"nfsync.dev/nfsync/internal/web"
)

// runs is the status of an agent that has nothing to complain about.
func runs() nf.NodeStatus {
	now := time.Now()
	return nf.NodeStatus{Agent: nf.AgentInfo{Version: "1", PID: os.Getpid(), StartedAt: now}, LastLap: &nf.LapStatus{Result: nf.LapInSync, FinishedAt: now},
		Next:       []nf.NextLap{{Cause: "drift", At: now.Add(time.Minute)}},
		Conditions: []nf.Condition{{Type: nf.Ready, Status: nf.ConditionTrue}, {Type: nf.Stalled, Status: nf.ConditionFalse}}}
}

// fault is something wrong with a node, and the check that finds it.
type fault struct {
	make   func(*testing.T, *Node)
	check  string
	status view.Status
	detail string
}

// status returns a fault of the status of the agent.
func status(change func(*nf.NodeStatus)) func(*testing.T, *Node) {
	return func(_ *testing.T, n *Node) {
		s := runs()
		change(&s)
		n.Agent = func(context.Context) (nf.NodeStatus, error) { return s, nil }
	}
}

func condition(kind nf.ConditionType, is nf.ConditionStatus) func(*testing.T, *Node) {
	return status(func(s *nf.NodeStatus) {
		s.Conditions = append(s.Conditions, nf.Condition{Type: kind, Status: is, Message: "why"})
	})
}

// units returns a fault of one unit, beside another that is as it should be.
func units(name string, change func(*Unit)) func(*testing.T, *Node) {
	return func(t *testing.T, n *Node) {
		t.Helper()
		n.Config = configFile(t, 0o600)
		n.Units = func(context.Context) ([]Unit, error) {
			list := []Unit{
				{Name: AgentUnit, LoadState: "loaded", ActiveState: "active", UnitFileState: "enabled", Watchdog: time.Minute},
				{Name: BootUnit, LoadState: "loaded", ActiveState: "active", UnitFileState: "enabled"},
			}
			for i := range list {
				if list[i].Name == name {
					change(&list[i])
				}
			}
			return list, nil
		}
	}
}

// listener opens a port on an address, and says so in the configuration.
func listener(host string, open bool) func(*testing.T, *Node) {
	return func(t *testing.T, n *Node) {
		t.Helper()
		l, err := net.Listen("tcp", host+":0")
		must(t, err)
		_, port, err := net.SplitHostPort(l.Addr().String())
		must(t, err)
		n.Config = configFile(t, 0o600)
		n.Config.Agent.Listen = host + ":" + port
		if !open {
			must(t, l.Close())
		}
		t.Cleanup(func() { _ = l.Close() })
	}
}

// faults are those of the installation.
var faults = map[string]fault{
	"no group": {func(_ *testing.T, n *Node) {
		n.LookupGroup = func(string) (*user.Group, error) { return nil, errors.New("no") }
	}, "group", view.OK, "groupadd --system nfsync"},
	"no agent": {func(t *testing.T, n *Node) {
		n.Config = configFile(t, 0o600)
		n.Agent = func(context.Context) (nf.NodeStatus, error) { return nf.NodeStatus{}, web.ErrNoAgent }
	}, "agent", view.Warn, "no agent is running"},
	"neither agent nor configuration": {func(_ *testing.T, n *Node) {
		n.Agent = func(context.Context) (nf.NodeStatus, error) { return nf.NodeStatus{}, web.ErrNoAgent }
	}, "agent", view.OK, "none is configured"},
	"an agent that does not answer": {func(_ *testing.T, n *Node) {
		n.Agent = func(context.Context) (nf.NodeStatus, error) { return nf.NodeStatus{}, os.ErrDeadlineExceeded }
	}, "agent", view.Fail, "does not answer"},
	"an agent that this user may not ask": {func(_ *testing.T, n *Node) {
		n.Unprivileged = true
		n.Agent = func(context.Context) (nf.NodeStatus, error) { return nf.NodeStatus{}, fs.ErrPermission }
	}, "agent", view.Unknown, "permission"},
	"another version": {status(func(s *nf.NodeStatus) { s.Agent.Version = "0" }), "version", view.Warn, "the agent is nfsync 0"},
	"a lap that failed": {status(func(s *nf.NodeStatus) {
		s.LastLap.Result, s.LastLap.Error = nf.LapError, "no room"
	}), "last lap", view.Fail, "no room"},
	"the last good revision": {status(func(s *nf.NodeStatus) { s.LastLap.Result = nf.LapFallback }), "last lap", view.Warn, "fallback"},
	"a loop that is stuck":   {status(func(s *nf.NodeStatus) { s.Next[0].At = time.Now().Add(-time.Hour) }), "last lap", view.Fail, "late by 1h"},
	"a long lap": {status(func(s *nf.NodeStatus) {
		s.Next[0].At, s.CurrentLap = time.Now().Add(-time.Hour), &nf.CurrentLap{}
	}), "last lap", view.OK, "in-sync"},
	"the first lap":     {status(func(s *nf.NodeStatus) { s.LastLap = nil }), "last lap", view.OK, "has not ended"},
	"stalled":           {condition(nf.Stalled, nf.ConditionTrue), "conditions", view.Fail, "Stalled is True: why"},
	"not ready":         {condition(nf.Ready, nf.ConditionFalse), "conditions", view.Warn, "Ready is False: why"},
	"suspended":         {condition(nf.Suspended, nf.ConditionTrue), "conditions", view.Warn, "Suspended is True: why"},
	"not yet ready":     {condition(nf.Ready, "Unknown"), "conditions", view.OK, ""},
	"nothing listens":   {listener("127.0.0.1", false), "address", view.Fail, "refused"},
	"open to everybody": {listener("0.0.0.0", true), "address", view.Warn, "from other machines"},
	"for this machine":  {listener("127.0.0.1", true), "address", view.OK, "to this machine only"},
	"few files": {func(_ *testing.T, n *Node) {
		n.FileLimit = func(int) (uint64, error) { return 1024, nil }
	}, "open files", view.Warn, "1024"},

	"no room": {func(_ *testing.T, n *Node) {
		n.Space = func(string) (Space, error) { return Space{Bytes: 1000, Inodes: 1 << 20}, nil }
	}, "disk", view.Fail, "0 MiB"},
	"little room": {func(_ *testing.T, n *Node) {
		n.Space = func(string) (Space, error) { return Space{Bytes: 10 << 20, Inodes: 1 << 20}, nil }
	}, "disk", view.Warn, "10 MiB"},
	"no inodes": {func(_ *testing.T, n *Node) {
		n.Space = func(string) (Space, error) { return Space{Bytes: 1 << 30, Inodes: 3}, nil }
	}, "disk", view.Fail, "3 inodes"},
	"inodes that are not counted": {func(_ *testing.T, n *Node) {
		n.Space = func(string) (Space, error) { return Space{Bytes: 1 << 30, NoInodes: true}, nil }
	}, "disk", view.OK, "1024 MiB are free"},
	"a clock that was not set": {func(_ *testing.T, n *Node) { n.Now = func() time.Time { return time.Unix(0, 0) } }, "clock", view.Fail, "1970"},
	"a clock that was set back": {func(t *testing.T, n *Node) {
		must(t, stateOf(t, n).SaveReceipt("00000001-29990101T000000Z", map[string]string{}))
	}, "clock", view.Warn, "2999"},
	"a clock before the last good revision": {func(t *testing.T, n *Node) {
		must(t, stateOf(t, n).SaveLastGood(state.LastGood{Revision: "r", Since: time.Now().Add(time.Hour)}))
	}, "clock", view.Warn, "last good revision"},

	"a good unit": {units(AgentUnit, func(*Unit) {}), AgentUnit, view.OK, "active, enabled"},
	"no systemd": {func(_ *testing.T, n *Node) {
		n.Units = func(context.Context) ([]Unit, error) { return nil, nil }
	}, "systemd", view.OK, "does not run here"},
	"a systemd that does not answer": {func(_ *testing.T, n *Node) {
		n.Units = func(context.Context) ([]Unit, error) { return nil, os.ErrDeadlineExceeded }
	}, "systemd", view.Unknown, "does not answer"},
	"no unit":                {units(BootUnit, func(u *Unit) { u.LoadState = "not-found" }), BootUnit, view.Warn, "is not installed"},
	"a masked unit":          {units(BootUnit, func(u *Unit) { u.LoadState = "masked" }), BootUnit, view.Warn, "masked"},
	"a bad unit":             {units(BootUnit, func(u *Unit) { u.LoadState = "bad-setting" }), BootUnit, view.Fail, "bad-setting"},
	"a failed unit":          {units(BootUnit, func(u *Unit) { u.ActiveState, u.Result = "failed", "timeout" }), BootUnit, view.Fail, "timeout"},
	"a changed unit":         {units(AgentUnit, func(u *Unit) { u.NeedDaemonReload = true }), AgentUnit, view.Warn, "has changed"},
	"a disabled unit":        {units(BootUnit, func(u *Unit) { u.UnitFileState = "disabled" }), BootUnit, view.Warn, "does not start with the node"},
	"a stopped agent":        {units(AgentUnit, func(u *Unit) { u.ActiveState = "inactive" }), AgentUnit, view.Warn, "is not running"},
	"an agent that crashes":  {units(AgentUnit, func(u *Unit) { u.Restarts = 3 }), AgentUnit, view.Warn, "3 times"},
	"no watchdog":            {units(AgentUnit, func(u *Unit) { u.Watchdog = 0 }), "watchdog", view.Warn, "hangs"},
	"a boot that has no use": {units(BootUnit, func(u *Unit) { u.ActiveState = "inactive" }), BootUnit, view.OK, "inactive, enabled"},
	"no configuration": {func(t *testing.T, n *Node) {
		units(AgentUnit, func(u *Unit) { u.ActiveState = "inactive" })(t, n)
		n.Config = Configuration{File: "/etc/nfsync/agent.yaml", Err: fs.ErrNotExist}
		n.Agent = func(context.Context) (nf.NodeStatus, error) { return nf.NodeStatus{}, web.ErrNoAgent }
	}, AgentUnit, view.OK, "starts once /etc/nfsync/agent.yaml exists"},
	"an installed manual": {func(t *testing.T, n *Node) {
		must(t, os.MkdirAll(n.Root+"/usr/share/man/man1", 0o755))
		must(t, os.WriteFile(n.Root+"/usr/share/man/man1/nfsync.1.gz", nil, 0o600))
	}, "manual", view.OK, "nfsync.1.gz"},
}

// Each fault of the installation is found by the check of that name, with a command, and by no other.
func TestInstallation(t *testing.T) {
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			n, s := healthy(t)
			f.make(t, n)
			n.Machine = observed{s: *s}
			checks, err := n.Examine(t.Context())
			must(t, err)
			found := false
			for _, c := range checks {
				switch {
				case c.Name == f.check && c.Status == f.status && strings.Contains(c.Detail, f.detail):
					found = true
					if c.Status != view.OK && !command.MatchString(c.Remedy) {
						t.Errorf("no command in the remedy %q", c.Remedy)
					}
				case c.Status != view.OK:
					t.Errorf("%+v", c)
				}
				if c.Group == "" {
					t.Errorf("%s has no group", c.Name)
				}
			}
			if !found {
				t.Errorf("the check %q is not %s, with %q:\n%+v", f.check, f.status, f.detail, checks)
			}
		})
	}
}

// What an ordinary user may not see is unknown, with the command that shows it, and no failure.
func TestUnprivileged(t *testing.T) {
	n, s := healthy(t)
	n.Unprivileged = true
	for _, ability := range []string{nf.AbilityNode, nf.AbilityModules, nf.AbilityContainers} {
		s.Capabilities.Denied[ability] = "no right to " + ability
	}
	n.Config = Configuration{File: "/etc/nfsync/agent.yaml", Err: fmt.Errorf("cannot read: %w", fs.ErrPermission)}
	n.Machine = observed{s: *s}
	checks, err := n.Examine(t.Context())
	must(t, err)
	unknown := map[string]bool{}
	for _, c := range checks {
		unknown[c.Name] = c.Status == view.Unknown
		if c.Status == view.Unknown && c.Name != "address" && c.Remedy != askRoot || c.Status == view.Warn || c.Status == view.Fail {
			t.Errorf("%+v", c)
		}
	}
	for _, name := range []string{"node", "module loading", "containers", "configuration"} {
		if !unknown[name] {
			t.Errorf("%s is known", name)
		}
	}
}
