package systemd_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// oneshot is a unit that runs a line of shell while the node starts.
func oneshot(order, line string) string {
	return "[Unit]\nDefaultDependencies=no\n" + order + "\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c '" + line + "'\n[Install]\nWantedBy=multi-user.target\n"
}

// TestBoot: at a start of the node the last good revision is in force before the network and
// the containers are there, without a server. Boot files that an unconfirmed apply has written are as
// before it.
func TestBoot(t *testing.T) {
	n := newNode(t)
	n.configure()
	const look = "ip netns exec web-1 cat /proc/sys/net/netfilter/nf_conntrack_udp_timeout >/var/lib/seen-by-"
	n.Write("/etc/systemd/system/namespaces.service", oneshot("Before=nfsync-boot.service", "ip netns add web-1"), 0o644)
	n.Write("/etc/systemd/system/network.service", oneshot("After=network-pre.target", look+"network"), 0o644)
	n.Write("/etc/systemd/system/docker.service", oneshot("", look+"docker"), 0o644)
	n.Must("systemctl", "daemon-reload")
	n.Must("systemctl", "enable", "nfsync-boot.service", "namespaces.service", "network.service", "docker.service")
	n.Must("nfsync", "agent", "--once")

	// The value that the node has already: only its boot file is changed.
	now := strings.TrimSpace(n.Must("cat", "/proc/sys/net/netfilter/nf_conntrack_expect_max"))
	n.Write("/srv/other/node.yaml", "apiVersion: nfsync.dev/v1alpha1\nkind: NodePolicy\nmetadata: {name: node}\nspec: {conntrack: {expectMax: "+now+"}}\n", 0o644)
	n.Must("nfsync", "apply", "/srv/other", "--yes", "--confirm-within", "1h")
	if !strings.Contains(n.Read("/etc/sysctl.d/90-nfsync.conf"), "expect_max") {
		t.Fatal("the apply has not written the boot file")
	}

	n.Must("rm", "-r", "/srv/policies.git")
	n.Restart()
	for _, who := range []string{"network", "docker"} {
		if seen := strings.TrimSpace(n.Read("/var/lib/seen-by-" + who)); seen != "41" {
			t.Errorf("%s.service saw %q\n%s", who, seen, n.journal("nfsync-boot.service"))
		}
	}
	if left := n.Read("/etc/sysctl.d/90-nfsync.conf"); strings.Contains(left, "expect_max") {
		t.Errorf("what nobody has confirmed is still there: %s\n%s", left, n.journal("nfsync-boot.service"))
	}
	if state := n.show("nfsync-boot.service", "SubState"); state != "exited" {
		t.Errorf("it is %s", state)
	}
}

// TestBootUnconfirmedOnly: without a last good revision an unconfirmed apply is taken back all the same.
func TestBootUnconfirmedOnly(t *testing.T) {
	n := newNode(t)
	n.Must("systemctl", "enable", "nfsync-boot.service")
	now := strings.TrimSpace(n.Must("cat", "/proc/sys/net/netfilter/nf_conntrack_expect_max"))
	n.Write("/srv/other/node.yaml", "apiVersion: nfsync.dev/v1alpha1\nkind: NodePolicy\nmetadata: {name: node}\nspec: {conntrack: {expectMax: "+now+"}}\n", 0o644)
	n.Must("nfsync", "apply", "/srv/other", "--yes", "--confirm-within", "1h", "--runtime", "netns")
	n.Restart()
	if left := n.Read("/etc/sysctl.d/90-nfsync.conf"); strings.Contains(left, "expect_max") {
		t.Errorf("what nobody has confirmed is still there: %s\n%s", left, n.journal("nfsync-boot.service"))
	}
}

// TestBootFails: what waits for the unit is started although it fails.
func TestBootFails(t *testing.T) {
	n := newNode(t)
	n.configure()
	n.Must("nfsync", "agent", "--once")
	n.Write("/var/lib/nfsync/lastgood", "damaged", 0o600)
	n.Write("/etc/systemd/system/docker.service", oneshot("Wants=nfsync-boot.service", "true"), 0o644)
	n.Must("systemctl", "daemon-reload")
	n.Must("systemctl", "start", "docker.service")
	if boot, next := n.show("nfsync-boot.service", "ActiveState"), n.show("docker.service", "ActiveState"); boot != "failed" || next != "active" {
		t.Errorf("nfsync-boot is %s, docker is %s", boot, next)
	}
	if said := n.journal("nfsync-boot.service", "-p", "err"); !strings.Contains(said, "lastgood") {
		t.Errorf("the journal does not say why: %s", n.journal("nfsync-boot.service"))
	}
}

