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

// The files are those of docker 20.10.24 with runc 1.1.5: see testdata/README.md.
func TestRecordedDocker(t *testing.T) {
	web := runtimestest.Start(t)
	root := runtimestest.Replay(t, "docker", map[int]*runtimestest.Process{
		398: web, 464: runtimestest.Start(t), 528: runtimestest.StartIn(t, web), 585: runtimestest.StartHere(t), 633: runtimestest.Start(t),
	})
	want(t, list(t, node(t, root)), []string{"dark", "paus paused", "web=side app:web"},
		"node-namespace: docker: in the node's own network namespace, and so no containers here: hosty")
}

// State that a crash has left names processes that have ended, or other ones with their numbers.
func TestStaleDocker(t *testing.T) {
	root := runtimestest.Replay(t, "docker", nil)
	want(t, list(t, node(t, root)), []string{})
	d := runtimestest.Docker{T: t, Root: t.TempDir()}
	reused := *runtimestest.Start(t)
	reused.Start++
	d.Run(runtimestest.Container{Name: "reused", Process: &reused})
	want(t, list(t, node(t, d.Root)), []string{})
}

// dockerd keeps its containers where its configuration or a flag says, and by user namespace.
func TestDockerDataRoots(t *testing.T) {
	for name, test := range map[string]struct {
		daemon string // daemon.json
		docker runtimestest.Docker
	}{
		"daemon.json":        {`{"data-root": "/srv/docker"}`, runtimestest.Docker{DataRoot: "/srv/docker"}},
		"its former name":    {`{"graph": "/srv/docker"}`, runtimestest.Docker{DataRoot: "/srv/docker"}},
		"a flag":             {``, runtimestest.Docker{DataRoot: "/mnt/data"}},
		"snap":               {``, runtimestest.Docker{DataRoot: "/var/snap/docker/common/var-lib-docker"}},
		"an invalid file":    {`{"data-root": 1}`, runtimestest.Docker{}},
		"userns-remap":       {``, runtimestest.Docker{DataRoot: "/var/lib/docker/100000.100000", Namespace: "moby-100000.100000"}},
		"a flag, and userns": {``, runtimestest.Docker{DataRoot: "/mnt/data/100000.100000", Namespace: "moby-100000.100000"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := test.docker
			d.T, d.Root = t, t.TempDir()
			if test.daemon != "" {
				must(t, os.MkdirAll(filepath.Join(d.Root, "etc/docker"), 0o755))
				must(t, os.WriteFile(filepath.Join(d.Root, "etc/docker/daemon.json"), []byte(test.daemon), 0o644))
			}
			d.Run(runtimestest.Container{Name: "web", Process: runtimestest.Start(t)})
			want(t, list(t, node(t, d.Root)), []string{"web"})
		})
	}
}

