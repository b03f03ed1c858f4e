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
	"nfsync.dev/nfsync/internal/policytree"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/state/statetest"
)

var udp = nf.TimeoutKey("udp")

// repository replaces a git repository with one branch. Its method fetch is a
// Fetcher.
type repository struct {
	tip     string
	parents map[string]string
	texts   map[string]string // the policy file, by commit
	tag     string            // fetched instead of the branch; empty: the branch
	err     error             // of fetch
	onFetch func()            // called by fetch; may be nil
}

const (
	url    = "https://example.org/policies.git"
	branch = "main"
	file   = "policies/node.yaml"
)

// commit adds a commit whose policy wants that udp timeout, and moves the tip to it.
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
	if r.onFetch != nil {
		r.onFetch()
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

// bench holds a node and the repository that it follows.
type bench struct {
	*testing.T
	repo      *repository
	machine   *hosttest.Machine
	path      string
	state     *state.Dir
	in        agent.In
	lockDir   string // the directory of the lock
	given     func(nf.Given) (c nf.Container, nothing string, err error)
	directory func() (spec.Policies, error) // nil: the policies are in the repository
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, lockDir: t.TempDir(), repo: &repository{parents: map[string]string{}, texts: map[string]string{}}, machine: hosttest.New(), path: t.TempDir()}
	var err error
	if b.state, err = state.OpenOn(b.path, &statetest.Disk{}); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	b.in = agent.In{Fetch: b.repo.fetch, Path: "policies", Apply: apply.Input{Machine: b.machine, State: b.state, Lock: apply.NewLock(b.lockDir), Timeout: time.Second,
		Now: func() time.Time {
			now = now.Add(time.Second)
			return now
		}}}
	b.repo.commit("c1", "", 41)
	return b
}

func (b *bench) lap() (agent.Result, error) { return agent.Lap(context.Background(), b.in) }

// mustFollowTip runs a lap after which the tip must be in force.
func (b *bench) mustFollowTip() agent.Result {
	b.Helper()
	res, err := b.lap()
	if err != nil || res.Missed != nil || res.Revision.Commit != b.repo.tip {
		b.Fatalf("in force is %q, missed %v, %v", res.Revision.Commit, res.Missed, err)
	}
	return res
}

// mustFallBack runs a lap on a node that has drifted. The lap must leave c1 in force
// and correct the drift.
func (b *bench) mustFallBack() agent.Result {
	b.Helper()
	b.machine.Put(nf.Node, udp, 99)
	res, err := b.lap()
	if err != nil || res.Missed == nil || res.Revision.Commit != "c1" || res.Receipt.Revision != "c1" {
		b.Fatalf("in force is %q, missed %v, %v", res.Revision.Commit, res.Missed, err)
	}
	b.checkValue(41)
	b.checkSaved("c1", "c1")
	return res
}

// checkValue checks the udp timeout of the node.
func (b *bench) checkValue(n int64) {
	b.Helper()
	if v := b.machine.Value(nf.Node, udp); v != nf.Number(n) {
		b.Errorf("the value is %s, want %d", v, n)
	}
}

// checkSaved checks the saved last good revision and position; empty: none.
func (b *bench) checkSaved(revision, position string) {
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
	b.checkSaved("", "")
	if res := b.mustFollowTip(); res.Receipt.Revision != "c1" || res.Receipt.Summary.Applied != 1 {
		t.Errorf("receipt %+v", res.Receipt)
	}
	b.checkValue(41)
	b.checkSaved("c1", "c1")
	good, err := b.state.LastGood()
	want := state.LastGood{Revision: "c1", URL: url, Branch: branch, Signer: "ada", Since: good.Since, Files: []state.PolicyFile{{Name: file, Text: policy(41)}}}
	if diff := gocmp.Diff(want, good); diff != "" || err != nil || good.Since.IsZero() {
		t.Errorf("last good: %v\n%s", err, diff)
	}
	b.mustFollowTip()
	if again, err := b.state.LastGood(); err != nil || again.Since != good.Since {
		t.Errorf("the same revision is good since %s and %s, %v", good.Since, again.Since, err)
	}
	b.repo.commit("c2", "c1", 42)
	b.repo.commit("c3", "c2", 43)
	b.mustFollowTip()
	b.checkValue(43)
	b.checkSaved("c3", "c3")
}

// The last good revision stays in force until there is another good one, whatever
// is wrong with the new revision.
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
			r.err = &source.TreeError{Commit: "c2", Problems: []policytree.Problem{{Path: "policies/x", Message: "it is a symbolic link"}}}
		},
			func(err error) bool {
				var invalid *agent.InvalidError
				return errors.As(err, &invalid) && invalid.Commit == "c2" && invalid.Diagnostics[0].String() == "policies/x:1:1: it is a symbolic link"
			}},
		"no such directory": {func(r *repository) {
			r.err = &source.TreeError{Problems: []policytree.Problem{{Path: "nowhere", Message: "no such directory"}}}
		},
			func(err error) bool { return errorIs[*source.TreeError](err) && !errorIs[*agent.InvalidError](err) }},
		"a key that cannot be read": {func(r *repository) { r.err = errors.New("cannot read the keyring") },
			func(err error) bool { return err != nil }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.mustFollowTip()
			test.next(b.repo)
			if res := b.mustFallBack(); !test.check(res.Missed) {
				t.Errorf("missed: %v", res.Missed)
			}
			// The next good revision replaces it.
			b.repo.err = nil
			b.repo.commit("c4", "c1", 44)
			b.mustFollowTip()
			b.checkValue(44)
			b.checkSaved("c4", "c4")
		})
	}
}

