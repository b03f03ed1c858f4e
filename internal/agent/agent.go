package agent

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/spec"
)

// Setup is what the configuration says about laps.
type Setup struct {
	// Lap is the input of laps, without what each lap sets: Apply, Accept and, where it does not
	// fetch, Fetch.
	Lap In
	// Directory reads the policies of a directory; nil if they are in a repository.
	Directory func() (spec.Policies, error)
	// Apply returns the input of the run of a lap.
	Apply func() (apply.Input, error)
	// Given returns the container that a hook gives; nothing says why it is none here. nil: no hook is
	// answered.
	Given func(nf.Given) (c nf.Container, nothing string, err error)
	// Tables reads conntrack tables; nil: they are not read.
	Tables TableReader
	// URLs says how the fetches from each URL go; TryAll makes the next fetch try all of them, in
	// their order. Both are nil for a directory.
	URLs   func() []nf.SourceURL
	TryAll func()
	// Writers returns what else than nfsync sets a key of the node; nil: nothing is known.
	Writers func(nf.Key) []nf.Writer
	// Publish says how and where the agent publishes what the node is; nil: it does not.
	Publish *Publishing
	// Fleet says which fleet the node belongs to; nil: to none. Another pointer is another membership.
	Fleet           *Membership
	Interval, Drift time.Duration
	Mode, Source    string       // for the status
	Window          *spec.Window // of restarts
}

// Agent makes laps and keeps their status.
type Agent struct {
	// Configure reads the configuration. The agent calls it at the start and when it has changed.
	Configure func() (Setup, error)
	// SaveSuspension stores a suspension; nil ends it.
	SaveSuspension func(*nf.Suspension) error
	// ConfirmRun confirms the run that waits for it.
	ConfirmRun func() (nf.Confirmation, error)
	// Published is called for each new status: after a lap, and between laps as for Listen. The
	// calls come one after the other.
	Published func(nf.NodeStatus)
	// AliveEvery is how often the loop shows that it is alive while it waits, if that is less than ten
	// seconds; 0 is ten seconds.
	AliveEvery time.Duration
	// Ended is called after each lap. TablesChanged is called when a conntrack table begins to fill, is full,
	// or does not fill any more, with the tables that filled before. They are never called at the same time.
	Ended         func(nf.NodeStatus, Report)
	TablesChanged func(was []nf.FillingTable, s nf.NodeStatus)
	// PublicationEnded is called after each publication.
	PublicationEnded func(PublishReport)

	loop      *Loop
	tables    *Tables
	publisher *publisher
	reporter  *reporter
	began     chan struct{}     // closed after the first lap
	start     sync.Once         // closes it
	reporting sync.Mutex        // held while the status changes and is reported
	reported  []nf.FillingTable // the last ones of TablesChanged

	publishing sync.Mutex // of the calls of Published
	suspending sync.Mutex // of the stored suspension with the one below

	mu         sync.Mutex // of what follows
	status     nf.NodeStatus
	suspension *nf.Suspension // as it is stored
	accept     string         // the commit that a person has accepted
	listeners  map[chan nf.NodeStatus]bool
	births     map[*awaited]bool
	given      func(nf.Given) (c nf.Container, nothing string, err error) // of the setup
	overview   apply.Overview
	watchers   map[chan struct{}]bool // of Changes

	// What the goroutine of the laps alone uses.
	setup     *Setup
	config    error         // why the changed configuration is not in force
	missed    error         // why the last revision that was fetched is not in force
	directory spec.Policies // the last valid ones
	report    Report        // of the last lap for the whole node
	birth     *Report       // of the last lap, if it was for born containers alone
	enforced  *Revision     // what the last lap has enforced; nil if it has not
	suspended bool          // the last lap was
	again     bool          // the last lap fetched in vain: another nfsync was at work
	restarted []time.Time   // when laps with restarts of containers ended, one for each restart

	// The suspension with an end that was seen last: when it began, and when its duration has passed.
	suspendedSince, suspendedUntil time.Time
}

