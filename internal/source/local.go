package source

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// runLocal reads a repository of this machine in place, without a clone.
func (j *job) runLocal() error {
	j.phase("reading %s", j.ep.Path)
	d, err := findGitDir(j.ep.Path)
	if err != nil {
		return err
	}
	if err := d.checkFormat(); err != nil {
		return err
	}
	err = j.readLocal(d)
	if isDamage(err) {
		// It may have been repacked while it was read.
		err = j.readLocal(d)
	}
	return d.explain(err)
}

func (j *job) readLocal(d gitDir) error {
	return catch(func() error {
		l := openLocal(d)
		defer l.close()
		t, err := l.resolve(&j.Config)
		if err != nil {
			return err
		}
		h := &history{objects: l.objects}
		commit, err := j.commitOf(h, t)
		if err != nil {
			return err
		}
		return j.sendRevision(h, t, commit, nil)
	})
}

// explain adds to an error of reading the repository what is missing in it, and what to do.
func (d gitDir) explain(err error) error {
	if errors.Is(err, billy.ErrCrossedBoundary) {
		return errors.New("a symbolic link in it leads to another directory, which nfsync does not follow: name that repository, or one made by git clone")
	}
	damage, ok := errors.AsType[*damageError](err)
	if !ok {
		return err
	}
	missing := errors.Is(err, plumbing.ErrObjectNotFound)
	alternates := d.alternates()
	partial, _ := filepath.Glob(filepath.Join(d.common, "objects", "pack", "*.promisor"))
	switch {
	case errors.Is(err, idxfile.ErrMalformedIdxFile), errors.Is(err, idxfile.ErrUnsupportedVersion):
		return fmt.Errorf("the index of one of its packs has another version than 2, or is damaged: git -C %s repack -a -d writes a new one", d.common)
	case missing && len(alternates.failed) > 0:
		return fmt.Errorf("%w: it borrows objects from a repository that cannot be read: %w", damage.err, alternates.failed[0])
	case missing && len(partial) > 0:
		return fmt.Errorf("%w: the repository is a partial clone (git clone --filter). Fetch the rest with git -C %s fetch --refetch --no-filter, "+
			"or plan the checked-out directory: nfsync plan DIR", damage.err, d.common)
	}
	return fmt.Errorf("the repository is damaged: %w: git -C %s fsck lists all damage", damage.err, d.common)
}

// local is a repository of this machine.
type local struct {
	*objects
	dir gitDir
}

func openLocal(d gitDir) *local {
	l := &local{&objects{s: openStorage(d.files())}, d}
	for _, dir := range d.alternates().dirs {
		l.borrowed = append(l.borrowed, openStorage(osfs.New(filepath.Dir(dir))))
	}
	return l
}

// resolve looks up the configured commit, tag or branch.
func (l *local) resolve(cfg *Config) (target, error) {
	switch {
	case cfg.Rev != "":
		return l.revTarget(cfg.Rev)
	case cfg.Commit != "":
		return l.commitTarget(plumbing.NewHash(cfg.Commit))
	case cfg.Tag != "":
		return l.lookUp(target{tag: cfg.Tag, ref: plumbing.NewTagReferenceName(cfg.Tag)}, "tag "+cfg.Tag, "refs/tags/")
	case cfg.Branch != "":
		return l.branchTarget(cfg.Branch)
	}
	head, err := l.s.Reference(plumbing.HEAD)
	switch {
	case err != nil:
		return target{}, fmt.Errorf("cannot read its HEAD: %w", err)
	case head.Type() == plumbing.HashReference && head.Hash().IsZero():
		return target{}, errors.New("its HEAD names neither a branch nor a commit: name a branch")
	case head.Type() == plumbing.HashReference:
		return target{hash: head.Hash(), head: true}, nil
	case !head.Target().IsBranch():
		return target{}, fmt.Errorf("its HEAD names %s, which is no branch: name a branch", head.Target())
	}
	t, err := l.branchTarget(head.Target().Short())
	t.head = true
	return t, err
}

func (l *local) branchTarget(name string) (target, error) {
	return l.lookUp(target{branch: name, ref: plumbing.NewBranchReferenceName(name)}, "branch "+name, "refs/heads/")
}

func (l *local) revTarget(rev string) (target, error) {
	if plumbing.IsHash(rev) {
		return l.commitTarget(plumbing.NewHash(rev))
	}
	if strings.Contains(rev, "@{") || strings.Contains(rev, ":") || strings.Contains(rev, "^{/") {
		// go-git takes some of these for another revision.
		return target{}, fmt.Errorf("revision %s: neither reflogs (@{…}) nor searches (:/text) are read: name the commit that git rev-parse %[1]s prints", rev)
	}
	repo, err := git.Open(l.s, nil)
	if err != nil {
		return target{}, err
	}
	hash, err := repo.ResolveRevision(plumbing.Revision(rev))
	if err == nil {
		return target{hash: *hash}, nil
	}
	if shallow, shallowErr := l.shallow(); shallowErr == nil && len(shallow) > 0 {
		return target{}, fmt.Errorf("it has no revision %s, and is a shallow clone: git -C %s fetch --unshallow gets what it lacks", rev, l.dir.common)
	}
	return target{}, fmt.Errorf("it has no revision %s: git -C %s fetch may bring it", rev, l.dir.common)
}

func (l *local) commitTarget(h plumbing.Hash) (target, error) {
	if l.has(h) {
		return target{hash: h}, nil
	}
	if shallow, err := l.shallow(); err == nil && len(shallow) > 0 {
		return target{}, fmt.Errorf("it has no commit %s, and is a shallow clone: git -C %s fetch origin %[1]s", h, l.dir.common)
	}
	return target{}, fmt.Errorf("it has no commit %s", h)
}

// lookUp looks up a reference. One that names another reference is that one's commit.
func (l *local) lookUp(t target, what, below string) (target, error) {
	r, err := storer.ResolveReference(l.s, t.ref)
	if err == nil {
		t.hash = r.Hash()
		return t, nil
	}
	all, err := l.references()
	if err != nil {
		return target{}, fmt.Errorf("cannot read its references: %w", err)
	}
	if len(all) == 0 {
		return target{}, errEmpty
	}
	return target{}, fmt.Errorf("it has no %s; %s%s", what, listNames(all, below), remoteHint(all, t.branch))
}

// remoteHint says how to make a branch that only a remote of the repository has.
func remoteHint(all map[string]plumbing.Hash, branch string) string {
	if _, ok := all["refs/remotes/origin/"+branch]; branch == "" || !ok {
		return ""
	}
	return fmt.Sprintf(". Its remote has it: git branch %s origin/%[1]s makes the branch", branch)
}

func (l *local) references() (map[string]plumbing.Hash, error) {
	refs, err := l.s.IterReferences()
	if err != nil {
		return nil, err
	}
	all := map[string]plumbing.Hash{}
	err = refs.ForEach(func(r *plumbing.Reference) error {
		if r.Type() == plumbing.HashReference {
			all[r.Name().String()] = r.Hash()
		}
		return nil
	})
	return all, err
}
