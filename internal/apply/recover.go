package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// refuseStuck returns ErrStuck if an earlier run has left something that a person
// has to settle.
func refuseStuck(d *state.Dir) error {
	left, err := d.Stuck()
	if err != nil || len(left.Left) == 0 {
		return err
	}
	first := left.Left[0]
	return fmt.Errorf("%w: %s of %s was %s and reads %s (%d such values); see `nfsync recover`, then accept the present state with `nfsync recover --accept`",
		ErrStuck, first.Key, first.Target, first.From, first.Reads, len(left.Left))
}

// recover settles what an interrupted run has left.
func (r *run) recover(ctx context.Context) error {
	left, unfinished, err := r.in.State.Unfinished()
	if err != nil || !unfinished {
		return err
	}
	var units []*unit
	if r.node, r.recovered, units, err = surveyIntents(ctx, r.in.Machine, left, r.memory, r.in.Timeout); err != nil {
		return fmt.Errorf("cannot settle what the interrupted run %s has left: %w", left.ID, err)
	}
	if err := r.node.checkReadable(units); err != nil {
		return fmt.Errorf("cannot settle yet what the interrupted run %s has left: %w; the next run tries again, or nfsync recover --accept takes the present state as it is", left.ID, err)
	}
	for _, u := range slices.Backward(units) {
		r.node.settle(ctx, u)
		if err := r.saveStuck(left, u); err != nil {
			return err
		}
	}
	if err := r.rememberRecovered(); err != nil {
		return err
	}
	if err := r.in.State.End(); err != nil {
		return err
	}
	return refuseStuck(r.in.State)
}

// rememberRecovered saves memory even where it seems to hold everything already:
// the interrupted run may have ended before it synced the rename, and a power cut
// after the journal's end would lose it.
func (r *run) rememberRecovered() error {
	m := newMemory(r.memory)
	for _, a := range r.recovered {
		m.applied(r.node, a)
	}
	m.latch(r.node, r.existing())
	r.memory = m.sorted()
	return r.in.State.SaveMemory(r.memory)
}

// surveyIntents observes the machine for the intents of a run, and returns an attempt for each, with its unit.
func surveyIntents(ctx context.Context, m Machine, left state.Run, memory nf.Memory, timeout time.Duration) (*node, []*attempt, []*unit, error) {
	ask := askFor(left)
	s, err := observeWith(ctx, m, memory, ask)
	if err != nil {
		return nil, nil, nil, err
	}
	n := newNode(m, s, ask, timeout)
	var attempts []*attempt
	for _, intent := range left.Intents {
		a := &attempt{Change: intent.Change, result: Result{Change: intent.Change}}
		switch why := n.endedReason(intent, left.BootID); {
		case why != "" && restartRecorded(memory, intent):
			a.touched = true
		case why != "":
			a.end(Gone, nil, why)
		case a.Key == nf.KeyRestart:
			a.aboutToRestart = restartRecorded(memory, intent)
		default:
			a.touched = hasFrom(a.Change) && !n.world.Reads(a.Change, a.From) && !n.vanished(a.Change)
		}
		attempts = append(attempts, a)
	}
	units, _ := unitsOf(attempts)
	return n, attempts, units, nil
}

// checkReadable returns an error if a container with intents cannot be read now,
// or is not listed while a runtime is broken. That can pass: a restart may go on
// after its run was interrupted.
func (n *node) checkReadable(units []*unit) error {
	broken := n.snap.Broken()
	for _, u := range units {
		_, _, there := n.snap.Find(u.target)
		if why := n.unobservable(u.target); why != "" {
			return fmt.Errorf("%s cannot be read: %s", u.target, why)
		}
		if !there && broken != "" {
			return fmt.Errorf("%s is not listed: %s", u.target, broken)
		}
	}
	return nil
}

// askFor asks for what it takes to undo the intents, or to finish them.
func askFor(left state.Run) nf.Ask {
	var wants nf.Wants
	for _, i := range left.Intents {
		i.Change = asLevel(i.Change)
		wants.List = append(wants.List, nf.Want{Target: i.Target, Key: i.Key, Wish: nf.Exactly(i.From)})
		if _, isModule := i.Key.Module(); isModule {
			wants.List = append(wants.List, nf.Want{Target: i.Target, Key: i.Key, Wish: nf.Exactly(i.To)})
		}
	}
	return diff.Ask(wants)
}

// endedReason says why nothing of an intent can be left; empty if something can. A
// live value ends with its instance, or with that of the node.
func (n *node) endedReason(i state.Intent, bootID string) string {
	now := n.instance(i.Target)
	switch {
	case now == "":
		return goneReason
	case i.Layer != nf.LayerBoot && (now != i.Instance || bootID != n.snap.BootID):
		return "it was restarted since, and nothing of it is left"
	}
	return ""
}

// settle brings a unit of an interrupted run back to what it was, unless all of it
// reads as wanted already, or a rule forbids the undo: then it is finished. What can
// be neither undone nor finished is stuck.
func (n *node) settle(ctx context.Context, u *unit) {
	const why = "the run was interrupted"
	switch {
	case n.allOpen(u, func(a *attempt) bool {
		return a.aboutToRestart || a.touched && (a.Key == nf.KeyRestart || n.world.InSync(a.Change))
	}):
		n.endRestarts(u)
		u.endOthers(Applied, "it reads as wanted")
	case n.allOpen(u, func(a *attempt) bool { return !a.touched }):
		u.endOthers(Skipped, "it had not been made")
	default:
		n.undoUnit(ctx, u, why)
		if len(u.stuck()) > 0 {
			n.finishUnit(ctx, u, why)
		}
		u.endOthers(Skipped, "it had not been made")
	}
}

