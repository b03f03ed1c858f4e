//go:build packages

package packaging_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"nfsync.dev/nfsync/packaging/systemdtest"
)

// node is a node on which packages of nfsync are installed.
type node struct {
	*systemdtest.Node
	t *testing.T
}

// newNode returns a node without nfsync, on which packages may start their services.
func newNode(t *testing.T, options ...systemdtest.Option) node {
	t.Helper()
	n := node{systemdtest.New(t, options...), t}
	n.Must("rm", "-f", "/usr/sbin/policy-rc.d")       // an image of Debian may forbid it
	n.Must("rm", "-f", "/var/lib/man-db/auto-update") // the index of all manual pages takes long
	return n
}

// config follows a repository on the node itself. The node has the network of this machine: nothing
// listens, and only named network namespaces are changed.
const config = `apiVersion: nfsync.dev/v1alpha1
kind: AgentConfig
source: {urls: [/srv/policies], branch: main}
runtimes: [netns]
listen: none
`

const policy = `apiVersion: nfsync.dev/v1alpha1
kind: ContainerPolicy
metadata: {name: all}
spec: {conntrack: {timeouts: {udp: 41}}}
`

// configure makes a container, a repository with a policy for it, and the configuration.
func (n node) configure() {
	n.t.Helper()
	n.Must("ip", "netns", "add", "web-1")
	n.policies()
	n.Write("/etc/nfsync/agent.yaml", config, 0o644)
}

// policies makes a repository with a policy.
func (n node) policies() {
	n.t.Helper()
	n.Write("/srv/policies/all.yaml", policy, 0o644)
	n.Must("sh", "-euc", `cd /srv/policies
git init -q -b main
git add -A
git -c user.name=ada -c user.email=ada@example.com commit -q -m policies`)
}

// udp returns the timeout that the policy sets.
func (n node) udp() string {
	n.t.Helper()
	return strings.TrimSpace(n.Must("ip", "netns", "exec", "web-1", "cat", "/proc/sys/net/netfilter/nf_conntrack_udp_timeout"))
}

// state returns whether a unit is active and enabled.
func (n node) state(unit string) string {
	active, _ := n.Run("systemctl", "is-active", unit)
	enabled, _ := n.Run("systemctl", "is-enabled", unit)
	return strings.TrimSpace(active) + " " + strings.TrimSpace(enabled)
}

// agent returns the process and the version of the agent that runs.
func (n node) agent() (pid, version string) {
	n.t.Helper()
	pid = strings.TrimSpace(n.Must("systemctl", "show", "-P", "MainPID", "nfsync.service"))
	return pid, n.Must("/proc/"+pid+"/exe", "version")
}

// put copies a package to the node, and returns where it is.
func (n node) put(dir, name string) string {
	n.t.Helper()
	n.Copy(filepath.Join(dir, name), "/srv/"+name, 0o644)
	return "/srv/" + name
}

// want holds what a step says or shows against what it should.
func (n node) want(what, got, want string) {
	n.t.Helper()
	if !regexp.MustCompile(want).MatchString(got) {
		n.t.Errorf("%s is %q, want %q", what, got, want)
	}
}

// works checks an installed nfsync: its program, manual, completion, group and units.
func (n node) works(version string) {
	n.t.Helper()
	n.want("the version", n.Must("nfsync", "version"), "^nfsync "+regexp.QuoteMeta(version)+" ")
	n.want("the manual page", n.Must("man", "-w", "nfsync"), "^/usr/share/man/man1/nfsync.1.gz\n$")
	n.want("the manual page of a file", n.Must("man", "-w", "5", "nfsync-policies"), "^/usr/share/man/man5/nfsync-policies.5.gz\n$")
	n.want("the group", n.Must("getent", "group", "nfsync"), `^nfsync:x:\d+:\n$`)
	n.want("the mode of the state directory", n.Must("stat", "-c", "%a %U:%G", "/var/lib/nfsync"), "^700 root:root\n$")
	n.want("what bash completes", n.complete("nfsync", "rec"), `(?s)receipts.*recover`)
}

// complete returns what bash makes of the first letters of a program's command.
func (n node) complete(program, word string) string {
	n.t.Helper()
	const script = `. /usr/share/bash-completion/bash_completion
_completion_loader "$1"
COMP_WORDS=("$1" "$2") COMP_CWORD=1 COMP_LINE="$1 $2" COMP_POINT=${#COMP_LINE}
eval "$(complete -p "$1" | sed 's/.* -F \([^ ]*\) .*/\1/')"
printf '%s\n' "${COMPREPLY[@]}"`
	return n.Must("bash", "-c", script, "bash", program, word)
}
