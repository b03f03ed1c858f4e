//go:build packages

package packaging_test

import (
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/packaging/systemdtest"
)

const coordinatorUnit = "nfsync-coordinator.service"

// patience is how long a test waits for what takes a moment, on a busy machine.
const patience = 2 * time.Minute

// eventually waits until a program of the node prints what is wanted.
func (n node) eventually(what, want string, command ...string) {
	n.t.Helper()
	wanted := regexp.MustCompile(want)
	for deadline := time.Now().Add(patience); ; <-time.After(50 * time.Millisecond) {
		out, _ := n.Run(command[0], command[1:]...)
		if wanted.MatchString(out) {
			return
		}
		if time.Now().After(deadline) {
			journal, _ := n.Run("journalctl", "--no-pager", "-q", "-o", "cat", "-u", "nfsync*", "-n", "100")
			n.t.Fatalf("%s is %q, want %q\n%s", what, out, want, journal)
		}
	}
}

// coordinates checks an installed nfsync-coordinator: its program, manual, completion, user and directories.
func (n node) coordinates(version string) {
	n.t.Helper()
	n.want("the version", n.Must("nfsync-coordinator", "version"), "^nfsync "+regexp.QuoteMeta(version)+" ")
	n.want("the manual page", n.Must("man", "-w", "nfsync-coordinator"), "^/usr/share/man/man8/nfsync-coordinator.8.gz\n$")
	n.want("the manual page of the configuration", n.Must("man", "-w", "5", "nfsync-coordinator.yaml"), "^/usr/share/man/man5/nfsync-coordinator.yaml.5.gz\n$")
	n.want("the user", n.Must("getent", "passwd", "nfsync-coordinator"), `^nfsync-coordinator:[^:]*:[1-9]\d*:[1-9]\d*:[^:]*:/var/lib/nfsync-coordinator:\S*nologin\n$`)
	n.want("the directory", n.Must("stat", "-c", "%a %U:%G", "/var/lib/nfsync-coordinator"), "^700 nfsync-coordinator:nfsync-coordinator\n$")
	n.want("the configuration", n.Must("stat", "-c", "%a %U:%G", "/etc/nfsync-coordinator/coordinator.yaml"), "^644 root:root\n$")
	n.want("what bash completes", n.complete("nfsync-coordinator", "re"), "revoke")
}

// configureCoordinator does to the configuration of the package what an administrator does, and adds more.
func (n node) configureCoordinator(more string) {
	n.t.Helper()
	const file = "/etc/nfsync-coordinator/coordinator.yaml"
	n.Must("sed", "-i", "-e", "/^#source:/,/^$/s/^#//", "-e", "s#https://git.example.com/policies.git#/srv/policies#", file)
	n.Write(file, n.Read(file)+more, 0o644)
}

// freeAddress returns an address of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// coordinator returns the process and the version of the coordinator that runs.
func (n node) coordinator() (pid, version string) {
	n.t.Helper()
	pid = strings.TrimSpace(n.Must("systemctl", "show", "-P", "MainPID", coordinatorUnit))
	return pid, n.Must("/proc/"+pid+"/exe", "version")
}

// owned checks that all that the coordinator keeps is its user's, who can read it.
func (n node) owned() {
	n.t.Helper()
	n.want("what is not the coordinator's", n.Must("find", "/var/lib/nfsync-coordinator", "!", "(", "-user", "nfsync-coordinator", "-group", "nfsync-coordinator", ")"), "^$")
}

// joinFleet makes a container, and configures an agent that is in the fleet of the node's coordinator, as the documents say.
func (n node) joinFleet() {
	n.t.Helper()
	n.Must("ip", "netns", "add", "web-1")
	n.Must("hostname", "hn-1")
	n.Must("mkdir", "-p", "/etc/nfsync")
	said := n.Must("nfsync-coordinator", "enroll", "hn-1", "--out", "/etc/nfsync/fleet.creds")
	n.want("the credentials", n.Must("stat", "-c", "%a %U:%G", "/etc/nfsync/fleet.creds"), "^600 root:root\n$")
	_, lines, found := strings.Cut(said, "In /etc/nfsync/agent.yaml of the node:\n")
	if !found {
		n.t.Fatalf("enroll says %q", said)
	}
	n.Write("/etc/nfsync/agent.yaml", config+lines, 0o644)
}