// TestGenerator: on a node with Virtuozzo there is no sandbox, which its containers would inherit.
// Without it there is one, that an administrator can take away.
func TestGenerator(t *testing.T) {
	n := newNode(t)
	const sandbox = "50-sandbox.conf"
	dropins := func() string {
		n.Must("systemctl", "daemon-reload")
		return n.show("nfsync.service", "DropInPaths")
	}
	if list := dropins(); !strings.Contains(list, sandbox) || strings.Contains(list, "notify-reload") {
		t.Errorf("systemd 252 has %s", list)
	}
	n.Write("/usr/sbin/vzctl", "#!/bin/sh\n", 0o755)
	if list := dropins(); strings.Contains(list, sandbox) {
		t.Errorf("with Virtuozzo there is %s", list)
	}
	for _, p := range []string{"CapabilityBoundingSet", "SystemCallFilter", "PrivateTmp", "ProtectSystem", "NoNewPrivileges", "Nice", "OOMScoreAdjust"} {
		if ours, of := n.show("nfsync.service", p), n.show("rescue.service", p); ours != of {
			t.Errorf("a container would inherit %s=%s", p, ours)
		}
	}
	n.Must("rm", "/usr/sbin/vzctl")
	n.Must("mkdir", "-p", "/etc/systemd/system/nfsync.service.d")
	n.Must("ln", "-s", "/dev/null", "/etc/systemd/system/nfsync.service.d/"+sandbox)
	if n.Must("systemctl", "daemon-reload"); n.show("nfsync.service", "ProtectSystem") != "no" {
		t.Error("the sandbox cannot be taken away")
	}

	// systemd 253 and later wait for the end of a reload.
	n.Write("/usr/local/bin/systemctl", "#!/bin/sh\necho 'systemd 257 (257.8)'\n", 0o755)
	n.Must("env", "PATH=/usr/local/bin:/usr/bin:/bin", "/usr/lib/systemd/system-generators/nfsync-generator", "/tmp/generated")
	if list := n.Must("ls", "/tmp/generated/nfsync.service.d"); !strings.Contains(list, "notify-reload") || !strings.Contains(list, sandbox) {
		t.Errorf("systemd 257 has %s", list)
	}
	n.Write("/usr/local/bin/systemctl", "#!/bin/sh\necho 'systemd 219'\n", 0o755)
	n.Must("env", "PATH=/usr/local/bin:/usr/bin:/bin", "/usr/lib/systemd/system-generators/nfsync-generator", "/tmp/older")
	if _, err := n.Run("ls", "/tmp/older"); err == nil {
		t.Error("systemd 219 has drop-ins")
	}
}

// TestVerify: systemd-analyze has nothing to say about the units.
func TestVerify(t *testing.T) {
	n := newNode(t)
	if said, err := n.Run("systemd-analyze", "verify", "--man=no", "nfsync.service", "nfsync-boot.service"); err != nil || said != "" {
		t.Errorf("%v\n%s", err, said)
	}
	n.Copy("sandbox.conf", "/etc/systemd/system/nfsync.service.d/50-sandbox.conf", 0o644) // it runs no generators
	const document = "../../docs/systemd.md"
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	said, _ := n.Run("systemd-analyze", "security", "--offline=yes", "--no-pager", "nfsync.service")
	level := exposure.FindStringSubmatch(said)
	documented := regexp.MustCompile(`exposure level of ([0-9.]+) `).FindStringSubmatch(string(text))
	if level == nil || documented == nil || number(level[1]) > number(documented[1]) {
		t.Errorf("%s says %q of the exposure level %q\n%s", document, documented, level, said)
	}
}

// exposure is the total of systemd-analyze security.
var exposure = regexp.MustCompile(`Overall exposure level for nfsync.service: ([0-9.]+) `)

func number(text string) float64 {
	n, _ := strconv.ParseFloat(text, 64)
	return n
}
