package host

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/runtimes/runtimestest"
)

// stages make the stage of a runtime: its state below the root of the configuration, of real processes in
// namespaces of their own. They may change where the processes are seen.
var stages = map[string]func(t *testing.T, cfg *Config) hosttest.Stage{
	nf.RuntimeCRI: func(t *testing.T, cfg *Config) hosttest.Stage {
		cri, running := runtimestest.CRI{T: t, Root: cfg.FS.Root}, map[string]*runtimestest.Process{}
		return hosttest.Stage{
			Add: func(name string, aliases ...string) {
				running[name] = runtimestest.Start(t)
				pod := runtimestest.Pod{Namespace: "shop", Name: name, UID: name, Process: running[name]}
				if len(aliases) == 0 {
					cri.Sandbox(name, pod)
				}
				for _, sandbox := range aliases { // several in one namespace, which kubelet does not make
					cri.Sandbox(sandbox, pod)
					pod.UID += "-joined"
				}
			},
			Remove: func(name string) { running[name].End() },
			Target: func(name string) nf.Target {
				return nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeCRI, ID: name, Name: "shop/" + name}
			},
		}
	},
	nf.RuntimeDocker: func(t *testing.T, cfg *Config) hosttest.Stage {
		docker, running := runtimestest.Docker{T: t, Root: cfg.FS.Root}, map[string][]*runtimestest.Process{}
		return hosttest.Stage{
			Add: func(name string, aliases ...string) {
				first := runtimestest.Start(t)
				id := docker.Run(runtimestest.Container{Name: name, Network: "bridge", Process: first})
				running[name] = append(running[name], first)
				for _, alias := range aliases {
					joined := runtimestest.StartIn(t, first)
					docker.Run(runtimestest.Container{Name: alias, Network: "container:" + id, Process: joined})
					running[name] = append(running[name], joined)
				}
			},
			Remove: func(name string) {
				for _, p := range running[name] {
					p.End()
				}
				delete(running, name) // the files stay: they are stale
			},
			Target: func(name string) nf.Target {
				return nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeDocker, ID: runtimestest.ID(name), Name: name}
			},
		}
	},
	nf.RuntimeIncus: func(t *testing.T, cfg *Config) hosttest.Stage {
		return monitored(t, nf.RuntimeIncus, runtimestest.LXC{T: t, Dir: "/var/lib/incus/containers", Netns: cfg.NodeNetns})
	},
	nf.RuntimeLXC: func(t *testing.T, cfg *Config) hosttest.Stage {
		return monitored(t, nf.RuntimeLXC, runtimestest.LXC{T: t, Dir: "/var/lib/lxc", Netns: cfg.NodeNetns})
	},
	nf.RuntimeNspawn: func(t *testing.T, cfg *Config) hosttest.Stage {
		cfg.FS.Proc = runtimestest.Procfs(t)
		nspawn, running := runtimestest.Nspawn{T: t, Root: cfg.FS.Root, Proc: cfg.FS.Proc}, map[string][]*runtimestest.Process{}
		return hosttest.Stage{
			Add: func(name string, aliases ...string) {
				first := runtimestest.Start(t)
				nspawn.Run(name, first)
				running[name] = append(running[name], first)
				for _, alias := range aliases {
					joined := runtimestest.StartIn(t, first)
					nspawn.Run(alias, joined)
					running[name] = append(running[name], joined)
				}
			},
			Remove: func(name string) {
				for _, p := range running[name] {
					p.End()
				}
				delete(running, name) // the files stay: they are stale
			},
			Target: named(nf.RuntimeNspawn),
		}
	},
	nf.RuntimePodman: func(t *testing.T, cfg *Config) hosttest.Stage {
		podman, running := runtimestest.Podman{T: t, Root: cfg.FS.Root}, map[string][]*runtimestest.Process{}
		return hosttest.Stage{
			Add: func(name string, aliases ...string) {
				first := runtimestest.Start(t)
				podman.Run(runtimestest.PodmanContainer{Name: name, Process: first})
				running[name] = append(running[name], first)
				for _, alias := range aliases {
					joined := runtimestest.StartIn(t, first)
					podman.Run(runtimestest.PodmanContainer{Name: alias, Joined: true, Process: joined})
					running[name] = append(running[name], joined)
				}
			},
			Remove: func(name string) {
				for _, p := range running[name] {
					p.End()
				}
				delete(running, name) // the files stay: they are stale
			},
			Target: func(name string) nf.Target {
				return nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimePodman, ID: runtimestest.ID(name), Name: name}
			},
		}
	},
}

