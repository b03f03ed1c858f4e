package agent

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/state"
)

// Publishing is how and where an agent publishes what its node is.
type Publishing struct {
	Repository source.Config
	Branch     string // of this node
	Path       string // of the files in the branch
	Node       string // the node's name
	Machine    string // see source.Publication
	// State opens the state directory, which remembers what was published.
	State func() (*state.Dir, error)
	// Snapshot observes the whole node, with the labels of containers if they are needed.
	Snapshot func(context.Context, apply.LabelUse) (nf.Snapshot, error)
	// Documents returns the files to publish, the snapshot first.
	Documents func(nf.Snapshot, nf.NodeStatus) ([]source.File, error)
	// Push is source.Publish.
	Push func(ctx context.Context, cfg source.Config, p source.Publication, pushed []string, save func(commit string) error) error
}

// maxPushed bounds the commits of pushes whose end is unknown. The end of a push is known after the next
// one that reaches the server.
const maxPushed = 100

// Publish publishes the snapshot and the status of the node, if they have changed since they were published
// last, or if that is due again. It returns what is published now. The labels of containers are
// published if the policies in force need them.
//
// The errors are those of source.Publish, of the state directory and of the observation.
func (p *Publishing) Publish(ctx context.Context, status nf.NodeStatus, labels apply.LabelUse) (state.Publication, error) {
	var last state.Publication
	dir, err := p.State()
	if err != nil {
		return last, err
	}
	unlock, err := dir.LockPublication(ctx)
	if err != nil {
		return last, err
	}
	defer unlock()
	snapshot, err := p.Snapshot(ctx, labels)
	if err != nil {
		return last, err
	}
	now := time.Now()
	next := state.Publication{URL: p.url(), Branch: p.Branch, At: now}
	if next.Digest, err = digest(p.Path, snapshot, status); err != nil {
		return last, err
	}
	var pushed []string
	if known := dir.Publication(next.URL, next.Branch); known != nil {
		last, pushed = *known, known.Commits
	}
	if last.Digest == next.Digest && !last.At.After(now) && now.Before(dueAgain(last.At)) {
		return last, nil
	}
	files, err := p.Documents(snapshot, withoutPublished(status))
	if err != nil {
		return last, err
	}
	for i := range files {
		files[i].Name = path.Join(p.Path, files[i].Name)
	}
	err = p.Push(ctx, p.Repository, source.Publication{Branch: p.Branch, Node: p.Node, Machine: p.Machine, Files: files, At: now}, pushed, func(commit string) error {
		next.Commits = []string{commit}
		last.URL, last.Branch = next.URL, next.Branch
		last.Commits = append(slices.Clone(pushed), commit)
		last.Commits = last.Commits[max(0, len(last.Commits)-maxPushed):]
		return dir.SavePublication(last)
	})
	if err == nil {
		err = dir.SavePublication(next)
	}
	if err != nil {
		return last, err
	}
	return next, nil
}

func (p *Publishing) url() string { return nf.PublicURL(p.Repository.URLs[0]) }

// dueAgain returns when what has not changed is published again: within a day, so that nobody takes the
// snapshot for that of a node that is gone. The nodes of a fleet do not publish at the same moment.
func dueAgain(last time.Time) time.Time {
	const least, spread = 20 * time.Hour, 3 * time.Hour
	return last.Add(least + time.Duration(uint64(last.UnixNano())%uint64(spread)))
}

// PublishReport says how the last publication went, for the status.
type PublishReport struct {
	URL, Branch string
	At          time.Time // of the last one that has reached the repository; zero: none is known
	Err         error     // of the last one; nil: it went well
}

// published judges the publication. It is unknown before the first one has ended.
func published(r PublishReport) judgement {
	var other *source.NotOwnerError
	switch {
	case errors.As(r.Err, &other):
		return judgement{false, ReasonNotOwner, r.Err.Error()}
	case r.Err != nil:
		return judgement{false, ReasonPublishFailed, fmt.Sprintf("%v; the agent tries again by itself, and nfsync sync tries now%s", r.Err, lastPublished(r.At))}
	case r.At.IsZero():
		return judgement{false, ReasonStarting, "the first publication has not ended"}
	}
	return judgement{true, ReasonPublished, fmt.Sprintf("branch %s of %s has the snapshot and the status of %s", r.Branch, r.URL, since(r.At))}
}

func lastPublished(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return "; the last publication is of " + since(at)
}

// withPublication returns a status with the condition of the publication; nil: nothing is published.
func withPublication(was nf.NodeStatus, r *PublishReport, now time.Time) nf.NodeStatus {
	if r == nil {
		return withoutPublished(was)
	}
	return withCondition(was, nf.Published, published(*r), now)
}

// withoutPublished returns a status as it is published: that it is, who reads it knows.
func withoutPublished(s nf.NodeStatus) nf.NodeStatus {
	s.Conditions = withoutCondition(s.Conditions, nf.Published)
	return s
}
