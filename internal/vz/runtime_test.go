package vz

import (
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// The network namespace of a container belongs to this runtime as long as files show the
// container, whether a program lists it or not.
func TestNamespacesOfContainersThatAreNotListed(t *testing.T) {
	root := t.TempDir()
	write(t, root, "etc/vz/conf/101.conf", "")
	write(t, root, "etc/vz/conf/104.conf", "")                       // it has no private area
	link(t, root, "etc/vz/conf/103.conf", "/vz/private/103/ve.conf") // of a container that was destroyed
	link(t, root, "var/run/netns/101", "/proc/7/ns/net")
	write(t, root, "var/run/ve/102.init.pid", "8")
	link(t, root, "var/run/netns/mine", "/proc/9/ns/net")
	r := Runtime{Root: root, Proc: fakeProc(t, map[int]string{7: "101", 8: "102", 9: "0"})}
	found, err := r.List(t.Context())
	if err == nil || !strings.Contains(err.Error(), "cannot find vzlist or prlctl in ") || len(found.Namespaces) != 1 || found.Latches != nf.MaybeUnknown {
		t.Errorf("%+v, %v", found, err)
	}
	if len(found.Containers) != 2 || found.Containers[0].ID != "101" || found.Containers[1].ID != "102" {
		t.Fatalf("containers %+v", found.Containers)
	}
	for _, c := range found.Containers {
		if c.Unobservable == "" {
			t.Errorf("%s is observable", c.ID)
		}
	}
	r.Proc = fakeProc(t, map[int]string{7: "102", 8: "101", 9: "0"})
	if found, _ := r.List(t.Context()); len(found.Namespaces) != 0 {
		t.Errorf("namespaces of processes that are not the containers': %+v", found)
	}
}

// What List found about a shared network namespace holds as long as the instance does. A
// container without an instance keeps its state until an init or a dump shows another.
func TestRefreshState(t *testing.T) {
	on := initState{kind: initRuns, pid: 7, instance: "boot/101/7"}
	for name, test := range map[string]struct {
		c, want nf.Container
		l       initState
		dump    bool
	}{
		"the same": {nf.Container{State: "paused", Instance: on.instance}, nf.Container{State: "paused", Instance: on.instance}, on, false},
		"the same, shared": {nf.Container{State: "running", Instance: on.instance, Unobservable: "shared"},
			nf.Container{State: "running", Instance: on.instance, Unobservable: "shared"}, on, false},
		"restarted": {nf.Container{State: "paused", Instance: "boot/101/6", Unobservable: "x"}, nf.Container{State: "running", Instance: on.instance}, on, false},
		"started":   {nf.Container{State: "mounted", Instance: "stopped"}, nf.Container{State: "running", Instance: on.instance}, on, false},
		"unclear": {nf.Container{State: "paused", Instance: on.instance}, nf.Container{State: "paused", Unobservable: "two"},
			initState{kind: initRuns, why: "two"}, false},
		"stopped":              {nf.Container{State: "running", Instance: on.instance}, nf.Container{State: "stopped", Instance: "stopped"}, initState{}, false},
		"suspended":            {nf.Container{State: "running", Instance: on.instance}, nf.Container{State: "suspended", Instance: "suspended"}, initState{}, true},
		"suspended for long":   {nf.Container{State: "suspended", Instance: "suspended"}, nf.Container{State: "suspended", Instance: "suspended"}, initState{}, true},
		"its dump was dropped": {nf.Container{State: "suspended", Instance: "suspended"}, nf.Container{State: "stopped", Instance: "stopped"}, initState{}, false},
		"mounted for long":     {nf.Container{State: "mounted", Instance: "stopped"}, nf.Container{State: "mounted", Instance: "stopped"}, initState{}, false},
		"crashed": {nf.Container{State: "running", Instance: on.instance}, nf.Container{State: "running", Unobservable: "ended"},
			initState{kind: initLost, why: "ended"}, false},
		"stopped, and files are left": {nf.Container{State: "stopped", Instance: "stopped"}, nf.Container{State: "stopped", Instance: "stopped"},
			initState{kind: initLost, why: "ended"}, false},
	} {
		c := test.c
		refreshState(&c, test.l, func() bool { return test.dump })
		if c.State != test.want.State || c.Instance != test.want.Instance || c.Unobservable != test.want.Unobservable {
			t.Errorf("%s: %+v, want %+v", name, c, test.want)
		}
	}
}

// A container that is listed as stopped or suspended, but has an init, is in transition. A
// file that names an ended process then means nothing.
func TestInstanceOf(t *testing.T) {
	on := initState{kind: initRuns, pid: 7, instance: "boot/101/7"}
	lost := initState{kind: initLost, why: "ended"}
	for _, test := range []struct {
		state        string
		l            initState
		instance     string
		unobservable string
	}{
		{"running", on, on.instance, ""},
		{"paused", on, on.instance, ""},
		{"running", lost, "", "ended"},
		{"stopped", initState{why: "none"}, nf.InstanceStopped, ""},
		{"mounted", lost, nf.InstanceStopped, ""},
		{"suspended", lost, nf.InstanceSuspended, ""},
		{"stopped", on, on.instance, "it is listed as stopped"},
		{"suspended", initState{kind: initRuns, why: "two"}, "", "it is listed as suspended"},
		{"migrating", on, on.instance, `its state is "migrating"`},
		{"invalid", initState{}, "", `its state is "invalid"`},
	} {
		instance, why := instanceOf(test.state, test.l)
		if instance != test.instance || !strings.Contains(why, test.unobservable) || (why == "") != (test.unobservable == "") {
			t.Errorf("%s, %+v: %q, %q", test.state, test.l, instance, why)
		}
	}
}
