package systemd_test

import (
	"strings"
	"testing"
)

// TestNotConfigured: without a configuration the agent is not started, and nothing fails.
func TestNotConfigured(t *testing.T) {
	n := newNode(t)
	n.Must("systemctl", "enable", "--now", "nfsync.service", "nfsync-boot.service")
	if state, reason := n.show("nfsync.service", "ActiveState"), n.show("nfsync.service", "ConditionResult"); state != "inactive" || reason != "no" {
		t.Errorf("the agent is %s, its condition %s", state, reason)
	}
	if status, _ := n.Run("systemctl", "status", "nfsync.service"); !strings.Contains(status, "ConditionPathExists=/etc/nfsync/agent.yaml") {
		t.Errorf("the status does not say why:\n%s", status)
	}
	n.Restart()
	if failed := n.Must("systemctl", "--failed", "--no-legend"); failed != "" {
		t.Errorf("after a start of the node: %s", failed)
	}
}

// TestAgent is the life of an agent: start, new containers, reload, stop, restart.
func TestAgent(t *testing.T) {
	n := newNode(t)
	n.configure()
	n.Must("ip", "netns", "add", "web-1")
	n.Must("systemctl", "start", "nfsync.service")

	// It is ready after its first lap.
	if n.show("nfsync.service", "ActiveState") != "active" || n.udp("web-1") != "41" {
		t.Errorf("it is %s, and web-1 has %s\n%s", n.show("nfsync.service", "ActiveState"), n.udp("web-1"), n.journal("nfsync.service"))
	}
	if text := n.show("nfsync.service", "StatusText"); !strings.Contains(text, "the policies are in force") {
		t.Errorf("its status is %q", text)
	}

	// A namespace that appears has its values, though the agent has a mount namespace of its own.
	if host, own := n.Must("readlink", "/proc/1/ns/mnt"), n.Must("readlink", "/proc/"+n.show("nfsync.service", "MainPID")+"/ns/mnt"); host == own {
		t.Error("the agent has no mount namespace of its own: is there no sandbox?")
	}
	n.Must("ip", "netns", "add", "web-2")
	n.eventually("web-2 has its value", func() bool { return n.udp("web-2") == "41" })

	// One that was removed is held by nobody.
	n.Must("ip", "netns", "del", "web-2")
	if mounts := n.Must("cat", "/proc/"+n.show("nfsync.service", "MainPID")+"/mounts"); strings.Contains(mounts, "web-2") {
		t.Error("the agent has still a mount of a namespace that was removed")
	}

	// A reload fetches.
	n.commit(policy("42"))
	n.Must("systemctl", "reload", "nfsync.service")
	n.eventually("the new revision is in force", func() bool { return n.udp("web-1") == "42" })

	// The run directory outlives the agent: others may have the lock that is in it.
	lock := n.Must("stat", "-c", "%i", "/run/nfsync/lock")
	n.Must("systemctl", "stop", "nfsync.service")
	if result := n.show("nfsync.service", "Result"); result != "success" {
		t.Errorf("a stop is %s", result)
	}
	n.Must("systemctl", "start", "nfsync.service")
	n.Must("systemctl", "restart", "nfsync.service")
	if after := n.Must("stat", "-c", "%i", "/run/nfsync/lock"); after != lock {
		t.Errorf("the file of the lock was %s, and is %s", lock, after)
	}
	if modes := n.Must("stat", "-c", "%a", "/run/nfsync", "/var/lib/nfsync"); modes != "710\n700\n" {
		t.Errorf("the directories have the modes %q", modes)
	}
}

// TestHung: an agent that gives no sign of life is ended, and starts again.
func TestHung(t *testing.T) {
	n := newNode(t)
	n.configure()
	n.Write("/etc/systemd/system/nfsync.service.d/test.conf", "[Service]\nWatchdogSec=1s\nRestartSec=100ms\n", 0o644)
	n.Must("systemctl", "daemon-reload")
	n.Must("systemctl", "start", "nfsync.service")
	before := n.show("nfsync.service", "MainPID")
	n.Must("kill", "-STOP", before)
	n.eventually("another agent runs", func() bool {
		return n.show("nfsync.service", "NRestarts") == "1" && n.show("nfsync.service", "ActiveState") == "active"
	})
	if after := n.show("nfsync.service", "MainPID"); after == before {
		t.Errorf("process %s runs as before", after)
	}
	if said := n.journal("nfsync.service"); !strings.Contains(said, "SIGABRT") {
		t.Errorf("the journal does not say where it hung:\n%s", said)
	}
}

// TestBootFiles: the agent writes boot files, and the journal has its lines with their levels.
func TestBootFiles(t *testing.T) {
	n := newNode(t)
	n.Must("rm", "-rf", "/etc/modprobe.d") // a directory that is missing is made
	n.configure()
	// The value that the node has already: only its boot file is to be changed.
	now := strings.TrimSpace(n.Must("cat", "/proc/sys/net/netfilter/nf_conntrack_expect_max"))
	n.commit(policy("41") + "---\napiVersion: nfsync.dev/v1alpha1\nkind: NodePolicy\nmetadata: {name: node}\nspec: {conntrack: {expectMax: " + now + "}}\n")
	n.Must("systemctl", "start", "nfsync.service")
	if text := n.Read("/etc/sysctl.d/90-nfsync.conf"); !strings.Contains(text, "nf_conntrack_expect_max") {
		t.Errorf("the boot file is %q\n%s", text, n.journal("nfsync.service"))
	}
	if dir := n.Must("ls", "-d", "/etc/modprobe.d"); dir == "" {
		t.Error("/etc/modprobe.d was not made")
	}
	n.Write("/srv/work/all.yaml", "kind: wrong\n", 0o644)
	n.commit("kind: wrong\n")
	n.Must("systemctl", "reload", "nfsync.service")
	n.eventually("the journal has an error", func() bool { return strings.Contains(n.journal("nfsync.service", "-p", "err"), "all.yaml") })
	if said := n.journal("nfsync.service", "-p", "err"); strings.Contains(said, "applied") {
		t.Errorf("a line that is no error has its level:\n%s", said)
	}
}

// TestStopDuringLap: a stop ends a lap that waits for a server.
func TestStopDuringLap(t *testing.T) {
	n := newNode(t)
	n.Write("/etc/nfsync/agent.yaml", strings.Replace(config, "[/srv/policies.git]", "[\"http://127.0.0.1:9/policies.git\", \"ssh://git@192.0.2.1/policies.git\"]", 1), 0o600)
	n.Must("systemctl", "start", "--no-block", "nfsync.service")
	n.eventually("the lap fetches", func() bool { return n.Read("/run/nfsync/agent.lock") != "" })
	n.Must("systemctl", "stop", "nfsync.service")
	if result := n.show("nfsync.service", "Result"); result != "success" {
		t.Errorf("the stop is %s\n%s", result, n.journal("nfsync.service"))
	}
}
