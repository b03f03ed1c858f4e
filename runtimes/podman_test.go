//go:build runtimes

package runtimes_test

import (
	"fmt"
	"testing"
)

// podman is a node on which root, or another user, runs containers with Podman.
type podman struct {
	*node
	user string // empty: root
	uid  string
}

// newPodman sets Podman up for root, with runc: crun wants to raise the limit of locked memory, which
// is not allowed on every machine.
func newPodman(t testing.TB) podman {
	t.Helper()
	p := podman{node: newNode(t)}
	p.configure("/etc/containers", "runc", "runroot = \"/run/containers/storage\"\ngraphroot = \"/var/lib/containers/storage\"\n")
	p.podman("import", imageFile, image)
	return p
}

// newRootlessPodman sets Podman up for a user alice, who has a session without logging in.
func newRootlessPodman(t testing.TB) podman {
	t.Helper()
	p := podman{node: newNode(t), user: "alice"}
	p.script("useradd -m -s /bin/sh alice; rm /etc/systemd/system/systemd-logind.service; systemctl daemon-reload; loginctl enable-linger alice")
	p.uid = p.line("id", "-u", "alice")
	p.eventually("the session of alice", func() bool { return p.active("user@" + p.uid) })
	p.configure("/home/alice/.config/containers", "crun", "")
	p.Must("chown", "-R", "alice:", "/home/alice")
	p.podman("import", imageFile, image)
	return p
}

// configure writes what Podman needs where this machine has neither all controllers of cgroups nor
// overlayfs above overlayfs.
func (p podman) configure(dir, runtime, storage string) {
	p.Write(dir+"/storage.conf", "[storage]\ndriver = \"vfs\"\n"+storage, 0o644)
	p.Write(dir+"/containers.conf", fmt.Sprintf("[containers]\npids_limit = 0\n[engine]\nevents_logger = \"file\"\nruntime = %q\n", runtime), 0o644)
}

// podman runs Podman and returns the line that it prints.
func (p podman) podman(args ...string) string {
	p.t.Helper()
	if p.user == "" {
		return p.line("podman", args...)
	}
	as := []string{"-u", p.user, "--", "env", "-C", "/", "HOME=/home/" + p.user, "XDG_RUNTIME_DIR=/run/user/" + p.uid, "podman"}
	out, err := p.Command("runuser", append(as, args...)...).Output() // warnings are on the other stream
	if err != nil {
		p.t.Fatalf("podman %q of %s: %v", args, p.user, failure(err))
	}
	return trimmed(out)
}

// run starts a container with the flags, and returns its id.
func (p podman) run(flags ...string) string {
	p.t.Helper()
	return p.podman(append(append(append([]string{"run", "-d"}, flags...), image), forever...)...)
}

// pid returns the first process of a container.
func (p podman) pid(name string) string {
	p.t.Helper()
	return p.podman("inspect", "-f", "{{.State.Pid}}", name)
}

// TestPodmanRuns: the containers of root, of pods and of users are in network namespaces that are not
// the node's.
func TestPodmanRuns(t *testing.T) {
	p := newPodman(t)
	p.run("--name", "web", "--label", "app=web")
	p.run("--name", "dark", "--network", "none")
	p.run("--name", "side", "--network", "container:web")
	p.podman("pod", "create", "--name", "shop")
	p.run("--pod", "shop", "--name", "shop-a")
	p.run("--pod", "shop", "--name", "shop-b")
	p.expectNamespaces([]string{p.pid("web"), p.pid("side")}, []string{p.pid("dark")}, []string{p.pid("shop-a"), p.pid("shop-b")})

	r := newRootlessPodman(t)
	r.run("--name", "web")
	r.run("--name", "side", "--network", "container:web")
	r.expectNamespaces([]string{r.pid("web"), r.pid("side")})
}
