//go:build runtimes

package runtimes_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// nspawn is a node on which systemd-machined runs.
type nspawn struct {
	*node
}

func newNspawn(t testing.TB) nspawn {
	t.Helper()
	n := nspawn{newNode(t)}
	n.Must("systemctl", "start", "systemd-machined")
	return n
}

// machine makes the directory of a container.
func (n nspawn) machine(name string) (dir string) {
	n.t.Helper()
	dir = "/var/lib/machines/" + name
	n.script("mkdir -p " + dir + "/usr; tar -C " + dir + " -xf " + imageFile + "; echo ID=bb >" + dir + "/etc/os-release")
	return dir
}

// run starts a container from a directory of its name, with more flags of systemd-nspawn(1), in a
// service spawn-NAME of its own, and returns its first process.
func (n nspawn) run(name string, flags ...string) (pid string) {
	n.t.Helper()
	dir := n.machine(name)
	unit := "spawn-" + name
	command := append([]string{"--collect", "--unit=" + unit, "systemd-nspawn", "-q", "-D", dir}, flags...)
	n.Must("systemd-run", append(append(command, "/bin/"+forever[0]), forever[1:]...)...)
	n.eventually(name+" runs", func() bool {
		main := n.line("systemctl", "show", "-P", "MainPID", unit)
		pid = firstChild(n.Path("/proc/" + main + "/task/" + main + "/children"))
		comm := strings.TrimSpace(n.Read("/proc/" + pid + "/comm"))
		return pid != "" && comm == forever[0]
	})
	return pid
}

// firstChild returns the first process of a file children of proc_pid_task_children(5); empty: none.
func firstChild(file string) string {
	list, _ := os.ReadFile(file)
	first, _, _ := strings.Cut(strings.TrimSpace(string(list)), " ")
	return first
}

// private is the flag of a network namespace with the loopback interface alone.
const private = "--private-network"

// TestNspawnRuns: containers are in network namespaces of their own, with and without machined.
func TestNspawnRuns(t *testing.T) {
	n := newNspawn(t)
	web := n.run("my-web_1.x", private)
	plain := n.run("plain", private, "--register=no", "--keep-unit")
	hosty := n.run("hosty")
	n.expectNamespaces([]string{"1", hosty}, []string{web}, []string{plain})
	if got := n.Must("machinectl", "list", "--no-legend"); !strings.Contains(got, "my-web1.x ") || !strings.Contains(got, "hosty ") || strings.Contains(got, "plain ") {
		t.Errorf("machined lists %s", got)
	}
}

func TestNspawn(t *testing.T) {
	n := newNspawn(t)
	n.run("my-web", private)
	n.run("my-web_1.x", private)
	n.run("plain", private, "--register=no", "--keep-unit")
	n.run("hosty")
	running := []string{"nspawn my-web running", "nspawn my-web1.x running"}
	first := n.expect("started", running...)["my-web"]
	n.expectWarning("started", "node-namespace", "hosty")
	if first.ID != "my-web" {
		t.Errorf("id %q", first.ID)
	}
	n.Write("/etc/nfsync/policies/nspawn.yaml", policy("nspawn", "{names: [my-web], runtimes: [nspawn]}", 77), 0o644)
	n.nfsync("apply", "--yes", "/etc/nfsync/policies")
	leader := n.line("machinectl", "show", "-p", "Leader", "--value", "my-web")
	if got := n.udpTimeoutOf(leader); got != "77" {
		t.Errorf("the timeout is %s", got)
	}

	n.Must("systemctl", "stop", "systemd-machined")
	n.expectSame("without machined", first, n.expect("without machined", running...)["my-web"])
	// A crash leaves the file of the machine. The PID in it may be of another process by now.
	n.script("cp /run/systemd/machines/my-web /run/kept; systemctl stop spawn-my-web; sed 's/^LEADER=.*/LEADER=1/' /run/kept >/run/systemd/machines/my-web")
	n.expect("stale", running[1])
	n.script("rm /run/systemd/machines/my-web; systemctl reset-failed spawn-my-web || true")
	n.run("my-web", private)
	n.expectAnother("started again", first, n.expect("started again", running...)["my-web"])
}

// TestNspawnBirth: an agent sets the values of a container before its program runs.
func TestNspawnBirth(t *testing.T) {
	n := newNspawn(t)
	n.startAgent("nspawn")
	first := n.run("first", private)
	n.eventually("the value in the first container", func() bool { return n.hasBirthValue(first) })
	n.expectBirths("private", 5, func(i int) string {
		name := fmt.Sprintf("c%d", i)
		dir := n.machine(name)
		n.script("systemd-run -q --collect --unit=spawn-" + name + " systemd-nspawn -q -D " + dir + " " + private + " " + copySeen)
		return n.seen(dir)
	})
}
