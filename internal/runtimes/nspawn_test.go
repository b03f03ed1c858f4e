package runtimes_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/runtimes/runtimestest"
)

// The files are those of systemd 252: see testdata/README.md. plain was not registered.
func TestRecordedNspawn(t *testing.T) {
	l := newLXCNode(t, runtimestest.Replay(t, "nspawn", nil))
	for _, pid := range []int{2569, 2577, 2575, 2656} {
		l.enter(pid, runtimestest.Start(t))
	}
	l.enter(2650, nil)
	machines := filepath.Join(l.Root, "run/systemd/machines")
	must(t, os.Symlink("my-web", filepath.Join(machines, `unit:machine-my\x2dweb.scope`)))
	must(t, os.WriteFile(filepath.Join(machines, ".#my-weba1b2c3"), []byte("NAME=my-web"), 0o644))
	frozen := filepath.Join(l.Root, `sys/fs/cgroup/unified/machine.slice/systemd-nspawn@tpl.service/payload/cgroup.events`)
	must(t, os.MkdirAll(filepath.Dir(frozen), 0o755))
	must(t, os.WriteFile(frozen, []byte("populated 1\nfrozen 1\n"), 0o644))
	listed := list(t, l.Node)
	want(t, listed, []string{"my-web", "my-web1.x", "tpl paused"},
		"node-namespace: nspawn: in the node's own network namespace, and so no containers here: hosted")
	for _, c := range listed.Containers {
		if c.Runtime != nf.RuntimeNspawn || c.ID != c.Name {
			t.Errorf("%+v", c)
		}
		if got := born(l.Node, nf.RuntimeNspawn, c.Name); !strings.HasPrefix(got, c.Name) {
			t.Errorf("born %q", got)
		}
	}
	for entry, want := range map[string]string{"hosted": "?", "none": "", ".#my-weba1b2c3": "", `unit:machine-my\x2dweb.scope`: ""} {
		if got := born(l.Node, nf.RuntimeNspawn, entry); got != want {
			t.Errorf("%s: born %q, want %q", entry, got, want)
		}
	}
	directories(t, l.Node, nf.RuntimeNspawn, machines)
}

// A file may be older than the process that it names, be of another program, or not be machined's.
func TestNspawnFiles(t *testing.T) {
	const good = "NAME=web\nSCOPE=machine-web.scope\nSERVICE=systemd-nspawn\nLEADER=100\nCLASS=container\n"
	put := func(text string) func(*testing.T, string) {
		return func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte(text), 0o644)) }
	}
	without := func(field string) func(*testing.T, string) {
		var lines []string
		for line := range strings.Lines(good) {
			if !strings.HasPrefix(line, field+"=") {
				lines = append(lines, line)
			}
		}
		return put(strings.Join(lines, ""))
	}
	for name, test := range map[string]struct {
		make   func(t *testing.T, path string)
		cgroup string // of process 100; empty: that of the container
		want   string // after the name; none: the container is left out
	}{
		"good":                  {put(good), "", ""},
		"its payload":           {put(good), "0::/machine.slice/machine-web.scope/payload/init.scope\n", ""},
		"version 1":             {put(good), "9:cpu:/\n1:name=systemd:/machine.slice/machine-web.scope\n", ""},
		"another slice":         {put(good), "0::/a.slice/a-b.slice/machine-web.scope\n", ""},
		"a newer systemd":       {put(strings.Replace(good, "SCOPE", "UNIT", 1)), "", ""},
		"another process":       {put(good), "0::/system.slice/cron.service\n", "none"},
		"a user's cgroup":       {put(good), "0::/user.slice/user-1000.slice/user@1000.service/machine.slice/machine-web.scope\n", "none"},
		"a cgroup in the unit":  {put(good), "0::/system.slice/x.service/machine-web.scope\n", "none"},
		"it has ended":          {put(strings.Replace(good, "100", "99", 1)), "", "none"},
		"of libvirt":            {put(strings.Replace(good, "systemd-nspawn", "libvirt-lxc", 1)), "", "none"},
		"a virtual machine":     {put(strings.Replace(good, "=container", "=vm", 1)), "", "none"},
		"no service":            {without("SERVICE"), "", "none"},
		"no class":              {without("CLASS"), "", "none"},
		"no leader":             {without("LEADER"), "", `unobservable: it has no LEADER that is a process: ""`},
		"leader 0":              {put(strings.Replace(good, "100", "0", 1)), "", `unobservable: it has no LEADER that is a process: "0"`},
		"no unit":               {without("SCOPE"), "", "unobservable: it has no SCOPE"},
		"empty":                 {put(""), "", "unobservable: it has no LEADER"},
		"a pipe":                {func(t *testing.T, path string) { must(t, unix.Mkfifo(path, 0o644)) }, "", "unobservable: "},
		"a link":                {func(t *testing.T, path string) { must(t, os.Symlink("/etc/passwd", path)) }, "", "unobservable: "},
		"a directory":           {func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o755)) }, "", "unobservable: "},
		"huge":                  {put(good + strings.Repeat("x", 5<<20)), "", "unobservable: "},
		"that others may write": {func(t *testing.T, path string) { put(good)(t, path); must(t, os.Chmod(path, 0o666)) }, "", "unobservable: "},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLXCNode(t, t.TempDir())
			if test.cgroup == "" {
				test.cgroup = "0::/machine.slice/machine-web.scope/payload\n"
			}
			l.add(process{pid: 100, parent: 1, cgroup: test.cgroup, in: runtimestest.Start(t)})
			dir := filepath.Join(l.Root, "run/systemd/machines")
			must(t, os.MkdirAll(dir, 0o755))
			test.make(t, filepath.Join(dir, "web"))
			got := texts(list(t, l.Node).Containers)
			switch {
			case test.want == "none" && len(got) == 0:
			case len(got) == 1 && (got[0] == "web" && test.want == "" || test.want != "" && strings.HasPrefix(got[0], "web "+test.want)):
			default:
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// The name of a file that is not UTF-8 is no name.
func TestNspawnNames(t *testing.T) {
	l := newLXCNode(t, t.TempDir())
	dir := filepath.Join(l.Root, "run/systemd/machines")
	must(t, os.MkdirAll(dir, 0o755))
	for i, name := range []string{"a\xffb", "ü.x-1"} {
		pid := 100 + i
		l.add(process{pid: pid, parent: 1, cgroup: "0::/machine.slice/u.scope\n", in: runtimestest.Start(t)})
		text := fmt.Sprintf("SCOPE=u.scope\nSERVICE=systemd-nspawn\nCLASS=container\nLEADER=%d\n", pid)
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	want(t, list(t, l.Node), []string{`a\xffb unobservable: its name is not UTF-8`, "ü.x-1"})
}
