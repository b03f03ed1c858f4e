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

// refuseStuck is ErrStuck where something is left that a person has to see.
func refuseStuck(d *state.Dir) error {
	left, err := d.Stuck()
	if err != nil || len(left.Left) == 0 {
		return err
	}
	first := left.Left[0]
	return fmt.Errorf("%w: %s of %s was %s and reads %s (%d such values); see `nfsync recover`, then take the present state as it is with `nfsync recover --accept`",
		ErrStuck, first.Key, first.Target, first.From, first.Reads, len(left.Left))
}

// recover settles what a run has left that did not come to its end.
func (r *run) recover(ctx context.Context) error {
	left, unfinished, err := r.in.State.Unfinished()
	if err != nil || !unfinished {
		return err
	}
	var units []*unit
	if r.node, r.recovered, units, err = survey(ctx, r.in.Machine, left, r.memory, r.in.Timeout); err != nil {
		return fmt.Errorf("cannot settle what the interrupted run %s has left: %w", left.ID, err)
	}
	if err := r.node.blind(units); err != nil {
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

// rememberRecovered saves also what memory seems to know already: the
// interrupted run may have got no further than the rename, which a power cut
// after the journal's end would take back.
func (r *run) rememberRecovered() error {
	m := newMemory(r.memory)
	for _, a := range r.recovered {
		m.applied(r.node, a)
	}
	m.latch(r.node, r.present())
	r.memory = m.sorted()
	return r.in.State.SaveMemory(r.memory)
}

// survey looks at what the intents of a run are about.
func survey(ctx context.Context, m Machine, left state.Run, memory nf.Memory, timeout time.Duration) (*node, []*attempt, []*unit, error) {
	ask := askAgain(left)
	s, err := Observe(ctx, Live(m, func() (nf.Memory, error) { return memory, nil }), func(*nf.Snapshot) nf.Ask { return ask })
	if err != nil {
		return nil, nil, nil, err
	}
	n := newNode(m, s, ask, timeout)
	var attempts []*attempt
	for _, intent := range left.Intents {
		a := &attempt{Change: intent.Change, result: Result{Change: intent.Change}}
		switch why := n.outlived(intent, left.BootID); {
		case why != "" && begun(memory, intent):
			a.touched = true
		case why != "":
			a.end(Gone, nil, why)
		case a.Key == nf.KeyRestart:
			a.poised = begun(memory, intent)
		default:
			a.touched = hasFrom(a.Change) && !n.world.Reads(a.Change, a.From) && !n.vanished(a.Change)
		}
		attempts = append(attempts, a)
	}
	units, _ := unitsOf(attempts)
	return n, attempts, units, nil
}

// blind says why it cannot be told what is left in a container: it cannot be read
// now, or its runtime does not say that it is there. A restart that goes on after
// its run was cut is such a time, and passes.
func (n *node) blind(units []*unit) error {
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

// askAgain asks for what undoing the intents, or finishing them, needs.
func askAgain(left state.Run) nf.Ask {
	var wants nf.Wants
	for _, i := range left.Intents {
		i.Change = subject(i.Change)
		wants.List = append(wants.List, nf.Want{Target: i.Target, Key: i.Key, Wish: nf.Exactly(i.From)})
		if _, isModule := i.Key.Module(); isModule {
			wants.List = append(wants.List, nf.Want{Target: i.Target, Key: i.Key, Wish: nf.Exactly(i.To)})
		}
	}
	return diff.Ask(wants)
}

// outlived says why nothing of an intent can be left. A live value does not
// outlive its instance, and none outlives the node's.
func (n *node) outlived(i state.Intent, bootID string) string {
	now := n.instance(i.Target)
	switch {
	case now == "":
		return goneReason
	case i.Layer != nf.LayerBoot && (now != i.Instance || bootID != n.snap.BootID):
		return "it was restarted since, and nothing of it is left"
	}
	return ""
}

// settle makes a unit of an interrupted run be as before or as wanted: as
// before, unless all of it reads as wanted, or a rule forbids to undo it. What
// is then neither is stuck.
func (n *node) settle(ctx context.Context, u *unit) {
	const why = "the run was interrupted"
	switch {
	case n.all(u, func(a *attempt) bool {
		return a.poised || a.touched && (a.Key == nf.KeyRestart || n.world.InSync(a.Change))
	}):
		n.endRestarts(u)
		u.rest(Applied, "it reads as wanted")
	case n.all(u, func(a *attempt) bool { return !a.touched }):
		u.rest(Skipped, "it had not been made")
	default:
		n.back(ctx, u, why)
		if len(u.stuck()) > 0 {
			n.forth(ctx, u, why)
		}
		u.rest(Skipped, "it had not been made")
	}
}

func (n *node) all(u *unit, is func(*attempt) bool) bool {
	return !slices.ContainsFunc(u.attempts, func(a *attempt) bool { return a.result.Outcome == "" && !is(a) })
}

// rest gives all that have no outcome this one.
func (u *unit) rest(o Outcome, reason string) {
	for _, a := range u.attempts {
		if a.result.Outcome == "" {
			a.end(o, nil, reason)
		}
	}
}

// RecoverInput is what a recovery works with.
type RecoverInput struct {
	Machine Machine
	State   *state.Dir
	RunDir  string // where the lock is
	Accept  bool   // take the present state as it is
	// Timeout is that of Input.
	Timeout time.Duration
}

// Report is what earlier runs have left.
type Report struct {
	// Run is the id of the run that left it; empty where nothing is left.
	Run      string     `json:"run"`
	Left     []Leftover `json:"left"` // never nil
	Accepted bool       `json:"accepted"`
}

// Leftover is a change that was neither made nor undone, as far as is known.
type Leftover struct {
	Target nf.Target `json:"target"`
	Key    nf.Key    `json:"key"`
	Layer  nf.Layer  `json:"layer"`
	From   nf.Value  `json:"from"`
	To     nf.Value  `json:"to"`
	Reads  nf.Value  `json:"reads"` // now
	// Stuck tells that undoing it failed. Otherwise the run was interrupted,
	// and the next apply will look after it.
	Stuck bool   `json:"stuck"`
	Why   string `json:"why"`
}

// ExitCode is 6 where something is stuck and not accepted, else 0.
func (r Report) ExitCode() int {
	if !r.Accepted && slices.ContainsFunc(r.Left, func(l Leftover) bool { return l.Stuck }) {
		return exitStuck
	}
	return exitOK
}

// Recover reports what is left of earlier runs and, where accepted, takes the
// present state as it is. It changes nothing on the machine.
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

// accept ends the journal before the stuck record, so that a crash between the
// two leaves the person's question open, not settled by the next run.
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
	// What memory adds is whose restart it was. A person can accept what is left
	// without that.
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
	n, _, _, err := survey(ctx, in.Machine, run, memory, in.Timeout)
	for _, s := range stuck.Left {
		l := leftover(s.Intent, n, err)
		l.Stuck, l.Why = true, s.Why
		r.Left = append(r.Left, l)
	}
}

// addUnfinished reports what an interrupted run has made or may have made.
func (r *Report) addUnfinished(ctx context.Context, in RecoverInput, left state.Run, memory nf.Memory) {
	n, attempts, _, err := survey(ctx, in.Machine, left, memory, in.Timeout)
	for i, intent := range left.Intents {
		if err == nil && !attempts[i].touched {
			continue
		}
		l := leftover(intent, n, err)
		l.Why = "the run was interrupted; the next apply looks after it"
		r.Left = append(r.Left, l)
	}
}

// leftover is an intent with what its key reads now. A node that cannot be
// observed keeps nobody from accepting what is left.
func leftover(i state.Intent, n *node, unread error) Leftover {
	l := Leftover{Target: i.Target, Key: i.Key, Layer: i.Layer, From: i.From, To: i.To}
	if unread != nil {
		l.Reads = nf.Unknown(unread.Error())
	} else {
		l.Reads = n.world.Value(i.Change)
	}
	return l
}
