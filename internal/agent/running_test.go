package agent_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/spec"
)

// running is an agent that runs on a bench.
type running struct {
	*bench
	agent   *agent.Agent
	updates <-chan nf.NodeStatus
	setup   agent.Setup
	config  error     // of Configure
	last    time.Time // the end of the last lap that next returned
}

// run starts an agent, whose first lap ends before run returns.
func (b *bench) run() *running {
	b.Helper()
	r := &running{bench: b, setup: agent.Setup{Lap: b.in, Mode: "enforce", Source: url, Interval: time.Hour, Drift: time.Hour,
		Apply: func() (apply.Input, error) { return b.in.Apply, nil }, Directory: b.directory, Given: b.given}}
	r.agent = agent.New(agent.NewStatus("hn-1", url, "enforce", nf.AgentInfo{StartedAt: time.Now()}))
	r.agent.Configure = func() (agent.Setup, error) { return r.setup, r.config }
	r.agent.SaveSuspension = b.state.SaveSuspension
	var stop func()
	r.updates, stop = r.agent.Listen()
	b.Cleanup(stop)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan bool)
	go func() {
		r.agent.Run(ctx, nil)
		close(ended)
	}()
	b.Cleanup(func() { cancel(); <-ended })
	r.next()
	return r
}

// next returns the status after the next lap.
func (r *running) next() nf.NodeStatus {
	r.Helper()
	for {
		if s := r.update(); s.CurrentLap == nil && s.LastLap != nil && s.LastLap.FinishedAt.After(r.last) {
			r.last = s.LastLap.FinishedAt
			return s
		}
	}
}

// update returns the next status, which may be one between laps.
func (r *running) update() nf.NodeStatus {
	r.Helper()
	select {
	case s := <-r.updates:
		return s
	case <-time.After(20 * time.Second):
		r.Fatal("no lap is made")
	}
	return nf.NodeStatus{}
}

func (r *running) wake(c agent.Cause) nf.NodeStatus {
	r.Helper()
	r.agent.Wake(c)
	return r.next()
}

// want checks the result of a lap and the conditions that hold.
func (r *running) want(s nf.NodeStatus, result nf.LapResult, holds ...nf.ConditionType) {
	r.Helper()
	var got []string
	for _, c := range s.Conditions {
		if c.Status == nf.ConditionTrue {
			got = append(got, string(c.Type))
		}
	}
	var want []string
	for _, t := range holds {
		want = append(want, string(t))
	}
	if s.LastLap.Result != result || strings.Join(got, " ") != strings.Join(want, " ") {
		r.Errorf("%s, %v; want %s, %v (%s)", s.LastLap.Result, got, result, want, s.LastLap.Error)
	}
}

// TestRunning follows commits, undoes drift without a fetch, and keeps what a bad commit says until
// a good one comes.
func TestRunning(t *testing.T) {
	r := newBench(t).run()
	s := r.agent.Status()
	r.want(s, nf.LapApplied, nf.Ready)
	if s.Revision == nil || s.Revision.Commit != "c1" || len(s.Next) != 2 || s.LastSuccess == nil {
		t.Errorf("%+v", s)
	}
	since := s.Revision.Since
	r.repo.commit("c2", "c1", 42)
	fetches := 0
	r.repo.onFetch = func() { fetches++ }
	r.machine.Put(nf.Node, udp, 99)
	s = r.wake(agent.WakeDrift)
	r.want(s, nf.LapApplied, nf.Ready)
	r.checkValue(41)
	if fetches != 0 || !s.Revision.Since.Equal(since) {
		t.Errorf("%d fetches, %+v", fetches, s.Revision)
	}
	r.want(r.wake(agent.WakeContainer), nf.LapInSync, nf.Ready)
	r.want(r.wake(agent.WakeWebhook), nf.LapApplied, nf.Ready)
	r.checkValue(42)

	calls := len(r.machine.Calls())
	r.want(r.wake(agent.WakeInterval), nf.LapUnchanged, nf.Ready)
	if got := len(r.machine.Calls()); got != calls {
		t.Errorf("%d calls of the machine", got-calls)
	}

	r.repo.texts["c3"], r.repo.parents["c3"], r.repo.tip = "nonsense", "c2", "c3"
	s = r.wake(agent.WakeSync)
	r.want(s, nf.LapFallback, nf.Stalled)
	if s.Revision.Commit != "c2" || len(s.Errors) == 0 || s.Condition(nf.Ready).Reason != "InvalidPolicies" {
		t.Errorf("%+v", s)
	}
	// A lap that fetches nothing does not forget it, and goes on undoing drift.
	r.machine.Put(nf.Node, udp, 99)
	r.want(r.wake(agent.WakeDrift), nf.LapFallback, nf.Stalled)
	r.checkValue(42)
	r.repo.err = &source.FetchError{URL: url, Err: errors.New("dead")}
	r.want(r.wake(agent.WakeSync), nf.LapFallback, nf.Reconciling)
	r.repo.err = nil
	r.repo.commit("c4", "c2", 44)
	r.want(r.wake(agent.WakeSync), nf.LapApplied, nf.Ready)
	r.checkValue(44)
}

