package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"sync"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/state"
)

// Follower follows the roll-outs of a fleet: it decides which revision a lap takes, and when. Laps use it
// one at a time.
type Follower struct {
	// Once says that the follower makes one lap: it fetches without waiting for its part of a time, and remembers in the state
	// directory since when it waits for its turn.
	Once   bool
	member Membership
	// put puts what the node says of itself now, and returns when the store has it.
	put func(context.Context) error

	named     map[string]*named // the revisions that the roll-out names, by commit
	saved     string            // the commit of the last good revision as the lap began; empty: none
	newest    string            // the commit that a roll-out has brought last; empty: none
	begins    sight
	enforcing string // the revision that the lap makes the state of the node
	hasAsked  bool   // for a grant, since the start
	// mayRestart: the policies allow the restart of a container, which has not been made.
	mayRestart bool

	mu sync.Mutex // of what follows, which others read
	is Following
}

// Following is how a node follows the roll-outs of its fleet.
type Following struct {
	Problem  *FleetError // of the last time that the fleet was asked; nil: none, or it was not asked yet
	Asked    bool
	HeardAt  time.Time // when it last gave a good document; zero: not yet
	Document nf.RolloutDocument
	Since    time.Time // when the node first had Document
	Proof    string    // of the generation of Document
	Group    string
	Progress *nf.NodeProgress
	BeginsAt time.Time        // zero: it does not wait for a time
	AskAt    time.Time        // when a lap has to ask again; zero: with the next event
	Grant    *nf.RestartGrant // that the node acts on
	Wants    bool             // restarts wait for a grant alone, if any do
}

// sight is when a node first saw that its turn has come.
type sight struct {
	what string
	at   time.Time
}

// named is a revision that the roll-out names.
type named struct {
	since    time.Time // when the follower first heard of it
	bounds   Bounds    // of what follows
	revision *Revision // nil: it was not fetched
	err      error     // why it cannot be taken, whatever happens; nil: it may be
	isOlder  bool      // than one that the node has had in force
}

// NewFollower returns a follower of the roll-outs of a fleet. put puts what the node says of itself.
func NewFollower(m Membership, put func(context.Context) error) *Follower {
	f := &Follower{member: m, put: put, named: map[string]*named{}}
	f.is.Problem = m.Err
	return f
}

// Following returns how the node follows the fleet now.
func (f *Follower) Following() Following {
	f.mu.Lock()
	defer f.mu.Unlock()
	is := f.is
	if is.Progress != nil {
		p := *is.Progress
		is.Progress = &p
	}
	return is
}

// isWatched reports whether the node has begun in a roll-out that is judged: it is not done or aborted, or was so for less than its
// soak.
func (is *Following) isWatched(now time.Time) bool {
	p, doc := is.Progress, &is.Document
	if p == nil || p.Revision != doc.Revision || p.Generation < doc.Began || p.State == nf.ProgressWaiting || p.State == nf.ProgressUnaffected {
		return false
	}
	hasEnded := doc.State == nf.RolloutDone || doc.State == nf.RolloutAborted
	return !hasEnded || now.Before(is.Since.Add(doc.Plan.Soak.Duration()))
}

// change changes what others read.
func (f *Follower) change(how func(*Following)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how(&f.is)
}

