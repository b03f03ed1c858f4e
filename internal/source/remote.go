package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

// The bounds on what a server sends: far above what repositories of policies need, and
// low enough for the memory of a fetch.
const (
	maxRefs = 16 << 20  // bytes of the list of references: some 200,000 of them
	maxPack = 256 << 20 // bytes of one pack
)

// boundError is the error for a server that sends more than nfsync accepts.
type boundError struct{ why string }

func (e *boundError) Error() string { return e.why }

// budget bounds what is read from a server.
type budget struct {
	most, left atomic.Int64
}

// allow restarts the count.
func (b *budget) allow(most int64) {
	b.most.Store(most)
	b.left.Store(most)
}

// exceeded returns the error of a used-up budget. go-git does not pass it on, so callers
// ask for it.
func (b *budget) exceeded(what string) error {
	if b.left.Load() >= 0 {
		return nil
	}
	return &boundError{fmt.Sprintf("it sends more than %d MiB as %s", b.most.Load()>>20, what)}
}

func (b *budget) reader(r io.Reader) io.Reader { return &budgetReader{b: b, r: r} }

type budgetReader struct {
	b *budget
	r io.Reader
}

func (r *budgetReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if r.b.left.Add(-int64(n)) < 0 {
		return 0, errors.New("more than nfsync takes")
	}
	return n, err
}

// remote is a server with the means to talk to it.
type remote struct {
	job    *job
	ep     transport.Endpoint
	client transport.Transport
	auth   transport.AuthMethod
	// explain turns an error of connecting into one that says what to do.
	explain func(error) error
	// again reports whether a second attempt to connect would explain more than err.
	again func(error) bool
}

// connect prepares the connection to the server: it reads the secrets and sends nothing.
func (j *job) connect() (*remote, error) {
	if err := checkAuth(j.config().Auth); err != nil {
		return nil, err
	}
	if j.ep.Protocol == "ssh" {
		return j.sshRemote()
	}
	return j.httpRemote()
}

// conversation is one exchange with the server: its references, and then at
// most one request for objects.
type conversation struct {
	job     *job
	session transport.UploadPackSession
	refs    *packp.AdvRefs
}

// open asks for the list of references.
func (r *remote) open(ctx context.Context) (*conversation, error) {
	r.job.phase("connecting to %s", hostPort(&r.ep))
	r.job.budget.allow(maxRefs)
	s, err := r.session()
	if err != nil && r.again != nil && r.again(err) {
		s, err = r.session()
	}
	if err != nil {
		if r.explain != nil {
			err = r.explain(err)
		}
		return nil, err
	}
	r.job.phase("waiting for %s to list its references", hostPort(&r.ep))
	refs, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		_ = s.Close()
		if over := r.job.budget.exceeded("its list of references"); over != nil {
			return nil, over
		}
		return nil, r.said(err)
	}
	if format := refs.Capabilities.Get(capability.ObjectFormat); len(format) > 0 && format[0] != "sha1" {
		_ = s.Close()
		return nil, fmt.Errorf("its object format is %q; nfsync reads sha1", format[0])
	}
	return &conversation{job: r.job, session: s, refs: refs}, nil
}

func (r *remote) session() (transport.UploadPackSession, error) {
	ep := r.ep // go-git stores redirects in it
	return r.client.NewUploadPackSession(&ep, r.auth)
}

// said returns an error of the server with what to do about it.
func (r *remote) said(err error) error {
	var redirect *redirectError
	switch {
	case errors.As(err, &redirect):
		return redirect
	case errors.Is(err, transport.ErrAuthenticationRequired) && r.auth == nil:
		return errors.New("authentication required: use --user and --password-file, or --token-file")
	case errors.Is(err, transport.ErrAuthenticationRequired):
		return fmt.Errorf("it does not accept the credentials: %w", err)
	case errors.Is(err, transport.ErrAuthorizationFailed):
		return fmt.Errorf("this user may not read the repository: %w", err)
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return fmt.Errorf("it has no such repository, or hides it from this user: %w", err)
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return errors.New("the repository is empty: it has no commit yet")
	}
	return err
}

// shallows reports whether the server supports shallow clones.
func (c *conversation) shallows() bool { return c.refs.Capabilities.Supports(capability.Shallow) }

func (c *conversation) close() { _ = c.session.Close() }

// target is the revision that the configuration names, as the server has it now.
type target struct {
	hash   plumbing.Hash // of a commit, or of an annotated tag
	ref    plumbing.ReferenceName
	branch string
	tag    string
}

