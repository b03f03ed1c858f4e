//go:build packages

package packaging_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// apt installs, removes or purges a package, as a person does it.
func (n node) apt(args ...string) string {
	n.t.Helper()
	return n.Must("apt-get", append([]string{"-q", "-y", "-o", "Dpkg::Use-Pty=0"}, args...)...)
}

// TestDeb: a node installs nfsync, configures and starts it, and gets a new version, which takes over
// the running agent and its configuration. A removal keeps what is the administrator's, and what the
// node needs at its next start. A purge leaves nothing.
func TestDeb(t *testing.T) {
	t.Parallel()
	b := releases(t)
	arch := dpkgArchitecture(t)
	n := newNode(t)
	old, upgrade := n.put(b.first, "nfsync_0.1.0-1_"+arch+".deb"), n.put(b.second, "nfsync_0.2.0-1_"+arch+".deb")
	before := n.Written()

	n.apt("install", old)
	n.works(first)
	n.want("the agent", n.state("nfsync.service"), "^inactive disabled$")
	n.want("the unit of the boot", n.state("nfsync-boot.service"), "^inactive disabled$")
	doctor, _ := n.Run("nfsync", "doctor")
	n.want("what doctor says", doctor, `(?s)nfsync`)
	n.want("what dpkg finds changed", n.Must("dpkg", "--verify", "nfsync"), "^$")

	n.configure()
	n.Must("systemctl", "enable", "--now", "nfsync.service", "nfsync-boot.service")
	n.want("the value", n.udp(), "^41$")
	pid, version := n.agent()
	n.want("the version of the agent", version, "^nfsync "+first+" ")

	edited := config + "node: {labels: {edited: \"yes\"}}\n"
	n.Write("/etc/nfsync/agent.yaml", edited, 0o640)
	n.apt("install", upgrade)
	n.works(second)
	n.want("the agent", n.state("nfsync.service"), "^active enabled$")
	n.want("the unit of the boot", n.state("nfsync-boot.service"), " enabled$")
	after, version := n.agent()
	n.want("the version of the agent", version, "^nfsync "+second+" ")
	if after == pid {
		t.Error("the agent was not restarted")
	}
	n.want("the configuration", n.Read("/etc/nfsync/agent.yaml"), "^"+regexp.QuoteMeta(edited)+"$")

	n.Write("/etc/sysctl.d/90-nfsync.conf", "# a boot file\n", 0o644)
	out := n.apt("remove", "nfsync")
	n.want("what the removal says", out, "nfsync: kept /etc/sysctl.d/90-nfsync.conf")
	n.want("the agent", n.state("nfsync.service"), "^inactive")
	n.want("the links of enabled units", n.Must("find", "/etc/systemd/system", "-name", "nfsync*"), "^$")
	n.Must("sh", "-c", "! command -v nfsync")
	n.want("the configuration", n.Read("/etc/nfsync/agent.yaml"), "edited")
	n.want("the state", n.Must("ls", "/var/lib/nfsync"), "lastgood")
	n.want("the value", n.udp(), "^41$")

	n.apt("install", upgrade)
	n.works(second)
	n.want("the agent", n.state("nfsync.service"), "^inactive disabled$")
	n.Must("systemctl", "enable", "--now", "nfsync.service")
	out = n.apt("purge", "nfsync")
	n.want("what the purge says", out, "nfsync: removing /etc/sysctl.d/90-nfsync.conf")
	n.want("the group", n.Must("getent", "group", "nfsync"), "^nfsync:")
	n.Must("sh", "-c", "! test -e /run/nfsync")
	if left := n.left(before); len(left) > 0 {
		t.Errorf("after the purge these files are left: %q", left)
	}
}

// left lists what nfsync has left on the node. before is what the node had written before it.
func (n node) left(before []string) []string {
	n.t.Helper()
	return slices.DeleteFunc(n.Written(), func(file string) bool {
		if slices.Contains(before, file) || ofOthers.MatchString(file) {
			return true
		}
		info, err := os.Lstat(file) // a directory of this machine, in which something was
		return err == nil && info.IsDir()
	})
}

// ofOthers matches what programs other than nfsync write meanwhile, the group and the user, which stay, what the
// test has written, and directories that the distributions of rpm have.
var ofOthers = regexp.MustCompile(`^/(var/(lib/(dpkg|rpm|apt|systemd|misc|PackageKit)|cache|log|tmp)|etc/(group|gshadow|passwd|shadow)-?$|etc/\.pwd\.lock$|srv/|root/|etc/machine-id|usr/share/(licenses|zsh/site-functions)$)`)

// dpkgArchitecture returns the architecture of this machine.
func dpkgArchitecture(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("dpkg", "--print-architecture").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