// allOpen reports whether is holds for each attempt without an outcome.
func (n *node) allOpen(u *unit, is func(*attempt) bool) bool {
	return !slices.ContainsFunc(u.attempts, func(a *attempt) bool { return a.result.Outcome == "" && !is(a) })
}

// endOthers gives this outcome to each attempt that has none.
func (u *unit) endOthers(o Outcome, reason string) {
	for _, a := range u.attempts {
		if a.result.Outcome == "" {
			a.end(o, nil, reason)
		}
	}
}

// RecoverInput is the input of Recover.
type RecoverInput struct {
	Machine Machine
	State   *state.Dir
	RunDir  string // where the lock is
	Accept  bool   // accept the present state
	// Timeout is that of Input.
	Timeout time.Duration
}

// Report lists what earlier runs have left.
type Report struct {
	// Run is the id of that run; empty if nothing is left.
	Run      string     `json:"run"`
	Left     []Leftover `json:"left"` // never nil
	Accepted bool       `json:"accepted"`
}

// Leftover is a change that is known neither to be made nor to be undone.
type Leftover struct {
	Target nf.Target `json:"target"`
	Key    nf.Key    `json:"key"`
	Layer  nf.Layer  `json:"layer"`
	From   nf.Value  `json:"from"`
	To     nf.Value  `json:"to"`
	Reads  nf.Value  `json:"reads"` // now
	// Stuck reports whether its undo failed. Otherwise the run was interrupted, and
	// the next apply settles it.
	Stuck bool   `json:"stuck"`
	Why   string `json:"why"`
}

// Verdict is Unsettled if something is stuck and not accepted, else Clean.
func (r Report) Verdict() Verdict {
	if !r.Accepted && slices.ContainsFunc(r.Left, func(l Leftover) bool { return l.Stuck }) {
		return Unsettled
	}
	return Clean
}

// Recover reports what earlier runs have left. If in.Accept is set it then accepts
// the present state and forgets the rest. It changes nothing on the machine.
func Recover(ctx context.Context, in RecoverInput) (Report, error) {
	unlock, err := Lock(in.RunDir)
	switch {
	case err == nil:
		defer unlock()
	case in.Accept || !errors.Is(err, fs.ErrPermission):
		return Report{}, err
	}
	if in.Accept {
		if err := in.State.SetAside(); err != nil {
			return Report{}, err
		}
	}
	r, err := report(ctx, in)
	if err != nil || !in.Accept {
		return r, err
	}
	r.Accepted = true
	return r, accept(in.State)
}

// accept ends the journal before the stuck record: after a crash between the two a
// person is asked again, and the next run settles nothing by itself.
func accept(d *state.Dir) error {
	if _, unfinished, err := d.Unfinished(); err != nil {
		return err
	} else if unfinished {
		if err := d.End(); err != nil {
			return err
		}
	}
	if left, err := d.Stuck(); err != nil || len(left.Left) == 0 {
		return err
	}
	return d.SaveStuck(state.Stuck{})
}

func report(ctx context.Context, in RecoverInput) (Report, error) {
	stuck, err := in.State.Stuck()
	if err != nil {
		return Report{}, err
	}
	left, unfinished, err := in.State.Unfinished()
	if err != nil {
		return Report{}, err
	}
	// Memory only adds which restarts were nfsync's. A person can accept without it.
	memory, err := in.State.Memory()
	if err != nil {
		memory = nf.Memory{}
	}
	r := Report{Left: []Leftover{}}
	switch {
	case len(stuck.Left) > 0:
		r.Run = stuck.Run
		r.addStuck(ctx, in, stuck, memory)
	case unfinished:
		r.Run = left.ID
		r.addUnfinished(ctx, in, left, memory)
	}
	return r, nil
}

func (r *Report) addStuck(ctx context.Context, in RecoverInput, stuck state.Stuck, memory nf.Memory) {
	run := state.Run{BootID: stuck.BootID}
	for _, s := range stuck.Left {
		run.Intents = append(run.Intents, s.Intent)
	}
	n, _, _, err := surveyIntents(ctx, in.Machine, run, memory, in.Timeout)
	for _, s := range stuck.Left {
		l := leftover(s.Intent, n, err)
		l.Stuck, l.Why = true, s.Why
		r.Left = append(r.Left, l)
	}
}

// addUnfinished reports the changes that an interrupted run made or may have made.
func (r *Report) addUnfinished(ctx context.Context, in RecoverInput, left state.Run, memory nf.Memory) {
	n, attempts, _, err := surveyIntents(ctx, in.Machine, left, memory, in.Timeout)
	for i, intent := range left.Intents {
		if err == nil && !attempts[i].touched {
			continue
		}
		l := leftover(intent, n, err)
		l.Why = "the run was interrupted; the next apply settles it"
		r.Left = append(r.Left, l)
	}
}

// leftover returns an intent with what its key reads now. unread is why the node
// could not be observed, which keeps nobody from accepting what is left.
func leftover(i state.Intent, n *node, unread error) Leftover {
	l := Leftover{Target: i.Target, Key: i.Key, Layer: i.Layer, From: i.From, To: i.To}
	if unread != nil {
		l.Reads = nf.Unknown(unread.Error())
	} else {
		l.Reads = n.world.Value(i.Change)
	}
	return l
}
