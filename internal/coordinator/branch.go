package coordinator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/state"
)

// Branch is the branch that is rolled out.
type Branch struct {
	Source     source.Config // Branch is set
	Path       string        // of the policies
	Interval   time.Duration
	AllowEmpty bool   // a revision may hold no policy
	Accept     string // a commit that is taken although the branch was rewritten
	// Fetch fetches a revision, as source.Fetch does; nil: source.Fetch.
	Fetch agent.Fetcher
}

// head is the newest good commit of the branch.
type head struct {
	commit string
	// after is the revision of the roll-out when the commit was fetched; empty: there was no roll-out. The commit
	// descends from it. It says nothing of any other revision.
	after string
	plan  nf.RolloutPlan
}

// Fetched says how the last fetches of the branch went.
type Fetched struct {
	URL, Branch string
	Commit      string // the newest good one; empty: there is none yet
	Signer      string
	At          time.Time // when a fetch last succeeded
	Tried       time.Time // when the last one ended
	// Err is why the newest commit cannot be rolled out, or the server does not answer; nil: nothing is wrong. Warnings are
	// those of the last fetch that succeeded.
	Err      error
	Warnings []string
}

// follower follows the branch.
type follower struct {
	Branch
	changed chan struct{} // receives after each fetch
	asked   chan struct{} // a fetch is wanted now

	mu      sync.Mutex
	head    *head
	fetched Fetched
	// after is the revision of the roll-out, once it is known: the branch must descend from it.
	after      string
	afterKnown bool
}

func newFollower(b Branch) *follower {
	if b.Fetch == nil {
		b.Fetch = func(ctx context.Context, last []source.Position, accept string) (source.Revision, error) {
			return source.Fetch(ctx, b.Source, last, accept)
		}
	}
	f := &follower{Branch: b, changed: make(chan struct{}, 1), asked: make(chan struct{}, 1)}
	f.fetched.Branch = b.Source.Branch
	if len(b.Source.URLs) > 0 {
		f.fetched.URL = nf.PublicURL(b.Source.URLs[0])
	}
	return f
}

// rolledOut says which revision the roll-out has; empty: there is none. A branch that does not descend from it is not
// followed. A head that was fetched for another revision is fetched again.
func (f *follower) rolledOut(revision string) {
	f.mu.Lock()
	again := !f.afterKnown || f.after != revision
	f.after, f.afterKnown = revision, true
	f.mu.Unlock()
	if again {
		f.ask()
	}
}

// ask lets a fetch begin now.
func (f *follower) ask() { signal(f.asked) }

// signal sends unless something is waiting already.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run fetches until ctx ends: with the interval, and when it is asked.
func (f *follower) run(ctx context.Context) {
	tick := time.NewTicker(f.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-f.asked:
		}
		f.fetch(ctx)
	}
}

// fetch fetches once, if the revision of the roll-out is known.
func (f *follower) fetch(ctx context.Context) {
	f.mu.Lock()
	after, known := f.after, f.afterKnown
	f.mu.Unlock()
	if !known {
		return
	}
	h, r, err := f.newest(ctx, after)
	if ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	f.fetched.Tried, f.fetched.Err = time.Now(), err
	if err == nil {
		f.head = &h
		f.fetched.URL, f.fetched.Commit, f.fetched.Signer, f.fetched.At, f.fetched.Warnings = r.URL, r.Commit, r.Signer, f.fetched.Tried, r.Warnings
	}
	f.mu.Unlock()
	signal(f.changed)
}

// newest returns the newest commit of the branch, if its policies are good.
func (f *follower) newest(ctx context.Context, after string) (head, agent.Revision, error) {
	var last []state.Position
	if after != "" {
		for _, u := range f.Source.URLs {
			last = append(last, state.Position{URL: nf.PublicURL(u), Branch: f.Source.Branch, Commit: after})
		}
	}
	r, err := agent.Fetch(ctx, f.Fetch, f.Source.Verify.Mode, last, f.Accept)
	if err == nil && !f.AllowEmpty {
		err = r.CheckEmpty(f.Path)
	}
	if err != nil {
		return head{}, r, err
	}
	return head{commit: r.Commit, after: after, plan: r.Rollout}, r, nil
}

// is returns the newest good commit, nil if there is none, and how the fetches went.
func (f *follower) is() (*head, Fetched) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head, f.fetched
}

// The reasons why the newest commit of the branch is not rolled out.
const (
	BranchInvalid     = "Invalid"     // its policies are
	BranchUntrusted   = "Untrusted"   // it is not signed as it must be
	BranchRewritten   = "Rewritten"   // it does not descend from the revision of the roll-out
	BranchUnreachable = "Unreachable" // it cannot be fetched
)

// BranchProblems lists these reasons.
func BranchProblems() []string {
	return []string{BranchInvalid, BranchUntrusted, BranchRewritten, BranchUnreachable}
}

// Why returns the reason why the newest commit of the branch is not rolled out; empty: there is none.
func (f Fetched) Why() string {
	_, invalid := errors.AsType[*agent.InvalidError](f.Err)
	_, untrusted := errors.AsType[*source.VerifyError](f.Err)
	_, rewritten := errors.AsType[*source.RewrittenError](f.Err)
	switch {
	case f.Err == nil:
		return ""
	case invalid:
		return BranchInvalid
	case untrusted:
		return BranchUntrusted
	case rewritten:
		return BranchRewritten
	}
	return BranchUnreachable
}

// check returns an error if the branch cannot be followed.
func (b Branch) check() error {
	switch {
	case b.Source.Tag != "" || b.Source.Commit != "":
		return errors.New("a coordinator follows a branch, no tag or commit: name the branch with --branch or source.branch")
	case b.Source.Branch == "":
		return errors.New("the branch to roll out is not named: name it with --branch or source.branch")
	case b.Interval <= 0:
		return fmt.Errorf("the interval %s must be longer than nothing", b.Interval)
	}
	return b.Source.Check(b.Accept)
}
