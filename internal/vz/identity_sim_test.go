package vz_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/vz/vztest"
)

// edit replaces the first text by the second in a file of the node.
func edit(t *testing.T, n *vztest.Node, path, from, to string) {
	t.Helper()
	path = filepath.Join(n.Root(), path)
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), from) {
		t.Fatalf("%s has no %q, %v", path, from, err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), from, to)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// write writes a file of the node.
func write(t *testing.T, n *vztest.Node, path, text string) {
	t.Helper()
	path = filepath.Join(n.Root(), path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// A name that two containers have, or that programs and files differ about, names no container:
// prlctl set UUID would change the other one.
func TestAmbiguousContainers(t *testing.T) {
	stopped := func(id, uuid string) vztest.Container {
		return vztest.Container{ID: id, UUID: uuid, Name: "ct-" + id, Saved: "full"}
	}
	for name, test := range map[string]struct {
		spoil func(*testing.T, *vztest.Node)
		// why has, by container, parts of the reason why it is unobservable. The others are
		// observable.
		why map[string][]string
	}{
		"nothing odd": {},
		"a ve.conf was copied": {func(_ *testing.T, n *vztest.Node) {
			copied := stopped("201", uuid1)
			copied.Unregistered = true
			n.Add(copied)
		}, map[string][]string{"101": {uuid1, "container 201"}, "201": {uuid1, "container 101"}}},
		"a ve.conf was copied twice, in capitals": {func(_ *testing.T, n *vztest.Node) {
			n.Add(vztest.Container{ID: "201", UUID: strings.ToUpper(uuid1), Unregistered: true}, vztest.Container{ID: "202", UUID: uuid1, Unregistered: true})
		}, map[string][]string{"101": {"container 201, 202"}, "201": {"container 101, 202"}, "202": {"container 101, 201"}}},
		"a copy that no program lists": {func(t *testing.T, n *vztest.Node) {
			write(t, n, "etc/vz/conf/201.conf", `UUID="{`+uuid1+`}"`)
		}, map[string][]string{"101": {uuid1, "container 201"}}},
		"a copy for a CTID that is a UUID": {func(_ *testing.T, n *vztest.Node) {
			n.Add(vztest.Container{ID: "201", UUID: uuid2, Unregistered: true})
		}, map[string][]string{"201": {uuid2, "container " + uuid2}, uuid2: {uuid2, "container 201"}}},
		"a backup beside it": {func(t *testing.T, n *vztest.Node) {
			write(t, n, "etc/vz/conf/101.old.conf", `UUID="`+uuid1+`"`)
			write(t, n, "etc/vz/conf/101.conf.bak", `UUID="`+uuid1+`"`)
		}, nil},
		"one ve.conf with two names": {func(t *testing.T, n *vztest.Node) {
			edit(t, n, "vz/private/101/ve.conf", uuid1, "")
			edit(t, n, "vz/private/101/ve.conf", `VEID="101"`, "")
			n.Add(vztest.Container{ID: "201", Unregistered: true})
			link := filepath.Join(n.Root(), "etc/vz/conf/201.conf")
			if err := errors.Join(os.Remove(link), os.Symlink("/vz/private/101/ve.conf", link)); err != nil {
				t.Fatal(err)
			}
		}, map[string][]string{"101": {"its configuration", "container 201"}, "201": {"its configuration", "container 101"}}},
		"one private area": {func(t *testing.T, n *vztest.Node) {
			edit(t, n, "vz/private/102/ve.conf", "/vz/private/$VEID", "/vz/private/101")
		}, map[string][]string{"101": {"private area", "container 102"}, "102": {"private area", "container 101"}}},
		"another UUID in its ve.conf": {func(t *testing.T, n *vztest.Node) {
			edit(t, n, "vz/private/101/ve.conf", uuid1, "deadbeef-0000-4000-8000-000000000001")
		}, map[string][]string{"101": {uuid1, "deadbeef-0000-4000-8000-000000000001"}}},
		"another VEID in its ve.conf": {func(t *testing.T, n *vztest.Node) {
			edit(t, n, "vz/private/101/ve.conf", `VEID="101"`, `VEID="900"`)
		}, map[string][]string{"101": {"VEID=900"}}},
		"the programs have other UUIDs": {func(t *testing.T, n *vztest.Node) {
			edit(t, n, "vz/private/101/ve.conf", "UUID=", "OTHER=")
			n.Misbehave(vztest.Fault{Program: "vzlist", Stdout: `[{"ctid": "101", "uuid": "deadbeef-0000-4000-8000-000000000001", "status": "stopped"}]`})
		}, map[string][]string{"101": {uuid1, "deadbeef-0000-4000-8000-000000000001"}}},
		"the programs have other CTIDs": {func(_ *testing.T, n *vztest.Node) {
			n.Misbehave(vztest.Fault{Program: "prlctl", Stdout: `[{"uuid": "` + uuid1 + `", "envid": "777", "type": "CT", "name": "x", "status": "stopped"}]`})
		}, map[string][]string{"101": {uuid1, "container 777"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := vztest.New(t)
			n.Add(stopped("101", uuid1), stopped("102", ""), stopped(uuid2, ""), vztest.Container{ID: "104", Saved: "full", State: nf.StateRunning})
			if test.spoil != nil {
				test.spoil(t, n)
			}
			wantReasons(t, list(t, runtimeOn(t, n)).Containers, test.why)
		})
	}
}

// wantReasons compares the reasons why containers are unobservable with parts of them.
func wantReasons(t *testing.T, containers []nf.Container, why map[string][]string) {
	t.Helper()
	why = maps.Clone(why)
	for _, c := range containers {
		if parts := why[c.ID]; len(parts) == 0 && c.Unobservable != "" || len(parts) > 0 && c.Unobservable == "" {
			t.Errorf("%s is unobservable: %q", c.ID, c.Unobservable)
		}
		for _, part := range why[c.ID] {
			if !strings.Contains(c.Unobservable, part) {
				t.Errorf("%s is unobservable: %q, want %q in it", c.ID, c.Unobservable, part)
			}
		}
		delete(why, c.ID)
	}
	for id := range why {
		t.Errorf("%s is not among the containers", id)
	}
}

// A state that the files contradict is none: a change would wait for, or hit, something else.
func TestStatesThatFilesContradict(t *testing.T) {
	for name, test := range map[string]struct {
		state string
		spoil func(*testing.T, *vztest.Node)
		why   string
	}{
		"its ve cgroup is left": {nf.StateStopped, func(t *testing.T, n *vztest.Node) { write(t, n, "sys/fs/cgroup/ve/101/ve.state", "RUNNING\n") }, "its ve cgroup is RUNNING"},
		"its ve cgroup ends":    {nf.StateSuspended, func(t *testing.T, n *vztest.Node) { write(t, n, "sys/fs/cgroup/ve/101/ve.state", "STOPPING\n") }, "its ve cgroup is STOPPING"},
		"its ve cgroup starts":  {nf.StateRunning, func(t *testing.T, n *vztest.Node) { write(t, n, "sys/fs/cgroup/ve/101/ve.state", "STARTING\n") }, "its ve cgroup is STARTING"},
		"a ve cgroup that has stopped": {nf.StateStopped, func(t *testing.T, n *vztest.Node) {
			write(t, n, "sys/fs/cgroup/ve/101/ve.state", "STOPPED\n")
		}, ""},
		"a dump is left": {nf.StateStopped, func(t *testing.T, n *vztest.Node) {
			write(t, n, "vz/private/101/dump/Dump/vz_iptables_mask.img", "0\n")
		}, "has a dump"},
		"its dump is lost": {nf.StateSuspended, func(t *testing.T, n *vztest.Node) {
			if err := os.RemoveAll(filepath.Join(n.Root(), "vz/private/101/dump")); err != nil {
				t.Fatal(err)
			}
		}, "has no dump"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := vztest.New(t)
			n.Add(web(test.state), vztest.Container{ID: "102", State: nf.StateRunning})
			test.spoil(t, n)
			r := runtimeOn(t, n)
			c := listed(t, r, "101")
			if (test.why == "") != (c.Unobservable == "") || !strings.Contains(c.Unobservable, test.why) || c.Unobservable != "" && c.Instance != "" {
				t.Errorf("%+v", c)
			}
			if o := listed(t, r, "102"); o.Unobservable != "" {
				t.Errorf("%+v", o)
			}
		})
	}
}

// Refresh does not know what List knows of other containers, and leaves it.
func TestRefreshLeavesAnAmbiguousContainer(t *testing.T) {
	t.Parallel()
	for _, state := range []string{nf.StateRunning, nf.StateStopped, nf.StateMounted, nf.StateSuspended} {
		n := vztest.New(t)
		n.Add(web(state), vztest.Container{ID: "201", UUID: uuid1, Unregistered: true})
		r := runtimeOn(t, n)
		c := listed(t, r, "101")
		before := c
		if err := r.Refresh(&c); err != nil || c.Unobservable == "" || c.Unobservable != before.Unobservable || c.Instance != before.Instance || c.State != before.State {
			t.Errorf("%v, %+v, before %+v", err, c, before)
		}
	}
}

// A container that no program lists is there as long as its files are.
func TestContainersThatNoProgramLists(t *testing.T) {
	const why = "neither vzlist nor prlctl lists it"
	empty := func(_ *testing.T, n *vztest.Node) {
		n.StopDispatcher()
		n.Misbehave(vztest.Fault{Program: "vzlist", Verb: "-a", Stdout: "[]\n"})
	}
	all := map[string][]string{"101": {why}, "102": {why}, "103": {why}}
	for name, test := range map[string]struct {
		spoil func(*testing.T, *vztest.Node)
		why   map[string][]string
	}{
		"vzlist lists nothing": {empty, all},
		"both list nothing":    {func(_ *testing.T, n *vztest.Node) { n.Misbehave(vztest.Fault{Stdout: "[]\n"}) }, all},
		"no prlctl, and no vzlist": {func(_ *testing.T, n *vztest.Node) {
			remove("usr/bin/prlctl")(n)
			n.Misbehave(vztest.Fault{Stdout: "[]\n"})
		}, all},
		"prlctl fails, and does not know the other one": {func(_ *testing.T, n *vztest.Node) {
			n.StopDispatcher()
			n.Misbehave(vztest.Fault{Program: "vzlist", Verb: "-a", Stdout: `[{"ctid": "101", "uuid": "` + uuid1 + `", "status": "running"}]`})
		}, map[string][]string{"101": nil, "102": {why}, "103": {why}}},
		"its configuration is lost, and it runs": {func(t *testing.T, n *vztest.Node) {
			empty(t, n)
			if err := os.Remove(filepath.Join(n.Root(), "etc/vz/conf/101.conf")); err != nil {
				t.Fatal(err)
			}
		}, all},
		"its pid file is lost too": {func(t *testing.T, n *vztest.Node) {
			empty(t, n)
			for _, path := range []string{"etc/vz/conf/101.conf", "var/run/ve/101.init.pid", "var/run/netns/101"} {
				if err := os.Remove(filepath.Join(n.Root(), path)); err != nil {
					t.Fatal(err)
				}
			}
		}, all},
		"removed ones": {func(t *testing.T, n *vztest.Node) {
			n.Remove("101")
			n.Remove("102")
			empty(t, n)
			if err := os.Symlink("/vz/private/102/ve.conf", filepath.Join(n.Root(), "etc/vz/conf/102.conf")); err != nil {
				t.Fatal(err)
			}
			write(t, n, "etc/vz/conf/105.conf", "NETFILTER=\"full\"\n") // no private area
			write(t, n, "etc/vz/conf/mine.conf", "NETFILTER=\"full\"\n")
		}, map[string][]string{"103": {why}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := vztest.New(t)
			n.Add(web(nf.StateRunning), vztest.Container{ID: "102", Saved: "full"}, vztest.Container{ID: "103", Saved: "full", State: nf.StateSuspended},
				vztest.Container{ID: "201", Template: true})
			test.spoil(t, n)
			found := list(t, runtimeOn(t, n))
			for id := range test.why {
				if !strings.Contains(containerIDs(found.Containers), id) {
					t.Errorf("%s is not among %s", id, containerIDs(found.Containers))
				}
			}
			wantReasons(t, found.Containers, test.why)
			if found.Latches != nf.Yes {
				t.Errorf("latches %s", found.Latches)
			}
		})
	}
}

func containerIDs(list []nf.Container) string {
	var ids []string
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	return strings.Join(ids, " ")
}

// A container that is made while the programs list is not one that they leave out.
func TestContainerMadeWhileListing(t *testing.T) {
	t.Parallel()
	n := vztest.New(t)
	n.Add(web(nf.StateRunning))
	n.Misbehave(vztest.Fault{Program: "vzlist", Verb: "-a", Times: 1, Stdout: `[{"ctid": "101", "uuid": "` + uuid1 + `", "status": "running"}]`,
		Before: func() { n.Add(vztest.Container{ID: "102", Saved: "full", Unregistered: true}) }})
	if found := list(t, runtimeOn(t, n)); containerIDs(found.Containers) != "101" {
		t.Errorf("%+v", found.Containers)
	}
}
