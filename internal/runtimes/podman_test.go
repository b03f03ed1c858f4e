package runtimes_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/runtimes"
	"nfsync.dev/nfsync/internal/runtimes/runtimestest"
)

// The files are those of podman 4.3.1 with runc 1.1.5: see testdata/README.md.
func TestRecordedPodman(t *testing.T) {
	pweb, infra := runtimestest.Start(t), runtimestest.Start(t)
	root := runtimestest.Replay(t, "podman", map[int]*runtimestest.Process{
		813: pweb, 845: runtimestest.Start(t), 876: runtimestest.StartIn(t, pweb), 908: runtimestest.StartHere(t), 960: runtimestest.Start(t),
		1025: runtimestest.Start(t), 1117: infra, 1139: runtimestest.StartIn(t, infra), 1170: runtimestest.StartIn(t, infra),
	})
	l := list(t, node(t, root))
	want(t, l, []string{"pdark", "ppaus", "prm", "pweb=pside", "shop=5215f1562acc-infra=shop-a=shop-b"},
		"node-namespace: podman: in the node's own network namespace, and so no containers here: phost")
	if i := named(t, l, "shop"); !strings.HasPrefix(l.Containers[i].ID, "1b78f2d3c9a2") {
		t.Errorf("the id of a pod is %s, not that of its infra container", l.Containers[i].ID)
	}
}

// The files are those of podman 5.4.2 with crun 1.21: see testdata/NOTES-trixie.md.
func TestRecordedPodman5(t *testing.T) {
	web, infra := runtimestest.Start(t), runtimestest.Start(t)
	root := runtimestest.Replay(t, "trixie/podman", map[int]*runtimestest.Process{
		1296: web, 1310: runtimestest.Start(t), 1326: runtimestest.StartHere(t), 1349: runtimestest.Start(t), 1364: runtimestest.StartIn(t, web),
		1396: infra, 1401: runtimestest.StartIn(t, infra), 1415: runtimestest.StartIn(t, infra),
	})
	want(t, list(t, node(t, root)), []string{"none", "shop=62ff036d9bff-infra=cart=pay", "tmp", "web=side"},
		"node-namespace: podman: in the node's own network namespace, and so no containers here: hostnet")
}

func named(t *testing.T, l runtimes.Listing, name string) int {
	t.Helper()
	i := slices.IndexFunc(l.Containers, func(c nf.Container) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no container %s: %q", name, texts(l.Containers))
	}
	return i
}

// State that a crash has left names processes that have ended, or other ones with their numbers.
func TestStalePodman(t *testing.T) {
	want(t, list(t, node(t, runtimestest.Replay(t, "podman", nil))), []string{})
	want(t, list(t, node(t, runtimestest.Replay(t, "trixie/podman", nil))), []string{})
	p := runtimestest.Podman{T: t, Root: t.TempDir()}
	reused := *runtimestest.Start(t)
	reused.Start++
	p.Run(runtimestest.PodmanContainer{Name: "reused", Process: &reused})
	want(t, list(t, node(t, p.Root)), []string{})
}

// A container that has joined the namespace of another is a container itself once that has another one.
func TestJoinedPodman(t *testing.T) {
	p := runtimestest.Podman{T: t, Root: t.TempDir()}
	// The one that has joined is the older process: podman restart keeps the namespace of a pod.
	web := runtimestest.Start(t)
	side := runtimestest.StartIn(t, web)
	p.Run(runtimestest.PodmanContainer{Name: "side", Joined: true, Process: web})
	p.Run(runtimestest.PodmanContainer{Name: "web", Process: side})
	want(t, list(t, node(t, p.Root)), []string{"web=side"})
	p.Run(runtimestest.PodmanContainer{Name: "web", Process: runtimestest.Start(t)})
	want(t, list(t, node(t, p.Root)), []string{"side", "web"})
}

