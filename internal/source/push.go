package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/file"

	"nfsync.dev/nfsync/internal/nf"
)

// maxReport bounds what a server answers to a push, in bytes.
const maxReport = 1 << 20

// runPush replaces the branch of a node on the server. The server does so only if the branch is then
// as it was when its owner was checked.
func (j *job) runPush() error {
	r, err := j.pushRemote()
	if err != nil {
		return err
	}
	ctx := context.Background() // the parent kills this process at its deadline
	session, refs, err := r.openPush(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	branch := plumbing.NewBranchReferenceName(j.Push.Branch)
	tip := refs.References[branch.String()]
	switch {
	case tip.String() == j.Push.Commit:
		return nil // a push that was broken off has succeeded
	case tip.IsZero(), slices.Contains(j.Push.Pushed, tip.String()):
	default:
		if err := j.checkOwner(ctx, r, tip); err != nil {
			return err
		}
	}
	j.phase("waiting for %s to take the push", j.server())
	j.budget.allow(maxReport)
	heard := &prefixWriter{most: longestMessage}
	req := packp.NewReferenceUpdateRequestFromCapabilities(refs.Capabilities)
	req.Commands = []*packp.Command{{Name: branch, Old: tip, New: plumbing.NewHash(j.Push.Commit)}}
	req.Packfile, req.Progress = io.NopCloser(bytes.NewReader(j.Push.Pack)), heard
	for _, c := range []capability.Capability{capability.Sideband64k, capability.Quiet} {
		if refs.Capabilities.Supports(c) {
			_ = req.Capabilities.Set(c)
		}
	}
	report, err := session.ReceivePack(ctx, req)
	if err == nil && report == nil {
		err = errors.New("it does not say whether it has taken the push")
	}
	return explainPush(err, string(heard.b))
}

// server returns how messages name the server.
func (j *job) server() string {
	if j.ep.Protocol == "file" {
		return "git"
	}
	return hostPort(j.ep)
}

// pushRemote returns the remote of the job's URL. For a repository of this machine it is git itself, so that
// the hooks of the repository are run.
func (j *job) pushRemote() (*remote, error) {
	if j.ep.Protocol != "file" {
		return j.newRemote()
	}
	if _, err := findGitDir(j.ep.Path); err != nil {
		return nil, err
	}
	return &remote{job: j, ep: *j.ep, client: file.DefaultClient, explain: func(err error) error {
		return fmt.Errorf("the git program, which writes to a repository of this machine, cannot be run: %w", err)
	}}, nil
}

// openPush connects and reads the list of references.
func (r *remote) openPush(ctx context.Context) (transport.ReceivePackSession, *packp.AdvRefs, error) {
	r.job.phase("connecting to %s", r.job.server())
	r.job.budget.allow(maxRefs)
	connect := func() (transport.ReceivePackSession, error) {
		ep := r.ep
		return r.client.NewReceivePackSession(&ep, r.auth)
	}
	s, err := connect()
	if err != nil && r.canRetry != nil && r.canRetry(err) {
		s, err = connect()
	}
	if err != nil {
		if r.explain != nil {
			err = r.explain(err)
		}
		return nil, nil, err
	}
	r.job.phase("waiting for %s to list its references", r.job.server())
	refs, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		_ = s.Close()
		if over := r.job.budget.exceeded("a list of references", "Give the nodes a repository of their own"); over != nil {
			return nil, nil, over
		}
		return nil, nil, explainPushRefusal(err, r.auth != nil)
	}
	return s, refs, nil
}

// explainPushRefusal adds the reason or the remedy to an error of a server that lists no references to
// who wants to push.
func explainPushRefusal(err error, authenticated bool) error {
	switch {
	case errors.Is(err, transport.ErrAuthenticationRequired) && !authenticated:
		return errors.New("authentication required: set publish.http.user and passwordFile, or tokenFile")
	case errors.Is(err, transport.ErrAuthorizationFailed):
		return fmt.Errorf("this user may not push to the repository: its key or token needs the permission to write: %w", err)
	}
	return explainRefusal(err, authenticated)
}