// hear asks for the roll-out document, and returns what it lets the node do that has a revision in force.
// It is false if nothing is known for certain: then the node stays as it is. The error is that of the
// state directory.
func (f *Follower) hear(ctx context.Context, dir *state.Dir, inForce string) (turn rollout.Turn, ok bool, err error) {
	if f.member.Fleet == nil {
		f.change(func(is *Following) { is.Problem, is.Asked = f.member.Err, true })
		return turn, false, nil
	}
	asking, cancel := context.WithTimeout(ctx, fleetTimeout)
	doc, problem := f.member.Fleet.Rollout(asking)
	cancel()
	if ctx.Err() != nil {
		return turn, false, context.Cause(ctx)
	}
	now := time.Now()
	known, err := f.save(ctx, dir, func(is *state.Fleet) error {
		if p := is.Progress; p != nil && p.State == nf.ProgressBegun && p.Revision != inForce {
			is.Progress = &nf.NodeProgress{Generation: p.Generation, Revision: p.Revision, State: nf.ProgressWaiting, Reason: "it was interrupted before it had changed anything", At: now}
		}
		if p := is.Progress; p != nil && p.Revision == inForce {
			is.Newest = inForce
		}
		if problem == nil {
			problem = asFleetError(is.Accept(doc, now))
		}
		if problem != nil || !is.Document.State.MayBegin() {
			is.Turn, is.TurnAt = "", time.Time{} // see forgetTimes
		}
		return nil
	})
	if err != nil {
		return turn, false, err
	}
	f.change(func(is *Following) {
		is.Problem, is.Asked, is.Document, is.Since, is.Proof = asProblem(problem), true, known.Document, known.HeardAt, known.Proof
		is.Progress, is.BeginsAt, is.AskAt = known.Progress, time.Time{}, time.Time{}
		if problem == nil {
			is.HeardAt = now
		}
		if known.Document.Generation > 0 {
			is.Group = rollout.Group(known.Document, f.member.Node.Labels).Name
		}
	})
	f.newest = known.Newest
	f.hearGrant(ctx, dir)
	if problem != nil || !known.Document.State.MayBegin() {
		f.forgetTimes()
	}
	if problem != nil {
		f.askSoon()
		return turn, false, nil
	}
	return rollout.TurnOf(known.Document, f.member.Node, inForce), true, nil
}

// asFleetError returns an error of the state as one of the fleet, if it is one.
func asFleetError(err error) error {
	if older, ok := errors.AsType[*state.OlderError](err); ok {
		return &FleetError{ReasonOlder, older}
	}
	return err
}

func asProblem(err error) *FleetError {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*FleetError](err); ok {
		return e
	}
	return &FleetError{ReasonUnreachable, err}
}

// setProgress saves how far the node is with a revision, if that is news.
func (f *Follower) setProgress(ctx context.Context, dir *state.Dir, revision string, to nf.ProgressState, reason string) error {
	known, err := f.save(ctx, dir, func(is *state.Fleet) error {
		next := nf.NodeProgress{Generation: is.Document.Generation, Revision: revision, State: to, Reason: shortened(reason), At: time.Now()}
		if p := is.Progress; p != nil && p.Revision == revision && p.State == to && p.Reason == next.Reason && p.Generation >= is.Document.Began {
			return nil
		}
		is.Progress = &next
		return nil
	})
	if err == nil {
		f.change(func(is *Following) { is.Progress = known.Progress })
	}
	return err
}

// save changes what is saved of the fleet, also while the agent is stopped.
func (f *Follower) save(ctx context.Context, dir *state.Dir, change func(*state.Fleet) error) (state.Fleet, error) {
	saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), fleetTimeout)
	defer cancel()
	return dir.ChangeFleet(saving, f.member.Channel, f.member.CoordinatorKey, change)
}

// maxReason is the most bytes of a reason that the node reports to the fleet.
const maxReason = 300

func shortened(text string) string {
	if len(text) <= maxReason {
		return text
	}
	return string([]rune(text)[:min(maxReason, len([]rune(text)))]) + "…"
}

// fetch returns a revision that the roll-out names. It is fetched once, after the node's part of a time: until then
// the error is errNotYet. It is errOlder if the node has had a newer one in force: neither the document nor the name of the
// branch nor the URL can take it back.
func (f *Follower) fetch(ctx context.Context, in In, want Bounds, within time.Duration, last []state.Position) (Revision, error) {
	n := f.named[want.UpTo]
	if n == nil {
		n = &named{since: time.Now()}
		f.named[want.UpTo] = n
	}
	if !reflect.DeepEqual(n.bounds, want) {
		*n = named{since: n.since, bounds: want}
	}
	switch r := n.revision; {
	case n.err != nil:
		return Revision{}, n.err
	case n.isOlder && want.UpTo != in.Accept:
		return Revision{}, errOlder
	case r != nil && r.follows == positionOf(last, r.Revision):
		return *r, nil
	case !f.Once && f.isLater(f.part(n.since, within)):
		return Revision{}, errNotYet
	}
	next, err := Fetch(ctx, f.member.Fetch(want), in.Mode, last, in.Accept)
	if err == nil && !in.AllowEmpty {
		err = next.CheckEmpty(in.Path)
	}
	rewritten, _ := errors.AsType[*source.RewrittenError](err)
	switch {
	case err == nil:
		n.revision = &next
	case rewritten != nil && rewritten.Behind:
		n.isOlder = true
		return Revision{}, errOlder
	case ctx.Err() == nil && rewritten == nil && !isType[*source.FetchError](err):
		n.err = err // what is in a commit does not change
	}
	return next, err
}