// The container of a pod is known by its name and its cgroup, or because another says so.
func TestPodmanPods(t *testing.T) {
	const pod = "62ff036d9bffa629a13e89b6c17e2c266b8517dd5fb16717746bf9018765e7d7"
	systemd, cgroupfs := "machine-libpod_pod_"+pod+".slice:libpod:x", "/libpod_parent/"+pod+"/libpod-x"
	infra := runtimestest.PodmanContainer{Name: pod[:12] + "-infra", Hostname: "shop", Cgroup: systemd}
	of := func(change func(*runtimestest.PodmanContainer)) runtimestest.PodmanContainer {
		c := infra
		change(&c)
		return c
	}
	for name, test := range map[string]struct {
		infra  runtimestest.PodmanContainer
		member string // its name; empty: there is none
		want   string
	}{
		"systemd":          {infra, "", "shop=62ff036d9bff-infra"},
		"cgroupfs":         {of(func(c *runtimestest.PodmanContainer) { c.Cgroup = cgroupfs }), "", "shop=62ff036d9bff-infra"},
		"--infra-name":     {of(func(c *runtimestest.PodmanContainer) { c.Name = "holder" }), "cart", "shop=cart=holder"},
		"no member yet":    {of(func(c *runtimestest.PodmanContainer) { c.Name = "holder" }), "", "holder"},
		"--share-parent":   {of(func(c *runtimestest.PodmanContainer) { c.Cgroup = "machine.slice:libpod:x" }), "cart", "shop=62ff036d9bff-infra=cart"},
		"no pod":           {of(func(c *runtimestest.PodmanContainer) { c.Cgroup = "machine.slice:libpod:x" }), "", "62ff036d9bff-infra"},
		"another pod":      {of(func(c *runtimestest.PodmanContainer) { c.Name = "52ff036d9bff-infra" }), "", "52ff036d9bff-infra"},
		"--infra=false":    {of(func(c *runtimestest.PodmanContainer) { c.Name = "cart" }), "", "cart"},
		"an odd host name": {of(func(c *runtimestest.PodmanContainer) { c.Hostname = "a/b" }), "", "62ff036d9bff-infra"},
	} {
		t.Run(name, func(t *testing.T) {
			p := runtimestest.Podman{T: t, Root: t.TempDir()}
			member := runtimestest.Start(t) // older than what holds the namespace: infra was started again
			test.infra.Process = runtimestest.StartIn(t, member)
			id := p.Run(test.infra)
			if test.member != "" {
				p.Run(runtimestest.PodmanContainer{Name: test.member, Sandbox: id, Joined: true, Process: member})
			}
			l := list(t, node(t, p.Root))
			want(t, l, []string{test.want})
			if l.Containers[0].ID != id {
				t.Errorf("its id is %s, want %s", l.Containers[0].ID, id)
			}
		})
	}
}

// Where the storage is, or that a container has its name in memory only, makes no difference.
func TestPodmanStorage(t *testing.T) {
	for name, test := range map[string]struct {
		conf   string // storage.conf
		podman runtimestest.Podman
		c      runtimestest.PodmanContainer
		move   bool // the names are in memory
	}{
		"--rm":         {c: runtimestest.PodmanContainer{Volatile: true}},
		"transient":    {c: runtimestest.PodmanContainer{Volatile: true}, move: true},
		"--root":       {podman: runtimestest.Podman{Storage: "/srv/containers"}},
		"storage.conf": {podman: runtimestest.Podman{Storage: "/srv/containers"}, conf: "[storage]\n# graphroot = \"/x\"\ngraphroot = \"/srv/containers\"\n"},
		"runc's place": {podman: runtimestest.Podman{State: "runc"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := test.podman
			p.T, p.Root = t, t.TempDir()
			if test.conf != "" {
				must(t, os.MkdirAll(filepath.Join(p.Root, "etc/containers"), 0o755))
				must(t, os.WriteFile(filepath.Join(p.Root, "etc/containers/storage.conf"), []byte(test.conf), 0o644))
			}
			test.c.Name, test.c.Process = "web", runtimestest.Start(t)
			p.Run(test.c)
			if test.move {
				to := filepath.Join(p.Root, "run/containers/storage/overlay-containers")
				must(t, os.MkdirAll(to, 0o755))
				must(t, os.Rename(p.File("", "volatile-containers.json"), filepath.Join(to, "volatile-containers.json")))
			}
			want(t, list(t, node(t, p.Root)), []string{"web"})
		})
	}
}

