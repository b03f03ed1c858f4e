package source

import (
	"errors"
	"fmt"
	"os"

	"github.com/go-git/go-billy/v5/osfs"
	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// runLocal reads a repository of this machine in place, without a clone.
func (j *job) runLocal() error {
	err := catch(j.readLocal)
	if isDamage(err) {
		// It may have been repacked while it was read.
		err = catch(j.readLocal)
	}
	if damage, ok := errors.AsType[*damageError](err); ok {
		return fmt.Errorf("the repository is damaged: %w", damage.err)
	}
	return err
}

func (j *job) readLocal() error {
	j.phase("reading %s", j.ep.Path)
	l, err := openLocal(j.ep.Path)
	if err != nil {
		return err
	}
	defer func() { _ = l.s.Close() }()
	t, err := l.resolve(&j.Config)
	if err != nil {
		return err
	}
	commit, err := l.peel(t.hash)
	if err != nil {
		return err
	}
	return j.sendRevision(&history{objects: l.objects}, t, commit, nil)
}

// local is a repository of this machine.
type local struct{ *objects }

func openLocal(path string) (*local, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	repo, err := git.PlainOpenWithOptions(path, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
	if errors.Is(err, git.ErrRepositoryNotExists) {
		return nil, fmt.Errorf("there is no git repository at %s", path)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the repository: %w", err)
	}
	opened, ok := repo.Storer.(*filesystem.Storage)
	if !ok {
		return nil, fmt.Errorf("cannot read a repository of the type %T", repo.Storer)
	}
	s := openStorage(opened.Filesystem(), osfs.New("/"))
	return &local{&objects{s}}, nil
}

// resolve looks up the configured commit, tag or branch.
func (l *local) resolve(cfg *Config) (target, error) {
	switch {
	case cfg.Commit != "":
		t := target{hash: plumbing.NewHash(cfg.Commit)}
		if _, err := l.s.EncodedObject(plumbing.CommitObject, t.hash); err != nil {
			return target{}, fmt.Errorf("it has no commit %s: %w", cfg.Commit, err)
		}
		return t, nil
	case cfg.Tag != "":
		return l.lookUp(target{tag: cfg.Tag, ref: plumbing.NewTagReferenceName(cfg.Tag)}, "tag "+cfg.Tag, "refs/tags/")
	}
	branch := cfg.Branch
	if branch == "" {
		head, err := l.s.Reference(plumbing.HEAD)
		if err != nil {
			return target{}, fmt.Errorf("cannot read its HEAD: %w", err)
		}
		if head.Type() != plumbing.SymbolicReference || !head.Target().IsBranch() {
			return target{}, errors.New("its HEAD names no branch: name one")
		}
		branch = head.Target().Short()
	}
	return l.lookUp(target{branch: branch, head: cfg.Branch == "", ref: plumbing.NewBranchReferenceName(branch)}, "branch "+branch, "refs/heads/")
}

func (l *local) lookUp(t target, what, below string) (target, error) {
	r, err := l.s.Reference(t.ref)
	if err == nil && r.Type() == plumbing.HashReference {
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
	return target{}, fmt.Errorf("it has no %s; %s", what, listNames(all, below))
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