func errorIs[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// If there is no good revision yet, nothing is applied and nothing is saved.
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
			b.checkSaved("", "")
			// What was never applied has no position: the branch may be rewritten.
			b.repo.err = nil
			b.repo.commit("other", "", 50)
			b.mustFollowTip()
		})
	}
}

func TestAccept(t *testing.T) {
	b := newBench(t)
	b.mustFollowTip()
	b.repo.commit("other", "", 50)
	b.in.Accept = "another"
	b.mustFallBack()
	b.in.Accept = "other"
	b.mustFollowTip()
	b.checkValue(50)
	b.checkSaved("other", "other")
	b.in.Accept = ""
	b.mustFollowTip()
}

// A revision whose changes fail is good all the same, and its branch is followed
// from it.
func TestFailedApplyIsGood(t *testing.T) {
	b := newBench(t)
	b.mustFollowTip()
	b.repo.commit("c2", "c1", 42)
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Kind: hosttest.Fail})
	if res := b.mustFollowTip(); res.Receipt.Summary.Failed != 1 {
		t.Errorf("%+v", res.Receipt.Summary)
	}
	b.checkSaved("c2", "c2")
	b.machine.Heal()
	b.repo.tip = "c1"
	if res, err := b.lap(); err != nil || !errorIs[*source.RewrittenError](res.Missed) || res.Revision.Commit != "c2" {
		t.Errorf("the branch was rewritten to c1: %+v, %v", res, err)
	}
	b.checkValue(42)
}

// If a run is interrupted its branch does not go back: what was changed until then is of the new revision.
func TestInterrupted(t *testing.T) {
	b := newBench(t)
	b.mustFollowTip()
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
	b.checkValue(41)
	b.checkSaved("c2", "c2")
	b.repo.tip = "c1"
	if res, err := b.lap(); err != nil || !errorIs[*source.RewrittenError](res.Missed) || res.Revision.Commit != "c2" {
		t.Errorf("the branch was rewritten to c1: %+v, %v", res, err)
	}
}

// After a crash in the middle of a run the new revision is the last good one, and
// is applied even without a network.
func TestCrash(t *testing.T) {
	b := newBench(t)
	b.mustFollowTip()
	b.repo.commit("c2", "c1", 42)
	b.in.Apply.Progress = func(apply.Event) { panic("crash") }
	func() {
		defer func() { _ = recover() }()
		_, _ = b.lap()
	}()
	b.checkSaved("c2", "c2")
	b.in.Apply.Progress = nil
	b.repo.err = &source.FetchError{URL: url, Err: errors.New("no route to host")}
	if res, err := b.lap(); err != nil || res.Revision.Commit != "c2" {
		t.Errorf("in force is %q, %v", res.Revision.Commit, err)
	}
	b.checkValue(42)
}

func TestCancelledFetch(t *testing.T) {
	b := newBench(t)
	b.mustFollowTip()
	b.machine.Put(nf.Node, udp, 99)
	ctx, cancel := context.WithCancel(context.Background())
	b.repo.onFetch = cancel
	if res, err := agent.Lap(ctx, b.in); !errors.Is(err, context.Canceled) || res.Missed != nil || res.Receipt.Kind != "" {
		t.Errorf("%+v, %v", res, err)
	}
	b.checkValue(99)
}

// While another nfsync holds the lock, neither the machine nor the state directory
// is changed.
func TestLocked(t *testing.T) {
	for _, observe := range []bool{false, true} {
		b := newBench(t)
		b.mustFollowTip()
		b.repo.commit("c2", "c1", 42)
		run := t.TempDir()
		b.in.Apply.Lock = apply.NewLock(run)
		unlock, err := apply.NewLock(run).Take()
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
			t.Errorf("the last good revision: %+v, %v", res, err)
		}
		unlock()
		b.checkValue(41)
		b.checkSaved("c1", "c1")
	}
}

