package source

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"nfsync.dev/nfsync/internal/nf"
)

// The bounds of what the policy path holds.
const (
	maxEntries  = 100_000
	maxPolicies = 16 << 20 // bytes of all policy files: the caller holds several copies for a while
	maxDepth    = 64       // directories
)

// CleanPath returns a policy path in the form of the tree: clean, without a leading slash,
// "" for the root. The error for a path that leaves the repository is a *TreeError.
func CleanPath(p string) (string, error) {
	clean := path.Clean(strings.TrimLeft(p, "/"))
	switch {
	case clean == ".":
		return "", nil
	case !fs.ValidPath(clean):
		return "", &TreeError{Path: p, Why: "the policy path leaves the repository"}
	}
	return clean, nil
}

// treeReader reads the policy files of a commit.
type treeReader struct {
	objects *objects
	emit    func(File) error
	entries int          // visited
	files   []policyFile // found
	bytes   int64        // read
}

type policyFile struct {
	name string
	hash plumbing.Hash
}

// read passes the policy files below a path of the commit's tree to emit. The error for an
// entry that nfsync does not read is a *TreeError with the commit; that for a path that is
// not a directory is a *TreeError without it.
func (r *treeReader) read(c *commit, below string) error {
	dir, err := r.find(c, below)
	if err != nil {
		return err
	}
	err = r.readAll(dir, below)
	if treeErr, ok := errors.AsType[*TreeError](err); ok {
		treeErr.Commit = c.hash.String()
	}
	return err
}

func (r *treeReader) readAll(dir plumbing.Hash, below string) error {
	if err := r.walk(dir, below, 0); err != nil {
		return err
	}
	for _, f := range r.files {
		if err := r.readFile(f); err != nil {
			return err
		}
	}
	return nil
}

// find returns the tree of the policy path.
func (r *treeReader) find(c *commit, below string) (plumbing.Hash, error) {
	at := c.tree
	if below == "" {
		return at, nil
	}
	parts := strings.Split(below, "/")
	for i, part := range parts {
		here := path.Join(parts[:i+1]...)
		entries, err := r.tree(at, path.Join(parts[:i]...))
		if err != nil {
			return at, err
		}
		e := entry(entries, part)
		if e == nil {
			return at, &TreeError{Path: here, Why: fmt.Sprintf("commit %s has no such directory", c.hash)}
		}
		if e.mode != filemode.Dir {
			return at, &TreeError{Path: here, Why: fmt.Sprintf("it is %s, not a directory", kind(e.mode))}
		}
		at = e.hash
	}
	return at, nil
}

func entry(entries []treeEntry, name string) *treeEntry {
	for i := range entries {
		if entries[i].name == name {
			return &entries[i]
		}
	}
	return nil
}

// tree reads the tree of a directory.
func (r *treeReader) tree(h plumbing.Hash, dir string) ([]treeEntry, error) {
	entries, err := r.objects.tree(h)
	if malformed, ok := errors.AsType[*formatError](err); ok {
		return nil, &TreeError{Path: cmp.Or(dir, "."), Why: malformed.Error()}
	}
	return entries, err
}

func (r *treeReader) walk(h plumbing.Hash, dir string, depth int) error {
	if depth > maxDepth {
		return &TreeError{Path: dir, Why: fmt.Sprintf("more than %d directories deep", maxDepth)}
	}
	entries, err := r.tree(h, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		// A tree may contain the same tree many times: each visit of an entry counts.
		if r.entries++; r.entries > maxEntries {
			return &TreeError{Path: dir, Why: fmt.Sprintf("the policy path holds more than %d files and directories", maxEntries)}
		}
		if why := badName(e.name); why != "" {
			return &TreeError{Path: path.Join(dir, printable(e.name)), Why: why}
		}
		name := path.Join(dir, e.name)
		if err := r.visit(e, name, depth); err != nil {
			return err
		}
	}
	return nil
}

func (r *treeReader) visit(e treeEntry, name string, depth int) error {
	switch e.mode {
	case filemode.Dir:
		return r.walk(e.hash, name, depth+1)
	case filemode.Regular:
		if nf.IsPolicyFile(name) {
			r.files = append(r.files, policyFile{name, e.hash})
		}
		return nil
	}
	return &TreeError{Path: name, Why: fmt.Sprintf("it is %s; nfsync reads only files and directories", kind(e.mode))}
}

func (r *treeReader) readFile(f policyFile) error {
	b, err := r.objects.blob(f.hash)
	if large, ok := errors.AsType[*sizeError](err); ok {
		return &TreeError{Path: f.name, Why: fmt.Sprintf("it has %d bytes; a policy file has at most %d", large.size, maxFile)}
	}
	if err != nil {
		return err
	}
	if r.bytes += int64(len(b)); r.bytes > maxPolicies {
		return &TreeError{Path: f.name, Why: fmt.Sprintf("with it the policy files take more than %d MiB", maxPolicies>>20)}
	}
	return r.emit(File{Name: f.name, Data: b})
}

// badName returns what is wrong with a name that git itself does not write, or "".
func badName(name string) string {
	switch {
	case name == "." || name == "..":
		return "it is not a valid file name"
	case strings.ContainsFunc(name, unicode.IsControl):
		return "its name has control characters"
	case strings.ToValidUTF8(name, "") != name:
		return "its name is not UTF-8"
	}
	return ""
}

// printable replaces control characters and invalid UTF-8 in a name.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(name, "?"))
}

func kind(m filemode.FileMode) string {
	switch m {
	case filemode.Symlink:
		return "a symbolic link"
	case filemode.Submodule:
		return "a submodule"
	case filemode.Dir:
		return "a directory"
	}
	return "a file"
}
