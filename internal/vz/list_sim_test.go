package vz_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/vz"
	"nfsync.dev/nfsync/internal/vz/vztest"
)

// everyState returns a node with a container in each state, a virtual machine and a template.
func everyState(t testing.TB) *vztest.Node {
	t.Helper()
	n := vztest.New(t)
	nat := uint64(0x104001) // what iptable_nat needs, before the kernel completes it
	full := ^uint64(0)
	n.Add(
		vztest.Container{ID: "101", UUID: uuid1, Name: "web-1", Saved: "full", State: nf.StateRunning},
		vztest.Container{ID: "102", Saved: "stateful", State: nf.StatePaused},
		vztest.Container{ID: "103", Saved: "disabled", State: nf.StateMounted},
		vztest.Container{ID: "104", Saved: "stateless", State: nf.StateSuspended, Mask: &full},
		vztest.Container{ID: "105", Saved: "stateful"},
		vztest.Container{ID: "106", State: nf.StateRunning},
		vztest.Container{ID: "107", IPTables: "iptable_nat", State: nf.StateRunning, Mask: &nat},
		vztest.Container{ID: "108", Saved: "full", State: "starting"},
		vztest.Container{ID: "109", Saved: "full", State: "migrating", Runs: true},
		vztest.Container{ID: uuid2, Name: "by its uuid", Saved: "stateless", State: nf.StateRunning, Mask: &full},
		vztest.Container{ID: "111", Saved: "full", State: nf.StateRunning, SharedNet: true},
		vztest.Container{ID: "112", Name: "not-registered", Saved: "full", State: nf.StateRunning, Unregistered: true},
		vztest.Container{ID: "200", Name: "windows", VM: true, State: nf.StateRunning},
		vztest.Container{ID: "201", Name: "golden", Template: true, Saved: "full"},
	)
	return n
}

func TestListEveryState(t *testing.T) {
	t.Parallel()
	n := everyState(t)
	r := runtimeOn(t, n)
	found := list(t, r)
	wantCalls(t, n, callVzlist, callPrlctl)
	type want struct {
		name, state  string
		live, saved  nf.Value
		instance     string // empty: one with its boot id, CTID and process id
		unobservable string
	}
	text, absent := levelValue, nf.Absent()
	wants := map[string]want{
		"101": {"web-1", "running", text("full"), text("full"), "", ""},
		"102": {"102", "paused", text("stateful"), text("stateful"), "", ""},
		"103": {"103", "mounted", absent, text("disabled"), nf.InstanceStopped, ""},
		"104": {"104", "suspended", text("full"), text("stateless"), nf.InstanceSuspended, ""},
		"105": {"105", "stopped", absent, text("stateful"), nf.InstanceStopped, ""},
		"106": {"106", "running", text("stateless"), text("stateless"), "", ""},
		"107": {"107", "running", text("custom(0x64104001)"), text("custom(0x64104001)"), "", ""},
		"108": {"108", "starting", nf.Unknown(""), text("full"), "none", "starting"},
		"109": {"109", "migrating", text("full"), text("full"), "", "migrating"},
		uuid2: {"by its uuid", "running", text("full"), text("stateless"), "", ""},
		"111": {"111", "running", text("full"), text("full"), "none", "no network namespace of its own"},
		"112": {"not-registered", "running", text("full"), text("full"), "", ""},
	}
	for _, c := range found.Containers {
		w, ok := wants[c.ID]
		if !ok {
			t.Errorf("%s (%s) is not a container", c.ID, c.Name)
			continue
		}
		delete(wants, c.ID)
		live, saved := levels(c)
		if c.Runtime != nf.RuntimeVZ || c.Name != w.name || c.State != w.state || saved != w.saved || c.UUID == "" {
			t.Errorf("%s: %+v", c.ID, c)
		}
		if live != w.live && !(live.IsUnknown() && w.live.IsUnknown() && live.Why() != "") {
			t.Errorf("%s: live %v %s, want %v", c.ID, live, live.Why(), w.live)
		}
		if !strings.Contains(c.Unobservable, w.unobservable) || (w.unobservable == "") != (c.Unobservable == "") {
			t.Errorf("%s is unobservable: %q", c.ID, c.Unobservable)
		}
		switch w.instance {
		case "":
			if !strings.HasPrefix(c.Instance, fmt.Sprintf("boot-1/%s/%d/", c.ID, n.Pid(c.ID))) {
				t.Errorf("%s: instance %q", c.ID, c.Instance)
			}
		case "none":
			if c.Instance != "" {
				t.Errorf("%s: instance %q", c.ID, c.Instance)
			}
		default:
			if c.Instance != w.instance {
				t.Errorf("%s: instance %q", c.ID, c.Instance)
			}
		}
	}
	for id := range wants {
		t.Errorf("%s is not listed", id)
	}
	if !slices.IsSortedFunc(found.Containers, func(a, b nf.Container) int { return strings.Compare(a.ID, b.ID) }) {
		t.Error("not sorted")
	}
	// 101, 102, 106, 107, 109, uuid2 and 112 run in their own network namespaces. 111 runs in
	// the node's.
	if len(found.Namespaces) != 7 || slices.Contains(found.Namespaces, r.NodeNamespaces[0]) {
		t.Errorf("namespaces %v", found.Namespaces)
	}
	if found.Latches != nf.Yes || len(found.Warnings) != 0 {
		t.Errorf("latches %s, %v", found.Latches, found.Warnings)
	}
}

