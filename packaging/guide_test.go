//go:build packages

package packaging_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestGuide follows docs/guide.md from the installation to the removal. It changes no value of this
// machine, whose network namespace the node has.
func TestGuide(t *testing.T) {
	before := conntrackValues(t)
	if before["nf_conntrack_udp_timeout"] != "30" {
		t.Fatalf("nf_conntrack_udp_timeout of this machine is %s: the guide has the kernel's default, 30", before["nf_conntrack_udp_timeout"])
	}
	takeTurns(t)
	b := releases(t)
	n := newNode(t)
	n.Must("hostname", "hn-1")
	n.Write("/root/.gitconfig", "[user]\nname = Ops\nemail = ops@example.com\n", 0o644)
	for dir, version := range map[string]string{b.first: first, b.second: second} {
		name := "nfsync_" + strings.TrimPrefix(version, "v") + "-1_" + dpkgArchitecture(t) + ".deb"
		n.Copy(filepath.Join(dir, name), "/root/"+name, 0o644)
	}
	here := strings.NewReplacer( // what the guide has of another machine
		"262144 → 50000", before["nf_conntrack_max"]+" → 50000", "node's, 262144", "node's, "+before["nf_conntrack_max"], "amd64", dpkgArchitecture(t))
	follow(t, n.Node, "../docs/guide.md", here)
	if after := conntrackValues(t); !maps.Equal(after, before) {
		t.Errorf("the guide has changed values of this machine: %v, before it %v", after, before)
	}
}

// takeTurns waits until no other test of this kind runs on this machine: the agents of all nodes
// listen on its port.
func takeTurns(t *testing.T) {
	t.Helper()
	lock, err := os.Create(filepath.Join(os.TempDir(), "nfsync-guide.lock"))
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Close() })
}

// conntrackValues returns the conntrack values of this machine.
func conntrackValues(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("/proc/sys/net/netfilter/nf_conntrack_*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conntrack values: %v", err)
	}
	values := map[string]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if name := filepath.Base(file); err == nil && name != "nf_conntrack_count" {
			values[name] = strings.TrimSpace(string(data))
		}
	}
	return values
}
