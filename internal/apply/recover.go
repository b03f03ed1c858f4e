package apply

import (
	"cmp"
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

// recover settles what an interrupted run has left.
func (r *run) recover(ctx context.Context) error {
	left, unfinished, err := r.in.State.Unfinished()
	if err != nil || !unfinished {
		return err
	}
	if r.in.Only != nil {
		return fmt.Errorf("the interrupted run %s has to be settled first, by a run for the whole node", left.ID)
	}
	if left.ConfirmWithin > 0 {
		return r.settleUnconfirmed(ctx, left)
	}
	// What that run has saved as stuck is tried again.
	saved := len(r.stuck)
	r.stuck = stuckBefore(left, r.stuck)
	r.memory.Stuck = r.stuck
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
	if len(r.stuck) != saved {
		if err := r.in.State.SaveStuck(r.stuck); err != nil {
			return err
		}
	}
	if err := r.rememberRecovered(); err != nil {
		return err
	}
	return r.in.State.End()
}

// stuckBefore returns what is stuck of other runs than the one that is open.
func stuckBefore(open state.Run, list []nf.StuckChange) []nf.StuckChange {
	return slices.DeleteFunc(slices.Clone(list), func(c nf.StuckChange) bool { return c.Run == open.ID })
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
	m.settleRestarts(r.node, r.recovered, r.existing())
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
		a := &attempt{Change: intent.Change, result: Result{Change: intent.Change}, instance: intent.Instance}
		switch why := n.endedReason(intent, left.BootID); {
		case why != "" && restartRecorded(memory, intent):
			a.touched = true
		case why != "":
			a.end(Gone, nil, why)
		case a.Key == nf.KeyRestart:
			a.aboutToRestart = restartRecorded(memory, intent)
		default:
			a.touched = hasFrom(a.Change) && !a.nothingToMake() && !n.world.Reads(a.Change, a.From) && !n.vanished(a.Change)
		}
		attempts = append(attempts, a)
	}
	linkIntermediate(attempts)
	for _, a := range attempts {
		if a.via != nil && n.world.Reads(a.via.Change, a.via.From) {
			a.touched = false
		}
	}
	return n, attempts, unitsOf(attempts), nil
}

// checkReadable returns an error if a container with intents cannot be read now,
// or is not listed while a runtime is broken. That can pass: a restart may go on
// after its run was interrupted.
func (n *node) checkReadable(units []*unit) error {
	for _, u := range units {
		if err := n.unreadable(u.target); err != nil {
			return err
		}
	}
	return nil
}

// unreadable returns why a container cannot be read now.
func (n *node) unreadable(t nf.Target) error {
	if why := n.unobservable(t); why != "" {
		return fmt.Errorf("%s cannot be read: %s", t, why)
	}
	if _, _, there := n.snap.Find(t); !there {
		if broken := n.snap.Broken(); broken != "" {
			return fmt.Errorf("%s is not listed: %s", t, broken)
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
	now, found := n.snap.Instance(i.Target)
	switch {
	case !found:
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
		return a.aboutToRestart || a.nothingToMake() || a.touched && (a.Key == nf.KeyRestart || n.world.InSync(u.last(a).Change))
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

// nothingToMake reports whether the value was found in the range that is wanted, so that the
// run left it.
func (a *attempt) nothingToMake() bool { return hasFrom(a.Change) && a.From == a.To }

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
	Lock    *Lock
	Accept  bool   // accept the present state
	BootID  string // of the node
	// Runtimes are those of Input.
	Runtimes []string
	// Timeout is that of Input.
	Timeout time.Duration
}

// Report lists what earlier runs have left.
type Report struct {
	// Run is the id of the last of these runs; empty if nothing is left.
	Run      string     `json:"run"`
	Left     []Leftover `json:"left"` // never nil
	Accepted bool       `json:"accepted"`
	// Unconfirmed says what becomes of an open run that was to be confirmed; empty if there is none.
	Unconfirmed string `json:"unconfirmed,omitempty"`
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
// the present state and forgets the rest. It changes nothing on the machine. It accepts nothing
// of a run that waits for its confirmation: the error is ErrUnconfirmed.
func Recover(ctx context.Context, in RecoverInput) (Report, error) {
	unlock, err := in.Lock.Take()
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
		if run, _, err := in.State.Unfinished(); err != nil {
			return Report{}, err
		} else if waits := waiting(run, in.BootID, uptime()); waits != nil {
			return Report{}, waits
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
	if left, err := d.Stuck(); err != nil || len(left) == 0 {
		return err
	}
	return d.SaveStuck(nil)
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
	r.addStuck(ctx, in, stuckBefore(left, stuck), memory)
	if unfinished {
		r.Run, r.Unconfirmed = left.ID, OpenRun(left, in.BootID)
		r.addUnfinished(ctx, in, left, memory)
	}
	return r, nil
}

// addStuck reports what holds back its target: not what has ended with an instance.
func (r *Report) addStuck(ctx context.Context, in RecoverInput, stuck []nf.StuckChange, memory nf.Memory) {
	if len(stuck) == 0 {
		return
	}
	var run state.Run
	for _, c := range stuck {
		run.Intents = append(run.Intents, state.Intent{Change: c.Change(), Instance: c.Instance})
	}
	n, _, _, err := surveyIntents(ctx, in.Machine, run, memory, in.Timeout)
	for i, c := range stuck {
		if err == nil && existingIn(n.snap, in.Runtimes).settled(c) {
			continue
		}
		l := leftover(run.Intents[i], n, err)
		l.Stuck, l.Why = true, c.Why
		r.Run = c.Run
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
		l.Why = cmp.Or(r.Unconfirmed, "the run was interrupted; the next apply settles it")
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
