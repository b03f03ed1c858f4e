package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// buildCoordinator builds the program nfsync-coordinator.
func buildCoordinator(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "nfsync-coordinator")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "../nfsync-coordinator").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// realFleet is a coordinator with its server, a repository behind a server, and nodes with agents: all of them processes of
// their own.
type realFleet struct {
	*agentNode        // the repository is its own, and the coordinator runs as its agent
	address    string // of the server
	key        string // that the coordinator signs with
	reader     *fleet.Reader
	nodes      []*agentNode
}

func newRealFleet(t *testing.T, coordinator string, nodes int) *realFleet {
	t.Helper()
	loopback(t)
	f := &realFleet{agentNode: newAgentNode(t)}
	f.program = coordinator
	handler, err := gitHandler(f.dir)
	f.check(err)
	git := httptest.NewServer(handler)
	t.Cleanup(git.Close)
	f.url = git.URL + "/repo.git"
	free, err := net.Listen("tcp", "127.0.0.1:0")
	f.check(err)
	f.address = free.Addr().String()
	f.check(free.Close())
	f.write("coordinator.yaml", fmt.Sprintf("apiVersion: nfsync.dev/v1alpha1\nkind: CoordinatorConfig\nname: coordinator-1\ndirectory: %s\nlisten: none\nsource:\n  urls: [%s]\n  branch: main\n  interval: 1s\nengine: {listen: %q}\n",
		f.path("coordinator"), f.url, f.address))
	f.serve()
	t.Cleanup(f.endCoordinator)
	operator := f.enroll("--operator", "ann")
	f.reader, err = fleet.OpenReader(t.Context(), fleet.Config{Servers: []string{"nats://" + f.address}, CredentialsFile: operator, Channel: nf.DefaultChannel, CoordinatorKey: f.key,
		Intervals: fleet.Intervals{Reconnect: 100 * time.Millisecond, Jitter: 100 * time.Millisecond, Answer: time.Minute}})
	f.check(err)
	t.Cleanup(f.reader.Close)
	for i := range nodes {
		f.addNode(i)
	}
	for _, n := range f.nodes {
		n.runConfigured()
	}
	f.await("all nodes are heard of", func() bool { return len(f.list()) == nodes })
	return f
}

// serve starts the coordinator, and waits for its server.
func (f *realFleet) serve() {
	f.Helper()
	f.run("serve", "--config", f.path("coordinator.yaml"))
	f.await("the server answers", func() bool {
		c, err := net.Dial("tcp", f.address)
		if err == nil {
			err = c.Close()
		}
		return err == nil
	})
}

// endCoordinator ends the coordinator in order, if it runs.
func (f *realFleet) endCoordinator() {
	f.Helper()
	if f.agent == nil {
		return
	}
	if state := f.stop(syscall.SIGTERM); state.ExitCode() != exitOK {
		f.fail("the coordinator ended with %d", state.ExitCode())
	}
}

// enroll writes the credentials of a member.
func (f *realFleet) enroll(args ...string) (file string) {
	f.Helper()
	file = f.path(args[len(args)-1] + ".creds")
	out, err := exec.Command(f.program, append([]string{"enroll", "--config", f.path("coordinator.yaml"), "--out", file}, args...)...).CombinedOutput()
	if err != nil {
		f.Fatalf("enroll %v: %v: %s", args, err, out)
	}
	if key := regexp.MustCompile(`(?:coordinatorKey|coordinator's key): (\S+)`).FindSubmatch(out); key == nil {
		f.Fatalf("enroll %v names no key: %s", args, out)
	} else {
		f.key = string(key[1])
	}
	return file
}

// addNode makes a node with two containers. Every third one is an edge node.
func (f *realFleet) addNode(i int) {
	f.Helper()
	n := newAgentNode(f.TB)
	n.add("web-1", "web-2")
	name, role := fmt.Sprintf("hn-%d", i), "db"
	if i%3 == 0 {
		role = "edge"
	}
	credentials := f.enroll(name)
	n.flags = []string{"--node", name, "--label", "role=" + role}
	n.env = []string{hurryVariable + "=1"}
	n.check(os.MkdirAll(n.path("etc"), 0o700))
	n.write("etc/agent.yaml", fmt.Sprintf("apiVersion: nfsync.dev/v1alpha1\nkind: AgentConfig\nlisten: none\ndrift: {interval: 30s}\nsource: {urls: [%s], branch: main, interval: 30s}\nfleet: {servers: [\"nats://%s\"], credentialsFile: %s, coordinatorKey: %s}\n",
		f.url, f.address, credentials, f.key))
	f.nodes = append(f.nodes, n)
}

