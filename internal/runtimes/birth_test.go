package runtimes_test

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/runtimes"
	"nfsync.dev/nfsync/internal/runtimes/runtimestest"
)

// A container is awaited until it has a network namespace of its own. What stands for none is not
// awaited, nor is one that is removed.
func TestAwaitBirth(t *testing.T) {
	d := runtimestest.Docker{T: t, Root: t.TempDir()}
	n := node(t, d.Root)
	id := d.Create(runtimestest.Container{Name: "web"})
	d.Make(id, runtimestest.StartHere(t))
	go func() {
		<-time.After(50 * time.Millisecond)
		d.Make(id, runtimestest.StartRunc(t))
	}()
	names := []string{nf.RuntimePodman, nf.RuntimeDocker}
	c, found, mine := n.AwaitBirth(t.Context(), names, id)
	if !found || !mine || c.Name != "web" || c.Runtime != nf.RuntimeDocker {
		t.Errorf("%+v, %v, %v", c, found, mine)
	}
	if c, found, mine := n.AwaitBirth(t.Context(), names, "system.slice"); found || mine {
		t.Errorf("no container: %+v, %v", c, mine)
	}
	d.Make(id, runtimestest.StartHere(t))
	go func() {
		<-time.After(50 * time.Millisecond)
		_ = os.RemoveAll(d.StateDir(id))
	}()
	if c, found, mine := n.AwaitBirth(t.Context(), names, id); found || mine {
		t.Errorf("removed: %+v, %v", c, mine)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.Make(id, runtimestest.StartHere(t))
	if c, found, mine := n.AwaitBirth(ctx, names, id); found || !mine {
		t.Errorf("given up: %+v, %v", c, mine)
	}
}

// The process of a container that was born may only have made its namespaces.
func TestStays(t *testing.T) {
	d := runtimestest.Docker{T: t, Root: t.TempDir()}
	n := node(t, d.Root)
	p := runtimestest.Start(t)
	id := d.Create(runtimestest.Container{Name: "web"})
	d.Make(id, p)
	c, found, _ := n.Born(nf.RuntimeDocker, id)
	if !found || !n.Stays(t.Context(), &c) {
		t.Errorf("%+v, %v", c, found)
	}
	go func() {
		<-time.After(50 * time.Millisecond)
		p.End()
	}()
	if n.Stays(t.Context(), &c) {
		t.Error("it has ended, and stays")
	}
}

// Until the first process of a container runs its program it has the name of the runtime's.
func TestHasBegun(t *testing.T) {
	n := node(t, t.TempDir())
	for name, want := range map[string]bool{"runc:[2:INIT]": false, "crun": false, "lxc-start": false, "(sd-mkdcreds)": false, "nginx": true, "runcible": true} {
		p := runtimestest.StartNamed(t, name)
		c := nf.Container{Runtime: nf.RuntimeDocker, Entry: nf.Entry{PID: p.PID, Start: p.Start}}
		if got := n.HasBegun(&c); got != want {
			t.Errorf("%s: %v", name, got)
		}
		c.Runtime = nf.RuntimeCRI
		if n.HasBegun(&c) {
			t.Errorf("%s: a pod has begun", name)
		}
		p.Run()
		for deadline := time.Now().Add(10 * time.Second); !n.HasBegun(&nf.Container{Entry: c.Entry}); <-time.After(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: its program runs, and it has not begun", name)
			}
		}
		p.End()
		if n.HasBegun(&nf.Container{Entry: c.Entry}) {
			t.Errorf("%s: it has ended", name)
		}
	}
	if n.HasBegun(&nf.Container{Entry: nf.Entry{File: "/proc/self/ns/net"}}) {
		t.Error("a file has begun")
	}
}

// The directories of a runtime are watched also if they do not exist.
func TestDirs(t *testing.T) {
	root := t.TempDir()
	moby := filepath.Join(root, "run/docker/runtime-runc/moby")
	dirs := node(t, root).Dirs([]string{nf.RuntimeDocker})
	want := []runtimes.Dir{
		{Path: filepath.Join(root, "run/docker")}, {Path: filepath.Join(root, "run/docker/runtime-runc")},
		{Path: moby, Births: []string{nf.RuntimeDocker}},
	}
	if !reflect.DeepEqual(dirs, want) {
		t.Errorf("%+v, want %+v", dirs, want)
	}
	if dirs := node(t, root).Dirs([]string{nf.RuntimeNetns}); len(dirs) != 0 {
		t.Errorf("%+v", dirs)
	}
}
