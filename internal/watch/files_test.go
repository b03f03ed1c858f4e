package watch

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// reported is how long a report may take on a busy machine. quiet is how long none may come.
const (
	reported = 10 * time.Second
	quiet    = 100 * time.Millisecond
)

// watching starts to watch and returns the reports.
func watching(t *testing.T, paths ...Path) <-chan bool {
	t.Helper()
	f, err := NewFiles(paths...)
	if err != nil {
		t.Fatal(err)
	}
	reports := make(chan bool, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan bool)
	go func() {
		defer close(done)
		f.Run(ctx, func() { reports <- true })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return reports
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	must(t, os.WriteFile(name, []byte(text), 0o600))
}

// settle waits until no more reports come.
func settle(reports <-chan bool) {
	for {
		select {
		case <-reports:
		case <-time.After(quiet):
			return
		}
	}
}

// TestFiles changes what is watched in the ways of editors, of Kubernetes and of packages.
func TestFiles(t *testing.T) {
	type step func(t *testing.T, dir string)
	mkdir := func(name string) step {
		return func(t *testing.T, dir string) { must(t, os.MkdirAll(filepath.Join(dir, name), 0o755)) }
	}
	put := func(name string) step {
		return func(t *testing.T, dir string) { write(t, filepath.Join(dir, name), time.Now().String()) }
	}
	move := func(from, to string) step {
		return func(t *testing.T, dir string) { must(t, os.Rename(filepath.Join(dir, from), filepath.Join(dir, to))) }
	}
	remove := func(name string) step {
		return func(t *testing.T, dir string) { must(t, os.RemoveAll(filepath.Join(dir, name))) }
	}
	link := func(to, name string) step {
		return func(t *testing.T, dir string) { must(t, os.Symlink(to, filepath.Join(dir, name))) }
	}
	for name, test := range map[string]struct {
		path   string
		deep   bool
		before []step
		each   []step // each of them is reported
		silent []step // none of them is reported
	}{
		"a file": {path: "agent.yaml", before: []step{put("agent.yaml"), put("other")},
			each: []step{put("agent.yaml"), remove("agent.yaml"), put("agent.yaml")}, silent: []step{put("other"), put("new"), remove("other")}},
		"an editor's rename": {path: "agent.yaml", before: []step{put("agent.yaml"), put("a"), put("b")},
			each: []step{move("a", "agent.yaml"), move("b", "agent.yaml"), put("agent.yaml")}},
		"what does not exist": {path: "etc/nfsync/agent.yaml",
			each: []step{mkdir("etc"), mkdir("etc/nfsync"), put("etc/nfsync/agent.yaml"), put("etc/nfsync/agent.yaml")}, silent: []step{mkdir("usr"), put("usr/x")}},
		"Kubernetes": {path: "c/agent.yaml", before: []step{mkdir("c/..1"), mkdir("c/..2"), put("c/..1/agent.yaml"), put("c/..2/agent.yaml"),
			link("..1", "c/..data"), link("..data/agent.yaml", "c/agent.yaml"), link("..2", "c/..next")},
			each: []step{move("c/..next", "c/..data"), put("c/..2/agent.yaml")}, silent: []step{put("c/..1/agent.yaml"), remove("c/..1")}},
		"a linked directory": {path: "current", deep: true, before: []step{mkdir("1"), mkdir("2"), link("1", "current"), link("2", "next")},
			each: []step{put("1/a.yaml"), move("next", "current"), put("2/a.yaml")}, silent: []step{put("1/a.yaml")}},
		"a directory made again": {path: "policies", deep: true, before: []step{mkdir("policies"), put("policies/a.yaml")},
			each: []step{put("policies/a.yaml"), remove("policies"), mkdir("policies"), put("policies/a.yaml"), move("policies", "x"), move("x", "policies"), put("policies/b.yaml")}},
		"below": {path: "policies", deep: true, before: []step{mkdir("policies")},
			each: []step{mkdir("policies/a/b"), put("policies/a/b/x.yaml"), move("policies/a", "policies/c"), put("policies/c/b/x.yaml"), remove("policies/c")}},
		"not below":         {path: "netns", before: []step{mkdir("netns/a")}, each: []step{put("netns/b"), remove("netns/b")}, silent: []step{put("netns/a/x")}},
		"a chain of links":  {path: "a", before: []step{mkdir("d"), put("d/x"), link("b", "a"), link("d/x", "b")}, each: []step{put("d/x"), remove("b"), put("b")}},
		"links in a circle": {path: "a/x", before: []step{link("b", "a"), link("a", "b")}, each: []step{remove("a"), mkdir("a"), put("a/x")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, s := range test.before {
				s(t, dir)
			}
			reports := watching(t, Path{Name: filepath.Join(dir, test.path), Deep: test.deep})
			for i, s := range test.each {
				s(t, dir)
				select {
				case <-reports:
				case <-time.After(reported):
					t.Fatalf("step %d is not reported", i+1)
				}
				settle(reports)
			}
			for i, s := range test.silent {
				s(t, dir)
				select {
				case <-reports:
					t.Errorf("step %d is reported", i+1)
				case <-time.After(quiet):
				}
			}
		})
	}
}

// TestManyFiles: no change is lost in a burst, such as a checkout.
func TestManyFiles(t *testing.T) {
	dir := t.TempDir()
	reports := watching(t, Path{Name: dir, Deep: true})
	for i := range 200 {
		sub := filepath.Join(dir, "d", string(rune('a'+i%26)), string(rune('a'+i/26)))
		must(t, os.MkdirAll(sub, 0o755))
		write(t, filepath.Join(sub, "x.yaml"), "")
	}
	settle(reports)
	write(t, filepath.Join(dir, "d", "z", "a", "x.yaml"), "x")
	select {
	case <-reports:
	case <-time.After(reported):
		t.Error("a change in a directory of the burst is not reported")
	}
}

// TestNamespace: the name of a namespace is reported when it can be entered, however late that is. A
// file that is none for a while is reported as a change, as one that goes.
func TestNamespace(t *testing.T) {
	dir := t.TempDir()
	born := make(chan string, 10)
	reports := watching(t, Path{Name: dir, Born: func(name string) { born <- name }})
	name := filepath.Join(dir, "web-1")
	write(t, name, "")
	<-time.After(50 * time.Millisecond)
	if len(born) > 0 {
		t.Error("a file is reported before its namespace is mounted")
	}
	must(t, unix.Mount("/proc/self/ns/net", name, "", unix.MS_BIND, ""))
	if got := <-born; got != "web-1" {
		t.Errorf("%q was born", got)
	}
	began := time.Now()
	late := filepath.Join(dir, "late")
	write(t, late, "")
	<-reports
	if took := time.Since(began); took < soonMount {
		t.Errorf("reported after %s", took)
	}
	must(t, unix.Mount("/proc/self/ns/net", late, "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(late, unix.MNT_DETACH) })
	if got := <-born; got != "late" {
		t.Errorf("%q was born", got)
	}
	must(t, unix.Unmount(name, unix.MNT_DETACH))
	must(t, os.Remove(name))
	<-reports
	if len(born) > 0 || len(reports) > 0 {
		t.Errorf("%d births, %d reports too many", len(born), len(reports))
	}
}

// TestMade: each entry that appears is looked at by itself, also those of a directory that appears with
// them. What vanishes is a change, but where nothing else is of interest.
func TestMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	only := t.TempDir()
	write(t, filepath.Join(only, "before"), "")
	made := make(chan string, 10)
	look := func(_ context.Context, name string, changed func()) {
		made <- name
		if name == "changed" {
			changed()
		}
	}
	reports := watching(t, Path{Name: dir, Made: look}, Path{Name: only, Made: look, Only: true})
	must(t, os.MkdirAll(filepath.Join(dir, "first"), 0o755))
	if got := <-made; got != "first" {
		t.Errorf("%q was made", got)
	}
	settle(reports)
	must(t, os.Mkdir(filepath.Join(dir, "second"), 0o755))
	if got := <-made; got != "second" {
		t.Errorf("%q was made", got)
	}
	must(t, os.Mkdir(filepath.Join(only, "third"), 0o755))
	if got := <-made; got != "third" {
		t.Errorf("%q was made", got)
	}
	must(t, os.Remove(filepath.Join(only, "third")))
	<-time.After(quiet)
	if len(made) > 0 || len(reports) > 0 {
		t.Errorf("%d made, %d reports too many", len(made), len(reports))
	}
	must(t, os.Remove(filepath.Join(dir, "first")))
	<-reports
	must(t, os.Mkdir(filepath.Join(only, "changed"), 0o755))
	<-reports
	if got := <-made; got != "changed" || len(made) > 0 {
		t.Errorf("%q was made, and %d more", got, len(made))
	}
}
