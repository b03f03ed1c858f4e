package runtimes_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/runtimes/runtimestest"
)

// dockerOrPodman are the runtimes of the hook of OCI.
var dockerOrPodman = []string{nf.RuntimeDocker, nf.RuntimePodman}

// given returns what became of a container that a hook gives: its line, why it is none, or the error.
func given(t *testing.T, root string, g nf.Given) string {
	t.Helper()
	c, nothing, err := node(t, root).Given(g)
	switch {
	case err != nil:
		return "error: " + err.Error()
	case nothing != "":
		return "nothing: " + nothing
	}
	if c.Instance == "" || c.Entry == (nf.Entry{}) || !strings.HasPrefix(c.Instance, "boot/") {
		t.Errorf("%+v", c)
	}
	return c.Runtime + "/" + texts([]nf.Container{c})[0]
}

// The OCI runtime has made the directory of the container's state, and nothing in it (createContainer in
// libcontainer/factory_linux.go of runc).
func TestGivenDocker(t *testing.T) {
	web, here := runtimestest.Start(t), runtimestest.StartHere(t)
	for name, d := range map[string]runtimestest.Docker{
		"": {}, "a data root of a flag": {DataRoot: "/mnt/data"},
		"userns-remap": {DataRoot: "/mnt/data/100000.100000", Namespace: "moby-100000.100000"},
	} {
		d.T, d.Root = t, t.TempDir()
		id := d.Run(runtimestest.Container{Name: "web", Labels: map[string]string{"app": "web"}, Process: web})
		must(t, os.Remove(filepath.Join(d.StateDir(id), "state.json")))
		bundle := filepath.Join(d.Root, "bundle")
		must(t, os.MkdirAll(bundle, 0o755))
		must(t, os.WriteFile(filepath.Join(bundle, "config.json"), []byte(`{"mounts":[{"source":"proc"},{"source":"`+strings.TrimPrefix(filepath.Dir(d.File(id, "x")), d.Root)+`/hosts"}]}`), 0o644))
		g := nf.Given{Runtimes: dockerOrPodman, ID: id, PID: web.PID, Bundle: "/bundle"}
		if got := given(t, d.Root, g); got != "docker/web app:web" {
			t.Errorf("%s: %s", name, got)
		}
		g.PID = here.PID
		if got := given(t, d.Root, g); got != "nothing: it is in the node's own network namespace" {
			t.Errorf("%s: on the node's network: %s", name, got)
		}
	}
}

// crun and runc write their state after the hooks. Podman has written the configuration before.
func TestGivenPodman(t *testing.T) {
	web := runtimestest.Start(t)
	for name, p := range map[string]runtimestest.Podman{"": {}, "a storage of a flag": {Storage: "/srv"}} {
		p.T, p.Root = t, t.TempDir()
		id := p.Run(runtimestest.PodmanContainer{Name: "web", Process: web})
		must(t, os.Remove(p.StateFile(id)))
		g := nf.Given{Runtimes: dockerOrPodman, ID: id, PID: web.PID}
		if p.Storage != "" {
			g.Bundle = filepath.Join(p.Storage, "overlay-containers", id, "userdata")
		}
		if got := given(t, p.Root, g); got != "podman/web" {
			t.Errorf("%s: %s", name, got)
		}
		crio := p.Run(runtimestest.PodmanContainer{Name: "k8s_POD", Manager: "cri-o", Process: web})
		g.ID, g.Bundle = crio, strings.Replace(g.Bundle, id, crio, 1)
		if got := given(t, p.Root, g); got != "nothing: it is not known to docker or podman" {
			t.Errorf("%s, of CRI-O: %s", name, got)
		}
	}
}