// Two laps may fetch at the same time. The second to take the lock must not apply an
// older commit than the first.
func TestOvertaken(t *testing.T) {
	b := newBench(t)
	b.mustFollowTip()
	slow := *b.repo
	slow.parents, slow.texts = map[string]string{"c1": "", "c2": "c1"}, map[string]string{"c2": policy(42)}
	slow.tip = "c2"
	slow.onFetch = func() {
		b.repo.commit("c3", "c1", 43)
		b.mustFollowTip()
	}
	in := b.in
	in.Fetch = slow.fetch
	res, err := agent.Lap(context.Background(), in)
	if !errors.Is(err, agent.ErrOvertaken) || res.Receipt.Kind != "" {
		t.Errorf("%+v, %v", res, err)
	}
	b.checkValue(43)
	b.checkSaved("c3", "c3")

	// Both fetched the same commit: neither is overtaken.
	slow.parents, slow.texts = b.repo.parents, b.repo.texts
	slow.onFetch = func() {
		b.repo.commit("c4", "c3", 44)
		slow.tip = "c4"
		b.mustFollowTip()
	}
	if res, err := agent.Lap(context.Background(), in); err != nil || res.Missed != nil {
		t.Errorf("%+v, %v", res, err)
	}
	b.checkSaved("c4", "c4")
}

// A position of another repository or branch overtakes no lap.
func TestOtherPositions(t *testing.T) {
	b := newBench(t)
	b.repo.onFetch = func() {
		for _, p := range []state.Position{{URL: "https://example.org/another.git", Branch: branch, Commit: "x"}, {URL: url, Branch: "another", Commit: "x"}} {
			if err := b.state.SavePosition(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.mustFollowTip()
}

// A lap that falls back applies the last good revision at the time of the lock, not
// at the time of the fetch.
func TestOvertakenLastGood(t *testing.T) {
	b := newBench(t)
	b.mustFollowTip()
	slow := *b.repo
	slow.err = errors.New("dead")
	slow.onFetch = func() {
		b.repo.commit("c2", "c1", 42)
		b.mustFollowTip()
	}
	in := b.in
	in.Fetch = slow.fetch
	if res, err := agent.Lap(context.Background(), in); err != nil || res.Revision.Commit != "c2" {
		t.Errorf("in force is %q, %v", res.Revision.Commit, err)
	}
	b.checkValue(42)
}

// A damaged file is an error, and is not treated as an empty one. Neither the
// machine nor the file is changed.
func TestDamage(t *testing.T) {
	for _, name := range []string{"lastgood", "positions", "memory", "journal", "stuck"} {
		for _, dead := range []bool{false, true} {
			b := newBench(t)
			b.mustFollowTip()
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
			b.checkValue(99)
			if text, err := os.ReadFile(path); err != nil || string(text) != "garbage" {
				t.Errorf("%s was overwritten: %q, %v", name, text, err)
			}
		}
	}
}

// A last good revision that an older nfsync has saved may be invalid for this one.
// Then it cannot be applied, and the next good revision replaces it.
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
	b.mustFollowTip()
	b.checkSaved("c1", "c1")
}

// A tag is taken as named: it has no position, and may move to any commit.
func TestTag(t *testing.T) {
	b := newBench(t)
	b.repo.tag = "v1"
	b.mustFollowTip()
	b.checkSaved("c1", "")
	if good, err := b.state.LastGood(); err != nil || good.Tag != "v1" {
		t.Errorf("%+v, %v", good, err)
	}
	b.repo.commit("other", "", 50)
	b.mustFollowTip()
	b.checkValue(50)
}

// Nothing is changed of a target that is stuck. A new revision is good all the same.
func TestStuck(t *testing.T) {
	b := newBench(t)
	b.mustFollowTip()
	stuck := nf.StuckChange{Target: nf.Node, Key: udp, Layer: nf.LayerBoot, Run: "1"}
	if err := b.state.SaveStuck([]nf.StuckChange{stuck}); err != nil {
		t.Fatal(err)
	}
	b.repo.commit("c2", "c1", 42)
	if res, err := b.lap(); err != nil || res.Receipt.Verdict() != apply.Unsettled {
		t.Errorf("%+v, %v", res, err)
	}
	b.checkValue(41)
	b.checkSaved("c2", "c2")
}

// A user who may not open the state directory gets an error if there is something to
// change, and a result if there is not.
func TestNoState(t *testing.T) {
	b := newBench(t)
	b.in.Apply.State, b.in.Apply.NoState = nil, errors.New("EACCES")
	if res, err := b.lap(); err == nil || res.Receipt.Kind != "" || len(b.machine.Calls()) > 0 {
		t.Errorf("%+v, %v", res, err)
	}
	b.machine.Put(nf.Node, udp, 41)
	b.mustFollowTip()
	b.in.Observe = true
	b.mustFollowTip()
	b.repo.err = errors.New("dead")
	if res, err := b.lap(); err != nil || res.Missed == nil || res.Plan != nil {
		t.Errorf("%+v, %v", res, err)
	}
}

// If the position cannot be written nothing is changed.
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
	if !errors.Is(err, syscall.ENOSPC) || res.Receipt.Kind != "" {
		t.Errorf("%+v, %v", res, err)
	}
	b.checkSaved("c1", "")
	if b.machine.Value(nf.Node, udp) == nf.Number(41) {
		t.Error("a change was made")
	}
}

// An InvalidError has all diagnostics of the revision, in order, and counts them.
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