// after returns the commits that the node does not go back behind: that of the last good revision, also of one that cannot be
// enforced any more, and the newest one that a roll-out has brought.
func (f *Follower) after() []string {
	after := slices.DeleteFunc([]string{f.saved, f.newest}, func(commit string) bool { return commit == "" })
	return slices.Compact(after)
}

// forgetOthers forgets the revisions that the roll-out does not name any more.
func (f *Follower) forgetOthers(turn rollout.Turn) {
	maps.DeleteFunc(f.named, func(commit string, _ *named) bool { return commit != turn.Commit && commit != turn.Meanwhile })
}

// errOlder means that the node has had a newer revision in force than one that the roll-out names.
var errOlder = errors.New("the revision in force, or one that was, is newer, and nfsync does not go back")

// forgetTimes makes the node wait its part of each time anew. While the fleet cannot be asked, or the roll-out is held, the times
// of many nodes pass, which would begin together afterwards.
func (f *Follower) forgetTimes() {
	f.begins = sight{}
	maps.DeleteFunc(f.named, func(_ string, n *named) bool { return n.revision == nil && n.err == nil && !n.isOlder })
}

// errNotYet means that the part of a time for which this node waits has not passed.
var errNotYet = errors.New("its part of the time is not over")

// part returns when the node's part of a time has passed. The parts of the nodes of a fleet are spread evenly over
// the time.
func (f *Follower) part(since time.Time, within time.Duration) time.Time {
	part := rollout.Position(f.Following().Document.Seed+" part", f.member.Node.Name)
	return since.Add(time.Duration(math.Round(part * float64(within))))
}

// unansweredAfter is the least time after which a node asks again whose question got no answer, and unansweredWithin the time over
// which the nodes do.
const (
	unansweredAfter  = 15 * time.Second
	unansweredWithin = 30 * time.Second
)

// askSoon lets a lap ask again if there was no answer although the node is connected: nothing else may wake it for long. When
// a connection comes back, that does.
func (f *Follower) askSoon() {
	if f.Following().Problem.Reason != ReasonUnreachable || !f.member.Fleet.Link().Connected {
		return
	}
	at := f.part(time.Now().Add(unansweredAfter), unansweredWithin)
	f.change(func(is *Following) { is.AskAt = at })
}

// isLater reports whether a time is yet to come. Then a lap asks again at that time.
func (f *Follower) isLater(at time.Time) bool {
	if !time.Now().Before(at) {
		return false
	}
	f.change(func(is *Following) { is.AskAt = at })
	return true
}

// beginsAt returns when the node begins whose turn has come.
func (f *Follower) beginsAt(ctx context.Context, dir *state.Dir, turn rollout.Turn) (time.Time, error) {
	doc := f.Following().Document
	what := fmt.Sprintf("%d %s %d %v", doc.Began, turn.Commit, rollout.Group(doc, f.member.Node.Labels).Step, turn.Rescue)
	if f.Once {
		return f.savedBegin(ctx, dir, turn, what)
	}
	if f.begins.what != what {
		f.begins = sight{what, time.Now()}
	}
	return f.part(f.begins.at, turn.Within), nil
}

// savedBegin is beginsAt of a follower that makes one lap: an earlier one may have seen the turn.
func (f *Follower) savedBegin(ctx context.Context, dir *state.Dir, turn rollout.Turn, what string) (time.Time, error) {
	now := time.Now()
	known, err := f.save(ctx, dir, func(is *state.Fleet) error {
		if is.Turn != what || is.TurnAt.After(now) { // the clock was set back
			is.Turn, is.TurnAt = what, now
		}
		return nil
	})
	return f.part(known.TurnAt, turn.Within), err
}

// notBegunError is why a node whose turn had come has not begun.
type notBegunError struct{ why string }

func (e *notBegunError) Error() string { return "not begun: " + e.why }