// explainPush adds to an error of the push what the server has said, and the remedy. heard is the output
// of the server's hooks.
func explainPush(err error, heard string) error {
	if err == nil {
		return nil
	}
	text := strings.TrimPrefix(err.Error(), "command error on ")
	switch {
	case strings.Contains(text, "non-fast-forward"), strings.Contains(heard, "non-fast-forward"):
		text += "; each publication replaces the one before, so that the branch has one commit: let the server allow that for the branches of nodes (receive.denyNonFastForwards, or the protection of branches)"
	case errors.Is(err, transport.ErrAuthorizationFailed):
		text = "this user may not push to the repository: its key or token needs the permission to write: " + text
	}
	if heard = strings.TrimSpace(heard); heard != "" {
		text += ": " + heard
	}
	return fmt.Errorf("the push was refused: %s", text)
}

// checkOwner returns a *NotOwnerError unless the commit, which the branch has, is a publication of this
// machine for this node.
func (j *job) checkOwner(ctx context.Context, r *remote, tip plumbing.Hash) error {
	c, err := j.tipCommit(ctx, r, tip)
	if err != nil {
		return fmt.Errorf("cannot read who has written branch %s: %w", j.Push.Branch, err)
	}
	p := j.Push
	free := fmt.Sprintf("delete the branch, and this node takes it: git push %s --delete %s", nf.PublicURL(j.url()), p.Branch)
	var why string
	switch o, ok := c.owner(); {
	case !ok:
		why = fmt.Sprintf("it has commit %s, which no agent has published. Name another branch (publish.branch), or, if nobody needs it, %s", tip, free)
	case o.node != p.Node:
		why = fmt.Sprintf("node %s publishes there, and this is node %s. Name another branch for one of them (publish.branch), or, if that node is gone, %s", o.node, p.Node, free)
	case o.machine != p.Machine:
		why = fmt.Sprintf("another machine (%s) that calls itself %s publishes there, and this is machine %s. Give one of them another name (node.name), or, if that machine is gone, %s", o.machine, p.Node, p.Machine, free)
	case p.Known:
		why = fmt.Sprintf("commit %s is of a machine that calls itself %s too and has the same machine id, %s, as a copy of this machine has, or of an older state of this one. Give a copy another machine id and name, or, if there is none, %s", tip, p.Node, p.Machine, free)
	default:
		return nil
	}
	return &NotOwnerError{Branch: p.Branch, Why: clean(why, j.secrets...)}
}

// tipCommit returns the commit at the tip of the branch, from the server.
func (j *job) tipCommit(ctx context.Context, r *remote, tip plumbing.Hash) (*commit, error) {
	if j.ep.Protocol == "file" {
		d, err := findGitDir(j.ep.Path)
		if err != nil {
			return nil, err
		}
		l := openLocal(d)
		defer l.close()
		return readTip(l.objects, tip)
	}
	at := cacheDir(j.Config.Dir, j.url()) + "-published"
	if err := errors.Join(os.MkdirAll(j.Config.Dir, 0o700), removeLeftovers(at)); err != nil {
		return nil, err
	}
	clone, err := createClone(at)
	if err != nil {
		return nil, err
	}
	defer clone.remove()
	c, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	defer c.close()
	d := &delivery{job: j, remote: r, clone: clone, isNew: true}
	depth := 0
	if c.supportsShallow() {
		depth = 1
	}
	if err := d.fetchPack(ctx, c, []plumbing.Hash{tip}, depth); err != nil {
		return nil, err
	}
	return readTip(clone.objects, tip)
}

func readTip(o *objects, tip plumbing.Hash) (c *commit, err error) {
	err = catch(func() (err error) {
		c, err = o.commit(tip)
		return err
	})
	return c, err
}
