package host

import (
	"context"
	"fmt"
	"os"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/runtimes/runtimestest"
)

// benchRuntimes make a container of a runtime, of a process in a network namespace of its own.
var benchRuntimes = []struct {
	name string
	run  func(b *testing.B, root string) func(name string, p *runtimestest.Process)
}{
	{nf.RuntimeDocker, func(b *testing.B, root string) func(string, *runtimestest.Process) {
		docker := runtimestest.Docker{T: b, Root: root}
		return func(name string, p *runtimestest.Process) {
			docker.Run(runtimestest.Container{Name: name, Network: "bridge", Process: p})
		}
	}},
	{nf.RuntimePodman, func(b *testing.B, root string) func(string, *runtimestest.Process) {
		podman := runtimestest.Podman{T: b, Root: root}
		return func(name string, p *runtimestest.Process) {
			podman.Run(runtimestest.PodmanContainer{Name: name, Process: p})
		}
	}},
}

// BenchmarkRuntimes lists the containers of a runtime for the first time, lists them again, and does all
// that a lap observes. Beside it, netns does so with as many named namespaces.
func BenchmarkRuntimes(b *testing.B) {
	for _, n := range []int{100, 1000} {
		dir, _ := benchNode(b, n)
		benchMachine(b, fmt.Sprintf("containers=%d/%s", n, nf.RuntimeNetns), n, Config{FS: realFS, NetnsDir: dir, Runtimes: []string{nf.RuntimeNetns}})
		processes := make([]*runtimestest.Process, n)
		for i := range processes {
			processes[i] = runtimestest.Start(b)
		}
		for _, r := range benchRuntimes {
			fs := realFS
			fs.Root = b.TempDir()
			run := r.run(b, fs.Root)
			for i, p := range processes {
				run(fmt.Sprintf("c%d", i), p)
			}
			benchMachine(b, fmt.Sprintf("containers=%d/%s", n, r.name), n, Config{FS: fs, NetnsDir: os.DevNull, Runtimes: []string{r.name}})
		}
	}
}

// benchMachine measures listing and observing n containers.
func benchMachine(b *testing.B, name string, n int, cfg Config) {
	list := func(b *testing.B, m *Machine) nf.Snapshot {
		b.Helper()
		s, err := m.List(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if len(s.Containers) != n {
			b.Fatalf("%d containers, want %d", len(s.Containers), n)
		}
		return s
	}
	b.Run(name+"/first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			list(b, New(cfg))
		}
	})
	cfg.Cache = NewCache()
	defer cfg.Cache.Close()
	m := New(cfg)
	look := func(b *testing.B) {
		b.Helper()
		s := list(b, m)
		if _, err := m.Observe(context.Background(), s, benchAsk(&s, benchKeys)); err != nil {
			b.Fatal(err)
		}
	}
	look(b)
	b.Run(name+"/again", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			list(b, m)
		}
	})
	b.Run(name+"/lap", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			look(b)
		}
	})
}