// TestRunningRewritten: a rewritten branch stops the agent until a person accepts the commit.
func TestRunningRewritten(t *testing.T) {
	r := newBench(t).run()
	r.repo.commit("c2", "", 42)
	r.want(r.wake(agent.WakeSync), nf.LapFallback, nf.Stalled)
	r.agent.Sync("c2")
	r.want(r.next(), nf.LapApplied, nf.Ready)
	r.checkValue(42)
	r.want(r.wake(agent.WakeSync), nf.LapInSync, nf.Ready)
}

// TestRunningSuspended: a suspended agent plans, and keeps the revision that was in force. Resumed, it
// goes on with the newest.
func TestRunningSuspended(t *testing.T) {
	r := newBench(t).run()
	if err := r.agent.Suspend(&nf.Suspension{Reason: "x", By: "root"}); err != nil {
		t.Fatal(err)
	}
	r.want(r.next(), nf.LapObserved, nf.Ready, nf.Suspended)
	r.repo.commit("c2", "c1", 42)
	r.machine.Put(nf.Node, udp, 99)
	s := r.wake(agent.WakeSync)
	r.want(s, nf.LapObserved, nf.Ready, nf.Suspended)
	if s.Revision.Commit != "c1" || len(s.Changes) != 1 || s.Changes[0].To != nf.Number(42) {
		t.Errorf("%+v", s)
	}
	r.want(r.wake(agent.WakeDrift), nf.LapObserved, nf.Ready, nf.Drifted, nf.Suspended)
	r.checkValue(99)
	r.checkSaved("c1", "c1")
	if err := r.agent.Suspend(nil); err != nil {
		t.Fatal(err)
	}
	s = r.next()
	r.want(s, nf.LapApplied, nf.Ready)
	r.checkValue(42)
	// One that has ended does not hold.
	past := r.in.Apply.Now()
	if err := r.agent.Suspend(&nf.Suspension{Reason: "x", Until: &past}); err != nil {
		t.Fatal(err)
	}
	r.want(r.next(), nf.LapInSync, nf.Ready)
}

// TestRunningFight: what something else changes back three times within an hour is left, until
// somebody asks.
func TestRunningFight(t *testing.T) {
	r := newBench(t).run()
	for range 3 {
		r.machine.Put(nf.Node, udp, 99)
		r.want(r.wake(agent.WakeDrift), nf.LapApplied, nf.Ready)
	}
	r.machine.Put(nf.Node, udp, 99)
	for range 2 {
		s := r.wake(agent.WakeDrift)
		r.want(s, nf.LapInSync, nf.Ready, nf.Drifted)
		r.checkValue(99)
	}
	receipts := r.receipts()
	r.wake(agent.WakeDrift)
	if got := r.receipts(); got != receipts {
		t.Errorf("%d receipts, then %d", receipts, got)
	}
	r.want(r.wake(agent.WakeSync), nf.LapApplied, nf.Ready)
	r.checkValue(41)
}