// New returns an agent with the status of one that has just started.
func New(status nf.NodeStatus) *Agent {
	a := &Agent{status: status, listeners: map[chan nf.NodeStatus]bool{}, births: map[*awaited]bool{}, watchers: map[chan struct{}]bool{}, tables: newTables(), began: make(chan struct{})}
	a.loop = NewLoop(a.lap)
	a.loop.Scheduled = a.ended
	a.tables.changed = a.tablesRead
	a.publisher = newPublisher(a.Status)
	a.publisher.reported = a.published
	a.reporter = newReporter(a)
	return a
}

// Tables returns the agent's readings of conntrack tables.
func (a *Agent) Tables() *Tables { return a.tables }

// Fleet returns how the node follows its fleet; nil: it belongs to none.
func (a *Agent) Fleet() *FleetReport { return a.reporter.Report() }

// Wake wakes a lap.
func (a *Agent) Wake(c Cause) { a.loop.Wake(c) }

// WakeBirth wakes a lap for a container that was born: a named namespace by its id alone, any other one
// as it was found.
func (a *Agent) WakeBirth(c nf.Container) { a.loop.WakeBirth(c) }

// Sync wakes a lap that fetches. accept, if not empty, is a commit that is taken even if its
// branch was rewritten.
func (a *Agent) Sync(accept string) {
	a.mu.Lock()
	if accept != "" { // who only wakes the agent takes back nothing
		a.accept = accept
	}
	a.mu.Unlock()
	a.Wake(WakeSync)
}

// Run makes laps until ctx ends. alive is called as Loop.Alive is.
func (a *Agent) Run(ctx context.Context, alive func()) {
	a.loop.Alive, a.loop.AliveEvery = alive, a.AliveEvery
	var beside sync.WaitGroup
	beside.Go(func() { a.tables.run(ctx, a.began) })
	beside.Go(func() { a.publisher.run(ctx, a.began) })
	beside.Go(func() { a.reporter.run(ctx, a.began) })
	a.loop.Run(ctx)
	beside.Wait()
}

// Status returns the status after the last lap, with the lap that runs, the suspension as it is now,
// and the conntrack tables as they were last read.
func (a *Agent) Status() nf.NodeStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

// Listen returns a channel that receives the status after each lap, when a lap has run for
// announceAfter, and when the agent is suspended or resumed, until done is called. A listener that
// is slow misses all but the newest.
func (a *Agent) Listen() (updates <-chan nf.NodeStatus, done func()) {
	c := make(chan nf.NodeStatus, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.listeners[c] = true
	return c, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.listeners, c)
	}
}

// publish changes the status, unless change reports that there is no news, and sends it to the
// listeners.
func (a *Agent) publish(change func(*nf.NodeStatus) bool) {
	a.publishing.Lock()
	defer a.publishing.Unlock()
	s, changed := a.store(change)
	if changed && a.Published != nil {
		a.Published(s)
	}
}

func (a *Agent) store(change func(*nf.NodeStatus) bool) (nf.NodeStatus, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	news := change(&a.status)
	a.changed()
	if !news {
		return a.status, false
	}
	for c := range a.listeners {
		select {
		case <-c: // an older one that nobody has received
		default:
		}
		c <- a.status
	}
	a.publisher.wake()
	a.reporter.wake()
	return a.status, true
}

// announceAfter is how long a lap runs before the listeners learn of it.
const announceAfter = time.Second

// begin stores that a lap runs. Stop the timer when it has ended.
func (a *Agent) begin(t Trip, now time.Time) *time.Timer {
	lap := &nf.CurrentLap{StartedAt: now, Causes: t.words()}
	a.mu.Lock()
	a.status.CurrentLap = lap
	a.mu.Unlock()
	return time.AfterFunc(announceAfter, func() {
		a.publish(func(s *nf.NodeStatus) bool {
			if s.CurrentLap == lap {
				s.UpdatedAt = time.Now()
			}
			return s.CurrentLap == lap
		})
	})
}

