// Package systemd_test runs the units of this directory on a node with a real systemd.
package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/packaging/systemdtest"
)

// patience is how long a test waits for what takes a moment, on a busy machine.
const patience = 60 * time.Second

var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "nfsync-units")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "nfsync")
		build := exec.Command("go", "build", "-o", program, "nfsync.dev/nfsync/cmd/nfsync")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			panic(string(out))
		}
		return m.Run()
	}())
}

// node is a node on which nfsync is installed, as a package does it.
type node struct {
	*systemdtest.Node
	t *testing.T
}

// config follows a repository on the node itself, and changes named network namespaces only. The
// node has the network of this machine: nothing listens.
const config = `apiVersion: nfsync.dev/v1alpha1
kind: AgentConfig
source: {urls: [/srv/policies.git], branch: main}
runtimes: [netns]
listen: none
`

// policy sets a timeout of all named network namespaces.
func policy(udp string) string {
	return "apiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata: {name: all}\nspec: {conntrack: {timeouts: {udp: " + udp + "}}}\n"
}

func newNode(t *testing.T) node {
	t.Helper()
	n := node{systemdtest.New(t), t}
	n.Copy(program, "/usr/bin/nfsync", 0o755)
	for _, unit := range []string{"nfsync.service", "nfsync-boot.service"} {
		n.Copy(unit, "/usr/lib/systemd/system/"+unit, 0o644)
	}
	for _, conf := range []string{"sandbox.conf", "notify-reload.conf"} {
		n.Copy(conf, "/usr/lib/nfsync/systemd/"+conf, 0o644)
	}
	n.Copy("nfsync-generator", "/usr/lib/systemd/system-generators/nfsync-generator", 0o755)
	n.Must("systemctl", "daemon-reload")
	return n
}

// commit makes a commit of the policies, in a repository that is made with the first one.
func (n node) commit(text string) {
	n.t.Helper()
	n.Write("/srv/work/all.yaml", text, 0o644)
	n.Must("sh", "-euc", `cd /srv
test -d policies.git || { git init -q --bare -b main policies.git; git init -q -b main work; }
git -C work add -A
git -C work -c user.name=ada -c user.email=ada@example.com commit -q -m policies
git -C work push -q ../policies.git main`)
}

// configure makes a repository, and the configuration that names it.
func (n node) configure() {
	n.t.Helper()
	n.commit(policy("41"))
	n.Write("/etc/nfsync/agent.yaml", config, 0o600)
}

// show returns a property of a unit.
func (n node) show(unit, property string) string {
	n.t.Helper()
	return strings.TrimSpace(n.Must("systemctl", "show", "-P", property, unit))
}

// udp returns the timeout that the policies set, in a named network namespace.
func (n node) udp(namespace string) string {
	out, _ := n.Run("ip", "netns", "exec", namespace, "cat", "/proc/sys/net/netfilter/nf_conntrack_udp_timeout")
	return strings.TrimSpace(out)
}

// journal returns the lines of a unit.
func (n node) journal(unit string, args ...string) string {
	out, _ := n.Run("journalctl", append([]string{"--no-pager", "-q", "-o", "cat", "-u", unit}, args...)...)
	return out
}

// eventually waits until a condition holds.
func (n node) eventually(what string, holds func() bool) {
	n.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			status, _ := n.Run("systemctl", "status", "--no-pager", "nfsync.service", "nfsync-boot.service")
			n.t.Fatalf("it does not come true that %s\n%s\n%s", what, status, n.journal("nfsync.service"))
		}
	}
}