// TestCoordinatorDeb: a node installs the coordinator, which runs without privileges and rolls a commit out to the agent of
// the other package. It gets a new version, is removed and purged. The node has the network of this machine, as the agent
// needs it.
func TestCoordinatorDeb(t *testing.T) {
	t.Parallel()
	b := releases(t)
	arch := dpkgArchitecture(t)
	n := newNode(t)
	agent := n.put(b.first, "nfsync_0.1.0-1_"+arch+".deb")
	old, upgrade := n.put(b.first, "nfsync-coordinator_0.1.0-1_"+arch+".deb"), n.put(b.second, "nfsync-coordinator_0.2.0-1_"+arch+".deb")
	before := n.Written()

	n.apt("install", agent, old)
	n.coordinates(first)
	n.want("the coordinator", n.state(coordinatorUnit), "^inactive disabled$")
	n.want("what dpkg finds changed", n.Must("dpkg", "--verify", "nfsync-coordinator"), "^$")
	n.unconfigured()

	n.policies()
	n.configureCoordinator("listen: none\nengine: {listen: \"" + freeAddress(t) + "\"}\n")
	n.Must("systemctl", "enable", "--now", coordinatorUnit)
	n.sandboxed()
	n.joinFleet()
	n.Must("systemctl", "enable", "--now", "nfsync.service")
	n.eventually("the value", "^41\n$", "ip", "netns", "exec", "web-1", "cat", "/proc/sys/net/netfilter/nf_conntrack_udp_timeout")
	n.Must("nfsync-coordinator", "enroll", "--operator", "ann", "--out", "/root/ann.creds")
	status := []string{"nfsync", "fleet", "status", "--credentials", "/root/ann.creds"}
	n.eventually("the fleet", "Fleet main: 1 node", status...)
	n.want("what the user of the service lists", n.Must("runuser", "-u", "nfsync-coordinator", "--", "nfsync-coordinator", "list"), `(?m)^ann +operator .*\n(.*\n)*hn-1 +node `)
	n.owned()

	edited := n.Read("/etc/nfsync-coordinator/coordinator.yaml") + "name: coordinator-1\n"
	n.Write("/etc/nfsync-coordinator/coordinator.yaml", edited, 0o644)
	pid, _ := n.coordinator()
	n.apt("install", upgrade)
	n.coordinates(second)
	after, version := n.coordinator()
	n.want("the version of the coordinator", version, "^nfsync "+second+" ")
	n.want("the coordinator", n.state(coordinatorUnit), "^active enabled$")
	if after == pid {
		t.Error("the coordinator was not restarted")
	}
	n.want("the configuration", n.Read("/etc/nfsync-coordinator/coordinator.yaml"), "^"+regexp.QuoteMeta(edited)+"$")
	n.eventually("the fleet", "Fleet main: 1 node", status...)

	n.want("what the removal says", n.apt("remove", "nfsync-coordinator"), "kept /var/lib/nfsync-coordinator/keys.json")
	n.want("the coordinator", n.state(coordinatorUnit), "^inactive")
	n.want("the links of enabled units", n.Must("find", "/etc/systemd/system", "-name", "nfsync-coordinator*"), "^$")
	n.want("the configuration", n.Read("/etc/nfsync-coordinator/coordinator.yaml"), "^"+regexp.QuoteMeta(edited)+"$")
	n.owned()
	n.want("the agent", n.state("nfsync.service"), "^active enabled$")

	n.want("what the purge says", n.apt("purge", "nfsync-coordinator"), "removing /var/lib/nfsync-coordinator/keys.json")
	n.want("the user", n.Must("getent", "passwd", "nfsync-coordinator"), "^nfsync-coordinator:")
	n.want("the configuration of the agent", n.Read("/etc/nfsync/agent.yaml"), "coordinatorKey")
	n.apt("purge", "nfsync")
	if left := n.left(before); len(left) > 0 {
		t.Errorf("after the purge these files are left: %q", left)
	}
}

// unconfigured checks what is said where the configuration is as it was installed, and where there is none.
func (n node) unconfigured() {
	n.t.Helper()
	if out, err := n.Run("systemctl", "start", coordinatorUnit); err == nil {
		n.t.Errorf("it starts without a repository: %s", out)
	}
	n.Must("systemctl", "stop", coordinatorUnit)
	n.want("the journal", n.Must("journalctl", "--no-pager", "-q", "-o", "cat", "-p", "err", "-u", coordinatorUnit), `/etc/nfsync-coordinator/coordinator\.yaml:\d+:\d+: .*source`)
	n.Must("mv", "/etc/nfsync-coordinator/coordinator.yaml", "/root/")
	n.Must("systemctl", "start", coordinatorUnit)
	status, _ := n.Run("systemctl", "status", coordinatorUnit)
	n.want("the status without a configuration", status, "ConditionPathExists=/etc/nfsync-coordinator/coordinator.yaml")
	n.want("the coordinator", n.state(coordinatorUnit), "^inactive disabled$")
	n.Must("mv", "/root/coordinator.yaml", "/etc/nfsync-coordinator/")
}

