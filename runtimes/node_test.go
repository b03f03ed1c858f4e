//go:build runtimes

package runtimes_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/packaging/systemdtest"
)

const (
	// image is the name of the image of all containers, busybox alone.
	image = "bb"
	// imageFile is its root file system on a node, an archive.
	imageFile = "/srv/image.tar"
)

// forever is a program that does nothing, for the containers. Since it is the first process of its PID
// namespace and handles no signal, only SIGKILL ends it.
var forever = []string{"sleep", "1000000"}

// patience is how long a test waits for what takes a moment, on a busy machine.
const patience = time.Minute

var (
	program string // nfsync
	layer   string // the files of the runtimes
	archive string // imageFile on this machine
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "nfsync-runtimes")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "nfsync")
		build := exec.Command("go", "build", "-o", program, "nfsync.dev/nfsync/cmd/nfsync")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		output(build)
		runtimes := output(exec.Command("../scripts/runtimes-root.sh"))
		layer, archive = filepath.Join(runtimes, "layer"), filepath.Join(runtimes, "image.tar")
		return m.Run()
	}())
}

// output runs a program of this machine and returns what it prints, without the end of the line.
func output(cmd *exec.Cmd) string {
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		panic(fmt.Sprintf("%s: %v\n%s", cmd, err, out))
	}
	return trimmed(out)
}

// node is a node with Debian's container runtimes and nfsync. No runtime has been started there.
type node struct {
	*systemdtest.Node
	t testing.TB
}

func newNode(t testing.TB) *node {
	t.Helper()
	n := &node{systemdtest.New(t, systemdtest.Layer(layer), systemdtest.OwnNetwork()), t}
	n.Copy(program, "/usr/bin/nfsync", 0o755)
	n.Copy(archive, imageFile, 0o644)
	// In a user namespace a procfs is mounted only where the kernel finds one without mounts on it.
	n.script("mkdir -m 700 /run/proc; mount -t proc proc /run/proc")
	return n
}

// line runs a program, which must succeed, and returns what it prints on standard output, without the
// end of the last line.
func (n *node) line(name string, args ...string) string {
	n.t.Helper()
	out, err := n.Command(name, args...).Output()
	if err != nil {
		n.t.Fatalf("%s %s: %s", name, strings.Join(args, " "), failure(err))
	}
	return trimmed(out)
}

// trimmed returns output without the end of the last line.
func trimmed(out []byte) string { return strings.TrimSpace(string(out)) }

// failure returns the error of a program with what it has printed about it.
func failure(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Sprintf("%v\n%s", err, exit.Stderr)
	}
	return err.Error()
}

// script runs a shell script on the node, which must succeed.
func (n *node) script(text string) string {
	n.t.Helper()
	return n.Must("sh", "-euc", text)
}

// eventually waits until a condition holds.
func (n *node) eventually(what string, holds func() bool) {
	n.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); <-time.After(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			n.t.Fatalf("in vain: %s", what)
		}
	}
}

// active reports whether a unit runs.
func (n *node) active(unit string) bool {
	_, err := n.Run("systemctl", "is-active", unit)
	return err == nil
}

// nfsync runs nfsync, which must succeed. The node's network namespace is that of its first process:
// it is not the initial one.
func (n *node) nfsync(args ...string) string {
	n.t.Helper()
	return n.Must("nfsync", append(args, "--node-netns", "/proc/1/ns/net")...)
}

// listed is a container as a snapshot has it.
type listed struct {
	Runtime       string
	ID            string
	Name          string
	Aliases       []string
	State         string
	Instance      string
	Labels        map[string]string
	LabelsUnknown string
	Unobservable  string
}

// String returns what tests expect of a container in one line: its runtime, name and state, then its
// aliases and labels, then why something is not known.
func (c listed) String() string {
	text := c.Runtime + " " + c.Name + " " + c.State
	for _, alias := range c.Aliases {
		text += " alias:" + alias
	}
	for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
		text += " " + key + "=" + c.Labels[key]
	}
	if c.LabelsUnknown != "" {
		text += " labels unknown: " + c.LabelsUnknown
	}
	if c.Unobservable != "" {
		text += " unobservable: " + c.Unobservable
	}
	return text
}

