//go:build runtimes

package runtimes_test

import (
	"slices"
	"strings"
	"testing"
)

// podman is a node with Podman of root.
type podman struct {
	*node
}

// newPodman configures Podman for a manager of cgroups, systemd or cgroupfs, and loads
// the image. The storage driver is vfs, and the OCI runtime runc: others do not work on every machine.
func newPodman(t testing.TB, cgroups string) podman {
	t.Helper()
	p := podman{newNode(t)}
	p.Write("/etc/containers/storage.conf", "[storage]\ndriver = \"vfs\"\ngraphroot = \"/var/lib/containers/storage\"\nrunroot = \"/run/containers/storage\"\n", 0o644)
	p.Write("/etc/containers/containers.conf", "[containers]\npids_limit = 0\n[engine]\nruntime = \"runc\"\ncgroup_manager = \""+cgroups+"\"\nevents_logger = \"file\"\n", 0o644)
	p.Must("systemctl", "start", "podman.socket") // nfsync asks there for labels
	p.podman("import", imageFile, image)
	return p
}

// podman runs Podman and returns the last line that it prints: warnings come before it.
func (p podman) podman(args ...string) string {
	p.t.Helper()
	lines := strings.Split(p.line("podman", args...), "\n")
	return lines[len(lines)-1]
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

// TestPodmanLife follows containers from their start to their end, with both managers of cgroups.
func TestPodmanLife(t *testing.T) {
	for _, cgroups := range []string{"systemd", "cgroupfs"} {
		t.Run(cgroups, func(t *testing.T) {
			p := newPodman(t, cgroups)
			p.expect("before the first container")
			id := p.run("--name", "web")
			p.run("--name", "dark", "--network", "none")
			p.run("--name", "short", "--rm")
			const others = "podman dark running"
			started := p.expect("started", "podman web running", others, "podman short running")
			if got := started["web"].ID; got != id {
				t.Errorf("the id is %s, want %s", got, id)
			}
			p.podman("stop", "-t", "0", "short")

			p.podman("restart", "-t", "0", "web")
			restarted := p.expect("restarted", "podman web running", others)
			p.expectAnother("restarted", started["web"], restarted["web"])
			p.expectSame("not restarted", started["dark"], restarted["dark"])

			p.podman("pause", "web")
			paused := p.expect("paused", "podman web paused", others)
			p.expectSame("paused", restarted["web"], paused["web"])
			p.podman("unpause", "web")

			p.podman("rename", "web", "my_shop-1.x")
			renamed := p.expect("renamed", "podman my_shop-1.x running", others)
			p.expectSame("renamed", restarted["web"], renamed["my_shop-1.x"])

			p.Must("kill", "-KILL", p.pid("dark"))
			p.eventually("the first process of dark ends", func() bool { return p.pid("dark") == "0" })
			p.podman("rm", "-f", "-t", "0", "my_shop-1.x")
			p.expect("killed and removed")
		})
	}
}

// TestPodmanPod: a pod is one container. A member that is started again stays in its namespace.
func TestPodmanPod(t *testing.T) {
	p := newPodman(t, "systemd")
	pod := p.podman("pod", "create", "--name", "shop", "--label", "app=shop")
	p.run("--pod", "shop", "--name", "cart")
	p.run("--pod", "shop", "--name", "pay")
	aliases := []string{"alias:" + pod[:12] + "-infra", "alias:cart", "alias:pay"}
	slices.Sort(aliases)
	want := "podman shop running " + strings.Join(aliases, " ") + " app=shop"
	before := p.expect("started", want)
	if infra := p.podman("pod", "inspect", "-f", "{{.InfraContainerID}}", "shop"); before["shop"].ID != infra {
		t.Errorf("the id is %s, want that of the infra container, %s", before["shop"].ID, infra)
	}
	p.podman("restart", "-t", "0", "cart")
	after := p.expect("a member restarted", want)
	p.expectSame("a member restarted", before["shop"], after["shop"])
	p.podman("pod", "restart", "shop")
	again := p.expect("the pod restarted", want)
	p.expectAnother("the pod restarted", before["shop"], again["shop"])
	p.podman("pod", "rm", "-f", "-t", "0", "shop")
	p.expect("removed")
}

// TestPodmanJoined: a container that has joined the namespace of another is a name of it, and a
// container of its own once the other was restarted.
func TestPodmanJoined(t *testing.T) {
	p := newPodman(t, "systemd")
	p.run("--name", "web")
	side := p.run("--name", "side", "--network", "container:web")
	before := p.expect("joined", "podman web running alias:side")
	p.podman("restart", "-t", "0", "web")
	after := p.expect("the owner restarted", "podman web running", "podman side running")
	p.expectAnother("the owner restarted", before["web"], after["web"])
	if after["side"].ID != side || after["side"].Instance != before["web"].Instance {
		t.Errorf("side is %s with the instance %s, want %s with that of web before, %s", after["side"].ID, after["side"].Instance, side, before["web"].Instance)
	}
}

// TestPodmanNetworks: what is in the node's network namespace is no container of nfsync's, and what is in a
// named namespace is its container.
func TestPodmanNetworks(t *testing.T) {
	p := newPodman(t, "systemd")
	p.run("--name", "host", "--network", "host")
	p.podman("pod", "create", "--name", "hostpod", "--network", "host")
	p.run("--pod", "hostpod", "--name", "member")
	p.Must("ip", "netns", "add", "blue")
	p.run("--name", "named", "--network", "ns:/run/netns/blue")
	p.expect("networks", "podman named running")
	p.expectWarning("networks", "node-namespace", "podman: in the node's own network namespace, and so no containers here: host, hostpod, member")
	p.podman("rm", "-f", "-t", "0", "named")
	p.expect("without the container", "netns blue running")
}

// TestPodmanStorage finds names where Podman keeps them.
func TestPodmanStorage(t *testing.T) {
	p := newPodman(t, "systemd")
	p.podman("--root", "/srv/flag", "import", imageFile, image)
	p.podman(append([]string{"--root", "/srv/flag", "run", "-d", "--name", "web", image}, forever...)...)
	p.expect("by a flag", "podman web running labels unknown: the runtime's answer does not have it")
	p.Must("rm", "/srv/flag/vfs-containers/containers.json")
	p.expect("conmon has the name", "podman web running labels unknown: the runtime's answer does not have it")
	p.script("kill -KILL $(pidof conmon)")
	if got := p.snapshot().Containers; len(got) != 1 || got[0].Unobservable != "its name is not known" || len(got[0].Name) != 12 {
		t.Errorf("without conmon the containers are %s, want one that is unobservable under its short id", got)
	}
}

// TestPodmanLabels: Podman is asked for labels if a policy selects by them, and a pod has those of the pod.
func TestPodmanLabels(t *testing.T) {
	p := newPodman(t, "systemd")
	p.run("--name", "web", "--label", "app=web")
	p.run("--name", "other")
	p.podman("pod", "create", "--name", "shop", "--label", "app=shop")
	p.run("--pod", "shop", "--name", "cart", "--label", "app=cart")
	p.Write("/srv/policies/web.yaml", policy("web", "{labels: {app: web}}", 41), 0o644)
	p.Write("/srv/policies/shop.yaml", policy("shop", "{labels: {app: shop}}", 42), 0o644)
	untouched := p.udpTimeoutOf(p.pid("other"))
	p.Must("systemctl", "stop", "podman.socket", "podman.service")
	out, _ := p.Run("nfsync", "apply", "/srv/policies", "--yes", "--node-netns", "/proc/1/ns/net")
	if !strings.Contains(out, "systemctl enable --now podman.socket") {
		t.Errorf("without a socket: %s", out)
	}
	p.Must("systemctl", "start", "podman.socket")
	p.nfsync("apply", "/srv/policies", "--yes")
	for name, want := range map[string]string{"web": "41", "cart": "42", "other": untouched} {
		if got := p.udpTimeoutOf(p.pid(name)); got != want {
			t.Errorf("the timeout in %s is %s, want %s", name, got, want)
		}
	}
}

// TestPodmanBirth: an agent sets the values of a container before its program runs, with and without a file of its
// network namespace.
func TestPodmanBirth(t *testing.T) {
	p := newPodman(t, "systemd")
	p.startAgent("podman")
	p.run("--name", "first")
	p.eventually("the value in the first container", func() bool { return p.hasBirthValue(p.pid("first")) })
	for _, network := range []string{"bridge", "none"} {
		p.expectBirths(network, 5, func(int) string {
			return p.podman("run", "--rm", "--network", network, image, "cat", udpTimeout)
		})
	}
}
