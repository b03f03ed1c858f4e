package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"nfsync.dev/nfsync/internal/nf"
)

// Nodes holds the snapshots that nodes have published in a repository.
type Nodes struct {
	files   map[string]nodeFile
	objects *objects
	remove  func()
}

// nodeFile is the snapshot on the branch of a node.
type nodeFile struct {
	Name string // BRANCH:PATH, as git show takes it
	Node string
	Hash string
	Why  string // there is no snapshot; empty if there is one
}

// nodeBranches are the branches of nodes: those that the template names, or that of one node.
type nodeBranches struct{ Template, Only string }

// node returns the node whose branch has that name. It is false for any other branch.
func (b *nodeBranches) node(branch string) (string, bool) {
	node, ok := nf.BranchNode(b.Template, branch)
	return node, ok && (b.Only == "" || b.Only == node)
}

func (b *nodeBranches) String() string {
	if b.Only == "" {
		return b.Template
	}
	return nf.NodeBranch(b.Template, b.Only)
}

// OpenNodes fetches the branches of nodes, which the template names as nf.NodeBranch does, and lists the
// snapshots on them: of all nodes, or of the one that only names. The repository is read in place if it is one of this machine. The error is a
// *FetchError.
func OpenNodes(ctx context.Context, cfg Config, template, only string) (_ *Nodes, err error) {
	if err := cfg.Check(""); err != nil {
		return nil, err
	}
	cfg.Timeout, cfg.MaxPack = cmp.Or(cfg.Timeout, DefaultTimeout), cmp.Or(cfg.MaxPack, DefaultMaxPack)
	n := &Nodes{files: map[string]nodeFile{}}
	if cfg.Dir, err = os.MkdirTemp("", "nfsync-nodes-"); err != nil {
		return nil, fmt.Errorf("cannot make a directory for the clone: %w", err)
	}
	n.remove = func() { _ = os.RemoveAll(cfg.Dir) } // best effort: it is below the temporary directory
	list, err := fetchNodes(ctx, cfg, nodeBranches{template, only})
	if err == nil {
		n.objects, err = openNodes(cfg)
	}
	if err != nil {
		n.remove()
		return nil, err
	}
	for _, f := range list {
		n.files[f.Name] = f
	}
	return n, nil
}

// fetchNodes runs a child that fetches the branches, and returns what they have.
func fetchNodes(ctx context.Context, cfg Config, branches nodeBranches) ([]nodeFile, error) {
	url := nf.PublicURL(cfg.URLs[0])
	limited, cancel := context.WithTimeoutCause(ctx, cfg.Timeout, errTimeout)
	defer cancel()
	a, err := runChild(limited, request{Config: cfg, Nodes: &branches})
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("the fetch of %s was stopped: %w", url, context.Cause(ctx))
	case limited.Err() != nil && !a.ended:
		return nil, &FetchError{URL: url, Err: fmt.Errorf("%w: stopped after %s (while %s); --timeout sets the time", errTimeout, cfg.Timeout, a.phase)}
	case err != nil:
		return nil, &FetchError{URL: url, Err: err}
	case a.failure != nil:
		return nil, a.failure.err(url)
	}
	return a.nodes, nil
}

// openNodes opens the repository that the child has read.
func openNodes(cfg Config) (*objects, error) {
	ep, err := endpoint(cfg.URLs[0])
	if err != nil {
		return nil, err
	}
	if ep.Protocol != "file" {
		return &objects{s: openStorage(osfs.New(nodesDir(cfg.Dir)))}, nil
	}
	d, err := findGitDir(ep.Path)
	if err != nil {
		return nil, &FetchError{URL: nf.PublicURL(cfg.URLs[0]), Err: err}
	}
	return openLocal(d).objects, nil
}

// Close removes what was fetched.
func (n *Nodes) Close() {
	n.objects.close()
	n.remove()
}

// Files returns the names of the snapshots, and of branches without one, in the order of nf.CompareNames.
func (n *Nodes) Files() []string {
	var list []string
	for name := range n.files {
		list = append(list, name)
	}
	slices.SortFunc(list, nf.CompareNames)
	return list
}

// Node returns the name of the node whose branch a file is on.
func (n *Nodes) Node(file string) string { return n.files[file].Node }