// snapshot is what tests read of a NodeSnapshot.
type snapshot struct {
	Containers []listed
	Warnings   []struct{ Code, Message string }
}

// snapshot takes a snapshot of the node.
func (n *node) snapshot() (s snapshot) {
	n.t.Helper()
	if err := json.Unmarshal([]byte(n.nfsync("snapshot", "-o", "json")), &s); err != nil {
		n.t.Fatal(err)
	}
	return s
}

// expect takes a snapshot and compares its containers, in any order, with those that are expected after
// a step. It returns them by name.
func (n *node) expect(step string, want ...string) map[string]listed {
	n.t.Helper()
	named := map[string]listed{}
	var got []string
	for _, c := range n.snapshot().Containers {
		named[c.Name] = c
		got = append(got, c.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		n.t.Errorf("%s: the containers are\n\t%s\nwant\n\t%s", step, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	return named
}

// expectWarning compares the warnings of a snapshot that have a code with a text that the only one of
// them must have; empty: there must be none.
func (n *node) expectWarning(step, code, want string) {
	n.t.Helper()
	var got []string
	for _, w := range n.snapshot().Warnings {
		if w.Code == code {
			got = append(got, w.Message)
		}
	}
	if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.Contains(got[0], want)) {
		n.t.Errorf("%s: the warnings %s are %q, want %q", step, code, got, want)
	}
}

// expectSame requires that two snapshots have the same container, and the same run of it.
func (n *node) expectSame(step string, before, after listed) {
	n.t.Helper()
	if before.ID != after.ID || before.Instance != after.Instance || before.Instance == "" {
		n.t.Errorf("%s: %s with the instance %s has become %s with the instance %s", step, before.ID, before.Instance, after.ID, after.Instance)
	}
}

// expectAnother requires that two snapshots have the same container, and different runs of it.
func (n *node) expectAnother(step string, before, after listed) {
	n.t.Helper()
	if before.ID != after.ID || before.Instance == after.Instance || before.Instance == "" || after.Instance == "" {
		n.t.Errorf("%s: %s with the instance %s has become %s with the instance %s: the instance must be another one", step, before.ID, before.Instance, after.ID, after.Instance)
	}
}

// expectNamespaces requires that the processes of each group are in one network namespace, and those of
// different groups in different ones. Process 1 is in the node's.
func (n *node) expectNamespaces(groups ...[]string) {
	n.t.Helper()
	seen := map[string]bool{}
	for _, group := range groups {
		first := n.line("readlink", "/proc/"+group[0]+"/ns/net")
		for _, pid := range group[1:] {
			if got := n.line("readlink", "/proc/"+pid+"/ns/net"); got != first {
				n.t.Errorf("process %s is in %s, and process %s in %s", pid, got, group[0], first)
			}
		}
		if seen[first] || !slices.Contains(group, "1") && first == n.line("readlink", "/proc/1/ns/net") {
			n.t.Errorf("process %s is in %s, as others are, or the node", group[0], first)
		}
		seen[first] = true
	}
}

// udpTimeout is a setting that every network namespace has, in seconds; see
// Documentation/networking/nf_conntrack-sysctl.rst of the kernel.
const udpTimeout = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout"

// policy returns a policy that sets udpTimeout of the containers that a selector matches.
func policy(name, selector string, seconds int) string {
	return fmt.Sprintf("apiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata: {name: %s}\nspec:\n  containers: %s\n  conntrack: {timeouts: {udp: %d}}\n", name, selector, seconds)
}

// udpTimeoutOf returns the value of the setting that a process sees.
func (n *node) udpTimeoutOf(pid string) string {
	n.t.Helper()
	return n.line("nsenter", "-t", pid, "-n", "cat", udpTimeout)
}