// No file of a container holds up the others.
func TestBadDockerFiles(t *testing.T) {
	put := func(text string) func(*testing.T, string) {
		return func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte(text), 0o600)) }
	}
	const unnamed = "unobservable: its name is not known"
	for name, test := range map[string]struct {
		file string // state.json, or a file of dockerd
		make func(t *testing.T, path string)
		want string // after the name; empty: the container is left out
	}{
		"empty state":        {"state.json", put(""), "unobservable: "},
		"a list":             {"state.json", put("[1]"), "unobservable: "},
		"cut state":          {"state.json", put(`{"id":"x","init_process_pid":12`), "unobservable: "},
		"no process":         {"state.json", put(`{"init_process_pid":0,"init_process_start":7}`), "unobservable: "},
		"a negative process": {"state.json", put(`{"init_process_pid":-1,"init_process_start":7}`), "unobservable: "},
		"a text":             {"state.json", put(`{"init_process_pid":"12"}`), "unobservable: "},
		"no state":           {"state.json", func(*testing.T, string) {}, ""},
		"a pipe":             {"state.json", func(t *testing.T, path string) { must(t, unix.Mkfifo(path, 0o600)) }, "unobservable: "},
		"a link":             {"state.json", func(t *testing.T, path string) { must(t, os.Symlink("/etc/passwd", path)) }, "unobservable: "},
		"a directory":        {"state.json", func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) }, "unobservable: "},
		"of another user": {"state.json", func(t *testing.T, path string) {
			put("{}")(t, path)
			must(t, os.Chown(path, 65534, 65534))
		}, "unobservable: "},
		"huge": {"state.json", func(t *testing.T, path string) {
			put(`{"config":"`+strings.Repeat("x", 5<<20)+`"}`)(t, path)
		}, "unobservable: "},
		"no name":       {"config.v2.json", put(`{}`), unnamed},
		"an empty name": {"config.v2.json", put(`{"Name":"/"}`), unnamed},
		"a long name":   {"config.v2.json", put(`{"Name":"/` + strings.Repeat("x", 600) + `"}`), "unobservable: its name is longer"},
		"cut names":     {"config.v2.json", put(`{"Name":"/x`), unnamed},
		"no names":      {"config.v2.json", func(*testing.T, string) {}, unnamed},
	} {
		t.Run(name, func(t *testing.T) {
			d := runtimestest.Docker{T: t, Root: t.TempDir()}
			d.Run(runtimestest.Container{Name: "good", Process: runtimestest.Start(t)})
			id := d.Run(runtimestest.Container{Name: "bad", Process: runtimestest.Start(t)})
			path := d.File(id, test.file)
			if test.file == "state.json" {
				path = filepath.Join(d.StateDir(id), test.file)
			}
			must(t, os.Remove(path))
			test.make(t, path)
			got := texts(list(t, node(t, d.Root)).Containers)
			bad := ""
			for _, line := range got {
				if line != "good" {
					bad = line
				}
			}
			_, after, _ := strings.Cut(bad, " ")
			if !strings.Contains(strings.Join(got, "\n"), "good") || (test.want == "") != (bad == "") || !strings.HasPrefix(after, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// Other directories than those of containers are no containers.
func TestNotDockersContainers(t *testing.T) {
	d := runtimestest.Docker{T: t, Root: t.TempDir()}
	d.State("not-an-id", runtimestest.Start(t))
	d.Namespace = "other" // of containerd
	d.Run(runtimestest.Container{Name: "web", Process: runtimestest.Start(t)})
	want(t, list(t, node(t, d.Root)), []string{})
}

// Before runc writes its state, the process is found by its cgroup. Until that process has left the
// node's namespace, there is no container.
func TestDockerBirth(t *testing.T) {
	for _, cgroup := range []string{
		"sys/fs/cgroup/system.slice/docker-%.scope", // systemd, version 2
		"sys/fs/cgroup/docker/%",                    // cgroupfs, version 2
		"sys/fs/cgroup/unified/docker/%", "sys/fs/cgroup/systemd/system.slice/docker-%.scope", "sys/fs/cgroup/memory/docker/%",
	} {
		d := runtimestest.Docker{T: t, Root: t.TempDir()}
		id := d.Run(runtimestest.Container{Name: "web", Labels: map[string]string{"app": "web"}, Process: runtimestest.StartHere(t)})
		must(t, os.Remove(filepath.Join(d.StateDir(id), "state.json")))
		n := node(t, d.Root)
		born := func(pids string) []string {
			t.Helper()
			dir := filepath.Join(d.Root, strings.ReplaceAll(cgroup, "%", id))
			must(t, os.MkdirAll(dir, 0o755))
			must(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(pids), 0o644))
			c, ok, mine := n.Born(nf.RuntimeDocker, id)
			if !mine {
				t.Errorf("%s: processes %q: not a container", cgroup, pids)
			}
			if !ok {
				return nil
			}
			return texts([]nf.Container{c})
		}
		runc, web := runtimestest.StartHere(t), runtimestest.StartRunc(t)
		stage := runtimestest.StartNamed(t, "runc:[1:CHILD]") // it has made the namespace, and ends soon
		for pids, want := range map[string]string{
			"": "", "0\n": "", fmt.Sprintln(runc.PID): "", fmt.Sprintln(stage.PID): "",
			fmt.Sprintf("%d\n%d\n%d\n", runc.PID, stage.PID, web.PID): "web app:web",
		} {
			if got := strings.Join(born(pids), ""); got != want {
				t.Errorf("%s: processes %q: %q, want %q", cgroup, pids, got, want)
			}
		}
		// The same name elsewhere is not that of Docker.
		must(t, os.RemoveAll(filepath.Join(d.Root, "sys")))
		forged := filepath.Join(d.Root, "sys/fs/cgroup/user.slice/docker-"+id+".scope")
		must(t, os.MkdirAll(forged, 0o755))
		must(t, os.WriteFile(filepath.Join(forged, "cgroup.procs"), fmt.Appendln(nil, web.PID), 0o644))
		if c, ok, _ := n.Born(nf.RuntimeDocker, id); ok {
			t.Errorf("a forged cgroup: %+v", c)
		}
	}
	for _, entry := range []string{runtimestest.ID("none"), "moby", ""} {
		if c, ok, mine := node(t, t.TempDir()).Born(nf.RuntimeDocker, entry); ok || mine {
			t.Errorf("%q is no container: %+v", entry, c)
		}
	}
}
