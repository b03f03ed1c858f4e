package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/fleet/fleettest"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
)

const (
	oldRevision = "1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e"
	newRevision = "3f2a9c41d7be0c6a5f8e1d2b4a6978c0e1f20354"
)

// testFleet is a store with nodes and a roll-out.
type testFleet struct {
	testing.TB
	*fleettest.Server
	nc  *nats.Conn
	env []string

	mu    sync.Mutex
	doc   nf.RolloutDocument
	nodes []nf.HeardNode
	asked []nf.FleetAsk
}

func newTestFleet(t testing.TB) *testFleet {
	t.Helper()
	loopback(t)
	f := &testFleet{TB: t, Server: fleettest.Start(t)}
	f.nc = f.Connect()
	f.env = []string{"NFSYNC_FLEET_SERVERS=" + f.URL(), "NFSYNC_FLEET_COORDINATOR_KEY=" + f.CoordinatorKey()}
	return f
}

// fleetNode is a node of this name. Every fifth one is an edge node.
func fleetNode(i int) nf.FleetNode {
	role := "db"
	if i%5 == 0 {
		role = "edge"
	}
	return nf.FleetNode{Node: fmt.Sprintf("hn-%d", i), Channel: nf.DefaultChannel, Labels: map[string]string{"role": role}, Version: "0.1.0", BootID: "b", Revision: oldRevision,
		Conditions: map[nf.ConditionType]nf.ConditionStatus{nf.Ready: nf.ConditionTrue}, Containers: i}
}

// put puts what nodes say.
func (f *testFleet) put(nodes ...nf.FleetNode) {
	f.Helper()
	for _, n := range nodes {
		text, err := json.Marshal(n)
		if err == nil {
			_, err = f.nc.Request(fleet.SubjectStatus+n.Node, text, patience)
		}
		if err != nil {
			f.Fatal(err)
		}
		f.nodes = append(f.nodes, nf.HeardNode{FleetNode: n, Heard: time.Now()})
	}
}

// begin begins a roll-out to the nodes.
func (f *testFleet) begin(plan nf.RolloutPlan) {
	f.Helper()
	now := time.Now().UTC()
	was := nf.RolloutDocument{APIVersion: nf.APIVersion, Kind: nf.KindRolloutDocument, Channel: nf.DefaultChannel, Coordinator: "coord-1", Term: 1}
	f.doc = rollout.Begin(was, newRevision, plan, "seed", f.nodes, now)
	f.doc.Channel, f.doc.Previous, f.doc.Coordinator = nf.DefaultChannel, oldRevision, "coord-1"
	f.doc, _ = rollout.Decide(f.doc, rollout.Heard{Nodes: f.nodes}, now)
	f.PutRollout(f.doc)
}

// coordinate answers what operators ask, as a coordinator does.
func (f *testFleet) coordinate() {
	f.Helper()
	_, err := f.nc.Subscribe(fleet.SubjectAsk+nf.DefaultChannel, func(m *nats.Msg) {
		f.mu.Lock()
		defer f.mu.Unlock()
		var ask nf.FleetAsk
		err := json.Unmarshal(m.Data, &ask)
		f.asked = append(f.asked, ask)
		next := f.doc
		if err == nil {
			next, err = rollout.Obey(f.doc, ask, rollout.Heard{Nodes: f.nodes}, time.Now().UTC())
		}
		answer := nf.FleetAnswer{Document: &next}
		if err != nil {
			answer.Error = err.Error()
		} else {
			f.doc = next
			f.PutRollout(next)
		}
		text, err := json.Marshal(answer)
		if err == nil {
			err = m.Respond(text)
		}
		if err != nil {
			f.Error(err)
		}
	})
	if err != nil {
		f.Fatal(err)
	}
}

// last returns what was asked last.
func (f *testFleet) lastAsked() nf.FleetAsk {
	f.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.asked) == 0 {
		f.Fatal("nothing was asked")
	}
	return f.asked[len(f.asked)-1]
}

