package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
	"nfsync.dev/nfsync/internal/vz"
)

// TestMain lets this binary be the child that fetches.
func TestMain(m *testing.M) {
	source.RunChild()
	os.Exit(m.Run())
}

// observed is a machine that was observed already.
type observed struct {
	s   nf.Snapshot
	err error
}

func (o observed) List(context.Context) (nf.Snapshot, error) { return o.s, nil }

func (o observed) Observe(context.Context, nf.Snapshot, nf.Ask) (nf.Snapshot, error) {
	return o.s, o.err
}

// healthy is a node on which nothing is wrong, before anything was applied.
func healthy(t *testing.T) (*Node, *nf.Snapshot) {
	t.Helper()
	m := &observed{}
	m.s.Modules = nf.Modules{Complete: true, Support: nf.SupportLoadable}
	m.s.Host.SetFact(nf.Fact{Key: nf.KeyMax, Live: nf.Number(100)})
	m.s.Capabilities.Denied = map[string]string{}
	n := &Node{Machine: m, Runtimes: []string{nf.RuntimeVZ, nf.RuntimeNetns}, NetnsDir: "/run/netns",
		StateDir: filepath.Join(t.TempDir(), "state"), RunDir: t.TempDir(), Config: Configuration{Err: os.ErrNotExist},
		Fetching: func(string) func() { return func() {} }, Root: t.TempDir(), Version: "1", Now: time.Now,
		Agent:       func(context.Context) (nf.NodeStatus, error) { return runs(), nil },
		Units:       func(context.Context) ([]Unit, error) { return nil, nil },
		Unowned:     func(context.Context, *nf.Snapshot) ([]string, error) { return nil, nil },
		Space:       func(string) (Space, error) { return Space{Bytes: 1 << 30, Inodes: 1 << 20}, nil },
		FileLimit:   func(int) (uint64, error) { return 131072, nil },
		LookupGroup: func(string) (*user.Group, error) { return &user.Group{}, nil }}
	n.Config.Agent.Listen = spec.ListenNone
	return n, &m.s
}

