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

// TestNodesOfTwoTests: a node has no cgroup of another one.
func TestNodesOfTwoTests(t *testing.T) {
	one := systemdtest.New(t)
	one.Must("systemd-run", "--unit=of-one", "sleep", "infinity")
	t.Run("another test", func(t *testing.T) {
		two := systemdtest.New(t)
		if found := two.Must("find", "/sys/fs/cgroup", "-name", "of-one.service"); found != "" {
			t.Errorf("the second node has cgroups of the first:\n%s", found)
		}
	})
	if state := one.Must("systemctl", "is-active", "of-one"); strings.TrimSpace(state) != "active" {
		t.Errorf("after the end of the second node the unit of the first is %s", state)
	}
}

// TestOptions: a node has the files of its layers, the highest first, a network namespace that is not
// this machine's, and one hierarchy of cgroups. Users may make user namespaces there.
func TestOptions(t *testing.T) {
	low, high := t.TempDir(), t.TempDir()
	for file, text := range map[string]string{low + "/both": "low", low + "/low": "low", high + "/both": "high", high + "/debian_version": "high"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n := systemdtest.New(t, systemdtest.Layer(low), systemdtest.Layer(high), systemdtest.OwnNetwork())
	for file, want := range map[string]string{"/both": "high", "/low": "low", "/debian_version": "high"} {
		if got := n.Read(file); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	if n.Read("/etc/passwd") == "" {
		t.Error("the node lacks the files of this machine")
	}
	n.Must("rm", "/low")
	if _, err := os.Stat(low + "/low"); err != nil {
		t.Errorf("removing a file on the node has removed it from its layer: %v", err)
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(n.Must("readlink", "/proc/self/ns/net")); got == own || got != strings.TrimSpace(n.Must("readlink", "/proc/1/ns/net")) {
		t.Errorf("a program of the node runs in %s, that of this machine is %s", got, own)
	}
	if out := n.Must("ip", "-br", "address"); !strings.Contains(out, "127.0.0.1") || len(strings.Split(strings.TrimSpace(out), "\n")) != 1 {
		t.Errorf("the node has more than a loopback interface, or that is down: %s", out)
	}
	if got := strings.TrimSpace(n.Must("stat", "-c", "%a", "/sys/fs/cgroup")); got != "755" {
		t.Errorf("/sys/fs/cgroup has the mode %s, want 755", got)
	}
	if got := strings.TrimSpace(n.Must("stat", "-f", "-c", "%T", "/sys/fs/cgroup")); got != "cgroup2fs" {
		t.Errorf("/sys/fs/cgroup is %s, want cgroup2fs", got)
	}
	n.Must("setpriv", "--reuid=65534", "--clear-groups", "unshare", "--user", "true")
}
