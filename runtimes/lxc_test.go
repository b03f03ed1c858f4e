//go:build runtimes

package runtimes_test

import (
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
