package vz

import (
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// A namespace is no other runtime's for as long as files tell of its container,
// whether a program lists it or not.
func TestNamespacesOfContainersThatAreNotListed(t *testing.T) {
	root := t.TempDir()
	write(t, root, "etc/vz/conf/101.conf", "")
	link(t, root, "etc/vz/conf/103.conf", "/vz/private/103/ve.conf") // of one that was destroyed
	link(t, root, "var/run/netns/101", "/proc/7/ns/net")
	write(t, root, "var/run/ve/102.init.pid", "8")
	link(t, root, "var/run/netns/mine", "/proc/9/ns/net")
	r := Runtime{Root: root, Proc: fakeProc(t, map[int]string{7: "101", 8: "102", 9: "0"})}
	found, err := r.List(t.Context(), r.Ask(t.Context()))
	if err == nil || !strings.Contains(err.Error(), "cannot find vzlist or prlctl in ") || len(found.Namespaces) != 1 || found.Latches != nf.MaybeUnknown {
		t.Errorf("%+v, %v", found, err)
	}
	if len(found.Containers) != 1 || found.Containers[0].ID != "101" || found.Containers[0].Unobservable == "" {
		t.Errorf("containers %+v", found.Containers)
	}
	r.Proc = fakeProc(t, map[int]string{7: "102", 8: "101", 9: "0"})
	if found, _ := r.List(t.Context(), r.Ask(t.Context())); len(found.Namespaces) != 0 {
		t.Errorf("those of processes that are not the containers': %+v", found)
	}
}

// What a listing found of a container that others share a namespace with holds
// until it is another instance; one that is stopped stays what it is.
func TestRefreshState(t *testing.T) {
	on := life{kind: lifeOn, pid: 7, instance: "boot/101/7"}
	for name, test := range map[string]struct {
		c, want nf.Container
		l       life
		dump    bool
	}{
		"the same": {nf.Container{State: "paused", Instance: on.instance}, nf.Container{State: "paused", Instance: on.instance}, on, false},
		"the same, shared": {nf.Container{State: "running", Instance: on.instance, Unobservable: "shared"},
			nf.Container{State: "running", Instance: on.instance, Unobservable: "shared"}, on, false},
		"restarted": {nf.Container{State: "paused", Instance: "boot/101/6", Unobservable: "x"}, nf.Container{State: "running", Instance: on.instance}, on, false},
		"started":   {nf.Container{State: "mounted", Instance: "stopped"}, nf.Container{State: "running", Instance: on.instance}, on, false},
		"unclear": {nf.Container{State: "paused", Instance: on.instance}, nf.Container{State: "paused", Unobservable: "two"},
			life{kind: lifeOn, why: "two"}, false},
		"stopped":              {nf.Container{State: "running", Instance: on.instance}, nf.Container{State: "stopped", Instance: "stopped"}, life{}, false},
		"suspended":            {nf.Container{State: "running", Instance: on.instance}, nf.Container{State: "suspended", Instance: "suspended"}, life{}, true},
		"suspended for long":   {nf.Container{State: "suspended", Instance: "suspended"}, nf.Container{State: "suspended", Instance: "suspended"}, life{}, true},
		"its dump was dropped": {nf.Container{State: "suspended", Instance: "suspended"}, nf.Container{State: "stopped", Instance: "stopped"}, life{}, false},
		"mounted for long":     {nf.Container{State: "mounted", Instance: "stopped"}, nf.Container{State: "mounted", Instance: "stopped"}, life{}, false},
		"crashed": {nf.Container{State: "running", Instance: on.instance}, nf.Container{State: "running", Unobservable: "gone"},
			life{kind: lifeLost, why: "gone"}, false},
		"stopped, and files are left": {nf.Container{State: "stopped", Instance: "stopped"}, nf.Container{State: "stopped", Instance: "stopped"},
			life{kind: lifeLost, why: "gone"}, false},
	} {
		c := test.c
		refreshState(&c, test.l, func() bool { return test.dump })
		if c.State != test.want.State || c.Instance != test.want.Instance || c.Unobservable != test.want.Unobservable {
			t.Errorf("%s: %+v, want %+v", name, c, test.want)
		}
	}
}

// One that is said to have no processes, and has an init, was listed in the
// middle of something; what files say of a process that is not there means
// nothing then.
func TestIdentify(t *testing.T) {
	on := life{kind: lifeOn, pid: 7, instance: "boot/101/7"}
	lost := life{kind: lifeLost, why: "gone"}
	for _, test := range []struct {
		state        string
		l            life
		instance     string
		unobservable string
	}{
		{"running", on, on.instance, ""},
		{"paused", on, on.instance, ""},
		{"running", lost, "", "gone"},
		{"stopped", life{why: "none"}, nf.InstanceStopped, ""},
		{"mounted", lost, nf.InstanceStopped, ""},
		{"suspended", lost, nf.InstanceSuspended, ""},
		{"stopped", on, on.instance, "it is listed as stopped"},
		{"suspended", life{kind: lifeOn, why: "two"}, "", "it is listed as suspended"},
		{"migrating", on, on.instance, `its state is "migrating"`},
		{"invalid", life{}, "", `its state is "invalid"`},
	} {
		instance, why := identify(test.state, test.l)
		if instance != test.instance || !strings.Contains(why, test.unobservable) || (why == "") != (test.unobservable == "") {
			t.Errorf("%s, %+v: %q, %q", test.state, test.l, instance, why)
		}
	}
}
