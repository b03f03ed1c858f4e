package runtimes_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/runtimes"
	"nfsync.dev/nfsync/internal/runtimes/runtimestest"
)

const (
	uid    = "7c3e2f1a-5b6d-4c8e-9f01-23456789abcd"
	netnsA = "/var/run/netns/cni-8c07ef7f-5c5d-d80b-93d0-c0225147de7d"
)

// short shortens the aliases that are ids.
func short(l runtimes.Listing) runtimes.Listing {
	for i := range l.Containers {
		for j, alias := range l.Containers[i].Aliases {
			l.Containers[i].Aliases[j] = alias[:min(len(alias), 12)]
		}
	}
	return l
}

// The files are those of containerd 1.6.20 and 1.7.24: see the notes in testdata.
func TestRecordedPods(t *testing.T) {
	for tree, test := range map[string]struct {
		sandbox, app, side, host, hostApp int // the recorded processes
		pod, id, onNode                   string
	}{
		"cri":        {3588, 3622, 3654, 3694, 3726, "default/web-0=23d8066ac7c6", "", "kube-system/kube-proxy-x1"},
		"trixie/cri": {5109, 5145, 5177, 5278, 5312, "shop/web-0=10a2cde48f61", uid, "kube-system/kube-proxy-x7k2p"},
	} {
		t.Run(tree, func(t *testing.T) {
			web := runtimestest.Start(t)
			n := node(t, runtimestest.Replay(t, tree, map[int]*runtimestest.Process{
				test.sandbox: web, test.app: runtimestest.StartIn(t, web), test.side: runtimestest.StartIn(t, web),
				test.host: runtimestest.StartHere(t), test.hostApp: runtimestest.StartHere(t),
			}))
			onNode := "node-namespace: cri: in the node's own network namespace, and so no containers here: " + test.onNode
			for _, n.Files = range []*runtimes.Files{nil, {}, n.Files} {
				l := short(list(t, n))
				want(t, l, []string{test.pod}, onNode)
				if test.id != "" && l.Containers[0].ID != test.id {
					t.Errorf("id %s, want %s", l.Containers[0].ID, test.id)
				}
			}
			// containerd and its shims were killed with the pods: the state is stale.
			want(t, list(t, node(t, runtimestest.Replay(t, tree, nil))), []string{})
		})
	}
}

// A pod of Podman is none of Kubernetes, whatever its annotations.
func TestPodmanIsNoCRI(t *testing.T) {
	for tree, pid := range map[string]int{"podman": 813, "trixie/podman": 1396} {
		root := runtimestest.Replay(t, tree, map[int]*runtimestest.Process{pid: runtimestest.Start(t)})
		configs, err := filepath.Glob(filepath.Join(root, "var/lib/containers/storage/*-containers/*/userdata/config.json"))
		if must(t, err); len(configs) == 0 {
			t.Fatalf("%s has no configuration", tree)
		}
		for _, config := range configs {
			id := filepath.Base(filepath.Dir(filepath.Dir(config)))
			if c, found, mine := node(t, root).Born(nf.RuntimeCRI, id); found || mine {
				t.Errorf("%s: %+v", tree, c)
			}
		}
		l, err := node(t, root).List(t.Context(), []string{nf.RuntimeCRI}, nil)
		if must(t, err); len(l.Containers) != 0 {
			t.Errorf("%s: %+v", tree, l.Containers)
		}
	}
}

// Distributions of Kubernetes give containerd a state directory of their own.
func TestStateDirectoriesOfContainerd(t *testing.T) {
	for _, state := range []string{"run/containerd", "run/k3s/containerd", "run/k0s/containerd", "var/snap/microk8s/common/run/containerd"} {
		c := runtimestest.CRI{T: t, Root: t.TempDir(), State: state}
		c.Sandbox("aa", runtimestest.Pod{Namespace: "shop", Name: "web", UID: uid, Process: runtimestest.Start(t)})
		want(t, list(t, node(t, c.Root)), []string{"shop/web=aa"})
	}
}