// Read returns a snapshot. Calls must not overlap.
func (n *Nodes) Read(file string) (content []byte, err error) {
	f := n.files[file]
	if f.Why != "" {
		return nil, errors.New(f.Why)
	}
	err = catch(func() (err error) {
		content, err = n.objects.load(plumbing.BlobObject, plumbing.NewHash(f.Hash), maxObject)
		return err
	})
	return content, err
}

// nodesDir is the clone with the branches of nodes.
func nodesDir(dir string) string { return path.Join(dir, "nodes") }

// fetchNodes fetches the branches of nodes, all at once, and lists the snapshots on them.
func (j *job) fetchNodes() error {
	r, err := j.newRemote()
	if err != nil {
		return err
	}
	ctx := context.Background() // the parent kills this process at its deadline
	c, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	branches, err := j.nodeBranches(c.refs.References)
	if err != nil {
		return err
	}
	at := nodesDir(j.Config.Dir)
	clone, err := createClone(at)
	if err != nil {
		return fmt.Errorf("cannot make a clone: %w", err)
	}
	defer clone.close()
	var wants []plumbing.Hash
	for _, h := range branches {
		wants = append(wants, h)
	}
	slices.SortFunc(wants, compareHashes)
	depth := 0
	if c.supportsShallow() {
		depth = 1
	}
	d := &delivery{job: j, remote: r, clone: clone, isNew: true}
	if err := d.fetchPack(ctx, c, slices.Compact(wants), depth); err != nil {
		return err
	}
	if err := j.sendNodes(clone.objects, branches); err != nil {
		return err
	}
	return clone.replace(at)
}

// listLocalNodes lists the snapshots in a repository of this machine.
func (j *job) listLocalNodes() error {
	d, err := findGitDir(j.ep.Path)
	if err != nil {
		return err
	}
	if err := d.checkFormat(); err != nil {
		return err
	}
	l := openLocal(d)
	defer l.close()
	refs, err := l.references()
	if err != nil {
		return fmt.Errorf("cannot read its references: %w", err)
	}
	branches, err := j.nodeBranches(refs)
	if err != nil {
		return err
	}
	return d.explain(j.sendNodes(l.objects, branches))
}

const branchPrefix = "refs/heads/"

// nodeBranches returns the branches of nodes among references, by their short names.
func (j *job) nodeBranches(refs map[string]plumbing.Hash) (map[string]plumbing.Hash, error) {
	branches := map[string]plumbing.Hash{}
	for name, h := range refs {
		short, ok := strings.CutPrefix(name, branchPrefix)
		if _, isNode := j.Nodes.node(short); ok && isNode {
			branches[short] = h
		}
	}
	if len(branches) == 0 {
		return nil, fmt.Errorf("it has no branch %s: no node has published to it; %s", j.Nodes, listNames(refs, branchPrefix))
	}
	return branches, nil
}

// sendNodes sends the parent what the branches have.
func (j *job) sendNodes(o *objects, branches map[string]plumbing.Hash) error {
	for branch, tip := range branches {
		f := nodeFile{Name: branch}
		f.Node, _ = j.Nodes.node(branch)
		err := catch(func() error { return f.find(o, tip) })
		if err != nil {
			f.Why = clean(err.Error(), j.secrets...)
		}
		if err := j.out.Encode(message{Node: &f}); err != nil {
			return err
		}
	}
	return nil
}

// snapshotNames are the names that a snapshot may have at the root of a branch that does not say where it is.
var snapshotNames = []string{"snapshot.json", "snapshot.yaml", "snapshot.yml"}

// find finds the snapshot in a commit.
func (f *nodeFile) find(o *objects, tip plumbing.Hash) error {
	c, err := o.commit(tip)
	if err != nil {
		return err
	}
	names := snapshotNames
	if published, ok := c.owner(); ok {
		names = []string{published.snapshot}
	}
	for _, name := range names {
		dir, base := path.Split(name)
		r := &treeReader{objects: o}
		tree, err := r.find(c, strings.TrimSuffix(dir, "/"))
		if err != nil {
			return err
		}
		entries, err := r.tree(tree, dir)
		if err != nil {
			return err
		}
		if e := entry(entries, base); e != nil && e.mode == filemode.Regular {
			f.Name, f.Hash = f.Name+":"+name, e.hash.String()
			return nil
		}
	}
	return fmt.Errorf("it has no file %s", names[0])
}