// TestRunningFightEnds: another want is another fight.
func TestRunningFightEnds(t *testing.T) {
	r := newBench(t).run()
	for range 4 {
		r.machine.Put(nf.Node, udp, 99)
		r.wake(agent.WakeDrift)
	}
	r.checkValue(99)
	r.repo.commit("c2", "c1", 42)
	r.want(r.wake(agent.WakeWebhook), nf.LapApplied, nf.Ready)
	r.checkValue(42)
}

// TestRunningBusy: what has failed because another program holds the target is tried again.
func TestRunningBusy(t *testing.T) {
	r := newBench(t).run()
	r.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Key: udp, Err: nf.ErrBusy, Times: 1})
	r.repo.commit("c2", "c1", 42)
	r.want(r.wake(agent.WakeWebhook), nf.LapFailed)
	r.want(r.wake(agent.WakeDrift), nf.LapApplied, nf.Ready)
	r.checkValue(42)
}

// holding is a machine on which something happens during each restart.
type holding struct {
	*hosttest.Machine
	during func()
}

func (m holding) Set(ctx context.Context, s *nf.Snapshot, c nf.Change) error {
	if c.Key == nf.KeyRestart {
		m.during()
	}
	return m.Machine.Set(ctx, s, c)
}

// TestHeldDuringLap: no restart begins once the agent is suspended, or a changed configuration or
// policy waits for the next lap.
func TestHeldDuringLap(t *testing.T) {
	for name, test := range map[string]struct {
		during func(b *bench, r *running) error
		reason string
	}{
		"suspended": {func(b *bench, _ *running) error {
			return b.state.SaveSuspension(&nf.Suspension{Since: time.Now(), Reason: "maintenance"})
		}, "the agent is suspended: maintenance"},
		"configuration": {func(_ *bench, r *running) error { r.agent.Wake(agent.WakeConfig); return nil }, "may have changed during this lap"},
		"policies":      {func(_ *bench, r *running) error { r.agent.Wake(agent.WakeFiles); return nil }, "may have changed during this lap"},
		"a container":   {func(_ *bench, r *running) error { r.agent.Wake(agent.WakeContainer); return nil }, ""},
	} {
		t.Run(name, func(t *testing.T) { heldDuringLap(t, test.during, test.reason) })
	}
}

func heldDuringLap(t *testing.T, during func(b *bench, r *running) error, reason string) {
	t.Helper()
	b := newBench(t)
	var r *running
	node := hosttest.NewVirtuozzo()
	for _, id := range []string{"101", "102"} {
		node.AddVZ(hosttest.VZ{ID: id, Saved: nf.LevelFull.Value()})
	}
	policies, found := spec.Parse([]spec.File{{Name: "p.yaml", Data: []byte("apiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata: {name: p}\nspec: {level: stateful, restart: allow}\n")}})
	if len(found) > 0 {
		t.Fatal(found)
	}
	b.in.Apply.Machine = holding{node, func() {
		if err := during(b, r); err != nil {
			t.Error(err)
		}
	}}
	b.in.Apply.Restarts.Max = 2
	laps := 0
	b.directory = func() (spec.Policies, error) {
		if laps++; laps == 1 {
			return nil, errors.New("the first lap has no policies")
		}
		return policies, nil
	}
	r = b.run()
	s := r.wake(agent.WakeContainer)
	switch {
	case reason == "" && len(s.Pending) > 0:
		t.Errorf("pending %+v", s.Pending)
	case reason != "" && (len(s.Pending) != 1 || !strings.Contains(s.Pending[0].Reason, reason)):
		t.Errorf("pending %+v, want %q", s.Pending, reason)
	}
}