// Which namespace is that of a pod, and which id it has.
func TestPodNamespaces(t *testing.T) {
	ended := *runtimestest.Start(t)
	ended.End()
	reused := *runtimestest.Start(t)
	reused.Start++
	pod := func(p *runtimestest.Process, network string) runtimestest.Pod {
		return runtimestest.Pod{Namespace: "shop", Name: "web", UID: uid, Process: p, Network: network}
	}
	nameless := func(p runtimestest.Pod) runtimestest.Pod {
		p.Name = ""
		return p
	}
	for name, test := range map[string]struct {
		make func(c runtimestest.CRI, a, b *runtimestest.Process)
		want string // the pods: their ids, names, aliases and namespaces
	}{
		"a sandbox": {func(c runtimestest.CRI, a, _ *runtimestest.Process) {
			c.Sandbox("s1", pod(a, ""))
		}, uid + " shop/web=s1 a"},
		"a sandbox without a uid, as containerd 1.5 has it": {func(c runtimestest.CRI, a, _ *runtimestest.Process) {
			c.Sandbox("s1", runtimestest.Pod{Namespace: "shop", Name: "web", Process: a})
		}, runtimestest.ID("web")[:32] + " shop/web=s1 a"},
		"neither a uid nor a name": {func(c runtimestest.CRI, a, _ *runtimestest.Process) {
			c.Sandbox("s1", runtimestest.Pod{Process: a})
		}, "s1 s1 a unobservable: its name is not known"},
		"a sandbox that has ended": {func(c runtimestest.CRI, _, _ *runtimestest.Process) {
			c.Sandbox("s1", pod(&ended, netnsA))
		}, ""},
		"a process that is another one": {func(c runtimestest.CRI, _, _ *runtimestest.Process) {
			c.Sandbox("s1", pod(&reused, ""))
		}, ""},
		"a sandbox of which only its namespace is left": {func(c runtimestest.CRI, a, _ *runtimestest.Process) {
			c.Sandbox("s1", pod(&ended, netnsA))
			c.Mount("run/netns/"+filepath.Base(netnsA), a)
		}, uid + " shop/web=s1 a"},
		"a path with the number of a process": {func(c runtimestest.CRI, _, b *runtimestest.Process) {
			c.Sandbox("s1", pod(nil, b.Path()))
			c.Mount(b.Path(), b)
		}, ""},
		"a path through a process": {func(c runtimestest.CRI, _, b *runtimestest.Process) {
			const path = "/proc/77/root/run/netns/x"
			c.Sandbox("s1", pod(nil, path))
			c.Mount(path, b)
		}, ""},
		"a path that leads elsewhere": {func(c runtimestest.CRI, _, b *runtimestest.Process) {
			c.Sandbox("s1", pod(nil, "/run/netns/../../etc/x"))
			c.Mount("etc/x", b)
		}, ""},
		"a file that is no namespace": {func(c runtimestest.CRI, _, _ *runtimestest.Process) {
			c.Sandbox("s1", pod(nil, netnsA))
			must(t, os.MkdirAll(filepath.Join(c.Root, "run/netns"), 0o755))
			must(t, os.WriteFile(filepath.Join(c.Root, "run/netns", filepath.Base(netnsA)), nil, 0o444))
		}, ""},
		"containers whose sandbox was killed": {func(c runtimestest.CRI, a, _ *runtimestest.Process) {
			c.Container("c1", "s1", pod(a, "/proc/1/ns/net"))
			c.Container("c2", "s1", pod(&ended, ""))
		}, uid + " shop/web=s1 a"},
		"containers, and another process with the number of the sandbox": {func(c runtimestest.CRI, a, _ *runtimestest.Process) {
			c.Sandbox("s1", pod(&reused, ""))
			c.Container("c1", "s1", pod(a, ""))
		}, uid + " shop/web=s1 a"},
		"these, and the new sandbox of the pod": {func(c runtimestest.CRI, a, b *runtimestest.Process) {
			c.Container("c1", "s1", pod(a, ""))
			c.Sandbox("s2", pod(b, ""))
			older(t, filepath.Join(c.Task("c1"), "config.json"))
		}, uid + " shop/web=s2 b, s1 shop/web a"},
		"the old sandbox that ends, and the new one": {func(c runtimestest.CRI, a, b *runtimestest.Process) {
			c.Sandbox("s2", pod(a, ""))
			c.Sandbox("s1", pod(b, ""))
			older(t, filepath.Join(c.Task("s2"), "config.json"))
		}, uid + " shop/web=s1 b, s2 shop/web a"},
		"the old sandbox that has ended, and the new one": {func(c runtimestest.CRI, a, _ *runtimestest.Process) {
			c.Sandbox("s1", pod(&ended, ""))
			c.Sandbox("s2", pod(a, ""))
		}, uid + " shop/web=s2 a"},
		"a container that is not of Kubernetes": {func(c runtimestest.CRI, a, _ *runtimestest.Process) {
			c.Sandbox("s1", pod(a, ""))
			must(t, os.WriteFile(filepath.Join(c.Task("s1"), "config.json"), []byte(`{"annotations":{"a":"b"}}`), 0o600))
		}, ""},
		"a slash in the name": {func(c runtimestest.CRI, a, _ *runtimestest.Process) {
			p := pod(a, "")
			p.Name = "a/b"
			c.Sandbox("s1", p)
		}, uid + " " + uid + "=s1 a unobservable: the name of its pod has a slash"},
		"a container whose configuration is lost": {func(c runtimestest.CRI, a, _ *runtimestest.Process) {
			c.Sandbox("s1", pod(runtimestest.StartIn(t, a), ""))
			c.Container("0c", "s1", pod(a, "")) // it is the first, by its age and by its id
			must(t, os.WriteFile(filepath.Join(c.Task("0c"), "config.json"), []byte("{"), 0o600))
		}, uid + " shop/web=s1 a"},
		"CRI-O, with a process of the sandbox": {func(c runtimestest.CRI, a, _ *runtimestest.Process) {
			c.CRIO(runtimestest.CRIO{ID: "a1", Sandbox: "a1", Pod: pod(a, "")})
		}, uid + " shop/web=a1 a"},
		"CRI-O, with a file": {func(c runtimestest.CRI, a, _ *runtimestest.Process) {
			c.CRIO(runtimestest.CRIO{ID: "a1", Sandbox: "a1", Pod: pod(nil, netnsA)})
			c.Mount("run/netns/"+filepath.Base(netnsA), a)
		}, uid + " shop/web=a1 a"},
		"CRI-O, with a container": {func(c runtimestest.CRI, a, _ *runtimestest.Process) {
			c.CRIO(runtimestest.CRIO{ID: "a2", Sandbox: "a1", Pod: nameless(pod(a, ""))}, runtimestest.CRIO{ID: "a1", Sandbox: "a1", Pod: pod(nil, "")})
		}, uid + " shop/web=a1 a"},
		"CRI-O, with the annotations of another pod": {func(c runtimestest.CRI, a, _ *runtimestest.Process) {
			c.CRIO(runtimestest.CRIO{ID: "a1", Sandbox: "a1", Pod: pod(a, ""), Annotations: map[string]any{
				"io.kubernetes.cri-o.Namespace": "kube-system", "io.kubernetes.cri-o.KubeName": "coredns", "io.kubernetes.cri-o.SandboxID": "ff",
			}})
		}, uid + " shop/web=a1 a"},
		"CRI-O, stopped": {func(c runtimestest.CRI, _, _ *runtimestest.Process) {
			c.CRIO(runtimestest.CRIO{ID: "a1", Sandbox: "a1", Pod: pod(&ended, netnsA)}, runtimestest.CRIO{ID: "a2", Sandbox: "a1", Pod: pod(nil, "")})
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := runtimestest.CRI{T: t, Root: t.TempDir()}
			a, b := runtimestest.Start(t), runtimestest.Start(t)
			test.make(c, a, b)
			n := node(t, c.Root)
			var got []string
			for _, pod := range list(t, n).Containers {
				ns, err := entered(t, n, pod)
				if pod.Unobservable == "" {
					must(t, errors.Join(err, n.Check(&pod)))
				}
				for name, p := range map[string]*runtimestest.Process{"a": a, "b": b} {
					if of, err := netns.Identify(p.Path()); err != nil || of == ns {
						got = append(got, pod.ID+" "+texts([]nf.Container{withNamespace(pod, name)})[0])
					}
				}
			}
			if strings.Join(got, ", ") != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// withNamespace puts the name of a namespace behind the names of a container.
func withNamespace(c nf.Container, name string) nf.Container {
	if len(c.Aliases) == 0 {
		c.Name += " " + name
	} else {
		c.Aliases = append(c.Aliases[:len(c.Aliases)-1:len(c.Aliases)-1], c.Aliases[len(c.Aliases)-1]+" "+name)
	}
	return c
}

// older makes a file older than all that the test writes.
func older(t *testing.T, path string) {
	t.Helper()
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{{Sec: 1}, {Sec: 1}}, 0))
}

// No file of a pod holds up the others.
func TestBadPodFiles(t *testing.T) {
	for name, test := range map[string]struct {
		file string
		make func(path string) error
		want string // of the bad pod, after its name; empty: there is none
	}{
		"cut":      {"config.json", func(p string) error { return os.WriteFile(p, []byte(`{"annotations":{"io.kub`), 0o600) }, "unobservable: its name is not known"},
		"a list":   {"config.json", func(p string) error { return os.WriteFile(p, []byte(`[]`), 0o600) }, "unobservable: its name is not known"},
		"a number": {"config.json", func(p string) error { return os.WriteFile(p, []byte(`{"annotations":7}`), 0o600) }, "unobservable: its name is not known"},
		"a pipe":   {"config.json", func(p string) error { return unix.Mkfifo(p, 0o600) }, "unobservable: its name is not known"},
		"a link":   {"config.json", func(p string) error { return os.Symlink("/etc/passwd", p) }, "unobservable: its name is not known"},
		"a dir":    {"config.json", func(p string) error { return os.Mkdir(p, 0o700) }, "unobservable: its name is not known"},
		"huge":     {"config.json", func(p string) error { return os.WriteFile(p, make([]byte, 5<<20), 0o600) }, "unobservable: its name is not known"},
		"of others": {"config.json", func(p string) error {
			return errors.Join(os.WriteFile(p, []byte(`{}`), 0o600), os.Chown(p, 65534, 65534))
		}, "unobservable: its name is not known"},
		"missing":    {"config.json", func(string) error { return nil }, ""},
		"cut state":  {"state", func(p string) error { return os.WriteFile(p, []byte(`{"init_process_pid":1`), 0o600) }, "unobservable: "},
		"no state":   {"state", func(string) error { return nil }, ""},
		"state pipe": {"state", func(p string) error { return unix.Mkfifo(p, 0o600) }, "unobservable: "},
	} {
		t.Run(name, func(t *testing.T) {
			c := runtimestest.CRI{T: t, Root: t.TempDir()}
			c.Sandbox("bad", runtimestest.Pod{Namespace: "shop", Name: "bad", UID: "1", Process: runtimestest.Start(t)})
			c.Sandbox("good", runtimestest.Pod{Namespace: "shop", Name: "good", UID: "2", Process: runtimestest.Start(t)})
			path := filepath.Join(c.Task("bad"), test.file)
			if test.file == "state" {
				path = filepath.Join(c.Root, "run/containerd/runc/k8s.io/bad/state.json")
			}
			must(t, errors.Join(os.Remove(path), test.make(path)))
			got := texts(list(t, node(t, c.Root)).Containers)
			bad := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(got[0], "bad "), "shop/bad=bad "), "shop/good=good")
			if got[len(got)-1] != "shop/good=good" || test.want == "" != (len(got) == 1) || !strings.HasPrefix(bad, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
	c := runtimestest.CRI{T: t, Root: t.TempDir()}
	c.Sandbox("good", runtimestest.Pod{Namespace: "shop", Name: "good", UID: "2", Process: runtimestest.Start(t)})
	storage := filepath.Join(c.Root, "var/lib/containers/storage/overlay-containers")
	must(t, os.MkdirAll(storage, 0o755))
	for _, text := range []string{"{", `{"id":1}`, "[{"} {
		must(t, os.WriteFile(filepath.Join(storage, "containers.json"), []byte(text), 0o600))
		want(t, list(t, node(t, c.Root)), []string{"shop/good=good"}, "runtime-broken: cannot list all containers of cri: ")
	}
	must(t, os.WriteFile(filepath.Join(storage, "containers.json"), []byte(`[{"id":"../x","metadata":"{\"pod-id\":\"../x\"}"},{"id":"aa","metadata":"7"},{"id":"bb"}]`), 0o600))
	want(t, list(t, node(t, c.Root)), []string{"shop/good=good"})
}

// A pod is born when its sandbox has a network namespace: before its process runs.
func TestPodBirth(t *testing.T) {
	c := runtimestest.CRI{T: t, Root: t.TempDir()}
	n := node(t, c.Root)
	a := runtimestest.Start(t)
	pod := runtimestest.Pod{Namespace: "shop", Name: "web", UID: uid, Network: netnsA}
	var dirs []string
	for _, dir := range n.Dirs([]string{nf.RuntimeCRI}) {
		dirs = append(dirs, strings.TrimPrefix(dir.Path, c.Root))
		if !slices.Equal(dir.Births, []string{nf.RuntimeCRI}) || dir.BirthsOnly {
			t.Errorf("directory %+v", dir)
		}
	}
	const tasks = "/io.containerd.runtime.v2.task/k8s.io"
	if all := []string{"/run/containerd" + tasks, "/run/containers/storage/overlay-containers", "/run/k0s/containerd" + tasks,
		"/run/k3s/containerd" + tasks, "/var/snap/microk8s/common/run/containerd" + tasks}; !slices.Equal(dirs, all) {
		t.Errorf("directories %q, want %q", dirs, all)
	}
	const perhaps = "not yet" // it is waited for
	born := func(id, want string, file bool) {
		t.Helper()
		got := ""
		pod, found, mine := n.Born(nf.RuntimeCRI, id)
		if mine {
			got = perhaps
		}
		if found {
			got = texts([]nf.Container{pod})[0]
			ns, err := entered(t, n, pod)
			of, ofErr := netns.Identify(a.Path())
			if err != nil || ofErr != nil || ns != of || pod.ID != uid || pod.Entry.File != "" != file {
				t.Errorf("%s: born %+v in %v, %v, want %v", id, pod, ns, err, of)
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
	born("s1", "", false)
	must(t, os.MkdirAll(c.Task("s1"), 0o700))
	born("s1", perhaps, false) // its configuration is not written yet
	c.Sandbox("s1", pod)
	born("s1", perhaps, false) // its namespace is not mounted yet
	c.Mount("run/netns/"+filepath.Base(netnsA), a)
	born("s1", "shop/web=s1", true)
	pod.Process = a
	c.Sandbox("s1", pod)
	born("s1", "shop/web=s1", false)
	c.Container("c1", "s1", pod)
	born("c1", "", false)
	c.Remove("s1")
	born("s1", "", false)
	pod.Process = nil
	c.CRIO(runtimestest.CRIO{ID: "b1", Sandbox: "b1", Pod: pod}, runtimestest.CRIO{ID: "b3", Sandbox: "b1", Pod: pod})
	born("b1", "shop/web=b1", true)
	born("b2", "", false)
	born("b3", "", false)
	c.Sandbox("s2", runtimestest.Pod{Namespace: "shop", Name: "host", UID: uid})
	born("s2", perhaps, false) // runc makes its namespace
	config := filepath.Join(c.Task("s2"), "config.json")
	data, err := os.ReadFile(config)
	must(t, err)
	must(t, os.WriteFile(config, []byte(strings.Replace(string(data), `"type":"network"`, `"type":"uts"`, 1)), 0o600))
	born("s2", "", false) // its network is the node's
}

// The namespace of a pod is the one that was listed, or it is gone.
func TestPodFileChanges(t *testing.T) {
	c := runtimestest.CRI{T: t, Root: t.TempDir()}
	c.CRIO(runtimestest.CRIO{ID: "a1", Sandbox: "a1", Pod: runtimestest.Pod{Namespace: "shop", Name: "web", UID: uid, Network: netnsA}})
	file := "run/netns/" + filepath.Base(netnsA)
	c.Mount(file, runtimestest.Start(t))
	n := node(t, c.Root)
	pod := list(t, n).Containers[0]
	must(t, n.Check(&pod))
	must(t, unix.Unmount(filepath.Join(c.Root, file), unix.MNT_DETACH))
	c.Mount(file, runtimestest.Start(t))
	if err := n.Check(&pod); !errors.Is(err, nf.ErrGone) {
		t.Errorf("another namespace: %v", err)
	}
	must(t, unix.Unmount(filepath.Join(c.Root, file), unix.MNT_DETACH))
	must(t, os.Remove(filepath.Join(c.Root, file)))
	if err := n.Check(&pod); !errors.Is(err, nf.ErrGone) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
