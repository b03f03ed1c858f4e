package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
)

// publishPause is the least time between two publications.
const publishPause = 10 * time.Second

// publisher publishes beside the laps. It has at most one publication at a time, and looks at the
// status when that begins: of several changes meanwhile the newest counts.
type publisher struct {
	status func() nf.NodeStatus
	// reported is called when a publication has ended, or is configured anew.
	reported func()
	bell

	mu     sync.Mutex // of what follows
	setup  *Publishing
	report *PublishReport // nil: nothing is published
	looked bool           // a lap has looked at the node since the last publication
	asked  bool           // a person or a new configuration asks: the pause ends
	seen   string         // the digest of the status of the last publication that went well
	labels apply.LabelUse // of the policies in force
}

func newPublisher(status func() nf.NodeStatus) *publisher {
	return &publisher{status: status, bell: newBell()}
}

// use publishes as the setup says from now on; nil: not at all.
func (p *publisher) use(setup *Publishing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setup, p.asked, p.seen = setup, true, ""
	switch r := p.report; {
	case setup == nil:
		p.report = nil
	case r == nil || r.URL != setup.url() || r.Branch != setup.Branch:
		p.report = &PublishReport{URL: setup.url(), Branch: setup.Branch}
	}
}

// inForce says which use the policies in force make of labels.
func (p *publisher) inForce(labels apply.LabelUse) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.labels = labels
}

// lapEnded says that a lap has ended: whether it has looked at the node, and whether a person has asked
// for it.
func (p *publisher) lapEnded(looked, asked bool) {
	p.mu.Lock()
	p.looked, p.asked = p.looked || looked, p.asked || asked
	p.mu.Unlock()
	p.wake()
}

// Report returns how the last publication went; nil if nothing is published.
func (p *publisher) Report() *PublishReport {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.report == nil {
		return nil
	}
	r := *p.report
	return &r
}

// published puts how a publication has ended into the status, and reports it.
func (a *Agent) published() {
	r := a.publisher.Report()
	a.publish(func(s *nf.NodeStatus) bool {
		was := s.Condition(nf.Published)
		*s = withPublication(*s, r, time.Now())
		return s.Condition(nf.Published) != was
	})
	if r != nil && a.PublicationEnded != nil {
		a.PublicationEnded(*r)
	}
}

// run publishes until ctx ends. began is closed after the first lap.
func (p *publisher) run(ctx context.Context, began <-chan struct{}) {
	select {
	case <-ctx.Done():
		return
	case <-began:
	}
	failures := 0
	var allowed, due time.Time // the next publication is allowed, and due whatever happens
	for ctx.Err() == nil {
		now := time.Now()
		setup, asked := p.next()
		if asked {
			failures, allowed = 0, time.Time{}
		}
		switch {
		case setup == nil:
			p.wait(ctx, time.Time{})
			continue
		case now.Before(allowed):
			p.wait(ctx, allowed)
			continue
		case failures == 0 && !p.hasNews() && now.Before(due):
			p.wait(ctx, due)
			continue
		case p.status().CurrentLap != nil: // its end wakes the publisher
			p.wait(ctx, now.Add(publishPause))
			continue
		}
		var err error
		due, err = p.publish(ctx, setup)
		ended := time.Now()
		allowed = ended.Add(publishPause)
		if failures++; err == nil {
			failures = 0
		} else {
			allowed = ended.Add(max(jitter(backoff(publishPause, failures)), retryAfter(err)))
			due = allowed
		}
	}
}

// next returns the setup of the next publication, and whether it is asked for.
func (p *publisher) next() (setup *Publishing, asked bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked, p.asked = p.asked, false
	return p.setup, asked
}

// hasNews reports whether something may have changed since the last publication.
func (p *publisher) hasNews() bool {
	now := statusDigest(p.status())
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.looked || p.seen != now
}

// publish publishes once, and returns when that is due again.
func (p *publisher) publish(ctx context.Context, setup *Publishing) (due time.Time, err error) {
	p.mu.Lock()
	p.looked = false
	labels := p.labels
	p.mu.Unlock()
	status := p.status()
	last, err := setup.Publish(ctx, status, labels)
	if ctx.Err() != nil {
		return due, err
	}
	p.mu.Lock()
	if p.setup == setup { // else its report is that of another repository
		p.report.Err = err
		if !last.At.IsZero() {
			p.report.At = last.At
		}
		if err == nil {
			p.seen = statusDigest(status)
		}
	}
	p.mu.Unlock()
	p.reported()
	return dueAgain(last.At), err
}

// retryAfter returns when a server wants to be asked again; 0 if it has not said so.
func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*source.PublishError](err); ok {
		return e.RetryAfter
	}
	return 0
}