// TestRunningFailed: what has failed is not tried again until something changes or somebody asks.
func TestRunningFailed(t *testing.T) {
	r := newBench(t).run()
	r.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Key: udp})
	r.repo.commit("c2", "c1", 42)
	r.want(r.wake(agent.WakeWebhook), nf.LapFailed)
	calls := len(r.machine.Calls())
	for range 2 {
		s := r.wake(agent.WakeDrift)
		r.want(s, nf.LapFailed, nf.Stalled)
		if !strings.Contains(s.LastLap.Error, "have failed before") || !strings.Contains(s.LastLap.Error, "nfsync sync") {
			t.Errorf("%s", s.LastLap.Error)
		}
	}
	if len(r.machine.Calls()) != calls {
		t.Errorf("it was tried again: %v", r.machine.Calls()[calls:])
	}
	r.machine.Heal()
	r.want(r.wake(agent.WakeDrift), nf.LapFailed, nf.Stalled)
	r.want(r.wake(agent.WakeSync), nf.LapApplied, nf.Ready)
	r.checkValue(42)

	r.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Key: udp})
	r.repo.commit("c3", "c2", 43)
	r.want(r.wake(agent.WakeWebhook), nf.LapFailed)
	r.machine.Heal()
	r.repo.commit("c4", "c3", 44)
	r.want(r.wake(agent.WakeWebhook), nf.LapApplied, nf.Ready)
	r.checkValue(44)
}

// TestRunningConfig: an invalid configuration is reported and the old one stays.
func TestRunningConfig(t *testing.T) {
	r := newBench(t).run()
	r.config = &agent.ConfigError{Diagnostics: []spec.Diagnostic{{File: "agent.yaml", Line: 3, Column: 1, Message: "unknown key"}}}
	s := r.wake(agent.WakeConfig)
	r.want(s, nf.LapInSync, nf.Stalled)
	if len(s.Errors) != 1 || s.Condition(nf.Stalled).Reason != "InvalidConfiguration" || !strings.Contains(s.Errors[0], "agent.yaml:3:1") {
		t.Errorf("%+v", s)
	}
	r.want(r.wake(agent.WakeDrift), nf.LapInSync, nf.Stalled)
	r.config, r.setup.Mode, r.setup.Lap.Observe = nil, "observe", true
	s = r.wake(agent.WakeConfig)
	r.want(s, nf.LapObserved, nf.Ready)
	if s.Mode != "observe" {
		t.Errorf("mode %s", s.Mode)
	}
}

// TestRunningDirectory: the last valid policies of a directory stay in force.
func TestRunningDirectory(t *testing.T) {
	b := newBench(t)
	texts := map[bool]string{true: b.repo.texts["c1"], false: "nonsense"}
	valid := true
	r := &running{bench: b}
	b.in.Fetch = nil
	read := func() (spec.Policies, error) {
		policies, found := spec.Parse([]spec.File{{Name: "a.yaml", Data: []byte(texts[valid])}})
		if len(found) > 0 {
			return nil, &agent.InvalidError{Diagnostics: found}
		}
		return policies, nil
	}
	r.setup = agent.Setup{Lap: b.in, Directory: read, Interval: time.Hour, Drift: time.Hour, Apply: func() (apply.Input, error) { return b.in.Apply, nil }}
	r.agent = agent.New(agent.NewStatus("hn-1", "dir", "enforce", nf.AgentInfo{}))
	r.agent.Configure = func() (agent.Setup, error) { return r.setup, nil }
	r.updates, _ = r.agent.Listen()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan bool)
	go func() { r.agent.Run(ctx, nil); close(ended) }()
	defer func() { cancel(); <-ended }()
	r.want(r.next(), nf.LapApplied, nf.Ready)
	valid = false
	r.machine.Put(nf.Node, udp, 99)
	s := r.wake(agent.WakeFiles)
	r.want(s, nf.LapFallback, nf.Stalled)
	b.checkValue(41)
	valid = true
	r.want(r.wake(agent.WakeFiles), nf.LapInSync, nf.Ready)
}

// receipts returns the number of receipts that are stored.
func (b *bench) receipts() int {
	b.Helper()
	entries, err := os.ReadDir(filepath.Join(b.path, "receipts"))
	if err != nil {
		b.Fatal(err)
	}
	return len(entries)
}