// begin asks once more whether the node may take a revision, and saves that it does. Unless the revision changes nothing for the
// node, it reports to the fleet that it begins. The error is a *notBegunError if it may not, or if the fleet does not know: then
// nothing was changed.
func (f *Follower) begin(ctx context.Context, dir *state.Dir, commit, inForce string, as nf.ProgressState, mayBegin func(rollout.Turn) bool) error {
	if good, err := dir.LastGood(); err != nil || good.Revision != f.saved {
		return cmp.Or(err, error(&notBegunError{"another nfsync has applied " + good.Revision + " meanwhile"}))
	}
	switch turn, ok, err := f.hear(ctx, dir, inForce); {
	case err != nil:
		return err
	case !ok:
		return &notBegunError{f.Following().Problem.Error()}
	case !mayBegin(turn):
		return &notBegunError{whyWaits(turn)}
	}
	if err := f.setProgress(ctx, dir, commit, as, ""); err != nil || as == nf.ProgressUnaffected {
		return err
	}
	putting, cancel := context.WithTimeout(ctx, fleetTimeout)
	defer cancel()
	if err := f.put(putting); err != nil {
		f.change(func(is *Following) { is.Problem = asProblem(err) })
		f.askSoon()
		return &notBegunError{"the fleet does not confirm that it knows: " + err.Error()}
	}
	return nil
}

func whyWaits(turn rollout.Turn) string {
	if turn.Reason == "" {
		return "its turn has not come"
	}
	return turn.Reason
}

// waits saves why the node waits with the revision of the roll-out. One that it could not take has failed, and stays so
// while the roll-out is held.
func (f *Follower) waits(ctx context.Context, dir *state.Dir, why string) error {
	is := f.Following()
	if p := is.Progress; p != nil && p.State == nf.ProgressFailed && p.Revision == is.Document.Revision && p.Generation >= is.Document.Began {
		return nil
	}
	return f.setProgress(ctx, dir, f.Following().Document.Revision, nf.ProgressWaiting, why)
}

// holds saves that the revision of the roll-out is in force, if nothing is known of it: it was taken before the roll-out
// began. It reports whether the lap has to look at the node to say so.
func (f *Follower) holds(ctx context.Context, dir *state.Dir, inForce string) (look bool, err error) {
	is := f.Following()
	doc, p := is.Document, is.Progress
	if inForce == "" || inForce != doc.Revision {
		return false, nil
	}
	switch {
	case p == nil || p.Revision != inForce || p.Generation < doc.Began:
		return true, f.setProgress(ctx, dir, inForce, nf.ProgressUnaffected, "it was in force before")
	case p.State == nf.ProgressWaiting: // it was interrupted, or an operator has applied it by hand
		return true, f.setProgress(ctx, dir, inForce, nf.ProgressApplied, "")
	}
	return p.State == nf.ProgressBegun, nil
}

// Ended saves what a lap has made of the revision that the node has begun. before is why changes were left that
// have failed before.
func (f *Follower) Ended(ctx context.Context, dir *state.Dir, res Result, err, before error) error {
	if res.Receipt.Kind != "" || res.Plan != nil {
		f.mayRestart = slices.ContainsFunc(pendingOf(res), func(p nf.Pending) bool { return p.MayRestart })
	}
	p := f.Following().Progress
	if p == nil || dir == nil || ctx.Err() != nil || p.State == nf.ProgressWaiting || res.Held.Commit != "" {
		return nil
	}
	if res.Revision.Commit != p.Revision || res.Receipt.Kind == "" && res.Plan == nil {
		if p.State == nf.ProgressBegun && err != nil {
			return f.setProgress(ctx, dir, p.Revision, nf.ProgressFailed, err.Error())
		}
		return nil
	}
	if res.Receipt.Interrupted || res.Plan != nil && p.State != nf.ProgressBegun {
		return nil // the next lap goes on; a plan says nothing of what was done
	}
	to, why := outcome(res, err, before)
	harmless := to == nf.ProgressApplied || to == nf.ProgressRefused
	if p.State == nf.ProgressUnaffected && harmless {
		return nil
	}
	return f.setProgress(ctx, dir, p.Revision, to, why)
}

// pendingOf returns what waits after a lap.
func pendingOf(res Result) []nf.Pending {
	if res.Plan != nil {
		return res.Plan.Pending
	}
	return res.Receipt.Pending
}

// askAgain returns when a lap must ask the fleet again without an event; the zero time: never.
func (f *Follower) askAgain() time.Time { return f.Following().AskAt }

// isDue reports whether a lap has to ask the fleet now.
func (f *Follower) isDue() bool {
	at := f.askAgain()
	return !at.IsZero() && !time.Now().Before(at)
}

// forget makes the follower fetch what it has fetched again: the configuration may verify it otherwise.
func (f *Follower) forget() { clear(f.named) }