func stateOf(t *testing.T, n *Node) *state.Dir {
	t.Helper()
	dir, err := state.Open(n.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// command is a remedy that can be run.
var command = regexp.MustCompile(`\b(nfsync|systemctl|journalctl|chmod|ls|df|du|modprobe|prlctl|findmnt|ps|git|timedatectl|mount|lsns|sudo) [a-z-]`)

// Of a healthy node every check is ok. Each fault is found by the check of that
// name, with a remedy, and by no other.
func TestExamine(t *testing.T) {
	for name, test := range map[string]struct {
		fault  func(*testing.T, *Node, *nf.Snapshot)
		check  string
		status view.Status
		detail string
	}{
		"nothing": {func(*testing.T, *Node, *nf.Snapshot) {}, "", view.OK, ""},
		"unknown modules": {func(_ *testing.T, _ *Node, s *nf.Snapshot) {
			s.Modules.Complete, s.Modules.Unknown = false, "no evidence"
		}, "modules", view.Warn, "no evidence"},
		"no conntrack": {func(_ *testing.T, _ *Node, s *nf.Snapshot) { s.Host.Facts = nil }, "conntrack", view.Warn, "is not loaded"},
		"unreadable conntrack": {func(_ *testing.T, _ *Node, s *nf.Snapshot) {
			s.Host.SetFact(nf.Fact{Key: nf.KeyMax, Live: nf.Unknown("EACCES")})
		}, "conntrack", view.Fail, "EACCES"},
		"another namespace": {func(_ *testing.T, _ *Node, s *nf.Snapshot) { s.Capabilities.Denied[nf.AbilityNode] = "elsewhere" }, "node", view.Fail, "elsewhere"},
		"no CAP_SYS_MODULE": {func(_ *testing.T, _ *Node, s *nf.Snapshot) { s.Capabilities.Denied[nf.AbilityModules] = "no right" }, "module loading", view.Warn, "no right"},
		"no CAP_SYS_ADMIN":  {func(_ *testing.T, _ *Node, s *nf.Snapshot) { s.Capabilities.Denied[nf.AbilityContainers] = "no right" }, "containers", view.Fail, "no right"},
		"a file that is none": {func(_ *testing.T, _ *Node, s *nf.Snapshot) {
			s.Warnings = []nf.Warning{{Code: nf.WarnNotANamespace, Message: "x is none"}}
		}, "containers", view.Warn, "0 in /run/netns; x is none"},
		"a broken runtime": {func(_ *testing.T, _ *Node, s *nf.Snapshot) {
			s.Warnings = []nf.Warning{{Code: nf.WarnRuntimeBroken, Message: "no answer"}}
		}, "containers", view.Fail, "no answer; container list is incomplete"},
		"namespaces that cannot be listed": {func(_ *testing.T, n *Node, _ *nf.Snapshot) {
			n.Unowned = func(context.Context, *nf.Snapshot) ([]string, error) { return nil, errors.New("EIO") }
		}, "other namespaces", view.Unknown, "EIO"},
		"namespaces that cannot be seen": {func(_ *testing.T, n *Node, _ *nf.Snapshot) {
			n.Unowned = func(context.Context, *nf.Snapshot) ([]string, error) { return []string{"a"}, os.ErrPermission }
		}, "other namespaces", view.Unknown, "1 that no listed container has: a; not all can be seen: permission denied"},
		"a missing program": {func(_ *testing.T, n *Node, s *nf.Snapshot) {
			n.Virtuozzo, s.Capabilities.Masks = vz.Found{Any: true, Missing: []string{"vzctl"}}, true
		}, "virtuozzo", view.Warn, "without vzctl"},
		"no masks": {func(_ *testing.T, n *Node, s *nf.Snapshot) {
			n.Virtuozzo, s.Capabilities.Latches = vz.Found{Any: true}, nf.No
		}, "virtuozzo", view.Warn, "has no levels"},
		"unknown masks": {func(_ *testing.T, n *Node, _ *nf.Snapshot) { n.Virtuozzo = vz.Found{Any: true} }, "virtuozzo", view.Warn, "cannot determine whether this kernel has levels: no container runs"},
		"a damaged memory": {func(t *testing.T, n *Node, _ *nf.Snapshot) {
			stateOf(t, n)
			must(t, os.WriteFile(n.StateDir+"/memory", nil, 0o600))
		}, "memory", view.Fail, "cannot trust"},
		"a damaged journal": {func(t *testing.T, n *Node, _ *nf.Snapshot) {
			stateOf(t, n)
			must(t, os.WriteFile(n.StateDir+"/journal", nil, 0o600))
		}, "state", view.Fail, "cannot trust"},
		"an open run": {func(t *testing.T, n *Node, _ *nf.Snapshot) { must(t, stateOf(t, n).Begin(state.Run{ID: "7"})) }, "state", view.Warn, "run 7 has not come to its end"},
		"a failed undo": {func(t *testing.T, n *Node, _ *nf.Snapshot) {
			must(t, stateOf(t, n).SaveStuck([]nf.StuckChange{{Run: "6"}, {Run: "7"}}))
		}, "state", view.Fail, "the last is of run 7"},
		"no state directory": {func(_ *testing.T, n *Node, _ *nf.Snapshot) { n.StateDir = "/proc/1/comm" }, "state", view.Fail, "/proc/1/comm"},
		"a damaged last good": {func(t *testing.T, n *Node, _ *nf.Snapshot) {
			stateOf(t, n)
			must(t, os.WriteFile(n.StateDir+"/lastgood", nil, 0o600))
		}, "last good revision", view.Fail, "cannot trust"},
		"a missing file":     {func(_ *testing.T, n *Node, _ *nf.Snapshot) { n.Config.Named = true }, "configuration", view.Fail, "not exist"},
		"an unreadable file": {func(_ *testing.T, n *Node, _ *nf.Snapshot) { n.Config.Err = errors.New("EIO") }, "configuration", view.Fail, "EIO"},
		"an invalid file": {func(_ *testing.T, n *Node, _ *nf.Snapshot) {
			n.Config = Configuration{Diagnostics: []spec.Diagnostic{{File: "a", Line: 1, Column: 2, Message: "m", Hint: "h"}}}
		}, "configuration", view.Fail, "a:1:2: m"},
		"a file of everybody's": {func(t *testing.T, n *Node, _ *nf.Snapshot) { n.Config = configFile(t, 0o666) }, "configuration", view.Fail, "mode 0666"},
		"no secret": {func(t *testing.T, n *Node, _ *nf.Snapshot) {
			n.Config = configFile(t, 0o600)
			n.Config.Agent.WebhookSecretFile = "/none"
		}, "keys and secrets", view.Fail, "/none"},
		"no repository": {func(t *testing.T, n *Node, _ *nf.Snapshot) {
			n.Config = configFile(t, 0o600)
			n.Config.Agent.Source.URLs = []string{"gopher://x"}
		}, "repository", view.Fail, "gopher://x"},
	} {
		n, s := healthy(t)
		test.fault(t, n, s)
		n.Machine = observed{s: *s}
		checks, err := n.Examine(t.Context())
		if err != nil || Failed(checks) != (test.status == view.Fail) {
			t.Errorf("%s: %v, %+v", name, err, checks)
		}
		found := test.check == ""
		for _, c := range checks {
			switch {
			case c.Name == test.check && c.Status == test.status && strings.Contains(c.Detail, test.detail):
				found = true
				if c.Status != view.OK && !command.MatchString(c.Remedy) {
					t.Errorf("%s: no command in the remedy %q", name, c.Remedy)
				}
			case c.Status != view.OK && name != "no state directory" && c.Name != "address": // nothing of it can be read
				t.Errorf("%s: %+v", name, c)
			}
		}
		if !found {
			t.Errorf("%s: the check %q is not %s, with %q:\n%+v", name, test.check, test.status, test.detail, checks)
		}
	}
	n, _ := healthy(t)
	n.Machine = observed{err: os.ErrPermission}
	if _, err := n.Examine(t.Context()); !errors.Is(err, os.ErrPermission) {
		t.Errorf("a node that cannot be observed: %v", err)
	}
}

// The containers are counted by runtime, and the network namespaces without one are named.
func TestContainersAndOthers(t *testing.T) {
	n, s := healthy(t)
	for _, runtime := range []string{nf.RuntimeNspawn, nf.RuntimeVZ, nf.RuntimeDocker, nf.RuntimeNetns, nf.RuntimeDocker} {
		s.Containers = append(s.Containers, nf.Container{Runtime: runtime})
	}
	if c := n.containers(s); c.Status != view.OK || c.Detail != "1 in /run/netns, 1 of vz, 2 of docker, 1 of nspawn" {
		t.Errorf("%+v", c)
	}
	for count, want := range map[int]string{
		0: "every network namespace is the node's or a container's", 1: "1 that no listed container has: 0",
		20: "; 18; 19", 21: "; 18; 19; and 1 more: lsns -t net",
	} {
		n.Unowned = func(context.Context, *nf.Snapshot) (lines []string, err error) {
			for i := range count {
				lines = append(lines, fmt.Sprint(i))
			}
			return lines, nil
		}
		if c := n.others(t.Context(), s); c.Status != view.OK || !strings.HasSuffix(c.Detail, want) {
			t.Errorf("%d: %+v, want %q", count, c, want)
		}
	}
}

func configFile(t *testing.T, mode os.FileMode) Configuration {
	t.Helper()
	file := filepath.Join(t.TempDir(), "agent.yaml")
	must(t, errors.Join(os.WriteFile(file, nil, 0o600), os.Chmod(file, mode)))
	c := Configuration{File: file, Agent: spec.DefaultAgentConfig()}
	c.Agent.Listen = spec.ListenNone
	return c
}

// The lock is tried, not made.
func TestLock(t *testing.T) {
	n, _ := healthy(t)
	if c := n.lock(); c.Status != view.OK {
		t.Errorf("%+v", c)
	}
	if _, err := os.Stat(filepath.Join(n.RunDir, "lock")); err == nil {
		t.Error("the lock was made")
	}
	unlock, err := apply.NewLock(n.RunDir).Take()
	must(t, err)
	if c := n.lock(); c.Status != view.Warn || !strings.Contains(c.Detail, fmt.Sprintf("process %d is", os.Getpid())) {
		t.Errorf("%+v", c)
	}
	unlock()
	if c := n.lock(); c.Status != view.OK {
		t.Errorf("%+v", c)
	}
}

// What a repository delivers is fetched, and nothing of it stays.
func TestRepository(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := filepath.Join(t.TempDir(), "policies.git")
	repo, err := source.CreateRepository(dir, "main")
	must(t, err)
	const policy = "{apiVersion: nfsync.dev/v1alpha1, kind: NodePolicy, metadata: {name: node}, spec: {level: full}}"
	hash, err := repo.Commit(map[string][]byte{"a.yaml": []byte(policy)}, "m", "n", "e", time.Unix(0, 0))
	must(t, err)
	n, _ := healthy(t)
	n.Config = configFile(t, 0o600)
	if c := n.repository(t.Context(), dir); c.Status != view.OK || c.Detail != dir+": commit "+hash+" of branch main, with 1 policy file" {
		t.Errorf("%+v", c)
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// Doctor writes nothing: not even the directories that the first apply makes.
func TestDoctorWritesNothing(t *testing.T) {
	n := &Node{StateDir: t.TempDir(), RunDir: filepath.Join(t.TempDir(), "run")}
	must(t, os.Chmod(n.StateDir, 0o755))
	if c := n.state(); c.Status != view.OK {
		t.Errorf("%+v", c)
	}
	_ = n.lock()
	left, err := os.ReadDir(n.StateDir)
	must(t, err)
	info, err := os.Stat(n.StateDir)
	must(t, err)
	if _, err := os.Stat(n.RunDir); len(left) > 0 || info.Mode().Perm() != 0o755 || err == nil {
		t.Errorf("in the state directory: %v, mode %v, the run directory: %v", left, info.Mode(), err)
	}
}