// What a hook gives may be no container, or wrong.
func TestGivenWrong(t *testing.T) {
	web := runtimestest.Start(t)
	d := runtimestest.Docker{T: t, Root: t.TempDir()}
	id := d.Run(runtimestest.Container{Name: "web", Process: web})
	nameless := runtimestest.ID("nameless")
	d.State(nameless, web)
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for name, test := range map[string]struct {
		g    nf.Given
		want string
	}{
		"unknown":           {nf.Given{Runtimes: dockerOrPodman, ID: runtimestest.ID("x"), PID: web.PID}, "nothing: it is not known to docker or podman"},
		"no id of Docker":   {nf.Given{Runtimes: dockerOrPodman, ID: "../web", PID: web.PID}, "nothing: it is not known to docker or podman"},
		"no name":           {nf.Given{Runtimes: dockerOrPodman, ID: nameless, PID: web.PID}, "error: its name is not known"},
		"no id":             {nf.Given{Runtimes: dockerOrPodman, PID: web.PID}, "error: it has no id"},
		"neither":           {nf.Given{Runtimes: dockerOrPodman, ID: id}, "error: it is given by neither"},
		"both":              {nf.Given{Runtimes: dockerOrPodman, ID: id, PID: web.PID, File: "/x"}, "error: it is given by neither"},
		"negative":          {nf.Given{Runtimes: dockerOrPodman, ID: id, PID: -1, File: "/x"}, "error: it is given by neither"},
		"no process":        {nf.Given{Runtimes: dockerOrPodman, ID: id, PID: 1 << 30}, "error: cannot find its first process"},
		"control character": {nf.Given{Runtimes: dockerOrPodman, ID: "web\n", PID: web.PID}, "error: its id, a name or its file"},
		"long":              {nf.Given{Runtimes: dockerOrPodman, ID: strings.Repeat("x", 5000), PID: web.PID}, "error: its id, a name or its file"},
		"no runtime":        {nf.Given{Runtimes: []string{"vz"}, ID: id, PID: web.PID}, `error: runtime "vz" has no hook`},
		"relative":          {nf.Given{Runtimes: []string{nf.RuntimeCRI}, ID: "7e", Name: "a/b", File: "netns/x"}, "error: the file of its network namespace has no absolute path"},
		"no file":           {nf.Given{Runtimes: []string{nf.RuntimeCRI}, ID: "7e", Name: "a/b", File: "/nowhere"}, "error: cannot identify its network namespace"},
		"another file":      {nf.Given{Runtimes: []string{nf.RuntimeCRI}, ID: "7e", Name: "a/b", File: file}, "error: cannot identify its network namespace"},
		"no namespace":      {nf.Given{Runtimes: []string{nf.RuntimeCRI}, ID: "7e", Name: "b", File: web.Path()}, `error: "b" is not the namespace and the name of a pod`},
		"three names":       {nf.Given{Runtimes: []string{nf.RuntimeCRI}, ID: "7e", Name: "a/b/c", File: web.Path()}, `error: "a/b/c" is not`},
		"a pod by process":  {nf.Given{Runtimes: []string{nf.RuntimeCRI}, ID: "7e", Name: "a/b", PID: web.PID}, "nothing: it is not known to cri"},
		"a pod":             {nf.Given{Runtimes: []string{nf.RuntimeCRI}, ID: "7e", Name: "a/b", Aliases: []string{"4d2c"}, File: web.Path()}, "cri/a/b=4d2c"},
		"not of LXC":        {nf.Given{Runtimes: []string{nf.RuntimeLXC, nf.RuntimeIncus}, ID: "web", PID: web.PID}, "nothing: it is not known to lxc or incus"},
	} {
		if got := given(t, d.Root, test.g); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// The command line of a monitor is that of do_lxcapi_start in src/lxc/lxccontainer.c, or of lxc-start(1).
func TestGivenLXC(t *testing.T) {
	for line, want := range map[string]string{
		"[lxc monitor] /var/lib/lxc web": "lxc/web", "[lxc monitor] /srv/my lxc web": "lxc/web",
		"[lxc monitor] /var/lib/incus/containers web": "incus/web", "[lxc monitor] /var/lib/lxc web2": "nothing: it is not known to lxc or incus",
		"sleep": "nothing: it is not known to lxc or incus",
	} {
		cmd := exec.CommandContext(t.Context(), "bash")
		cmd.Args = []string{line}
		cmd.Stdin = strings.NewReader("unshare --net sleep 1000 > /dev/null 2>&1 &\necho $!\nwait\n")
		p := runtimestest.StartChild(t, cmd)
		if got := given(t, t.TempDir(), nf.Given{Runtimes: []string{nf.RuntimeLXC, nf.RuntimeIncus}, ID: "web", PID: p.PID}); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}