// lap makes one lap.
func (a *Agent) lap(ctx context.Context, t Trip) (Schedule, bool) {
	if len(t.Born) > 0 {
		return a.birthLap(ctx, t)
	}
	a.birth = nil
	t.Fetch = t.Fetch || a.again
	r := Report{Trip: t, Started: time.Now()}
	defer a.begin(t, r.Started).Stop()
	if a.setup == nil || slices.Contains(t.Causes, WakeConfig) {
		a.configure()
	}
	r.Config = a.config
	if a.setup == nil {
		r.Err = a.config
	} else {
		a.run(ctx, &r)
	}
	if !t.Fetch && r.Result.Missed == nil {
		r.Result.Missed = a.missed
	}
	a.missed = r.Result.Missed
	a.countRestarts(r.Result.Receipt)
	a.again = t.Fetch && isLocked(r.Err) && r.Result.Missed == nil
	r.Finished, r.Stopped = time.Now(), ctx.Err() != nil
	a.report = r
	if !r.Result.Unchanged {
		a.enforced = nil
	}
	if r.Err == nil && r.Result.Receipt.Kind != "" {
		a.enforced = &r.Result.Revision
	}
	return a.schedule(r), isType[*source.FetchError](r.Result.Missed)
}

// ended publishes the status after a lap.
func (a *Agent) ended(next []nf.NextLap) {
	a.reporting.Lock()
	defer a.reporting.Unlock()
	a.report.Tables, a.report.Publication, a.report.Fleet = a.tables.Report(), a.publisher.Report(), a.reporter.Report()
	r := a.report
	if a.birth != nil {
		if r = *a.birth; !r.settled() {
			return // another lap follows
		}
	}
	a.publish(func(s *nf.NodeStatus) bool {
		if a.report.SuspensionNow = a.suspension; a.birth == nil {
			*s = Status(*s, a.report)
		} else {
			*s = afterBirth(*s, a.report, r)
		}
		if a.setup != nil {
			s.Mode, s.Source = a.setup.Mode, a.setup.Source
			if a.setup.URLs != nil {
				s.URLs = a.setup.URLs()
			}
		}
		s.Next = next
		return true
	})
	if a.Ended != nil {
		a.Ended(a.Status(), r)
	}
	if a.report.Err == nil {
		a.publisher.inForce(a.report.Result.Revision.Policies.UseLabels)
	}
	a.reporter.lapEnded(!r.Result.Unchanged, a.report.Result.Revision.Policies.UseLabels, len(a.tables.known()))
	a.publisher.lapEnded(!r.Result.Unchanged, slices.Contains(r.Trip.Causes, WakeSync))
	a.start.Do(func() { close(a.began) })
}

// tablesRead puts a reading of the tables into the status. The listeners receive it with the
// next lap, or now if the condition changes.
func (a *Agent) tablesRead(r TableReport) {
	a.reporting.Lock()
	defer a.reporting.Unlock()
	var s nf.NodeStatus
	a.publish(func(status *nf.NodeStatus) bool {
		s = withTables(*status, r, a.tables.now())
		*status = s
		return (len(a.reported) > 0) != (len(s.Tables) > 0)
	})
	was := a.reported
	a.reported = s.Tables
	if a.TablesChanged != nil && !sameTables(was, s.Tables) {
		a.TablesChanged(was, s)
	}
}

func (a *Agent) configure() {
	setup, err := a.Configure()
	if a.config = err; err == nil {
		a.setup = &setup
		a.mu.Lock()
		a.given = setup.Given
		a.mu.Unlock()
		a.tables.use(setup.Tables)
		a.publisher.use(setup.Publish)
		a.reporter.use(setup.Fleet)
	}
}

