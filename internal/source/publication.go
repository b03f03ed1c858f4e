package source

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/memory"

	"nfsync.dev/nfsync/internal/nf"
)

// Publication is what a node publishes: a commit without parents on a branch of its own.
type Publication struct {
	Branch  string
	Node    string // the node's name
	Machine string // identifies the machine and the state directory, without white space
	Files   []File // the first one is the snapshot
	At      time.Time
}

// PublishError is the error for a publication that did not reach its repository.
type PublishError struct {
	URL string // as nf.PublicURL returns it
	Err error
	// RetryAfter is when the server wants to be asked again; 0: it has not said so.
	RetryAfter time.Duration
}

func (e *PublishError) Error() string { return fmt.Sprintf("cannot publish to %s: %v", e.URL, e.Err) }

// Unwrap returns the reason.
func (e *PublishError) Unwrap() error { return e.Err }

// NotOwnerError is the error for a branch that somebody else has written. It is left as it is.
type NotOwnerError struct{ Branch, Why string }

func (e *NotOwnerError) Error() string {
	return fmt.Sprintf("branch %s is not this node's: %s", e.Branch, e.Why)
}

// Publish replaces the branch of a node by a publication, if the branch does not exist or if this
// machine has written it. pushed are the commits that this machine may have pushed before; nil: it does not
// know. save stores a commit among them before it is pushed: whether a push that is broken off has
// succeeded, only the server knows.
//
// The errors are *PublishError and *NotOwnerError. If ctx is cancelled, the error wraps its cause.
func Publish(ctx context.Context, cfg Config, p Publication, pushed []string, save func(commit string) error) error {
	if err := cfg.Check(""); err != nil {
		return err
	}
	cfg.Timeout, cfg.MaxPack = cmp.Or(cfg.Timeout, DefaultTimeout), cmp.Or(cfg.MaxPack, DefaultMaxPack)
	url := nf.PublicURL(cfg.URLs[0])
	if plumbing.NewBranchReferenceName(p.Branch).Validate() != nil || strings.HasSuffix(p.Branch, "/") {
		return &PublishError{URL: url, Err: fmt.Errorf("%q is not a valid name of a branch", p.Branch)}
	}
	push, err := p.push(pushed)
	if err == nil {
		err = save(push.Commit)
	}
	if err != nil {
		return &PublishError{URL: url, Err: err}
	}
	limited, cancel := context.WithTimeoutCause(ctx, cfg.Timeout, errTimeout)
	defer cancel()
	a, err := runChild(limited, request{Config: cfg, Push: push})
	switch {
	case ctx.Err() != nil && !a.ended:
		return fmt.Errorf("the push to %s was stopped: %w", url, context.Cause(ctx))
	case limited.Err() != nil && !a.ended:
		return &PublishError{URL: url, Err: fmt.Errorf("%w: stopped after %s (while %s); source.timeout sets the time", errTimeout, cfg.Timeout, a.phase)}
	case err != nil:
		return &PublishError{URL: url, Err: err}
	case a.failure == nil:
		return nil
	case a.failure.NotOwner != nil:
		return a.failure.NotOwner
	}
	return &PublishError{URL: url, Err: errors.New(a.failure.Text), RetryAfter: a.failure.RetryAfter}
}

// push is a publication as the child pushes it.
type push struct {
	Branch, Node, Machine string
	Commit                string
	Pack                  []byte   // the commit and all of its objects
	Pushed                []string // the commits that this machine may have pushed before
	Known                 bool     // these are all: it has pushed no other one
}

