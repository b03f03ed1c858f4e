package systemdtest_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"nfsync.dev/nfsync/packaging/systemdtest"
)

// TestNode: systemd starts services, what is written there stays there, and a restart keeps it.
func TestNode(t *testing.T) {
	n := systemdtest.New(t)
	n.Write("/etc/systemd/system/hello.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'cp /proc/sys/kernel/random/boot_id /var/lib/hello'\n[Install]\nWantedBy=multi-user.target\n", 0o644)
	n.Must("systemctl", "daemon-reload")
	n.Must("systemctl", "enable", "--now", "hello.service")
	before := n.Read("/var/lib/hello")
	if before == "" || before != n.Read("/proc/sys/kernel/random/boot_id") {
		t.Errorf("the service saw the boot id %q", before)
	}
	if _, err := os.Stat("/var/lib/hello"); err == nil {
		t.Error("a file of the node is on this machine")
	}
	if written := n.Written(); !slices.Contains(written, "/var/lib/hello") || slices.Contains(written, "/etc/passwd") {
		t.Errorf("it is said that the node has written %q", written)
	}
	n.Must("rm", "/etc/debian_version")
	if slices.Contains(n.Written(), "/etc/debian_version") {
		t.Error("a file that was removed is said to be written")
	}
	if out, err := n.Run("sh", "-c", "echo 1 >/proc/sys/kernel/panic"); err == nil || !strings.Contains(out, "Read-only") {
		t.Errorf("a sysctl of this machine can be set: %s", out)
	}
	n.Must("ip", "netns", "add", "web-1")
	if _, err := os.Stat("/run/netns/web-1"); err == nil {
		t.Error("a network namespace of the node has a name on this machine")
	}
	n.Restart()
	if after := n.Read("/var/lib/hello"); after == before || after == "" {
		t.Errorf("after the restart the service saw the boot id %q, before it %q", after, before)
	}
}
