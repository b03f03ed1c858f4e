package agent_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/state/statetest"
)

var udp = nf.TimeoutKey("udp")

// repository stands for a git repository with one branch: it answers as
// source.Fetch does.
type repository struct {
	tip     string
	parents map[string]string
	texts   map[string]string
	tag     string // asked for instead of the branch
	err     error  // what comes instead of an answer
	meet    func() // called while it is asked
}

const (
	url    = "https://example.org/policies.git"
	branch = "main"
	file   = "policies/node.yaml"
)

// commit makes a commit whose policy wants that udp timeout.
func (r *repository) commit(name, parent string, udp int) {
	r.commitText(name, parent, policy(udp))
}

func (r *repository) commitText(name, parent, text string) {
	r.parents[name], r.texts[name], r.tip = parent, text, name
}

func policy(udp int) string {
	return fmt.Sprintf("apiVersion: nfsync.dev/v1alpha1\nkind: NodePolicy\nmetadata: {name: node}\nspec:\n  conntrack: {timeouts: {udp: %d}}\n", udp)
}

func (r *repository) fetch(ctx context.Context, last []source.Position, accept string) (source.Revision, error) {
	if r.meet != nil {
		r.meet()
	}
	if err := cmp.Or(ctx.Err(), r.err); err != nil {
		return source.Revision{}, err
	}
	rev := source.Revision{Commit: r.tip, URL: url, Branch: branch, Signer: "ada", Files: []source.File{{Name: file, Data: []byte(r.texts[r.tip])}}}
	if r.tag != "" {
		rev.Branch, rev.Tag = "", r.tag
		return rev, nil
	}
	for _, p := range last {
		if p.URL == url && p.Branch == branch && r.tip != accept && !r.descends(r.tip, p.Commit) {
			return source.Revision{}, &source.RewrittenError{Branch: branch, Last: p.Commit, New: r.tip}
		}
	}
	return rev, nil
}

func (r *repository) descends(from, ancestor string) bool {
	for at := from; at != ""; at = r.parents[at] {
		if at == ancestor {
			return true
		}
	}
	return false
}

// bench is a node and the repository that it follows.
type bench struct {
	*testing.T
	repo    *repository
	machine *hosttest.Machine
	path    string
	state   *state.Dir
	in      agent.In
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, repo: &repository{parents: map[string]string{}, texts: map[string]string{}}, machine: hosttest.New(), path: t.TempDir()}
	var err error
	if b.state, err = state.OpenOn(b.path, &statetest.Disk{}); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	b.in = agent.In{Fetch: b.repo.fetch, Apply: apply.Input{Machine: b.machine, State: b.state, RunDir: t.TempDir(), Timeout: time.Second,
		Now: func() time.Time {
			now = now.Add(time.Second)
			return now
		}}}
	b.repo.commit("c1", "", 41)
	return b
}

func (b *bench) lap() (agent.Result, error) { return agent.Lap(context.Background(), b.in) }

// good makes a lap that must bring the tip into force.
func (b *bench) good() agent.Result {
	b.Helper()
	res, err := b.lap()
	if err != nil || res.Missed != nil || res.Revision.Commit != b.repo.tip {
		b.Fatalf("in force is %q, missed %v, %v", res.Revision.Commit, res.Missed, err)
	}
	return res
}

// missed makes a lap that must leave c1 in force: what drifted is put right.
func (b *bench) missed() agent.Result {
	b.Helper()
	b.machine.Put(nf.Node, udp, 99)
	res, err := b.lap()
	if err != nil || res.Missed == nil || res.Revision.Commit != "c1" || res.Receipt.Revision != "c1" {
		b.Fatalf("in force is %q, missed %v, %v", res.Revision.Commit, res.Missed, err)
	}
	b.reads(41)
	b.kept("c1", "c1")
	return res
}

func (b *bench) reads(n int64) {
	b.Helper()
	if v := b.machine.Value(nf.Node, udp); v != nf.Number(n) {
		b.Errorf("the value is %s, want %d", v, n)
	}
}