// run fetches or does not, applies or plans, and reports it.
func (a *Agent) run(ctx context.Context, r *Report) {
	in := a.setup.Lap
	if in.Apply, r.Err = a.setup.Apply(); r.Err != nil {
		return
	}
	if r.Suspension, r.Err = a.readSuspension(in.Apply); r.Err != nil {
		return
	}
	in.Apply.Late = a.lateness(in.Apply.Machine)
	in.Apply.Machine, in.Apply.Seen = lister{in.Apply.Machine, a.tables}, a.saw
	in.Apply.Routine, in.Suspended = true, r.Suspension != nil
	in.Apply.Restarts = a.whileAllowed(in.Apply)
	in.Fleet = a.reporter.Follower()
	fetch := r.Trip.Fetch || a.Status().Revision == nil || a.suspended != in.Suspended || in.Fleet != nil && in.Fleet.isDue()
	a.suspended = in.Suspended
	back, waits := apply.TakeBack(ctx, in.Apply)
	if waits != nil && !errors.Is(waits, apply.ErrUnconfirmed) {
		r.Result, r.Err = Result{TakenBack: back}, waits
		return
	}
	if waits != nil {
		in.Hold = waits.Error()
	}
	j, err := newJudge(in.Apply, slices.Contains(r.Trip.Causes, WakeSync))
	if r.Err = err; err != nil {
		return
	}
	j.writers = a.setup.Writers
	if a.setup.TryAll != nil && slices.ContainsFunc(r.Trip.Causes, Cause.triesAll) {
		a.setup.TryAll()
	}
	in.Apply = j.input(in.Apply)
	r.Result, err = a.makeLap(ctx, in, fetch, r.Trip.Causes)
	if r.Result.TakenBack = back; waits != nil && !errors.Is(err, apply.ErrUnconfirmed) {
		err = errors.Join(err, waits) // the lap only plans, or need not look at the node
	}
	r.Before = j.failedBefore()
	r.Err = errors.Join(err, j.record(r.Result.Receipt))
	if in.Fleet != nil {
		r.Err = errors.Join(r.Err, in.Fleet.Ended(ctx, in.Apply.State, r.Result, err, r.Before))
	}
	r.Fights = j.fightsLeft(j.planned(r.Result))
}

func (a *Agent) makeLap(ctx context.Context, in In, fetch bool, causes []Cause) (Result, error) {
	if a.setup.Directory != nil {
		return a.directoryLap(ctx, in)
	}
	in.InForce, in.Known = a.inForce(causes), a.report.Result.Revision
	if !fetch {
		in.Fetch = nil
		return Lap(ctx, in)
	}
	in.Accept = a.takeAccept()
	res, err := Lap(ctx, in)
	if isLocked(err) || isType[*source.FetchError](res.Missed) {
		a.acceptAgain(in.Accept)
	}
	return res, err
}

// isLocked reports whether a lap came to nothing because another nfsync was at work.
func isLocked(err error) bool {
	return errors.Is(err, apply.ErrLocked) || errors.Is(err, ErrOvertaken)
}

// inForce returns the commit that is in force, if a lap with these causes need not look at the
// node where it is still the newest.
func (a *Agent) inForce(causes []Cause) string {
	s := a.Status()
	onlyFetches := !slices.ContainsFunc(causes, func(c Cause) bool { return c != WakeInterval && c != WakeWebhook && c != WakeFleet })
	if !onlyFetches || s.Revision == nil || s.LastLap == nil || a.suspended ||
		!slices.Contains([]nf.LapResult{nf.LapInSync, nf.LapApplied, nf.LapRefused, nf.LapUnchanged}, a.report.result()) {
		return ""
	}
	return s.Revision.Commit
}

func (a *Agent) takeAccept() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	accept := a.accept
	a.accept = ""
	return accept
}

// acceptAgain keeps a commit that a person has accepted for the next fetch, unless there is a newer
// one.
func (a *Agent) acceptAgain(commit string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.accept == "" {
		a.accept = commit
	}
}

// directoryLap applies the policies of a directory, or those that were last valid.
func (a *Agent) directoryLap(ctx context.Context, in In) (res Result, err error) {
	policies, err := a.setup.Directory()
	switch {
	case err == nil:
		a.directory = policies
	case a.directory == nil:
		return Result{Missed: err}, nil
	default:
		res.Missed = err
	}
	res.Revision = Revision{Policies: a.directory}
	if in.Observe || in.Suspended {
		return in.plan(ctx, res)
	}
	return a.enforceDirectory(ctx, in, res)
}