// One program suffices for a listing. A failure of the other is a warning. Odd but complete
// output is not.
func TestListWithProgramsThatMisbehave(t *testing.T) {
	const garbage = "Segmentation fault\n"
	for name, test := range map[string]struct {
		spoil    func(*vztest.Node)
		state    string // of 103, which prlctl lists as starting
		warnings string
		message  string   // part of the warning or error
		extra    []string // calls besides the usual two
		fails    bool
		without  string // a call that is not made, as the program does not exist
	}{
		"nothing wrong":         {func(*vztest.Node) {}, "starting", "", "", nil, false, ""},
		"dispatcher down":       {func(n *vztest.Node) { n.StopDispatcher() }, "stopped", nf.WarnRuntimeDegraded, "exit 253", nil, false, ""},
		"prlctl hangs":          {fault(vztest.Fault{Program: "prlctl", Hang: true}), "stopped", nf.WarnRuntimeDegraded, "no answer within", nil, false, ""},
		"vzlist hangs":          {fault(vztest.Fault{Program: "vzlist", Hang: true}), "starting", nf.WarnRuntimeDegraded, "no answer within", nil, false, ""},
		"both hang":             {fault(vztest.Fault{Hang: true}), "", "", "no answer within", nil, true, ""},
		"prlctl prints garbage": {fault(vztest.Fault{Program: "prlctl", Stdout: garbage}), "stopped", nf.WarnRuntimeDegraded, "Segmentation fault", nil, false, ""},
		"vzlist prints garbage": {fault(vztest.Fault{Program: "vzlist", Stdout: garbage}), "starting", nf.WarnRuntimeDegraded, "Segmentation fault", nil, false, ""},
		"both print garbage":    {fault(vztest.Fault{Stdout: garbage}), "", "", "Segmentation fault", nil, true, ""},
		"prlctl prints half":    {fault(vztest.Fault{Program: "prlctl", Stdout: "[\n\t{\n\t\t\"uuid\": \"" + uuid1 + "\",\n"}), "stopped", nf.WarnRuntimeDegraded, "not a list", nil, false, ""},
		"vzlist prints nothing": {fault(vztest.Fault{Program: "vzlist", Skip: true}), "starting", nf.WarnRuntimeDegraded, "printed nothing", nil, false, ""},
		"vzlist fails":          {fault(vztest.Fault{Program: "vzlist", Exit: 1, Stderr: "Unable to open /dev/vzctl\n"}), "starting", nf.WarnRuntimeDegraded, "/dev/vzctl", nil, false, ""},
		"warnings, exit 0":      {fault(vztest.Fault{Stderr: "WARNING: something is deprecated\n"}), "starting", "", "", nil, false, ""},
		"prlctl lingers":        {fault(vztest.Fault{Program: "prlctl", Linger: true}), "starting", "", "", nil, false, ""},
		"old prlctl": {fault(vztest.Fault{Program: "prlctl", Times: 1, Skip: true, Exit: 1, Stderr: "Unknown field: envid\n"}), "starting", "", "",
			[]string{"prlctl list -a -j"}, false, ""},
		"no prlctl":       {remove("usr/bin/prlctl"), "stopped", "", "", nil, false, callPrlctl},
		"no vzlist":       {remove("usr/sbin/vzlist"), "starting", "", "", nil, false, callVzlist},
		"text before it":  {fault(vztest.Fault{Program: "vzlist", Stdout: "Warning: odd\n[\n  {\n    \"ctid\": \"103\",\n    \"uuid\": \"-\",\n    \"status\": \"stopped\"\n  }\n]\n"}), "starting", "", "", nil, false, ""},
		"a strange entry": {fault(vztest.Fault{Program: "vzlist", Stdout: "[\n  {\n    \"ctid\": \"../../etc\",\n    \"status\": \"running\"\n  },\n  7,\n  null\n]\n"}), "starting", nf.WarnUnusableEntry, "vzlist lists 3 containers without a usable id", nil, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := vztest.New(t)
			n.Add(
				vztest.Container{ID: "101", UUID: uuid1, Name: "web", Saved: "full", State: nf.StateRunning},
				vztest.Container{ID: "102", Saved: "stateful"},
				vztest.Container{ID: "103", Saved: "stateful"},
			)
			n.SetTransition("103", "starting")
			r := runtimeOn(t, n)
			r.Timeouts.List = generousTimeout(t, n)
			test.spoil(n)
			started := time.Now()
			found, err := r.List(t.Context())
			if took := time.Since(started); took > 5*r.Timeouts.List {
				t.Errorf("it took %s", took)
			}
			if strings.Contains(name, "hang") {
				wantEnded(t, n)
			}
			wantCalls(t, n, slices.DeleteFunc(append([]string{callVzlist, callPrlctl}, test.extra...), func(c string) bool { return c == test.without })...)
			if test.fails {
				if err == nil || !strings.Contains(err.Error(), test.message) || len(found.Namespaces) != 1 || len(found.Containers) != 3 {
					t.Errorf("%v, %+v", err, found)
				}
				for _, c := range found.Containers {
					if c.Unobservable == "" || !c.Fact(nf.KeyLevel).Live.IsUnknown() {
						t.Errorf("%+v", c)
					}
				}
				return
			}
			if err != nil || codes(found.Warnings) != test.warnings || !strings.Contains(fmt.Sprint(found.Warnings), test.message) {
				t.Errorf("%v, warnings %v", err, found.Warnings)
			}
			got := map[string]string{}
			for _, c := range found.Containers {
				got[c.ID] = c.State
			}
			if len(got) != 3 || got["101"] != "running" || got["102"] != "stopped" || got["103"] != test.state {
				t.Errorf("states %v", got)
			}
			if live, saved := levels(found.Containers[0]); live != nf.LevelFull.Value() || saved != nf.LevelFull.Value() || found.Containers[0].Name != "web" {
				t.Errorf("%+v", found.Containers[0])
			}
		})
	}
}