// resolve looks up the revision that the configuration names.
func (c *conversation) resolve(cfg *Config) (target, error) {
	switch {
	case cfg.Commit != "":
		return target{hash: plumbing.NewHash(cfg.Commit)}, nil
	case cfg.Tag != "":
		t := target{tag: cfg.Tag, ref: plumbing.NewTagReferenceName(cfg.Tag)}
		return t, c.lookUp(&t, "tag "+cfg.Tag, "refs/tags/")
	}
	branch := cfg.Branch
	if branch == "" {
		var err error
		if branch, err = c.headBranch(); err != nil {
			return target{}, err
		}
	}
	t := target{branch: branch, ref: plumbing.NewBranchReferenceName(branch)}
	return t, c.lookUp(&t, "branch "+branch, "refs/heads/")
}

func (c *conversation) lookUp(t *target, what, below string) error {
	var ok bool
	if t.hash, ok = c.refs.References[t.ref.String()]; ok {
		return nil
	}
	return fmt.Errorf("it has no %s; it has %s", what, some(c.refs.References, below))
}

// some lists a few of the references below a prefix.
func some(refs map[string]plumbing.Hash, below string) string {
	const most = 10
	var names []string
	for name := range refs {
		if short, ok := strings.CutPrefix(name, below); ok {
			names = append(names, short)
		}
	}
	if len(names) == 0 {
		return "none at all"
	}
	slices.Sort(names)
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}

// headBranch returns the branch that the remote's HEAD names. It is empty for a server
// that does not say so (git before 1.8.5).
func (c *conversation) headBranch() (string, error) {
	for _, s := range c.refs.Capabilities.Get(capability.SymRef) {
		if name, ok := strings.CutPrefix(s, "HEAD:refs/heads/"); ok {
			return name, nil
		}
	}
	return "", fmt.Errorf("it does not say which branch is its main one: name one of %s", some(c.refs.References, "refs/heads/"))
}

// wish holds the options of a request for the target.
type wish struct {
	want    plumbing.Hash
	haves   []plumbing.Hash
	shallow []plumbing.Hash
	depth   int // 0: everything that the haves lack
}

// fetch requests objects and writes the pack to w. It returns the shallow commits, at
// which the pack of the server ends.
func (c *conversation) fetch(ctx context.Context, ask wish, w io.Writer) (packp.ShallowUpdate, error) {
	req := packp.NewUploadPackRequestFromCapabilities(c.refs.Capabilities)
	req.Wants, req.Haves, req.Shallows = []plumbing.Hash{ask.want}, ask.haves, ask.shallow
	if ask.depth > 0 || len(ask.shallow) > 0 {
		if !c.shallows() {
			return packp.ShallowUpdate{}, errors.New("it does not support shallow clones")
		}
		_ = req.Capabilities.Set(capability.Shallow)
		req.Depth = packp.DepthCommits(ask.depth)
	}
	if c.refs.Capabilities.Supports(capability.NoProgress) {
		_ = req.Capabilities.Set(capability.NoProgress)
	}
	c.job.phase("waiting for %s to pack the commit", hostPort(c.job.ep))
	c.job.budget.allow(maxPack)
	res, err := c.session.UploadPack(ctx, req)
	if err != nil {
		return packp.ShallowUpdate{}, c.failed(err, ask)
	}
	defer func() { _ = res.Close() }()
	c.job.phase("receiving the pack from %s", hostPort(c.job.ep))
	var pack io.Reader = res
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		pack = sideband.NewDemuxer(sideband.Sideband64k, res)
	case req.Capabilities.Supports(capability.Sideband):
		pack = sideband.NewDemuxer(sideband.Sideband, res)
	}
	if _, err := io.Copy(w, pack); err != nil {
		return packp.ShallowUpdate{}, c.failed(err, ask)
	}
	return res.ShallowUpdate, nil
}

func (c *conversation) failed(err error, ask wish) error {
	if over := c.job.budget.exceeded("a pack"); over != nil {
		return over
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "not our ref") && c.job.config().Commit != "":
		return fmt.Errorf("it does not hand out commit %s: it has none, or hands out only branches and tags (then name one, or set uploadpack.allowReachableSHA1InWant there): %w", ask.want, err)
	case strings.Contains(text, "multi_ack"):
		return fmt.Errorf("it wants to negotiate in more rounds than nfsync's git can: %w", err)
	}
	return fmt.Errorf("the pack is incomplete: %w", err)
}