// kept fails the test unless those are the last good revision and the position.
func (b *bench) kept(revision, position string) {
	b.Helper()
	good, err := b.state.LastGood()
	if err != nil || good.Revision != revision {
		b.Errorf("the last good revision is %q (%v), want %q", good.Revision, err, revision)
	}
	list, err := b.state.Positions()
	var want []state.Position
	if position != "" {
		want = []state.Position{{URL: url, Branch: branch, Commit: position}}
	}
	if diff := gocmp.Diff(want, list); diff != "" || err != nil {
		b.Errorf("positions: %v\n%s", err, diff)
	}
}

func TestGoodRevisions(t *testing.T) {
	b := newBench(t)
	b.kept("", "")
	if res := b.good(); res.Receipt.Revision != "c1" || res.Receipt.Summary.Applied != 1 {
		t.Errorf("receipt %+v", res.Receipt)
	}
	b.reads(41)
	b.kept("c1", "c1")
	good, err := b.state.LastGood()
	want := state.LastGood{Revision: "c1", URL: url, Branch: branch, Signer: "ada", Since: good.Since, Files: []state.PolicyFile{{Name: file, Text: policy(41)}}}
	if diff := gocmp.Diff(want, good); diff != "" || err != nil || good.Since.IsZero() {
		t.Errorf("last good: %v\n%s", err, diff)
	}
	b.good()
	if again, err := b.state.LastGood(); err != nil || again.Since != good.Since {
		t.Errorf("the same revision is good since %s and %s, %v", good.Since, again.Since, err)
	}
	b.repo.commit("c2", "c1", 42)
	b.repo.commit("c3", "c2", 43)
	b.good()
	b.reads(43)
	b.kept("c3", "c3")
}

// While there is no newer good revision the last one stays in force, whatever
// is wrong with the newer one.
func TestLastGoodStaysInForce(t *testing.T) {
	tests := map[string]struct {
		next  func(*repository)
		check func(error) bool
	}{
		"dead server": {func(r *repository) { r.err = &source.FetchError{URL: url, Err: errors.New("connection refused")} },
			func(err error) bool { return errorIs[*source.FetchError](err) }},
		"unsigned": {func(r *repository) { r.err = &source.VerifyError{Commit: "c2", Why: "it has no signature"} },
			func(err error) bool { return errorIs[*source.VerifyError](err) }},
		"rewritten": {func(r *repository) { r.commit("other", "", 50) },
			func(err error) bool { return errorIs[*source.RewrittenError](err) }},
		"invalid": {func(r *repository) { r.commitText("c2", "c1", policy(0)) },
			func(err error) bool {
				var invalid *agent.InvalidError
				return errors.As(err, &invalid) && invalid.Commit == "c2" && strings.HasPrefix(invalid.Diagnostics[0].String(), file+":5:") &&
					strings.Contains(err.Error(), "commit c2")
			}},
		"a link in its tree": {func(r *repository) {
			r.err = &source.TreeError{Commit: "c2", Path: "policies/x", Why: "it is a symbolic link"}
		},
			func(err error) bool {
				var invalid *agent.InvalidError
				return errors.As(err, &invalid) && invalid.Commit == "c2" && invalid.Diagnostics[0].String() == "policies/x:1:1: it is a symbolic link"
			}},
		"no such directory": {func(r *repository) { r.err = &source.TreeError{Path: "nowhere", Why: "no such directory"} },
			func(err error) bool { return errorIs[*source.TreeError](err) && !errorIs[*agent.InvalidError](err) }},
		"a key that cannot be read": {func(r *repository) { r.err = errors.New("cannot read the keyring") },
			func(err error) bool { return err != nil }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.good()
			test.next(b.repo)
			if res := b.missed(); !test.check(res.Missed) {
				t.Errorf("missed: %v", res.Missed)
			}
			// A good one ends it.
			b.repo.err = nil
			b.repo.commit("c4", "c1", 44)
			b.good()
			b.reads(44)
			b.kept("c4", "c4")
		})
	}
}