func fault(f vztest.Fault) func(*vztest.Node) {
	return func(n *vztest.Node) { n.Misbehave(f) }
}

func remove(path string) func(*vztest.Node) {
	return func(n *vztest.Node) {
		if err := os.Remove(filepath.Join(n.Root(), path)); err != nil {
			panic(err)
		}
	}
}

// A listing ends with its context, and so do the programs.
func TestListIsCancelled(t *testing.T) {
	t.Parallel()
	n := vztest.New(t)
	n.Misbehave(vztest.Fault{Hang: true})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		r := runtimeOn(t, n)
		_, err := r.List(ctx)
		failed <- err
	}()
	for range 2 {
		if !n.AwaitHang(t.Context()) {
			t.Fatal("the programs do not hang")
		}
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	wantEnded(t, n)
}

// Something odd about one container neither fails the listing nor changes the other
// containers.
func TestOneOddContainer(t *testing.T) {
	at := func(n *vztest.Node, path string) string { return filepath.Join(n.Root(), path) }
	write := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	unknown := nf.Unknown("")
	for name, test := range map[string]struct {
		add          vztest.Container
		spoil        func(*testing.T, *vztest.Node)
		live, saved  nf.Value
		unobservable string
		why          string // part of the reason of an unknown value
	}{
		"quotes in its name":      {odd(`a "b" {[`, ""), nil, nf.LevelFull.Value(), nf.LevelFull.Value(), "", ""},
		"backslashes in its name": {odd(`a\b\c\`, ""), nil, nf.LevelFull.Value(), nf.LevelFull.Value(), "", ""},
		"control characters":      {odd("a\x01\x1bb\x7f", ""), nil, nf.LevelFull.Value(), nf.LevelFull.Value(), "", ""},
		"not UTF-8":               {odd("a\xff\xfeb", ""), nil, nf.LevelFull.Value(), nf.LevelFull.Value(), "", ""},
		"an option as its name":   {odd("--help", ""), nil, nf.LevelFull.Value(), nf.LevelFull.Value(), "", ""},
		"JSON in its name":        {odd(`", "status": "stopped`, ""), nil, nf.LevelFull.Value(), nf.LevelFull.Value(), "", ""},
		"quotes in its UUID": {odd("x", ""), func(t *testing.T, n *vztest.Node) {
			write(t, at(n, "vz/private/102/ve.conf"), "NETFILTER=\"full\"\nUUID=\"a\"b\\c\", {\"\n")
		}, nf.LevelFull.Value(), nf.LevelFull.Value(), "", ""},
		"an unknown level": {odd("x", ""), func(t *testing.T, n *vztest.Node) {
			write(t, at(n, "vz/private/102/ve.conf"), "NETFILTER=\"most\"\n")
		}, nf.LevelFull.Value(), unknown, "", "most"},
		"no ve.conf": {odd("x", ""), func(t *testing.T, n *vztest.Node) {
			if err := os.Remove(at(n, "vz/private/102/ve.conf")); err != nil {
				t.Fatal(err)
			}
		}, nf.LevelFull.Value(), unknown, "", "no such file"},
		"a directory as ve.conf": {odd("x", ""), func(t *testing.T, n *vztest.Node) {
			if err := errors.Join(os.Remove(at(n, "vz/private/102/ve.conf")), os.Mkdir(at(n, "vz/private/102/ve.conf"), 0o755)); err != nil {
				t.Fatal(err)
			}
		}, nf.LevelFull.Value(), unknown, "", "not a regular file"},
		"a link in a circle": {odd("x", ""), func(t *testing.T, n *vztest.Node) {
			link := at(n, "etc/vz/conf/102.conf")
			if err := errors.Join(os.Remove(link), os.Symlink("/etc/vz/conf/102.conf", link)); err != nil {
				t.Fatal(err)
			}
		}, nf.LevelFull.Value(), unknown, "", "too many levels"},
		"an empty ve.conf": {odd("x", ""), func(t *testing.T, n *vztest.Node) {
			write(t, at(n, "vz/private/102/ve.conf"), "")
		}, nf.LevelFull.Value(), nf.LevelStateless.Value(), "", ""},
		"an invalid mask": {odd("x", ""), func(t *testing.T, n *vztest.Node) {
			write(t, at(n, "sys/fs/cgroup/ve/102/ve.iptables_mask"), "-1\n")
		}, unknown, nf.LevelFull.Value(), "", "is not a mask"},
		"a mask that cannot be read": {odd("x", ""), func(t *testing.T, n *vztest.Node) {
			mask := at(n, "sys/fs/cgroup/ve/102/ve.iptables_mask")
			if err := errors.Join(os.Remove(mask), os.Mkdir(mask, 0o755)); err != nil {
				t.Fatal(err)
			}
		}, unknown, nf.LevelFull.Value(), "", "not a regular file"},
		"no mask, and others have one": {odd("x", ""), func(t *testing.T, n *vztest.Node) {
			if err := os.Remove(at(n, "sys/fs/cgroup/ve/102/ve.iptables_mask")); err != nil {
				t.Fatal(err)
			}
		}, unknown, nf.LevelFull.Value(), "", "no mask"},
		"no ve cgroup": {odd("x", ""), func(t *testing.T, n *vztest.Node) {
			if err := os.RemoveAll(at(n, "sys/fs/cgroup/ve/102")); err != nil {
				t.Fatal(err)
			}
		}, unknown, nf.LevelFull.Value(), "", "does not exist"},
		"no pid in its pid file": {odd("x", ""), func(t *testing.T, n *vztest.Node) {
			write(t, at(n, "var/run/ve/102.init.pid"), "init")
		}, nf.LevelFull.Value(), nf.LevelFull.Value(), "no process id", ""},
		"pid 0": {odd("x", ""), func(t *testing.T, n *vztest.Node) {
			write(t, at(n, "var/run/ve/102.init.pid"), "0")
		}, nf.LevelFull.Value(), nf.LevelFull.Value(), "no process id", ""},
		"another's init in its pid file": {odd("x", ""), func(t *testing.T, n *vztest.Node) {
			write(t, at(n, "var/run/ve/102.init.pid"), fmt.Sprint(n.Pid("103")))
		}, nf.LevelFull.Value(), nf.LevelFull.Value(), "its init is process", ""},
		"its init has ended": {odd("x", ""), func(_ *testing.T, n *vztest.Node) { n.Crash("102") },
			nf.LevelFull.Value(), nf.LevelFull.Value(), "is not in /proc", ""},
		"the node's namespace": {vztest.Container{ID: "102", Name: "x", Saved: "full", State: nf.StateRunning, SharedNet: true}, nil,
			nf.LevelFull.Value(), nf.LevelFull.Value(), "would hit the node", ""},
		"a dump without a mask": {odd("x", nf.StateSuspended), func(t *testing.T, n *vztest.Node) {
			if err := os.Remove(at(n, "vz/private/102/dump/Dump/vz_iptables_mask.img")); err != nil {
				t.Fatal(err)
			}
		}, unknown, nf.LevelFull.Value(), "", "no such file"},
		"a dump with an odd mask": {odd("x", nf.StateSuspended), func(t *testing.T, n *vztest.Node) {
			write(t, at(n, "vz/private/102/dump/Dump/vz_iptables_mask.img"), "ve.iptables_mask: full\n")
		}, unknown, nf.LevelFull.Value(), "", "is not a mask"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := vztest.New(t)
			n.Add(vztest.Container{ID: "101", UUID: uuid1, Name: "before", Saved: "stateful", State: nf.StateRunning}, test.add,
				vztest.Container{ID: "103", UUID: uuid2, Name: "behind", Saved: "disabled", State: nf.StateRunning})
			if test.spoil != nil {
				test.spoil(t, n)
			}
			found := list(t, runtimeOn(t, n))
			wantCalls(t, n, callVzlist, callPrlctl)
			if len(found.Containers) != 3 || len(found.Warnings) != 0 {
				t.Fatalf("%d containers, %v", len(found.Containers), found.Warnings)
			}
			neighbour(t, n, found.Containers[0], "before", uuid1, "stateful")
			neighbour(t, n, found.Containers[2], "behind", uuid2, "disabled")
			c := found.Containers[1]
			live, saved := levels(c)
			same := func(got, want nf.Value) bool {
				return got == want || got.IsUnknown() && want.IsUnknown() && strings.Contains(got.Why(), test.why)
			}
			if c.ID != "102" || c.Name == "" || !same(live, test.live) || !same(saved, test.saved) {
				t.Errorf("%s (%q): live %v (%s), saved %v (%s)", c.ID, c.Name, live, live.Why(), saved, saved.Why())
			}
			if (test.unobservable == "") != (c.Unobservable == "") || !strings.Contains(c.Unobservable, test.unobservable) {
				t.Errorf("unobservable: %q", c.Unobservable)
			}
			if c.Unobservable != "" && c.Instance != "" {
				t.Errorf("it is unobservable, but has instance %s", c.Instance)
			}
			if found.Latches != nf.Yes {
				t.Errorf("latches %s", found.Latches)
			}
		})
	}
}

// odd returns the container under test, with a name and in a state. An empty state is
// running.
func odd(name, state string) vztest.Container {
	if state == "" {
		state = nf.StateRunning
	}
	return vztest.Container{ID: "102", Name: name, Saved: "full", State: state}
}

// neighbour checks that a container next to the odd one is as it was added.
func neighbour(t *testing.T, n *vztest.Node, c nf.Container, name, uuid, level string) {
	t.Helper()
	live, saved := levels(c)
	if c.Name != name || c.UUID != uuid || c.State != nf.StateRunning || c.Unobservable != "" ||
		live != levelValue(level) || saved != levelValue(level) || !strings.Contains(c.Instance, fmt.Sprintf("/%d/", n.Pid(c.ID))) {
		t.Errorf("another container: %+v", c)
	}
}

// A process id may belong to a process of another container by now. A kernel that shows the
// container of a process reveals it (cg_env_check_init_pid, lib/cgroup.c of libvzctl).
func TestProcessOfAnotherContainer(t *testing.T) {
	t.Parallel()
	n := vztest.New(t)
	n.Add(vztest.Container{ID: "101", State: nf.StateRunning}, vztest.Container{ID: "102", State: nf.StateRunning})
	r := runtimeOn(t, n)
	r.Proc = n.Proc()
	if c := listed(t, r, "101"); c.Unobservable != "" || c.Instance == "" {
		t.Errorf("%+v", c)
	}
	pid := fmt.Sprint(n.Pid("102"))
	link := filepath.Join(n.Root(), "var/run/netns/101")
	if err := errors.Join(os.WriteFile(filepath.Join(n.Root(), "var/run/ve/101.init.pid"), []byte(pid), 0o644),
		os.Remove(link), os.Symlink("/proc/"+pid+"/ns/net", link)); err != nil {
		t.Fatal(err)
	}
	if c := listed(t, r, "101"); c.Instance != "" || !strings.Contains(c.Unobservable, "belongs to container 102") {
		t.Errorf("%+v", c)
	}
	if c := listed(t, r, "102"); c.Unobservable != "" {
		t.Errorf("%+v", c)
	}
	// Other kernels do not show it. Then both containers share a network namespace.
	r.Proc = ""
	for _, id := range []string{"101", "102"} {
		if c := listed(t, r, id); !strings.Contains(c.Unobservable, "same network namespace") {
			t.Errorf("%+v", c)
		}
	}
}

// Masks are probed. A node on which no container runs may still have them.
func TestCapabilities(t *testing.T) {
	running := vztest.Container{ID: "101", Saved: "full", State: nf.StateRunning}
	stopped := vztest.Container{ID: "101", Saved: "full"}
	for name, test := range map[string]struct {
		add     []vztest.Container
		spoil   func(*vztest.Node)
		masks   bool
		latches string
		lists   bool // the fields of vzlist
	}{
		"running":                  {[]vztest.Container{running}, nil, true, nf.Yes, false},
		"nothing running":          {[]vztest.Container{stopped}, nil, true, nf.Yes, true},
		"no containers":            {nil, nil, true, nf.Yes, true},
		"VHS 9":                    {[]vztest.Container{running}, (*vztest.Node).RemoveMasks, false, nf.No, false},
		"VHS 9, nothing running":   {[]vztest.Container{stopped}, (*vztest.Node).RemoveMasks, false, nf.No, true},
		"vzlist -L prints nothing": {nil, fault(vztest.Fault{Program: "vzlist", Verb: "-L", Skip: true}), false, nf.MaybeUnknown, true},
		"vzlist -L fails":          {nil, fault(vztest.Fault{Program: "vzlist", Verb: "-L", Exit: 1}), false, nf.MaybeUnknown, true},
		"all masks are unreadable": {[]vztest.Container{running}, func(n *vztest.Node) {
			if err := os.WriteFile(filepath.Join(n.Root(), "sys/fs/cgroup/ve/101/ve.iptables_mask"), nil, 0o600); err != nil {
				panic(err)
			}
		}, true, nf.Yes, false},
		"one mask is unreadable, and the other is missing": {[]vztest.Container{running, {ID: "102", Saved: "full", State: nf.StateRunning}}, func(n *vztest.Node) {
			mask := filepath.Join(n.Root(), "sys/fs/cgroup/ve/101/ve.iptables_mask")
			err := errors.Join(os.WriteFile(mask, nil, 0o600), os.Remove(filepath.Join(n.Root(), "sys/fs/cgroup/ve/102/ve.iptables_mask")))
			if err != nil {
				panic(err)
			}
		}, true, nf.Yes, false},
		"the ve cgroup of the only one is missing": {[]vztest.Container{running}, func(n *vztest.Node) {
			if err := os.RemoveAll(filepath.Join(n.Root(), "sys/fs/cgroup/ve/101")); err != nil {
				panic(err)
			}
		}, false, nf.MaybeUnknown, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := vztest.New(t)
			n.Add(test.add...)
			if test.spoil != nil {
				test.spoil(n)
			}
			found := list(t, runtimeOn(t, n))
			if (found.Latches == nf.Yes) != test.masks || found.Latches != test.latches {
				t.Errorf("latches %s", found.Latches)
			}
			calls := []string{callVzlist, callPrlctl}
			if test.lists {
				calls = append(calls, callFields)
			}
			wantCalls(t, n, calls...)
		})
	}
}

// On VHS 9 a running container has no live level, although its configuration, made from a
// sample, has one.
func TestVHS9(t *testing.T) {
	t.Parallel()
	n := vztest.New(t)
	n.RemoveMasks()
	n.Add(vztest.Container{ID: "101", Saved: "full", State: nf.StateRunning})
	c := listed(t, runtimeOn(t, n), "101")
	if live, _ := levels(c); !live.IsAbsent() || c.Unobservable != "" || c.Instance == "" {
		t.Errorf("%+v", c)
	}
}

// A machine without Virtuozzo has no containers, and no program runs.
func TestNoVirtuozzo(t *testing.T) {
	t.Parallel()
	r := vz.Runtime{Root: t.TempDir(), BootID: "boot-1"}
	found, err := r.List(t.Context())
	if err != nil || len(found.Containers) != 0 || found.Latches != nf.No || len(found.Warnings) != 0 {
		t.Errorf("%+v, %v", found, err)
	}
}

// A listing makes two calls, however many containers there are.
func TestThousandContainers(t *testing.T) {
	t.Parallel()
	n := vztest.New(t)
	for i := range 1000 {
		c := vztest.Container{ID: fmt.Sprint(1000 + i), Name: fmt.Sprintf("ct-%d", i), Saved: nf.LevelNames()[i%4]}
		if i%100 == 7 {
			c.State = nf.StateRunning
		}
		n.Add(c)
	}
	r := runtimeOn(t, n)
	started := time.Now()
	found := list(t, r)
	took := time.Since(started)
	wantCalls(t, n, callVzlist, callPrlctl)
	if took > 30*time.Second { // a fraction of one on an idle machine
		t.Errorf("it took %s", took)
	}
	if len(found.Containers) != 1000 || len(found.Namespaces) != 10 {
		t.Fatalf("%d containers, %d namespaces", len(found.Containers), len(found.Namespaces))
	}
	for i, c := range found.Containers {
		want := (nf.LevelDisabled + nf.Level(i%4)).Value()
		if _, saved := levels(c); c.Name != fmt.Sprintf("ct-%d", i) || saved != want || (c.State == nf.StateRunning) != (i%100 == 7) {
			t.Errorf("%d: %+v", i, c)
		}
	}
}