// TestRunningURLs: a person, a server or another configuration makes the next fetch try all URLs, and the
// status says how each goes.
func TestRunningURLs(t *testing.T) {
	r := newBench(t).run()
	tried := 0
	r.setup.TryAll = func() { tried++ }
	r.setup.URLs = func() []nf.SourceURL { return []nf.SourceURL{{URL: url, Error: "dead"}} }
	if s := r.wake(agent.WakeConfig); len(s.URLs) != 1 || s.URLs[0].Error != "dead" || tried != 1 {
		t.Errorf("%+v, %d", s.URLs, tried)
	}
	for cause, want := range map[agent.Cause]int{agent.WakeInterval: 0, agent.WakeDrift: 0, agent.WakeContainer: 0, agent.WakeSync: 1, agent.WakeWebhook: 1} {
		tried = 0
		if r.wake(cause); tried != want {
			t.Errorf("%s: %d", cause, tried)
		}
	}
}

// TestSuspendedAtStart: a suspension that has ended while the agent was down does not hold; one that has
// not does, and the agent goes on to fetch and to report.
func TestSuspendedAtStart(t *testing.T) {
	b := newBench(t)
	b.mustFollowTip()
	now := b.in.Apply.Now()
	past, future := now.Add(-time.Minute), now.Add(time.Hour)
	suspend := func(until *time.Time) {
		if err := b.state.SaveSuspension(&nf.Suspension{Since: now.Add(-time.Hour), Until: until, Reason: "moving", By: "root"}); err != nil {
			t.Fatal(err)
		}
	}
	suspend(&future)
	b.repo.commit("c2", "c1", 42)
	r := b.run()
	s := r.agent.Status()
	r.want(s, nf.LapObserved, nf.Ready, nf.Suspended)
	if s.Revision.Commit != "c1" || len(s.Changes) != 1 || s.Suspension.Reason != "moving" || !s.LastLap.Fetched {
		t.Errorf("%+v", s)
	}
	r.checkValue(41)
	r.checkSaved("c1", "c1")
	suspend(&past)
	again := b.run()
	again.want(again.agent.Status(), nf.LapApplied, nf.Ready)
	if s := again.agent.Status(); s.Suspension != nil {
		t.Errorf("%+v", s.Suspension)
	}
	b.checkValue(42)
	b.checkSaved("c2", "c2")
}

// TestRunningStricter: where the configuration becomes stricter, the last good revision is verified
// again. One that is not trusted is not enforced any more, and nothing changes.
func TestRunningStricter(t *testing.T) {
	b := newBench(t)
	r := b.run()
	untrusted := &source.VerifyError{Commit: "c1", Why: "it is not signed"}
	r.repo.err = untrusted
	r.setup.Lap.Mode = source.VerifyTip
	signer, verifyErr := "", error(untrusted)
	r.setup.Lap.Verify = func(context.Context, string) (string, error) { return signer, verifyErr }
	r.machine.Put(nf.Node, udp, 99)
	for _, cause := range []agent.Cause{agent.WakeConfig, agent.WakeDrift, agent.WakeInterval} {
		s := r.wake(cause)
		r.want(s, nf.LapError, nf.Stalled)
		if got := s.Condition(nf.Stalled); got.Reason != "NotTrusted" || !strings.Contains(s.LastLap.Error, "is not enforced") {
			t.Errorf("%s: %+v, %s", cause, got, s.LastLap.Error)
		}
		r.checkValue(99)
	}
	// It can be verified after all, such as with another key.
	signer, verifyErr = "grace", nil
	s := r.wake(agent.WakeConfig)
	r.want(s, nf.LapFallback, nf.Stalled)
	r.checkValue(41)
	if good, err := b.state.LastGood(); err != nil || good.Verified != string(source.VerifyTip) || good.Signer != "grace" {
		t.Errorf("%+v, %v", good, err)
	}
	// A signed commit follows; a weaker configuration needs no verification.
	r.repo.err = nil
	r.repo.commit("c2", "c1", 42)
	r.want(r.wake(agent.WakeWebhook), nf.LapApplied, nf.Ready)
	verifyErr = untrusted
	r.setup.Lap.Mode = source.VerifyNone
	r.machine.Put(nf.Node, udp, 99)
	r.want(r.wake(agent.WakeDrift), nf.LapApplied, nf.Ready)
	r.checkValue(42)
}