// command is nfsync as an operator runs it.
func (f *realFleet) command(args ...string) *exec.Cmd {
	cmd := exec.Command("nfsync", append(args, "--config", "none")...)
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "NFSYNC_FLEET_SERVERS=nats://"+f.address, "NFSYNC_FLEET_CREDENTIALS="+f.path("ann.creds"), "NFSYNC_FLEET_COORDINATOR_KEY="+f.key)
	return cmd
}

// fleet runs a verb of nfsync fleet, and returns its exit code and output.
func (f *realFleet) fleet(args ...string) (code int, out string) {
	f.Helper()
	var text bytes.Buffer
	cmd := f.command(append([]string{"fleet"}, args...)...)
	cmd.Stdout, cmd.Stderr = &text, &text
	if err := cmd.Run(); err != nil {
		if _, exited := errors.AsType[*exec.ExitError](err); !exited {
			f.Fatal(err)
		}
	}
	return cmd.ProcessState.ExitCode(), text.String()
}

// expect runs a verb, and fails unless it ends with the code and writes something that the expressions match.
func (f *realFleet) expect(code int, line string, expressions ...string) {
	f.Helper()
	got, out := f.fleet(strings.Fields(line)...)
	for _, e := range expressions {
		if !regexp.MustCompile("(?m)" + e).MatchString(out) {
			f.fail("%s: nothing matches %s in\n%s", line, e, out)
		}
	}
	if got != code {
		f.fail("%s: exit code %d, want %d\n%s", line, got, code, out)
	}
}

// rollout returns the roll-out document; the zero value while the fleet cannot be reached.
func (f *realFleet) rollout() nf.RolloutDocument {
	f.Helper()
	doc, err := f.reader.Rollout(f.TB.Context())
	if err != nil {
		return nf.RolloutDocument{}
	}
	return doc
}

// list returns what all nodes say; nothing while the fleet cannot be reached.
func (f *realFleet) list() map[string]nf.HeardNode {
	f.Helper()
	nodes, _, err := f.reader.Nodes(f.TB.Context())
	all := map[string]nf.HeardNode{}
	for _, n := range nodes {
		all[n.Node] = n
	}
	if err != nil {
		clear(all)
	}
	return all
}

// await waits until a condition holds. It looks less often than an agentNode, as there are many of these.
func (f *realFleet) await(what string, holds func() bool) {
	f.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * patience); !holds(); <-tick.C {
		if time.Now().After(end) {
			_, out := f.fleet("rollout")
			f.fail("%s: not within %s\n%s", what, 2*patience, out)
		}
	}
}

// untilState waits for a state of the roll-out of a revision.
func (f *realFleet) untilState(revision string, state nf.RolloutState) (doc nf.RolloutDocument) {
	f.Helper()
	f.untilDocument(fmt.Sprintf("%s of %.12s", state, revision), func(d nf.RolloutDocument) bool {
		doc = d
		return d.Revision == revision && d.State == state
	})
	return doc
}

// untilDocument waits for a document.
func (f *realFleet) untilDocument(what string, is func(nf.RolloutDocument) bool) {
	f.Helper()
	f.await(what, func() bool { return is(f.rollout()) })
}

// with returns how many nodes have a value in both of their containers.
func (f *realFleet) with(seconds int) (list []*agentNode) {
	f.Helper()
	for _, n := range f.nodes {
		if want := fmt.Sprint(seconds); n.udp("web-1") == want && n.udp("web-2") == want {
			list = append(list, n)
		}
	}
	return list
}

// rolloutPlan is a Rollout document.
func rolloutPlan(more string) string {
	return "---\napiVersion: nfsync.dev/v1alpha1\nkind: Rollout\nmetadata: {name: quick}\nspec:\n  groups:\n    - {name: edge, labels: {role: edge}}\n  soak: 1s\n" + more
}