// What podman rename writes is seen, although what was read is kept.
func TestPodmanRename(t *testing.T) {
	p := runtimestest.Podman{T: t, Root: t.TempDir()}
	c := runtimestest.PodmanContainer{Name: "web", ID: runtimestest.ID("web"), Process: runtimestest.Start(t)}
	p.Run(c)
	n := node(t, p.Root)
	n.Files = &runtimes.Files{}
	before := list(t, n)
	want(t, before, []string{"web"})
	c.Name = "api"
	p.Run(c)
	after := list(t, n)
	want(t, after, []string{"api"})
	if a, b := before.Containers[0], after.Containers[0]; a.ID != b.ID || a.Instance != b.Instance {
		t.Errorf("it was %s, %s, and is %s, %s", a.ID, a.Instance, b.ID, b.Instance)
	}
}

// Containers of other programs have state in the same places.
func TestNotPodmans(t *testing.T) {
	p := runtimestest.Podman{T: t, Root: t.TempDir()}
	p.Run(runtimestest.PodmanContainer{Name: "k8s_POD_web", Manager: "cri-o", Process: runtimestest.Start(t)})
	p.Run(runtimestest.PodmanContainer{Name: "by-hand", ID: "r1", Process: runtimestest.Start(t)})
	want(t, list(t, node(t, p.Root)), []string{})
	p.Root = t.TempDir()
	id := p.Run(runtimestest.PodmanContainer{Name: "bundle", Process: runtimestest.Start(t)})
	must(t, os.RemoveAll(filepath.Join(p.Root, "var")))
	state, err := os.ReadFile(p.StateFile(id))
	must(t, err)
	at := "/var/lib/containers/storage/overlay-containers/" + id + "/userdata"
	must(t, os.WriteFile(p.StateFile(id), []byte(strings.Replace(string(state), at, "/srv/bundle", 1)), 0o600))
	want(t, list(t, node(t, p.Root)), []string{})
}

// Without a file that has the name, the arguments of conmon have it.
func TestPodmanConmon(t *testing.T) {
	p := runtimestest.Podman{T: t, Root: t.TempDir()}
	id := runtimestest.ID("web")
	for arguments, name := range map[string]string{id: "web", runtimestest.ID("other"): id[:12] + " unobservable: its name is not known"} {
		p.Run(runtimestest.PodmanContainer{Name: "web", ID: id, Process: runtimestest.StartConmon(t, arguments, "web")})
		must(t, os.Remove(p.File("", "containers.json")))
		want(t, list(t, node(t, p.Root)), []string{name})
	}
	// The process of another user is nobody's conmon.
	n := node(t, p.Root)
	p.Run(runtimestest.PodmanContainer{Name: "web", ID: id, Process: runtimestest.StartConmonOf(t, 1000, id, "web")})
	must(t, os.Remove(p.File("", "containers.json")))
	want(t, list(t, n), []string{id[:12] + " unobservable: its name is not known"})
}

// A container whose cgroup is frozen is paused (cgroup-v2.rst, cgroup-v1/freezer-subsystem.rst).
func TestPodmanPause(t *testing.T) {
	const cgroup = "4:freezer:/old/web\n0::/new/web\n"
	for name, file := range map[string]struct{ at, text, state string }{
		"version 2":        {"new/web/cgroup.events", "populated 1\nfrozen 1\n", nf.StatePaused},
		"version 2 beside": {"unified/new/web/cgroup.events", "populated 1\nfrozen 1\n", nf.StatePaused},
		"thawed":           {"new/web/cgroup.events", "populated 1\nfrozen 0\n", nf.StateRunning},
		"version 1":        {"freezer/old/web/freezer.state", "FROZEN\n", nf.StatePaused},
		"version 1 thawed": {"freezer/old/web/freezer.state", "THAWED\n", nf.StateRunning},
		"another cgroup":   {"new/cgroup.events", "populated 1\nfrozen 1\n", nf.StateRunning},
	} {
		t.Run(name, func(t *testing.T) {
			p := runtimestest.Podman{T: t, Root: t.TempDir()}
			web := runtimestest.Start(t)
			p.Run(runtimestest.PodmanContainer{Name: "web", Process: web})
			n := node(t, p.Root)
			n.Proc = runtimestest.Procfs(t)
			runtimestest.AddProcess(t, n.Proc, web, cgroup)
			path := filepath.Join(p.Root, "sys/fs/cgroup", file.at)
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, []byte(file.text), 0o644))
			if got := list(t, n).Containers[0].State; got != file.state {
				t.Errorf("it is %s, want %s", got, file.state)
			}
		})
	}
}