// exposureOf is the total of systemd-analyze security.
var exposureOf = regexp.MustCompile(`Overall exposure level for nfsync-coordinator.service: ([0-9.]+) `)

// sandboxed checks that the coordinator that runs has no privileges, and that the documents say how exposed it is.
func (n node) sandboxed() {
	n.t.Helper()
	pid, _ := n.coordinator()
	process := n.Read("/proc/" + pid + "/status")
	n.want("its capabilities", process, `(?m)^CapEff:\s+0+$`)
	n.want("what it may get", process, `(?m)^CapBnd:\s+0+$`)
	n.want("its user", n.Must("stat", "-c", "%U", "/proc/"+pid), "^nfsync-coordinator\n$")
	n.want("its limit of connections", n.Must("systemctl", "show", "-P", "LimitNOFILE", coordinatorUnit), "^131072\n$")
	n.want("what systemd finds wrong", n.Must("systemd-analyze", "verify", "--man=no", coordinatorUnit), "^$")
	said, _ := n.Run("systemd-analyze", "security", "--no-pager", coordinatorUnit)
	text, err := os.ReadFile("../docs/systemd.md")
	if err != nil {
		n.t.Fatal(err)
	}
	level := exposureOf.FindStringSubmatch(said)
	if level == nil || !strings.Contains(string(text), "shows "+level[1]+" for the coordinator") {
		n.t.Errorf("docs/systemd.md does not have the exposure level %q\n%s", level, said)
	}
}

// TestCoordinatorRPM: the same by rpm: what is edited stays, and is kept aside by a removal.
func TestCoordinatorRPM(t *testing.T) {
	t.Parallel()
	b := releases(t)
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[dpkgArchitecture(t)]
	n := newNode(t, systemdtest.OwnNetwork())
	old, upgrade := n.put(b.first, "nfsync-coordinator-0.1.0-1."+arch+".rpm"), n.put(b.second, "nfsync-coordinator-0.2.0-1."+arch+".rpm")
	before := n.Written()

	n.rpm("-i", old)
	n.coordinates(first)
	n.want("the coordinator", n.state(coordinatorUnit), "^inactive disabled$")
	n.want("what rpm finds changed", n.Must("rpm", "-V", "--nodeps", "nfsync-coordinator"), "^$")

	n.policies()
	n.configureCoordinator("")
	edited := n.Read("/etc/nfsync-coordinator/coordinator.yaml")
	n.Must("nfsync-coordinator", "init") // before the service has run
	n.Must("systemctl", "enable", "--now", coordinatorUnit)
	n.owned()
	pid, _ := n.coordinator()
	n.rpm("-U", upgrade)
	n.coordinates(second)
	after, version := n.coordinator()
	n.want("the version of the coordinator", version, "^nfsync "+second+" ")
	n.want("the coordinator", n.state(coordinatorUnit), "^active enabled$")
	if after == pid {
		t.Error("the coordinator was not restarted")
	}
	n.want("the configuration", n.Read("/etc/nfsync-coordinator/coordinator.yaml"), "^"+regexp.QuoteMeta(edited)+"$")

	n.want("what the removal says", n.rpm("-e", "nfsync-coordinator"), "kept /var/lib/nfsync-coordinator/keys.json")
	n.want("the coordinator", n.state(coordinatorUnit), "^inactive")
	n.want("the links of enabled units", n.Must("find", "/etc/systemd/system", "-name", "nfsync-coordinator*"), "^$")
	n.want("the configuration that was edited", n.Read("/etc/nfsync-coordinator/coordinator.yaml.rpmsave"), "^"+regexp.QuoteMeta(edited)+"$")
	n.Must("sh", "-euc", documented(t, "The same for the coordinator:", "\n## From an archive\n"))
	if left := n.left(before); len(left) > 0 {
		t.Errorf("after the removal by hand these files are left: %q", left)
	}
}
