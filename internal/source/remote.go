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

	"nfsync.dev/nfsync/internal/nf"
)

// maxRefs bounds a list of references: far above what repositories of policies need, and low
// enough for the memory of a fetch.
const maxRefs = 16 << 20 // bytes: some 200,000 references

// boundError is the error for a server that sends more than nfsync accepts.
type boundError struct{ why string }

func (e *boundError) Error() string { return e.why }

// budget bounds what is read from a server.
type budget struct {
	most, left atomic.Int64
}

// allow starts the count again, with most bytes left.
func (b *budget) allow(most int64) {
	b.most.Store(most)
	b.left.Store(most)
}

// exceeded returns a boundError if the budget is used up. Callers must ask, because go-git
// does not pass on the error of the reader.
func (b *budget) exceeded(what, remedy string) error {
	if b.left.Load() >= 0 {
		return nil
	}
	return &boundError{fmt.Sprintf("it sends %s of more than %s. %s", what, nf.Size(b.most.Load()), remedy)}
}

func (b *budget) reader(r io.Reader) io.Reader { return &budgetReader{b: b, r: r} }

type budgetReader struct {
	b *budget
	r io.Reader
}

func (r *budgetReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if r.b.left.Add(-int64(n)) < 0 {
		return 0, errors.New("more than nfsync accepts")
	}
	return n, err
}

// remote is a server and how to connect to it.
type remote struct {
	job    *job
	ep     transport.Endpoint
	client transport.Transport
	auth   transport.AuthMethod // nil: no credentials
	// explain, if set, adds the reason or the remedy to an error of connecting.
	explain func(error) error
	// canRetry, if set, reports whether to connect once more after an error.
	canRetry func(error) bool
}

// newRemote reads the secrets and returns the remote of the job's URL. It does not connect.
func (j *job) newRemote() (*remote, error) {
	if err := checkAuth(j.Config.Auth); err != nil {
		return nil, err
	}
	if j.ep.Protocol == "ssh" {
		return j.sshRemote()
	}
	return j.httpRemote()
}

// conversation is one connection to the server: it lists its references, and then answers
// at most one request for objects.
type conversation struct {
	job     *job
	session transport.UploadPackSession
	refs    *packp.AdvRefs
}

// open connects and reads the list of references.
func (r *remote) open(ctx context.Context) (*conversation, error) {
	r.job.phase("connecting to %s", hostPort(&r.ep))
	r.job.budget.allow(maxRefs)
	s, err := r.session()
	if err != nil && r.canRetry != nil && r.canRetry(err) {
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
		if over := r.job.budget.exceeded("a list of references", ownRepository); over != nil {
			return nil, over
		}
		return nil, explainRefusal(err, r.auth != nil)
	}
	return &conversation{job: r.job, session: s, refs: refs}, nil
}

func (r *remote) session() (transport.UploadPackSession, error) {
	ep := r.ep // go-git stores redirects in it
	return r.client.NewUploadPackSession(&ep, r.auth)
}

// explainRefusal adds the reason or the remedy to an error of the server. authenticated
// reports whether credentials were sent.
func explainRefusal(err error, authenticated bool) error {
	var redirect *redirectError
	var unexpected *packp.ErrUnexpectedData
	switch {
	case errors.As(err, &redirect):
		return redirect
	case errors.As(err, &unexpected):
		return explainList(unexpected)
	case errors.Is(err, transport.ErrAuthenticationRequired) && !authenticated:
		return errors.New("authentication required: use --user and --password-file, or --token-file")
	case errors.Is(err, transport.ErrAuthenticationRequired):
		return fmt.Errorf("it does not accept the credentials: %w", err)
	case errors.Is(err, transport.ErrAuthorizationFailed):
		return fmt.Errorf("this user may not read the repository: %w", err)
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return fmt.Errorf("it has no such repository, or hides it from this user: %w", err)
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return errEmpty
	}
	return err
}

// explainList returns the reason for a list of references that go-git cannot parse. It fails at
// the first hash of another format, before it reads the capability that names the format.
func explainList(err *packp.ErrUnexpectedData) error {
	for _, field := range strings.FieldsFunc(string(err.Data), func(r rune) bool { return r == ' ' || r == 0 }) {
		if format, ok := strings.CutPrefix(field, "object-format="); ok && format != "sha1" {
			return fmt.Errorf(otherFormat, format)
		}
	}
	return fmt.Errorf("its list of references is not what git sends: %w", err)
}