// No file of a container holds up the others.
func TestBadPodmanFiles(t *testing.T) {
	put := func(text string) func(*testing.T, string) {
		return func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte(text), 0o600)) }
	}
	id := runtimestest.ID("bad")
	unnamed := []string{id[:12] + " unobservable: its name is not known"}
	for name, test := range map[string]struct {
		file string // status, or a file of the storage
		make func(t *testing.T, path string)
		want []string // each by its start
	}{
		"empty state":    {"status", put(""), []string{"bad unobservable: "}},
		"cut state":      {"status", put(`{"pid":12,`), []string{"bad unobservable: "}},
		"no process":     {"status", put(`{"pid":0,"process-start-time":7}`), []string{"bad unobservable: "}},
		"no start":       {"status", put(`{"pid":1,"process-start-time":0}`), []string{"bad unobservable: "}},
		"no state":       {"status", func(*testing.T, string) {}, nil},
		"a pipe":         {"status", func(t *testing.T, path string) { must(t, unix.Mkfifo(path, 0o600)) }, []string{"bad unobservable: "}},
		"a link":         {"status", func(t *testing.T, path string) { must(t, os.Symlink("/etc/passwd", path)) }, []string{"bad unobservable: "}},
		"no name":        {"containers.json", put(`[]`), unnamed},
		"no names":       {"containers.json", func(*testing.T, string) {}, unnamed},
		"garbage names":  {"containers.json", put(`{`), unnamed},
		"null":           {"containers.json", put(`null`), unnamed},
		"an odd name":    {"containers.json", put(`[{"id":"` + id + `","names":["alice/web"]}]`), []string{id[:12] + " unobservable: its name has characters that Podman does not allow"}},
		"a long name":    {"containers.json", put(`[{"id":"` + id + `","names":["` + strings.Repeat("x", 600) + `"]}]`), []string{id[:12] + " unobservable: its name is longer"}},
		"no config":      {"config.json", func(*testing.T, string) {}, []string{"bad"}},
		"garbage config": {"config.json", put(`[`), []string{"bad"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := runtimestest.Podman{T: t, Root: t.TempDir()}
			good := runtimestest.Podman{T: t, Root: p.Root, Storage: "/srv/containers"}
			good.Run(runtimestest.PodmanContainer{Name: "good", Process: runtimestest.Start(t)})
			p.Run(runtimestest.PodmanContainer{Name: "bad", Process: runtimestest.Start(t)})
			path := p.StateFile(id)
			switch test.file {
			case "containers.json":
				path = p.File("", test.file)
			case "config.json":
				path = p.File(id, test.file)
			}
			must(t, os.Remove(path))
			test.make(t, path)
			got := texts(list(t, node(t, p.Root)).Containers)
			if !slices.Contains(got, "good") {
				t.Errorf("the good one is not listed: %q", got)
			}
			got = slices.DeleteFunc(got, func(line string) bool { return line == "good" })
			if !slices.EqualFunc(got, test.want, strings.HasPrefix) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// Before crun writes its state, the process is found by its cgroup. Until that process has left the
// node's namespace, there is no container.
func TestPodmanBirth(t *testing.T) {
	const pod = "62ff036d9bffa629a13e89b6c17e2c266b8517dd5fb16717746bf9018765e7d7"
	id := runtimestest.ID("web")
	for path, at := range map[string]string{ // cgroupsPath
		"machine.slice:libpod:" + id:                        "machine.slice/libpod-" + id + ".scope/container",
		"machine-libpod_pod_" + pod + ".slice:libpod:" + id: "machine.slice/machine-libpod_pod_" + pod + ".slice/libpod-" + id + ".scope",
		"/libpod_parent/libpod-" + id:                       "libpod_parent/libpod-" + id,
		"/libpod_parent/" + pod + "/libpod-" + id:           "unified/libpod_parent/" + pod + "/libpod-" + id + "/container",
		"user.slice:libpod:" + id:                           "systemd/user.slice/libpod-" + id + ".scope",
	} {
		p := runtimestest.Podman{T: t, Root: t.TempDir()}
		web, crun := runtimestest.Start(t), runtimestest.StartHere(t)
		p.Run(runtimestest.PodmanContainer{Name: "web", Cgroup: path, Process: web})
		must(t, os.Remove(p.StateFile(id)))
		n := node(t, p.Root)
		dir := filepath.Join(p.Root, "sys/fs/cgroup", at)
		must(t, os.MkdirAll(dir, 0o755))
		births := []string{filepath.Join(p.Root, "run/crun", id), filepath.Join(p.Root, "sys/fs/cgroup/systemd/machine.slice/libpod-conmon-"+id+".scope"),
			filepath.Join(p.Root, "sys/fs/cgroup/systemd/libpod_parent/libpod-"+id)}
		for _, dir := range births {
			must(t, os.MkdirAll(dir, 0o755))
		}
		for pids, want := range map[string]string{
			"": "", fmt.Sprintln(crun.PID): "", fmt.Sprintf("%d\n%d\n", crun.PID, web.PID): "web",
		} {
			must(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(pids), 0o644))
			for _, path := range births {
				c, ok, mine := n.Born(nf.RuntimePodman, filepath.Base(path))
				if !mine || ok != (want != "") || c.Name != want || ok && c.ID != id {
					t.Errorf("%s: processes %q: %v, %v, %+v, want %q", at, pids, ok, mine, c, want)
				}
			}
			for _, entry := range []string{"docker-" + id + ".scope", id[1:], "x" + id, "crio-" + id, ""} {
				if c, ok, mine := n.Born(nf.RuntimePodman, entry); ok || mine {
					t.Errorf("entry %q: %v, %v, %+v", entry, ok, mine, c)
				}
			}
		}
		// The same name elsewhere is not that of Podman.
		must(t, os.RemoveAll(dir))
		forged := filepath.Join(p.Root, "sys/fs/cgroup/user.slice/user-1000.slice/libpod-"+id+".scope")
		must(t, os.MkdirAll(forged, 0o755))
		must(t, os.WriteFile(filepath.Join(forged, "cgroup.procs"), fmt.Appendln(nil, web.PID), 0o644))
		if c, ok, mine := n.Born(nf.RuntimePodman, id); ok || !mine {
			t.Errorf("a forged cgroup: %v, %v, %+v", ok, mine, c)
		}
	}
}

// Once crun has written its state, that names the process. What has gone, or is another program's, is nothing to wait for.
func TestPodmanBirthByState(t *testing.T) {
	p := runtimestest.Podman{T: t, Root: t.TempDir(), Storage: "/srv/containers"}
	id := p.Run(runtimestest.PodmanContainer{Name: "web", Process: runtimestest.Start(t)})
	joined := p.Run(runtimestest.PodmanContainer{Name: "side", Joined: true, Process: runtimestest.Start(t)})
	n := node(t, p.Root)
	l := list(t, n)
	if c, ok, _ := n.Born(nf.RuntimePodman, id); !ok || c.Name != "web" || c.Instance != l.Containers[named(t, l, "web")].Instance {
		t.Errorf("born: %v, %+v", ok, c)
	}
	if c, ok, _ := n.Born(nf.RuntimePodman, joined); !ok || c.Name != "side" {
		t.Errorf("joined: %+v", c)
	}
	other := p.Run(runtimestest.PodmanContainer{Name: "k8s_POD_web", Manager: "cri-o", Process: runtimestest.Start(t)})
	for _, entry := range []string{other, "libpod-" + other + ".scope", runtimestest.ID("none"), "libpod-" + id + ".scope"} {
		if c, ok, mine := n.Born(nf.RuntimePodman, entry); ok || mine {
			t.Errorf("%s is of no container of Podman that is being made: %v, %v, %+v", entry, ok, mine, c)
		}
	}
	must(t, os.MkdirAll(filepath.Join(p.Root, "sys/fs/cgroup/memory"), 0o755)) // version 1
	var births []string
	for _, d := range n.Dirs([]string{nf.RuntimePodman}) {
		if len(d.Births) > 0 {
			births = append(births, strings.TrimPrefix(d.Path, p.Root+"/"))
		}
	}
	if expected := []string{"run/crun", "run/runc", "sys/fs/cgroup/systemd/libpod_parent", "sys/fs/cgroup/systemd/machine.slice"}; !slices.Equal(births, expected) {
		t.Errorf("births are in %q, want %q", births, expected)
	}
}