// monitored is the stage of LXC or Incus.
func monitored(t *testing.T, runtime string, lxc runtimestest.LXC) hosttest.Stage {
	running := map[string][]runtimestest.Monitored{}
	return hosttest.Stage{
		Add: func(name string, aliases ...string) {
			first := lxc.Run(name, nil)
			running[name] = append(running[name], first)
			for _, alias := range aliases {
				running[name] = append(running[name], lxc.Run(alias, first.Process))
			}
		},
		Remove: func(name string) {
			for _, c := range running[name] {
				c.End()
			}
			delete(running, name)
		},
		Target: named(runtime),
	}
}

// named returns the targets of a runtime whose containers have their name as id.
func named(runtime string) func(name string) nf.Target {
	return func(name string) nf.Target {
		return nf.Target{Kind: nf.TargetContainer, Runtime: runtime, ID: name, Name: name}
	}
}

// The real machine passes the suite with the containers of each runtime.
func TestConformanceOfRuntimes(t *testing.T) {
	for runtime, stage := range stages {
		for name, open := range map[string]func() *Cache{"closed": func() *Cache { return nil }, "open": NewCache} {
			t.Run(runtime+"/"+name, func(t *testing.T) {
				hosttest.Run(t, func(t *testing.T) hosttest.Stage {
					files := open()
					t.Cleanup(files.Close)
					fs := realFS
					fs.Root = t.TempDir()
					cfg := Config{FS: fs, NetnsDir: t.TempDir(), NodeNetns: addNamespace(t, t.TempDir(), "node"), Cache: files}
					st := stage(t, &cfg)
					st.Machine = New(cfg)
					return st
				})
			})
		}
	}
}

// A namespace of Podman is listed once: as its container, not as a named namespace too. Files with the names
// that runtimes give are left out while these may still be making the container.
func TestNamespacesOfPodman(t *testing.T) {
	fs := realFS
	fs.Root = t.TempDir()
	dir := t.TempDir()
	const theirs, cni, young = "netns-7841c38f-b61f-3093-1646-be815425f94a", "cni-0d804183-24d0-3837-660d-f3b2583a883d", "8706dc19-78e9-533f-3225-0d62ef032ecf"
	first := runtimestest.Start(t)
	mountNamespace(t, first.Path(), filepath.Join(dir, theirs))
	podman := runtimestest.Podman{T: t, Root: fs.Root}
	podman.Run(runtimestest.PodmanContainer{Name: "web", Process: first})
	for _, name := range []string{cni, young, "cni-blue", "netns-blue"} {
		addNamespace(t, dir, name)
	}
	m := New(Config{FS: fs, NetnsDir: dir, NodeNetns: addNamespace(t, t.TempDir(), "node")})
	began := time.Now()
	s, err := m.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range s.Containers {
		if time.Since(began) < time.Second || c.ID != cni && c.ID != young {
			got = append(got, c.Runtime+" "+c.Name)
		}
	}
	if want := []string{"netns cni-blue", "netns netns-blue", "podman web"}; !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	born := []nf.Container{{Runtime: nf.RuntimeNetns, ID: theirs}}
	if _, ok, err := m.ListBorn(t.Context(), born); ok || err != nil {
		t.Errorf("a namespace of Podman was listed alone: %v, %v", ok, err)
	}
	only := New(Config{FS: fs, NetnsDir: dir, NodeNetns: addNamespace(t, t.TempDir(), "node"), Runtimes: []string{nf.RuntimeNetns}})
	if s, ok, err := only.ListBorn(t.Context(), born); !ok || err != nil || len(s.Containers) != 1 {
		t.Errorf("without Podman: %v, %v, %+v", ok, err, s.Containers)
	}
}

// mountNamespace mounts a network namespace on a new file.
func mountNamespace(t *testing.T, namespace, file string) {
	t.Helper()
	err := os.WriteFile(file, nil, 0o600)
	if err == nil {
		err = unix.Mount(namespace, file, "", unix.MS_BIND, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(file, unix.MNT_DETACH) })
}
