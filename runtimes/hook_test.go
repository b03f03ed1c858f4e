//go:build runtimes

package runtimes_test

import (
	"os"
	"strings"
	"testing"
)

// serve starts an agent on the node with a policy for all containers.
func (n *node) serve() {
	n.t.Helper()
	n.policy("timeouts: {udp: 42}")
	n.Must("systemd-run", "--unit", "agent", "nfsync", "agent", "--config", "none", "--node-netns", "/proc/1/ns/net", "/srv/policies")
	n.eventually("the agent is ready", func() bool {
		out, err := n.Run("nfsync", "status")
		return err == nil && strings.Contains(out, "is ready")
	})
}

// policy replaces the policy.
func (n *node) policy(conntrack string) {
	n.t.Helper()
	n.Write("/srv/policies/all.yaml", hookPolicy(conntrack), 0o644)
}

// hookPolicy returns a policy for the containers of all runtimes that call hooks.
func hookPolicy(conntrack string) string {
	return "apiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata: {name: all}\nspec:\n  containers: {runtimes: [cri, docker, lxc, podman]}\n  conntrack: {" + conntrack + "}\n"
}

// fetchOnce makes a repository with a policy, and lets the node fetch it: it is the last good revision, and no
// agent runs.
func (n *node) fetchOnce(conntrack string) {
	n.t.Helper()
	n.Write("/srv/repository/policies/all.yaml", hookPolicy(conntrack), 0o644)
	n.script(`cd /srv/repository
git init -q -b main
git add -A
git -c user.name=Ada -c user.email=ada@example.org commit -q -m policies`)
	n.nfsync("agent", "--once", "--git", "/srv/repository")
}

// expectNoneLate requires that the last receipt is that of a container, and that nothing in it was late.
func (n *node) expectNoneLate(container string) {
	n.t.Helper()
	if receipt := n.nfsync("receipts", "latest"); strings.Contains(receipt, "late") || !strings.Contains(receipt, container) {
		n.t.Errorf("the last receipt is not that of a change in time of %s:\n%s", container, receipt)
	}
}

// hookArgs is how the hooks of these tests are called: the node is not in the initial network namespace.
const hookArgs = "--node-netns /proc/1/ns/net"

// TestPodmanHook: the program of a container finds its values, and does not begin without them.
func TestPodmanHook(t *testing.T) {
	p := newPodman(t, "systemd")
	p.serve()
	hook, err := os.ReadFile("../packaging/hooks/podman.json")
	if err != nil {
		t.Fatal(err)
	}
	p.script("mkdir -p /usr/share/containers/oci/hooks.d")
	p.Write("/usr/share/containers/oci/hooks.d/nfsync.json", strings.Replace(string(hook), `"oci"`, `"oci", "--node-netns", "/proc/1/ns/net"`, 1), 0o644)
	for _, network := range []string{"none", "bridge"} {
		if got := p.podman("run", "--rm", "--network", network, image, "cat", udpTimeout); got != "42" {
			t.Errorf("network %s: the first instruction finds %s", network, got)
		}
	}
	p.podman("run", "--rm", "--network", "host", image, "true")
	p.expectNoneLate("container podman/")
	p.policy("max: 2000000000")
	var out string
	p.eventually("a refusal keeps a container from starting", func() bool {
		var err error
		out, err = p.Run("podman", "run", "--rm", "--network", "none", image, "true")
		return err != nil
	})
	if !strings.Contains(out, "does not have its values: conntrack.max: refused") || !strings.Contains(out, "--best-effort") {
		t.Errorf("Podman says:\n%s", out)
	}
}

// TestLXCHook: the same of LXC, by lxc.hook.start-host.
func TestLXCHook(t *testing.T) {
	l := newLXC(t)
	l.serve()
	l.script("mkdir -p /var/lib/lxc/l1/rootfs")
	l.Write("/var/lib/lxc/l1/rootfs/first.sh", "cat "+udpTimeout+" > /udp\nexec sleep 1000000\n", 0o755)
	l.run("l1", "lxc.net.0.type = empty", "lxc.mount.auto = proc:mixed", "lxc.hook.start-host = /usr/bin/nfsync hook lxc "+hookArgs,
		"lxc.init.cmd = /bin/sh /first.sh")
	l.eventually("the program of the container has written what it found", func() bool {
		out, err := l.Run("cat", "/var/lib/lxc/l1/rootfs/udp")
		return err == nil && strings.TrimSpace(out) != ""
	})
	if got := strings.TrimSpace(l.Read("/var/lib/lxc/l1/rootfs/udp")); got != "42" {
		t.Errorf("the first instruction finds %s", got)
	}
	l.expectNoneLate("container lxc/l1")
	l.stop("l1")
	l.policy("max: 2000000000")
	l.eventually("a refusal keeps the container from starting", func() bool {
		_, err := l.Run("lxc-start", "-n", "l1", "-o", "/var/log/lxc-again", "-l", "DEBUG")
		if err == nil {
			l.stop("l1")
		}
		return err != nil
	})
	if log := l.Read("/var/log/lxc-again"); !strings.Contains(log, "does not have its values: conntrack.max: refused") {
		t.Errorf("LXC says:\n%s", log)
	}
}

// TestDockerHook: the same of Docker, by the runtime that docs/hooks.md shows.
func TestDockerHook(t *testing.T) {
	d := newDocker(t, nil)
	d.serve()
	d.Copy("../packaging/hooks/nfsync-runc", "/usr/local/sbin/nfsync-runc", 0o755)
	d.configure(settings{"runtimes": settings{"nfsync": settings{"path": "/usr/local/sbin/nfsync-runc"}}, "default-runtime": "nfsync"})
	d.Must("systemctl", "reload", "docker")
	d.eventually("dockerd has the runtime", func() bool { return d.docker("info", "-f", "{{.DefaultRuntime}}") == "nfsync" })
	for _, network := range []string{"none", "bridge"} {
		if got := d.docker("run", "--rm", "--network", network, image, "cat", udpTimeout); got != "42" {
			t.Errorf("network %s: the first instruction finds %s", network, got)
		}
	}
	d.docker("run", "--rm", "--network", "host", image, "true")
	d.run("--name", "web")
	d.expect("with the hook", "docker web running")
	d.expectNoneLate("container docker/")

	d.policy("max: 2000000000")
	var out string
	d.eventually("a refusal keeps a container from starting", func() bool {
		var err error
		out, err = d.Run("/usr/bin/docker", "run", "--rm", "--network", "none", image, "true")
		return err != nil
	})
	if !strings.Contains(out, "does not have its values: conntrack.max: refused") || !strings.Contains(out, "--best-effort") {
		t.Errorf("Docker says:\n%s", out)
	}
}