// command is nfsync with the fleet in its environment.
func (f *testFleet) command(args ...string) *exec.Cmd {
	cmd := exec.Command("nfsync", args...)
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "SUDO_USER=ada")
	cmd.Env = append(cmd.Env, f.env...)
	return cmd
}

// verb runs nfsync, and returns its exit code and what it has written.
func (f *testFleet) verb(args ...string) (code int, out, said string) {
	f.Helper()
	var stdout, stderr bytes.Buffer
	cmd := f.command(args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if _, exited := errors.AsType[*exec.ExitError](err); !exited {
			f.Fatal(err)
		}
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// expect runs nfsync, and fails unless it ends with the code and writes something that the expressions match.
func (f *testFleet) expect(code int, line string, expressions ...string) {
	f.Helper()
	got, out, said := f.verb(strings.Fields(line)...)
	if got != code {
		f.Errorf("%s: exit code %d, want %d", line, got, code)
	}
	for _, e := range expressions {
		if !regexp.MustCompile("(?m)" + e).MatchString(out + said) {
			f.Errorf("%s: nothing matches %s", line, e)
		}
	}
	if f.Failed() {
		f.Fatalf("%s\n%s%s", line, out, said)
	}
}

// fifty returns a fleet of 50 nodes that know of a roll-out.
func fifty(t testing.TB, plan nf.RolloutPlan) *testFleet {
	t.Helper()
	f := newTestFleet(t)
	for i := range 50 {
		f.put(fleetNode(i))
	}
	f.begin(plan)
	return f
}

// groupedPlan has a group of edge nodes.
func groupedPlan() nf.RolloutPlan {
	plan := nf.DefaultRolloutPlan()
	plan.Groups = []nf.PlanGroup{{Name: "edge", Match: map[string]string{"role": "edge"}}}
	plan.Canaries = 3
	return plan
}

// progressed returns a node that is so far with the roll-out.
func (f *testFleet) progressed(i int, state nf.ProgressState) nf.FleetNode {
	n := fleetNode(i)
	n.Generation = f.doc.Generation
	n.Progress = &nf.NodeProgress{Generation: f.doc.Generation, Revision: newRevision, State: state, Reason: "why " + string(state), At: time.Now().UTC()}
	if state.HasEnded() {
		n.Revision = newRevision
	}
	return n
}

// TestFleetShows: what the verbs say of 50 nodes and a roll-out.
func TestFleetShows(t *testing.T) {
	t.Parallel()
	f := fifty(t, groupedPlan())
	f.put(f.progressed(0, nf.ProgressApplied), f.progressed(5, nf.ProgressBegun), f.progressed(1, nf.ProgressFailed))
	f.Put(fleet.SubjectStatus+"hn-60", []byte(`{"node":"hn-61"}`))
	other := fleetNode(70)
	other.Channel = "test"
	f.put(other)

	f.expect(exitOK, "fleet status", "^Fleet main: 51 nodes", "^ +1b2c3d4e5f60 +48 ", "^ +3f2a9c41d7be +2 .*rolled out$", "^ +edge +.* 10 ", "^ +Ready +50 ", "hn-60 .*hn-61")
	f.expect(exitOK, "fleet nodes", "^hn-49 +yes +1b2c3d4e5f60 ", "^hn-1 +yes +3f2a9c41d7be +failed +other")
	f.expect(exitOK, "fleet nodes --label role=edge --revision 3f2a9c", "^hn-0 +yes")
	f.expect(exitOK, "fleet nodes --group edge", "^hn-45 ")
	f.expect(exitOK, "fleet nodes --silent", "^No node of the fleet is so")
	f.expect(exitOK, "fleet show hn-5", "^Node hn-5 is ready", "^Roll-out +begun with 3f2a9c41d7be", "^Turn +group edge", "^Snapshot +it has put none")
	f.expect(exitError, "fleet show hn-70", "nothing was heard of a node hn-70 on the channel main", "nfsync fleet nodes lists")
	f.expect(exitOK, "fleet show hn-70 --channel test", "^Node hn-70 is ready")
	f.expect(exitError, "fleet show hn-60", "what the node hn-60 has put cannot be read")
	f.expect(exitOK, "fleet rollout", "^Roll-out of 3f2a9c41d7be on main is rolling: step 1 of 6 .canaries.", "^Waits ", "^Next ", "^ +hn-1 +.*why failed", "^ +hn-5 +edge", "nfsync fleet rollout pause")
	f.expect(exitOK, "__complete fleet show hn-4", "^hn-49$")
	f.expect(exitOK, "__complete fleet nodes --group e", "^edge$")
	f.expect(exitOK, "__complete fleet withdraw 3", "^3f2a9c41d7be[0-9a-f]*\tin force on 2$")
	f.expect(exitOK, "__complete fleet release h --servers nats://127.0.0.1:1", "^:4$")
	f.expect(exitOK, "fleet status -o json", `"kind": "FleetStatus"`)
	f.expect(exitOK, "fleet rollout --quiet", "^Roll-out of")
	if _, out, _ := f.verb("fleet", "nodes"); strings.Contains(out, "hn-70") || strings.Count(out, "\nhn-") != 50 {
		t.Errorf("%d nodes:\n%s", strings.Count(out, "\nhn-"), out)
	}
}

// TestFleetHalted: scripts see a halted roll-out by the exit code.
func TestFleetHalted(t *testing.T) {
	t.Parallel()
	f := fifty(t, groupedPlan())
	f.doc.State, f.doc.Reason, f.doc.Generation = nf.RolloutHalted, "too many", f.doc.Generation+1
	f.PutRollout(f.doc)
	f.expect(exitRefused, "fleet status", "halted", "too many")
	f.expect(exitRefused, "fleet rollout", "is halted", "nfsync fleet withdraw 3f2a9c41d7be")
	f.expect(exitOK, "fleet nodes", "^hn-1 ")
}

// TestFleetEmpty: a store without anything is no error.
func TestFleetEmpty(t *testing.T) {
	t.Parallel()
	f := newTestFleet(t)
	f.expect(exitOK, "fleet status", "^Fleet main: 0 nodes", "^Roll-out +none so far")
	f.expect(exitOK, "fleet nodes", "^No node")
	f.expect(exitOK, "fleet rollout", "^Nothing was rolled out on main so far")
	f.expect(exitError, "fleet show hn-1", "nothing was heard of a node hn-1")
	f.expect(exitError, "fleet nodes --group edge", "nothing was rolled out so far")
}

// TestFleetForged: a document that the coordinator has not signed is none.
func TestFleetForged(t *testing.T) {
	t.Parallel()
	f := fifty(t, groupedPlan())
	f.expect(exitOK, "fleet rollout", "is rolling")
	f.env = append(f.env, "NFSYNC_FLEET_COORDINATOR_KEY="+fleettest.Start(t).CoordinatorKey())
	f.expect(exitError, "fleet rollout", "cannot read the roll-out: not the coordinator's")
	f.expect(exitOK, "fleet status", "^Roll-out +not the coordinator's", "^Fleet main: 50 nodes")
	f.expect(exitError, "fleet rollout resume", "cannot read the roll-out: not the coordinator's")
}

// TestFleetAsks: each ask reaches the coordinator, and what it answers is said.
func TestFleetAsks(t *testing.T) {
	t.Parallel()
	plan := groupedPlan()
	f := fifty(t, plan)
	f.expect(exitError, "fleet rollout pause", "no coordinator answers", "systemctl status nfsync-coordinator")
	f.coordinate()
	began := f.doc.Generation

	f.expect(exitOK, "fleet rollout pause --reason incident", "the roll-out of "+newRevision+" is paused")
	if got, want := f.lastAsked(), (nf.FleetAsk{Verb: nf.AskPause, Reason: "incident", By: "ada"}); got != want {
		t.Errorf("asked %+v, not %+v", got, want)
	}
	f.expect(exitOK, "fleet rollout", "is paused", "incident", "nfsync fleet rollout resume")
	f.expect(exitError, "fleet rollout approve", "the coordinator refuses it: cannot approve")
	f.expect(exitOK, "fleet rollout resume -o json", `"state": "rolling"`, "goes on")
	if got := f.lastAsked(); got.Generation != began+1 {
		t.Errorf("resume was asked of generation %d, not of the one that was seen, %d", got.Generation, began+1)
	}
	f.expect(exitOK, "fleet wake", "has woken the nodes")
	f.expect(exitOK, "fleet release hn-7", "the node hn-7 has no grant")
	f.expect(exitOK, "fleet rollout halt", "is halted")
	f.expect(exitRefused, "fleet rollout", "is halted")

	f.expect(exitError, "fleet rollout abort", "not a terminal: use --yes")
	f.expect(exitError, "fleet withdraw 3f2a9c41", "not a terminal: use --yes")
	f.expect(exitError, "fleet withdraw abcdef --yes", "no node has a revision that begins with abcdef")
	f.expect(exitOK, "fleet withdraw 1b2c --yes", "the revision "+oldRevision+" is withdrawn")
	f.expect(exitOK, "fleet rollout abort --yes --reason wrong", "is aborted")
	f.expect(exitOK, "fleet rollout", "is aborted", "wrong", "^Withdrawn +3f2a9c41d7be, 1b2c3d4e5f60")
	f.expect(exitError, "fleet rollout resume", "the coordinator refuses it")
}

// TestFleetQuestion: on a terminal abort and withdraw say what they do, and ask.
func TestFleetQuestion(t *testing.T) {
	t.Parallel()
	f := fifty(t, groupedPlan())
	f.coordinate()
	for _, test := range []struct {
		args   []string
		answer string
		code   int
		said   []string
	}{
		{[]string{"fleet", "withdraw", "1b2c"}, "n\n", exitError, []string{"50 nodes have it, and take " + newRevision, "not confirmed: the coordinator was not asked"}},
		{[]string{"fleet", "rollout", "abort"}, "\n", exitError, []string{"0 nodes have it", "not confirmed"}},
		{[]string{"fleet", "withdraw", "1b2c"}, "y\n", exitOK, []string{"is withdrawn"}},
		{[]string{"fleet", "rollout", "abort"}, "yes\n", exitOK, []string{"is aborted"}},
	} {
		said, code := onTerminal(t, f.command(test.args...), func() string { return test.answer })
		for _, want := range test.said {
			if !strings.Contains(said, want) {
				t.Errorf("%v: %q is not said", test.args, want)
			}
		}
		if code != test.code || t.Failed() {
			t.Fatalf("%v: exit code %d, want %d\n%s", test.args, code, test.code, said)
		}
	}
	if len(f.asked) != 2 {
		t.Errorf("%d asks, not 2", len(f.asked))
	}
}

// TestFleetWatch: a line is written each time that something changes.
func TestFleetWatch(t *testing.T) {
	t.Parallel()
	f := fifty(t, groupedPlan())
	for _, test := range []struct {
		args        []string
		first, then string
	}{
		{[]string{"fleet", "status", "--watch"}, `  50 nodes, 50 of 50 ready  3f2a9c41d7be rolling, canaries`, `  51 nodes, 51 of 51 ready  `},
		{[]string{"fleet", "nodes", "--label", "role=edge", "--watch"}, `  10 nodes, 0 silent`, `  11 nodes, 0 silent`},
		{[]string{"fleet", "show", "hn-51", "--watch"}, "  hn-51  yes  1b2c3d4e5f60", "  hn-51  no  1b2c3d4e5f60  its disk is full"},
		{[]string{"fleet", "rollout", "--watch"}, `  3f2a9c41d7be  rolling, step 1 of 6 .canaries.  `, `  1 applied`},
	} {
		lines := watched(t, f.command(test.args...))
		lines.await(test.first)
		n := fleetNode(51)
		switch test.args[1] {
		case "show":
			n.Conditions[nf.Ready], n.Message = nf.ConditionFalse, "its disk is full"
		case "rollout":
			n = f.progressed(51, nf.ProgressApplied)
		case "nodes":
			n = fleetNode(55)
		}
		f.put(n)
		lines.await(test.then)
		lines.stop()
	}
}

// TestFleetConfiguration: on a node of a fleet its servers are known, and its credentials are not used.
func TestFleetConfiguration(t *testing.T) {
	t.Parallel()
	f := fifty(t, groupedPlan())
	config := filepath.Join(t.TempDir(), "agent.yaml")
	text := fmt.Sprintf("apiVersion: nfsync.dev/v1alpha1\nkind: AgentConfig\nsource: {urls: [https://git.example.com/p.git]}\nfleet: {servers: [%q], credentialsFile: /etc/nfsync/node.creds, coordinatorKey: %s}\n", f.URL(), f.CoordinatorKey())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f.env = nil
	f.expect(exitError, "fleet status --config none", "no fleet is named", "--servers tls://HOST:PORT or NFSYNC_FLEET_SERVERS")
	f.expect(exitError, "fleet status --config "+config, "the credentials of a node read nothing of other nodes", "nfsync-coordinator enroll --reader NAME, or --operator NAME")
	f.expect(exitError, "fleet status --config "+config+" --credentials "+config, "has no user's seed")
	f.expect(exitError, "fleet status --config none --servers nats://127.0.0.1:1", "no credentials are named", "cannot be reached")
	f.expect(exitOK, "fleet status --servers "+f.URL(), "^Fleet main: 50 nodes")
	f.expect(exitOK, "fleet rollout --servers "+f.URL(), "is rolling")
	f.coordinate()
	f.expect(exitOK, "fleet rollout pause --servers "+f.URL(), "the roll-out is not verified", "is paused")
}

// lines are those that a command writes that goes on.
type lines struct {
	*testing.T
	cmd  *exec.Cmd
	text chan string
	all  string
}

// watched starts a command.
func watched(t *testing.T, cmd *exec.Cmd) *lines {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := startBound(cmd); err != nil {
		t.Fatal(err)
	}
	l := &lines{T: t, cmd: cmd, text: make(chan string, 1000)}
	go func() {
		defer close(l.text)
		for in := bufio.NewScanner(out); in.Scan(); {
			l.text <- in.Text()
		}
	}()
	return l
}

// await waits for a line that an expression matches.
func (l *lines) await(expression string) {
	l.Helper()
	want := regexp.MustCompile(expression)
	for end := time.After(patience); ; {
		select {
		case line, ok := <-l.text:
			l.all += line + "\n"
			if !ok {
				l.Fatalf("%v has ended without %q:\n%s", l.cmd.Args, expression, l.all)
			}
			if want.MatchString(line) {
				return
			}
		case <-end:
			l.Fatalf("%v has not written %q:\n%s", l.cmd.Args, expression, l.all)
		}
	}
}

// stop ends the command as Ctrl-C does.
func (l *lines) stop() {
	l.Helper()
	if err := l.cmd.Process.Signal(os.Interrupt); err != nil {
		l.Fatal(err)
	}
	for range l.text { // until its output ends
	}
	if err := l.cmd.Wait(); err != nil {
		l.Errorf("%v: Ctrl-C ends it with %v\n%s", l.cmd.Args, err, l.all)
	}
}
