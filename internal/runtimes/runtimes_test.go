package runtimes_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/runtimes"
	"nfsync.dev/nfsync/internal/runtimes/runtimestest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// node returns a node with files below a root, whose own namespace is that of the test.
func node(t testing.TB, root string) runtimes.Node {
	t.Helper()
	own, err := netns.Own()
	must(t, err)
	return runtimes.Node{Root: root, Proc: "/proc", BootID: "boot", Own: []netns.Identity{own}}
}

// list lists the containers of all runtimes.
func list(t testing.TB, n runtimes.Node, claimed ...netns.Identity) runtimes.Listing {
	t.Helper()
	l, err := n.List(context.Background(), nf.Runtimes(), claimed)
	must(t, err)
	return l
}

// texts returns a line for each container: its name, then what is not as of a plain running one.
func texts(containers []nf.Container) []string {
	lines := []string{}
	for _, c := range containers {
		line := c.Name
		if len(c.Aliases) > 0 {
			line += "=" + strings.Join(c.Aliases, "=")
		}
		if c.State != nf.StateRunning {
			line += " " + c.State
		}
		for _, k := range slices.Sorted(func(yield func(string) bool) {
			for k := range c.Labels {
				if !yield(k) {
					return
				}
			}
		}) {
			line += " " + k + ":" + c.Labels[k]
		}
		if c.Unobservable != "" {
			line += " unobservable: " + c.Unobservable
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

// want compares the containers and the warnings, each by the start of its text, with what is expected.
func want(t testing.TB, l runtimes.Listing, containers []string, warnings ...string) {
	t.Helper()
	if got := texts(l.Containers); !slices.Equal(got, containers) {
		t.Errorf("containers:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(containers, "\n"))
	}
	got := []string{}
	for _, w := range l.Warnings {
		got = append(got, w.Code+": "+w.Message)
	}
	if !slices.EqualFunc(got, warnings, strings.HasPrefix) {
		t.Errorf("warnings:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(warnings, "\n"))
	}
}

// entered returns the identity of the namespace that a container is entered in.
func entered(t testing.TB, n runtimes.Node, c nf.Container) (id netns.Identity, err error) {
	t.Helper()
	err = n.Enter(&c, func() (err error) {
		id, err = netns.Own()
		return err
	})
	return id, err
}

// Several containers of one namespace are one container, as long as they are in it.
func TestSharedNamespaces(t *testing.T) {
	d := runtimestest.Docker{T: t, Root: t.TempDir()}
	web := runtimestest.Start(t)
	side := runtimestest.StartIn(t, web)
	id := d.Run(runtimestest.Container{Name: "web", Network: "bridge", Process: web})
	d.Run(runtimestest.Container{Name: "side", Network: "container:" + id, Process: side})
	n := node(t, d.Root)
	l := list(t, n)
	want(t, l, []string{"web=side"})
	c := l.Containers[0]
	ns, err := netns.Identify(web.Path())
	must(t, err)
	if c.ID != id || c.Runtime != nf.RuntimeDocker || c.Instance != ns.Instance("boot") || len(l.Namespaces) != 1 || l.Namespaces[0] != ns {
		t.Errorf("container %+v, namespaces %v, want %v", c, l.Namespaces, ns)
	}
	if got, err := entered(t, n, c); err != nil || got != ns {
		t.Errorf("entered %v, %v, want %v", got, err, ns)
	}
	// web is started again: it has another namespace, and side is still in the old one.
	web.End()
	d.Run(runtimestest.Container{Name: "web", Network: "bridge", Process: runtimestest.Start(t)})
	l = list(t, n)
	want(t, l, []string{"side", "web"})
	if _, err := entered(t, n, c); !errors.Is(err, nf.ErrGone) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("entered what has ended: %v", err)
	}
	if i := slices.IndexFunc(l.Containers, func(c nf.Container) bool { return c.Name == "side" }); l.Containers[i].Instance != c.Instance {
		t.Errorf("side is in %s, was in %s", l.Containers[i].Instance, c.Instance)
	}
}

// The namespace of the node is no container's, and a claimed one is not listed again.
func TestNodeAndClaimedNamespaces(t *testing.T) {
	d := runtimestest.Docker{T: t, Root: t.TempDir()}
	for i := range 7 {
		d.Run(runtimestest.Container{Name: fmt.Sprintf("host-%d", i), Network: "host", Process: runtimestest.StartHere(t)})
	}
	web := runtimestest.Start(t)
	d.Run(runtimestest.Container{Name: "web", Process: web})
	n := node(t, d.Root)
	want(t, list(t, n), []string{"web"}, "node-namespace: docker: in the node's own network namespace, and so no containers here: host-0, host-1, host-2, host-3, host-4 and 2 more")
	ns, err := netns.Identify(web.Path())
	must(t, err)
	if l := list(t, n, ns); len(l.Containers) != 0 || len(l.Namespaces) != 0 {
		t.Errorf("claimed, and listed: %+v", l)
	}
	l, err := n.List(t.Context(), []string{nf.RuntimeNetns}, nil)
	if must(t, err); len(l.Containers)+len(l.Warnings) != 0 {
		t.Errorf("not asked for, and listed: %+v", l)
	}
}

// A container of which something cannot be read is there all the same.
func TestUnobservable(t *testing.T) {
	d := runtimestest.Docker{T: t, Root: t.TempDir()}
	id := runtimestest.ID("nameless")
	d.State(id, runtimestest.Start(t))
	odd := d.Run(runtimestest.Container{Name: "odd", Process: runtimestest.Start(t)})
	state := filepath.Join(d.StateDir(odd), "state.json")
	must(t, os.Chmod(state, 0o666))
	l := list(t, node(t, d.Root))
	for i := range l.Containers {
		l.Containers[i].Unobservable, _, _ = strings.Cut(l.Containers[i].Unobservable, ":")
	}
	want(t, l, []string{id[:12] + " unobservable: its name is not known", "odd unobservable: " + state + " can be changed by other users (mode 0666)"})
}

// Without CAP_SYS_PTRACE the namespace of a process with more capabilities cannot be read
// (ptrace(2), "Ptrace access mode checking").
func TestWithoutPtrace(t *testing.T) {
	d := runtimestest.Docker{T: t, Root: t.TempDir()}
	d.Run(runtimestest.Container{Name: "web", Process: runtimestest.Start(t)})
	n := node(t, d.Root)
	done := make(chan runtimes.Listing)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends without the capability
		header, data := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
		err := unix.Capget(&header, &data[0])
		data[0].Effective &^= 1 << unix.CAP_SYS_PTRACE
		if err := errors.Join(err, unix.Capset(&header, &data[0])); err != nil {
			t.Error(err)
		}
		l, err := n.List(t.Context(), nf.Runtimes(), nil)
		if err != nil {
			t.Error(err)
		}
		done <- l
	}()
	l := <-done
	if len(l.Containers) != 1 || l.Containers[0].Name != "web" || !strings.Contains(l.Containers[0].Unobservable, "permission denied: nfsync needs CAP_SYS_PTRACE") {
		t.Errorf("listed %+v", l)
	}
}

// Check and Enter find that the namespace is another one, or that the process is.
func TestCheck(t *testing.T) {
	d := runtimestest.Docker{T: t, Root: t.TempDir()}
	web := runtimestest.Start(t)
	d.Run(runtimestest.Container{Name: "web", Process: web})
	n := node(t, d.Root)
	c := list(t, n).Containers[0]
	must(t, n.Check(&c))
	for name, test := range map[string]struct {
		change func(*nf.Container)
		ended  bool // also fs.ErrNotExist
	}{
		"another start":    {func(c *nf.Container) { c.Entry.Start++ }, true},
		"another instance": {func(c *nf.Container) { c.Instance = "boot/4:1:1" }, false},
		"no process":       {func(c *nf.Container) { c.Entry = nf.Entry{} }, false},
		"no such file":     {func(c *nf.Container) { c.Entry = nf.Entry{File: filepath.Join(d.Root, "none")} }, true},
		"another file":     {func(c *nf.Container) { c.Entry = nf.Entry{File: "/proc/self/ns/net"} }, false},
	} {
		other := c
		test.change(&other)
		if err := n.Check(&other); !errors.Is(err, nf.ErrGone) || errors.Is(err, fs.ErrNotExist) != test.ended {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := entered(t, n, other); !errors.Is(err, nf.ErrGone) || errors.Is(err, fs.ErrNotExist) != test.ended {
			t.Errorf("%s: entered: %v", name, err)
		}
	}
	ofFile := c
	ofFile.Entry = nf.Entry{File: web.Path()}
	must(t, n.Check(&ofFile))
}

// What was read of files is kept as long as they stay as they are.
func TestFilesAreKept(t *testing.T) {
	d := runtimestest.Docker{T: t, Root: t.TempDir()}
	c := runtimestest.Container{Name: "web", Labels: map[string]string{"app": "web"}, Process: runtimestest.Start(t)}
	id := d.Run(c)
	n := node(t, d.Root)
	n.Files = &runtimes.Files{}
	for range 3 {
		want(t, list(t, n), []string{"web app:web"})
	}
	// docker rename
	to := d.File(id, "config.v2.json")
	data, err := os.ReadFile(to)
	must(t, err)
	must(t, os.WriteFile(to+".new", []byte(strings.Replace(string(data), "/web", "/api", 1)), 0o600))
	must(t, os.Rename(to+".new", to))
	want(t, list(t, n), []string{"api app:web"})
	c.Process.End()
	want(t, list(t, n), []string{})
	d.Remove(id)
	want(t, list(t, n), []string{})
}
