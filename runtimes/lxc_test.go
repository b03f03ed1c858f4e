//go:build runtimes

package runtimes_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// lxc is a node on which containers of LXC run.
type lxc struct {
	*node
}

func newLXC(t testing.TB) lxc {
	t.Helper()
	return lxc{newNode(t)}
}

// run makes a container with more lines of its configuration, which say at least what its network is
// (lxc.container.conf(5)), and starts it.
func (l lxc) run(name string, config ...string) {
	l.t.Helper()
	dir := "/var/lib/lxc/" + name
	l.script("mkdir -p " + dir + "/rootfs; tar -C " + dir + "/rootfs -xf " + imageFile)
	lines := append([]string{
		"lxc.uts.name = " + name,
		"lxc.rootfs.path = dir:" + dir + "/rootfs",
		"lxc.apparmor.profile = unconfined",
		"lxc.init.cmd = /bin/" + strings.Join(forever, " "),
	}, config...)
	l.Write(dir+"/config", strings.Join(lines, "\n")+"\n", 0o644)
	l.start(name)
}

// start starts a container.
func (l lxc) start(name string) {
	l.t.Helper()
	if out, err := l.Run("lxc-start", "-n", name, "-o", "/var/log/lxc-"+name, "-l", "INFO"); err != nil {
		l.t.Fatalf("lxc-start %s: %v\n%s%s", name, err, out, l.Read("/var/log/lxc-"+name))
	}
}

// stop kills a container.
func (l lxc) stop(name string) {
	l.t.Helper()
	l.Must("lxc-stop", "-k", "-n", name)
}

// pid returns the first process of a container.
func (l lxc) pid(name string) string {
	l.t.Helper()
	return l.line("lxc-info", "-pH", "-n", name)
}

// The networks of containers.
const (
	lxcEmpty = "lxc.net.0.type = empty" // a namespace with the loopback interface alone
	lxcHost  = "lxc.net.0.type = none"  // the node's namespace
)

// TestLXCRuns: containers are in network namespaces of their own, shared as their configuration says.
func TestLXCRuns(t *testing.T) {
	l := newLXC(t)
	l.run("web", lxcEmpty)
	l.run("side", "lxc.namespace.share.net = web")
	l.run("my-db_1.x", lxcEmpty)
	l.run("hosty", lxcHost)
	l.expectNamespaces([]string{"1", l.pid("hosty")}, []string{l.pid("web"), l.pid("side")}, []string{l.pid("my-db_1.x")})
	l.stop("side")
}

func TestLXC(t *testing.T) {
	l := newLXC(t)
	l.run("web", lxcEmpty)
	l.run("my-web_1.x", lxcEmpty)
	first := l.expect("started", "lxc web running", "lxc my-web_1.x running")["web"]
	if first.ID != "web" {
		t.Errorf("id %q", first.ID)
	}
	l.Must("lxc-freeze", "-n", "web")
	l.expectSame("frozen", first, l.expect("frozen", "lxc web paused", "lxc my-web_1.x running")["web"])
	l.Must("lxc-unfreeze", "-n", "web")

	l.stop("web")
	l.expect("stopped", "lxc my-web_1.x running")
	l.start("web")
	l.expectAnother("started again", first, l.expect("started again", "lxc web running", "lxc my-web_1.x running")["web"])

	// A policy sets a value in the container that it names, and in no other.
	l.Write("/etc/nfsync/policies/lxc.yaml", policy("lxc", "{names: [web], runtimes: [lxc]}", 77), 0o644)
	l.nfsync("apply", "--yes", "/etc/nfsync/policies")
	if web, other := l.udpTimeoutOf(l.pid("web")), l.udpTimeoutOf(l.pid("my-web_1.x")); web != "77" || other == "77" {
		t.Errorf("web has %s, the other one %s", web, other)
	}

	// The monitor is killed. Nobody else knows the name of the container.
	l.script("kill -9 $(awk '/^PPid/ {print $2}' /proc/" + l.pid("web") + "/status)")
	l.eventually("the socket of the monitor has gone", func() bool { return !l.listens("/var/lib/lxc/web") })
	l.expect("without its monitor", "lxc my-web_1.x running")
}

// listens reports whether somebody listens on the socket of a container.
func (l lxc) listens(container string) bool {
	return strings.Contains(l.Must("cat", "/proc/net/unix"), "@"+container+"/command\n")
}

