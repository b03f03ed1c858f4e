package host

import (
	"testing"

	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/runtimes/runtimestest"
)

// stages make the stage of a runtime: its state below a root, of real processes in namespaces of their
// own.
var stages = map[string]func(t *testing.T, root string) hosttest.Stage{
	nf.RuntimeCRI: func(t *testing.T, root string) hosttest.Stage {
		cri, running := runtimestest.CRI{T: t, Root: root}, map[string]*runtimestest.Process{}
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
	nf.RuntimeDocker: func(t *testing.T, root string) hosttest.Stage {
		docker, running := runtimestest.Docker{T: t, Root: root}, map[string][]*runtimestest.Process{}
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
}

// The real machine passes the suite with the containers of each runtime.
func TestConformanceOfRuntimes(t *testing.T) {
	for runtime, stage := range stages {
		for name, open := range map[string]func() *Cache{"closed": func() *Cache { return nil }, "open": NewCache} {
			t.Run(runtime+"/"+name, func(t *testing.T) {
				hosttest.Run(t, func(t *testing.T) hosttest.Stage {
					fs, files := realFS, open()
					fs.Root = t.TempDir()
					t.Cleanup(files.Close)
					st := stage(t, fs.Root)
					st.Machine = New(Config{FS: fs, NetnsDir: t.TempDir(), NodeNetns: addNamespace(t, t.TempDir(), "node"), Cache: files})
					return st
				})
			})
		}
	}
}