func errorIs[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// Where there is no good revision yet nothing is applied and nothing kept.
func TestNoLastGood(t *testing.T) {
	for name, next := range map[string]func(*repository){
		"dead":    func(r *repository) { r.err = &source.FetchError{URL: url, Err: errors.New("connection refused")} },
		"invalid": func(r *repository) { r.commitText("c2", "c1", "kind: Nonsense\n") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			next(b.repo)
			res, err := b.lap()
			if err != nil || res.Missed == nil || res.Receipt.Kind != "" || res.Revision.Commit != "" || len(b.machine.Calls()) > 0 {
				t.Errorf("%+v, %v", res, err)
			}
			b.kept("", "")
			// What was never applied binds nobody.
			b.repo.err = nil
			b.repo.commit("other", "", 50)
			b.good()
		})
	}
}

func TestAccept(t *testing.T) {
	b := newBench(t)
	b.good()
	b.repo.commit("other", "", 50)
	b.in.Accept = "another"
	b.missed()
	b.in.Accept = "other"
	b.good()
	b.reads(50)
	b.kept("other", "other")
	b.in.Accept = ""
	b.good()
}

// What this node can make of a revision does not matter: it is good, and its
// branch is followed from it.
func TestWhatFailsIsGoodAllTheSame(t *testing.T) {
	b := newBench(t)
	b.good()
	b.repo.commit("c2", "c1", 42)
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Kind: hosttest.Fail})
	if res := b.good(); res.Receipt.Summary.Failed != 1 {
		t.Errorf("%+v", res.Receipt.Summary)
	}
	b.kept("c2", "c2")
	b.machine.Heal()
	b.repo.tip = "c1"
	if res, err := b.lap(); err != nil || !errorIs[*source.RewrittenError](res.Missed) || res.Revision.Commit != "c2" {
		t.Errorf("back to c1: %+v, %v", res, err)
	}
	b.reads(42)
}

// A run that was stopped is not the end of an apply: the revision is good, its
// branch is followed from the older commit.
func TestInterrupted(t *testing.T) {
	b := newBench(t)
	b.good()
	b.repo.commit("c2", "c1", 42)
	ctx, cancel := context.WithCancel(context.Background())
	b.in.Apply.Progress = func(e apply.Event) {
		if e.Kind == apply.EventPlanned {
			cancel()
		}
	}
	res, err := agent.Lap(ctx, b.in)
	if err == nil || !res.Receipt.Interrupted {
		t.Errorf("%+v, %v", res, err)
	}
	b.reads(41)
	b.kept("c2", "c1")
}

// A crash in the middle of it leaves the new revision as the good one, even if
// the network is gone afterwards.
func TestCrash(t *testing.T) {
	b := newBench(t)
	b.good()
	b.repo.commit("c2", "c1", 42)
	b.in.Apply.Progress = func(apply.Event) { panic("crash") }
	func() {
		defer func() { _ = recover() }()
		_, _ = b.lap()
	}()
	b.kept("c2", "c1")
	b.in.Apply.Progress = nil
	b.repo.err = &source.FetchError{URL: url, Err: errors.New("no route to host")}
	if res, err := b.lap(); err != nil || res.Revision.Commit != "c2" {
		t.Errorf("in force is %q, %v", res.Revision.Commit, err)
	}
	b.reads(42)
}

func TestCancelledFetch(t *testing.T) {
	b := newBench(t)
	b.good()
	b.machine.Put(nf.Node, udp, 99)
	ctx, cancel := context.WithCancel(context.Background())
	b.repo.meet = cancel
	if res, err := agent.Lap(ctx, b.in); !errors.Is(err, context.Canceled) || res.Missed != nil || res.Receipt.Kind != "" {
		t.Errorf("%+v, %v", res, err)
	}
	b.reads(99)
}

// While another nfsync is at work nothing is written, neither to the machine
// nor to the state directory.
func TestLocked(t *testing.T) {
	for _, observe := range []bool{false, true} {
		b := newBench(t)
		b.good()
		b.repo.commit("c2", "c1", 42)
		unlock, err := apply.Lock(b.in.Apply.RunDir)
		if err != nil {
			t.Fatal(err)
		}
		b.in.Observe = observe
		if res, err := b.lap(); !errors.Is(err, apply.ErrLocked) || res.Receipt.Kind != "" {
			t.Errorf("%+v, %v", res, err)
		}
		b.repo.err = errors.New("dead")
		b.in.Observe = false
		if res, err := b.lap(); !errors.Is(err, apply.ErrLocked) || res.Missed == nil || res.Receipt.Kind != "" {
			t.Errorf("the last good one: %+v, %v", res, err)
		}
		unlock()
		b.reads(41)
		b.kept("c1", "c1")
	}
}

