//go:build runtimes

package runtimes_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// lxc is a node with LXC. Its containers have the programs of the image.
type lxc struct{ *node }

// lxcRoot is the root file system of the containers.
const lxcRoot = "/srv/lxc-root"

func newLXC(t *testing.T) lxc {
	t.Helper()
	l := lxc{newNode(t)}
	l.script("mkdir -p " + lxcRoot + " && tar -C " + lxcRoot + " -xf " + imageFile)
	return l
}

// create writes the configuration of a container below a directory (lxc.container.conf(5)).
func (l lxc) create(dir, name string, lines ...string) {
	l.t.Helper()
	config := append([]string{
		"lxc.uts.name = " + name, "lxc.rootfs.path = dir:" + lxcRoot, "lxc.apparmor.profile = unconfined",
		"lxc.init.cmd = /bin/" + strings.Join(forever, " "),
	}, lines...)
	l.script("mkdir -p '" + dir + "/" + name + "'")
	l.Write(dir+"/"+name+"/config", strings.Join(config, "\n")+"\n", 0o644)
}

// start starts a container, which has a network namespace of its own.
func (l lxc) start(name string) {
	l.t.Helper()
	l.create("/var/lib/lxc", name, "lxc.net.0.type = empty")
	l.Must("lxc-start", "-n", name)
}

func (l lxc) init(name string) string {
	l.t.Helper()
	return l.line("lxc-info", "-pH", "-n", name)
}

func TestLXC(t *testing.T) {
	l := newLXC(t)
	l.start("web")
	l.start("my-web_1.x")
	first := l.expect("started", "lxc web running", "lxc my-web_1.x running")["web"]
	if first.ID != "web" {
		t.Errorf("id %q", first.ID)
	}

	l.Must("lxc-freeze", "-n", "web")
	paused := l.expect("frozen", "lxc web paused", "lxc my-web_1.x running")["web"]
	l.expectSame("frozen", first, paused)
	l.Must("lxc-unfreeze", "-n", "web")

	l.Must("lxc-stop", "-k", "-n", "web")
	l.expect("stopped", "lxc my-web_1.x running")
	l.Must("lxc-start", "-n", "web")
	second := l.expect("started again", "lxc web running", "lxc my-web_1.x running")["web"]
	l.expectAnother("started again", first, second)

	// The monitor is killed, and then what it leaves.
	pid := l.init("web")
	l.script("kill -9 $(awk '/^PPid/ {print $2}' /proc/" + pid + "/status)")
	l.eventually("the socket of the monitor has gone", func() bool { return !strings.Contains(l.script("cat /proc/net/unix"), "lxc/web/command") })
	l.expect("without its monitor", "lxc my-web_1.x running")
	l.script("kill -9 " + pid)
}

// A container that restarts itself has another network namespace.
func TestLXCReboot(t *testing.T) {
	l := newLXC(t)
	l.create("/var/lib/lxc", "web", "lxc.net.0.type = empty", "lxc.init.cmd =", "lxc.init.cmd = /bin/sh /etc/boot")
	l.Write(lxcRoot+"/etc/boot", "[ -e /tmp/again ] || { touch /tmp/again; while [ ! -e /tmp/go ]; do sleep 0.1; done; reboot -f; }\nexec sleep 1000000\n", 0o755)
	l.Must("lxc-start", "-n", "web")
	first := l.expect("started", "lxc web running")["web"]
	pid := l.init("web")
	l.Write(lxcRoot+"/tmp/go", "", 0o644)
	l.eventually("web has rebooted", func() bool {
		now := l.init("web")
		return now != "" && now != pid
	})
	l.expectAnother("rebooted", first, l.expect("rebooted", "lxc web running")["web"])
}

func TestLXCNetworks(t *testing.T) {
	l := newLXC(t)
	l.start("web")
	l.create("/var/lib/lxc", "side", "lxc.namespace.share.net = web")
	l.create("/var/lib/lxc", "hosty", "lxc.net.0.type = none")
	l.Must("lxc-start", "-n", "side")
	l.Must("lxc-start", "-n", "hosty")
	shared := l.expect("joined", "lxc web running alias:side")["web"]
	l.expectWarning("joined", "node-namespace", "hosty")
	l.Must("lxc-stop", "-k", "-n", "web")
	l.Must("lxc-start", "-n", "web")
	moved := l.expect("the other one was started again", "lxc web running", "lxc side running")
	if moved["side"].Instance != shared.Instance || moved["web"].Instance == shared.Instance {
		t.Errorf("side is in %s, web in %s, and both were in %s", moved["side"].Instance, moved["web"].Instance, shared.Instance)
	}
}

// A container in another directory has it in its id, however long it is; one in the foreground has
// no title.
func TestLXCDirectories(t *testing.T) {
	l := newLXC(t)
	long := "/srv/" + strings.Repeat("x", 100)
	for _, dir := range []string{"/srv/ct", long} {
		l.create(dir, "web", "lxc.net.0.type = empty")
		l.Must("lxc-start", "-P", dir, "-n", "web")
	}
	l.create("/var/lib/lxc", "front", "lxc.net.0.type = empty")
	l.Must("systemd-run", "-q", "lxc-start", "-F", "-n", "front")
	l.eventually("front runs", func() bool { return l.line("lxc-info", "-sH", "-n", "front") == "RUNNING" })
	l.expect("started", "lxc web running", "lxc web running", "lxc front running")
	var ids []string
	for _, c := range l.snapshot().Containers {
		ids = append(ids, c.ID)
	}
	if got, want := fmt.Sprint(ids), fmt.Sprint([]string{"/srv/ct/web", long + "/web", "front"}); got != want {
		t.Errorf("ids %s, want %s", got, want)
	}
}

// Anybody can listen on the socket of a container that does not run, and say what they like. So can
// root of a container in the node's network namespace.
func TestSquattedLXC(t *testing.T) {
	l := newLXC(t)
	l.start("web")
	l.Copy(os.Args[0], "/usr/bin/squat", 0o755)
	pid := l.init("web")
	squat := func(unit, name string, options ...string) {
		args := append(append([]string{"-q", "--unit=" + unit, "-E", squatEnv + "=/var/lib/lxc/" + name + "/command " + pid}, options...), "/usr/bin/squat")
		l.Must("systemd-run", args...)
		l.eventually(name+" is squatted", func() bool { return strings.Contains(l.script("cat /proc/net/unix"), "lxc/"+name+"/command") })
	}
	squat("squat1", "users", "--uid=nobody")
	squat("squat2", "roots")
	got := l.snapshot().Containers
	if len(got) != 2 {
		t.Errorf("%v", got)
	}
	for _, c := range got {
		if c.Name == "roots" && !strings.Contains(c.Unobservable, "is not known to be its first") || c.Name == "users" {
			t.Errorf("%s", c)
		}
	}
}

// A policy sets a value in the container that it names, and in no other.
func TestLXCApply(t *testing.T) {
	l := newLXC(t)
	l.start("web")
	l.start("db")
	l.Write("/etc/nfsync/policies/lxc.yaml", policy("lxc", "{names: [web], runtimes: [lxc]}", 77), 0o644)
	l.nfsync("apply", "/etc/nfsync/policies")
	if web, db := l.udpTimeoutOf(l.init("web")), l.udpTimeoutOf(l.init("db")); web != "77" || db == "77" {
		t.Errorf("web has %s, db has %s", web, db)
	}
}