// push makes the commit and the pack of a publication.
func (p *Publication) push(pushed []string) (*push, error) {
	s := memory.NewStorage()
	tree, err := p.storeFiles(s)
	if err != nil {
		return nil, err
	}
	by := object.Signature{Name: "nfsync", Email: "nfsync@localhost", When: p.At}
	commit, err := store(s, &object.Commit{Author: by, Committer: by, Message: p.message(), TreeHash: tree})
	if err != nil {
		return nil, err
	}
	var hashes []plumbing.Hash
	for h, o := range s.Objects {
		if o.Size() > maxObject {
			return nil, fmt.Errorf("the snapshot has %s, and a published one has at most %s: nfsync snapshot prints it", nf.Size(o.Size()), nf.Size(maxObject))
		}
		hashes = append(hashes, h)
	}
	slices.SortFunc(hashes, compareHashes)
	var pack bytes.Buffer
	if _, err := packfile.NewEncoder(&pack, s, false).Encode(hashes, 0); err != nil {
		return nil, err
	}
	return &push{Branch: p.Branch, Node: p.Node, Machine: p.Machine, Commit: commit.String(), Pack: pack.Bytes(), Pushed: pushed, Known: pushed != nil}, nil
}

// storeFiles stores the files, which are all in one directory, and returns the tree of the root.
func (p *Publication) storeFiles(s *memory.Storage) (plumbing.Hash, error) {
	var list []object.TreeEntry
	for _, f := range p.Files {
		o := s.NewEncodedObject()
		o.SetType(plumbing.BlobObject)
		w, err := o.Writer()
		if err == nil {
			_, err = w.Write(f.Data)
		}
		if err != nil {
			return plumbing.ZeroHash, err
		}
		h, err := s.SetEncodedObject(o)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		list = append(list, object.TreeEntry{Name: path.Base(f.Name), Mode: filemode.Regular, Hash: h})
	}
	slices.SortFunc(list, func(a, b object.TreeEntry) int { return strings.Compare(a.Name, b.Name) })
	tree, err := store(s, &object.Tree{Entries: list})
	for dir := path.Dir(p.Files[0].Name); dir != "." && err == nil; dir = path.Dir(dir) {
		tree, err = store(s, &object.Tree{Entries: []object.TreeEntry{{Name: path.Base(dir), Mode: filemode.Dir, Hash: tree}}})
	}
	return tree, err
}

func compareHashes(a, b plumbing.Hash) int { return bytes.Compare(a[:], b[:]) }

func store(s *memory.Storage, o object.Object) (plumbing.Hash, error) {
	encoded := s.NewEncodedObject()
	if err := o.Encode(encoded); err != nil {
		return plumbing.ZeroHash, err
	}
	return s.SetEncodedObject(encoded)
}

// The lines at the end of a publication's message. They say whose it is.
const (
	nodeTrailer     = "Nfsync-Node: "
	machineTrailer  = "Nfsync-Machine: "
	snapshotTrailer = "Nfsync-Snapshot: "
)

// message returns the message of the commit. The names of nodes are written as in branches.
func (p *Publication) message() string {
	node := nf.NodeBranch(nf.NodePlaceholder, p.Node)
	return "Snapshot of node " + node + "\n\n" + nodeTrailer + node + "\n" + machineTrailer + p.Machine + "\n" + snapshotTrailer + p.Files[0].Name + "\n"
}

// owner is what a commit says of whose publication it is.
type owner struct{ node, machine, snapshot string }

// owner returns whose publication the commit is. It is false if it is none.
func (c *commit) owner() (owner, bool) {
	var o owner
	_, text, _ := splitHeaders(c.raw) // parseCommit has read the headers
	text = strings.TrimRight(text, "\n")
	for line := range strings.Lines(text[strings.LastIndex(text, "\n\n")+1:]) {
		line = strings.TrimSuffix(line, "\n")
		if node, ok := strings.CutPrefix(line, nodeTrailer); ok {
			o.node, _ = nf.BranchNode(nf.NodePlaceholder, node)
		}
		if machine, ok := strings.CutPrefix(line, machineTrailer); ok {
			o.machine = machine
		}
		if name, ok := strings.CutPrefix(line, snapshotTrailer); ok {
			o.snapshot = name
		}
	}
	return o, o.node != "" && o.machine != ""
}