// Two laps at once fetch at their leisure; the one that comes second to the
// lock must not take the branch back.
func TestOvertaken(t *testing.T) {
	b := newBench(t)
	b.good()
	slow := *b.repo
	slow.parents, slow.texts = map[string]string{"c1": "", "c2": "c1"}, map[string]string{"c2": policy(42)}
	slow.tip = "c2"
	slow.meet = func() {
		b.repo.commit("c3", "c1", 43)
		b.good()
	}
	in := b.in
	in.Fetch = slow.fetch
	res, err := agent.Lap(context.Background(), in)
	if !errors.Is(err, agent.ErrOvertaken) || res.Receipt.Kind != "" {
		t.Errorf("%+v, %v", res, err)
	}
	b.reads(43)
	b.kept("c3", "c3")

	// Both fetched the same: nobody was overtaken.
	slow.parents, slow.texts = b.repo.parents, b.repo.texts
	slow.meet = func() {
		b.repo.commit("c4", "c3", 44)
		slow.tip = "c4"
		b.good()
	}
	if res, err := agent.Lap(context.Background(), in); err != nil || res.Missed != nil {
		t.Errorf("%+v, %v", res, err)
	}
	b.kept("c4", "c4")
}

// What another nfsync applies of other repositories and branches overtakes nobody.
func TestOtherPositions(t *testing.T) {
	b := newBench(t)
	b.repo.meet = func() {
		for _, p := range []state.Position{{URL: "https://example.org/another.git", Branch: branch, Commit: "x"}, {URL: url, Branch: "another", Commit: "x"}} {
			if err := b.state.SavePosition(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.good()
}

func TestOvertakenLastGood(t *testing.T) {
	b := newBench(t)
	b.good()
	slow := *b.repo
	slow.err = errors.New("dead")
	slow.meet = func() {
		b.repo.commit("c2", "c1", 42)
		b.good()
	}
	in := b.in
	in.Fetch = slow.fetch
	if res, err := agent.Lap(context.Background(), in); err != nil || res.Revision.Commit != "c2" {
		t.Errorf("in force is %q, %v", res.Revision.Commit, err)
	}
	b.reads(42)
}

// Observing changes nothing of the machine and moves no position.
func TestObserve(t *testing.T) {
	b := newBench(t)
	b.good()
	b.repo.commit("c2", "c1", 42)
	b.in.Observe = true
	calls := len(b.machine.Calls())
	res := b.good()
	if res.Receipt.Kind != "" || res.Plan == nil || res.Plan.Revision != "c2" || len(res.Plan.Changes) != 1 || res.Plan.Changes[0].Cause != nf.CausePolicy {
		t.Errorf("%+v", res)
	}
	b.kept("c2", "c1")
	b.repo.err = errors.New("dead")
	res, err := b.lap()
	if err != nil || res.Missed == nil || res.Plan == nil || res.Plan.Revision != "c2" {
		t.Errorf("%+v, %v", res, err)
	}
	b.reads(41)
	if len(b.machine.Calls()) != calls {
		t.Errorf("calls: %v", b.machine.Calls()[calls:])
	}
}

// A file that cannot be read is never an empty start: neither the machine nor a
// file is touched.
func TestDamage(t *testing.T) {
	for _, name := range []string{"lastgood", "positions", "memory", "journal", "stuck"} {
		for _, dead := range []bool{false, true} {
			b := newBench(t)
			b.good()
			b.machine.Put(nf.Node, udp, 99)
			path := filepath.Join(b.path, name)
			if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
				t.Fatal(err)
			}
			if dead {
				b.repo.err = errors.New("dead")
			}
			res, err := b.lap()
			if !errors.Is(err, state.ErrDamaged) || !strings.Contains(err.Error(), path) || res.Receipt.Kind != "" {
				t.Errorf("%s: %+v, %v", name, res, err)
			}
			b.reads(99)
			if text, err := os.ReadFile(path); err != nil || string(text) != "garbage" {
				t.Errorf("%s was overwritten: %q, %v", name, text, err)
			}
		}
	}
}

// Policies that this nfsync finds invalid, but an older one had kept, cannot be
// fallen back on; they do not stand in the way of a good revision.
func TestOutdatedLastGood(t *testing.T) {
	b := newBench(t)
	if err := b.state.SaveLastGood(state.LastGood{Revision: "c0", URL: url, Files: []state.PolicyFile{{Name: "old.yaml", Text: "kind: Policy"}}}); err != nil {
		t.Fatal(err)
	}
	b.repo.err = errors.New("dead")
	res, err := b.lap()
	if !errorIs[*agent.InvalidError](err) || res.Missed == nil || res.Receipt.Kind != "" || !strings.Contains(err.Error(), "last good") {
		t.Errorf("%+v, %v", res, err)
	}
	b.repo.err = nil
	b.good()
	b.kept("c1", "c1")
}

// Tags and commits are taken as named: they have no position.
func TestTag(t *testing.T) {
	b := newBench(t)
	b.repo.tag = "v1"
	b.good()
	b.kept("c1", "")
	if good, err := b.state.LastGood(); err != nil || good.Tag != "v1" {
		t.Errorf("%+v, %v", good, err)
	}
	b.repo.commit("other", "", 50)
	b.good()
	b.reads(50)
}

// While something is stuck nothing is applied; the revision is good all the same.
func TestStuck(t *testing.T) {
	b := newBench(t)
	b.good()
	stuck := state.Stuck{Run: "1", Left: []state.StuckValue{{Intent: state.Intent{Change: nf.Change{Target: nf.Node, Key: udp, Layer: nf.LayerLive}}}}}
	if err := b.state.SaveStuck(stuck); err != nil {
		t.Fatal(err)
	}
	b.repo.commit("c2", "c1", 42)
	if res, err := b.lap(); !errors.Is(err, apply.ErrStuck) || res.Receipt.Kind != "" {
		t.Errorf("%+v, %v", res, err)
	}
	b.reads(41)
	b.kept("c2", "c1")
}

// Who may not write is told what would be changed, or that nothing is to be.
func TestNoState(t *testing.T) {
	b := newBench(t)
	b.in.Apply.State = nil
	if res, err := b.lap(); err == nil || res.Receipt.Kind != "" || len(b.machine.Calls()) > 0 {
		t.Errorf("%+v, %v", res, err)
	}
	b.machine.Put(nf.Node, udp, 41)
	b.good()
	b.in.Observe = true
	b.good()
	b.repo.err = errors.New("dead")
	if res, err := b.lap(); err != nil || res.Missed == nil || res.Plan != nil {
		t.Errorf("%+v, %v", res, err)
	}
}

// A disk that is full when the position is to be written is told, with what was
// done.
func TestPositionNotWritten(t *testing.T) {
	b := newBench(t)
	disk := &statetest.Disk{Before: func(call, path string) error {
		if strings.Contains(path, "positions") {
			return syscall.ENOSPC
		}
		return nil
	}}
	var err error
	if b.in.Apply.State, err = state.OpenOn(b.path, disk); err != nil {
		t.Fatal(err)
	}
	res, err := b.lap()
	if !errors.Is(err, syscall.ENOSPC) || res.Receipt.Summary.Applied != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	b.kept("c1", "")
}

// The diagnostics of an invalid revision are all there, in the order of the files.
func TestInvalidError(t *testing.T) {
	b := newBench(t)
	b.repo.commitText("c2", "c1", strings.Replace(policy(0), "name: node", "name: NODE", 1))
	res, err := b.lap()
	var invalid *agent.InvalidError
	if err != nil || !errors.As(res.Missed, &invalid) {
		t.Fatalf("%v, %v", res.Missed, err)
	}
	var lines []int
	for _, d := range invalid.Diagnostics {
		lines = append(lines, d.Line)
	}
	if !slices.Equal(lines, []int{3, 5}) || !strings.Contains(invalid.Error(), "(and 1 more)") {
		t.Errorf("lines %v: %s", lines, invalid)
	}
}