// enforceDirectory adds to a result the run for the policies of the directory.
func (a *Agent) enforceDirectory(ctx context.Context, in In, res Result) (_ Result, err error) {
	in.Apply.Wants, in.Apply.Labels = a.directory.Resolve, a.directory.UseLabels
	res.Receipt, err = apply.Run(ctx, in.Apply)
	return res, err
}

// suspensionNow returns the suspension that holds now. It ends at its time, and after its duration at
// the latest: the clock may have been set back since it began.
func (a *Agent) suspensionNow(in apply.Input) (*nf.Suspension, error) {
	if in.State == nil {
		return nil, nil
	}
	s, err := in.State.Suspension()
	if err != nil || s == nil || s.Until == nil {
		return s, err
	}
	if a.suspendedUntil.IsZero() || !a.suspendedSince.Equal(s.Since) {
		a.suspendedSince, a.suspendedUntil = s.Since, time.Now().Add(s.Until.Sub(s.Since))
	}
	if s.Ended(in.Now()) || !time.Now().Before(a.suspendedUntil) {
		return nil, nil
	}
	return s, nil
}

// whileAllowed returns the bounds of restarts, which also hold them once the agent is suspended
// during the lap, or something has come that the next lap has to read first.
func (a *Agent) whileAllowed(in apply.Input) apply.Restarts {
	bounds := a.brake(in.Restarts)
	others := bounds.Held
	bounds.Held = func(takes time.Duration) string {
		switch s, err := a.suspensionNow(in); {
		case err != nil:
			return err.Error()
		case s != nil:
			return "the agent is suspended: " + s.Reason
		case a.loop.hasNews():
			return "the policies or the configuration may have changed during this lap: the next one decides"
		case others == nil:
			return ""
		}
		return others(takes)
	}
	return bounds
}

// readSuspension returns the suspension that holds now, and keeps it for the status.
func (a *Agent) readSuspension(in apply.Input) (*nf.Suspension, error) {
	a.suspending.Lock()
	defer a.suspending.Unlock()
	s, err := a.suspensionNow(in)
	if err == nil {
		a.mu.Lock()
		a.suspension = s
		a.mu.Unlock()
	}
	return s, err
}

// Suspend suspends the agent, or resumes it if s is nil, and wakes a lap. The status has it at
// once, also while a lap runs.
func (a *Agent) Suspend(s *nf.Suspension) error {
	a.suspending.Lock()
	defer a.suspending.Unlock()
	if err := a.SaveSuspension(s); err != nil {
		return err
	}
	a.publish(func(status *nf.NodeStatus) bool {
		a.suspension = s
		setSuspension(status, s, time.Now())
		return true
	})
	a.Wake(WakeWindow)
	return nil
}

// Confirm confirms the run that waits for it.
func (a *Agent) Confirm() (nf.Confirmation, error) { return a.ConfirmRun() }

// lockedPause is the time until the next lap while another nfsync is at work.
const lockedPause = 5 * time.Second

// schedule returns when the next laps are due.
func (a *Agent) schedule(r Report) Schedule {
	if a.setup == nil {
		return Schedule{Interval: time.Minute, Drift: time.Minute}
	}
	s := Schedule{Interval: a.setup.Interval, Drift: a.setup.Drift, Unobserved: r.Result.Unchanged}
	soonest := func(at time.Time) {
		if s.Until.IsZero() || at.Before(s.Until) {
			s.Until = at
		}
	}
	if a.setup.Window != nil {
		soonest(nextStart(a.setup.Window, r.Finished))
	}
	if isLocked(r.Err) {
		soonest(r.Finished.Add(lockedPause))
	}
	if r.Suspension != nil && r.Suspension.Until != nil {
		soonest(*r.Suspension.Until)
	}
	if f := a.reporter.Follower(); f != nil && !f.askAgain().IsZero() {
		soonest(f.askAgain())
	}
	if len(a.restarted) > 0 {
		soonest(a.restarted[0].Add(a.setup.Drift))
	}
	if waits, ok := errors.AsType[*apply.UnconfirmedError](r.Err); ok {
		soonest(r.Finished.Add(waits.Left))
	}
	return s
}