func (c *conversation) supportsShallow() bool {
	return c.refs.Capabilities.Supports(capability.Shallow)
}

func (c *conversation) close() { _ = c.session.Close() }

// errEmpty is the error for a repository without a reference.
var errEmpty = errors.New("the repository is empty: it has no commit")

// target is the revision that the configuration names, resolved to an object of the server.
type target struct {
	hash   plumbing.Hash // of a commit, or of an annotated tag
	ref    plumbing.ReferenceName
	branch string
	head   bool // the branch is the one that HEAD names
	tag    string
}

// resolve looks up the configured commit, tag or branch in the list of references.
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
	t := target{branch: branch, head: cfg.Branch == "", ref: plumbing.NewBranchReferenceName(branch)}
	return t, c.lookUp(&t, "branch "+branch, "refs/heads/")
}

func (c *conversation) lookUp(t *target, what, below string) error {
	var ok bool
	if t.hash, ok = c.refs.References[t.ref.String()]; ok {
		return nil
	}
	return fmt.Errorf("it has no %s; %s", what, listNames(c.refs.References, below))
}

// listNames says which references there are below a prefix: the first ten of them.
func listNames(refs map[string]plumbing.Hash, below string) string {
	const most = 10
	var names []string
	for name := range refs {
		if short, ok := strings.CutPrefix(name, below); ok {
			names = append(names, short)
		}
	}
	if len(names) == 0 {
		return "it has none"
	}
	slices.Sort(names)
	return "it has " + nf.FirstFew(names, most)
}

// headBranch returns the branch that the remote's HEAD names. Servers before git 1.8.5 do
// not say which it is.
func (c *conversation) headBranch() (string, error) {
	for _, s := range c.refs.Capabilities.Get(capability.SymRef) {
		if name, ok := strings.CutPrefix(s, "HEAD:refs/heads/"); ok {
			return name, nil
		}
	}
	return "", fmt.Errorf("it does not say which branch its HEAD names: name one; %s", listNames(c.refs.References, "refs/heads/"))
}

// packRequest is a request for the objects of commits or tags.
type packRequest struct {
	wants   []plumbing.Hash
	haves   []plumbing.Hash
	shallow []plumbing.Hash // where the history of the clone ends
	depth   int             // 0: everything that the haves lack
}

// fetch requests objects and writes the pack to w. It returns the changes to the commits
// at which the history of the clone ends.
func (c *conversation) fetch(ctx context.Context, pr packRequest, w io.Writer) (packp.ShallowUpdate, error) {
	req := packp.NewUploadPackRequestFromCapabilities(c.refs.Capabilities)
	req.Wants, req.Haves, req.Shallows = pr.wants, pr.haves, pr.shallow
	if pr.depth > 0 || len(pr.shallow) > 0 {
		if !c.supportsShallow() {
			return packp.ShallowUpdate{}, errors.New("it does not support shallow clones")
		}
		_ = req.Capabilities.Set(capability.Shallow)
		req.Depth = packp.DepthCommits(pr.depth)
	}
	if c.refs.Capabilities.Supports(capability.NoProgress) {
		_ = req.Capabilities.Set(capability.NoProgress)
	}
	c.job.phase("waiting for %s to pack the commit", hostPort(c.job.ep))
	c.job.budget.allow(int64(c.job.Config.MaxPack))
	res, err := c.session.UploadPack(ctx, req)
	if err != nil {
		return packp.ShallowUpdate{}, c.explainPackError(err, pr)
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
		return packp.ShallowUpdate{}, c.explainPackError(err, pr)
	}
	return res.ShallowUpdate, nil
}

// explainPackError adds the reason or the remedy to an error of fetch.
func (c *conversation) explainPackError(err error, pr packRequest) error {
	if over := c.job.budget.exceeded("a pack", raiseLimit); over != nil {
		return over
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "not our ref") && c.job.Config.Commit != "":
		return fmt.Errorf("it does not serve commit %s: it has no such commit, or serves only branches and tags (then name one, or set uploadpack.allowReachableSHA1InWant there): %w", pr.wants[0], err)
	case strings.Contains(text, "multi_ack"):
		return fmt.Errorf("it needs more rounds of negotiation than nfsync supports: %w", err)
	}
	return packError(err)
}