// A container that restarts itself has another network namespace.
func TestLXCReboot(t *testing.T) {
	l := newLXC(t)
	boot := "/var/lib/lxc/web/rootfs/etc/boot"
	l.Write(boot, "[ -e /again ] || { touch /again; until [ -e /go ]; do sleep 0.1; done; reboot -f; }\nexec sleep 1000000\n", 0o755)
	l.run("web", lxcEmpty, "lxc.init.cmd = /bin/sh /etc/boot")
	first := l.expect("started", "lxc web running")["web"]
	pid := l.pid("web")
	l.Write("/var/lib/lxc/web/rootfs/go", "", 0o644)
	l.eventually("it has rebooted", func() bool {
		now, err := l.Run("lxc-info", "-pH", "-n", "web")
		now = strings.TrimSpace(now)
		return err == nil && now != "" && now != pid && l.line("lxc-info", "-sH", "-n", "web") == "RUNNING"
	})
	l.expectAnother("rebooted", first, l.expect("rebooted", "lxc web running")["web"])
}

func TestLXCNetworks(t *testing.T) {
	l := newLXC(t)
	l.run("web", lxcEmpty)
	l.run("side", "lxc.namespace.share.net = web")
	l.run("hosty", lxcHost)
	shared := l.expect("joined", "lxc web running alias:side")["web"]
	l.expectWarning("joined", "node-namespace", "hosty")
	l.stop("web")
	l.start("web")
	moved := l.expect("the other one was started again", "lxc web running", "lxc side running")
	if moved["side"].Instance != shared.Instance || moved["web"].Instance == shared.Instance {
		t.Errorf("side is in %s, web in %s, and both were in %s", moved["side"].Instance, moved["web"].Instance, shared.Instance)
	}
}

// A container in another directory has it in its id, however long that is. One in the foreground has a
// monitor without a title.
func TestLXCDirectories(t *testing.T) {
	l := newLXC(t)
	l.run("web", lxcEmpty)
	long := "/srv/" + strings.Repeat("x", 100)
	for _, dir := range []string{"/srv/ct", long} {
		l.script("mkdir -p " + dir + "/web; cp /var/lib/lxc/web/config " + dir + "/web")
		l.Must("lxc-start", "-P", dir, "-n", "web")
	}
	l.stop("web")
	l.Must("systemd-run", "-q", "lxc-start", "-F", "-n", "web")
	l.eventually("it runs in the foreground", func() bool { return l.line("lxc-info", "-sH", "-n", "web") == "RUNNING" })
	var ids []string
	for _, c := range l.snapshot().Containers {
		ids = append(ids, c.ID+" "+c.Name+c.Unobservable)
	}
	slices.Sort(ids)
	if want := []string{"/srv/ct/web web", long + "/web web", "web web"}; !slices.Equal(ids, want) {
		t.Errorf("%q, want %q", ids, want)
	}
}

// Anybody can listen on the socket of a container that does not run, and answer with any process. So
// can root of a container that is in the node's network namespace.
func TestLXCSquatted(t *testing.T) {
	l := newLXC(t)
	l.run("web", lxcEmpty)
	l.Copy(os.Args[0], "/usr/bin/squat", 0o755)
	squat := func(name string, options ...string) {
		answer := squatEnv + "=/var/lib/lxc/" + name + "/command " + l.pid("web")
		l.Must("systemd-run", append(append([]string{"-q", "-E", answer}, options...), "/usr/bin/squat")...)
		l.eventually(name+" is taken", func() bool { return l.listens("/var/lib/lxc/" + name) })
	}
	squat("user", "--uid=nobody")
	squat("root")
	listed := l.snapshot().Containers
	if len(listed) != 2 {
		t.Errorf("%v", listed)
	}
	for _, c := range listed {
		if known := c.Unobservable == ""; known != (c.Name == "web") || !known && !strings.Contains(c.Unobservable, "is not known to be its first") {
			t.Errorf("%s", c)
		}
	}
}

// TestLXCBirth: an agent sets the values of a container before its program runs.
func TestLXCBirth(t *testing.T) {
	l := newLXC(t)
	l.startAgent("lxc")
	l.run("first", lxcEmpty)
	l.eventually("the value in the first container", func() bool { return l.hasBirthValue(l.pid("first")) })
	l.expectBirths("empty", 5, func(i int) string {
		name := fmt.Sprintf("c%d", i)
		l.run(name, lxcEmpty, "lxc.mount.auto = proc", "lxc.init.cmd = "+copySeen)
		return l.seen("/var/lib/lxc/" + name + "/rootfs")
	})
}
