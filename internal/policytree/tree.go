// Package policytree says which files below a policy path are policies, and which entries may
// not be there. The directory on disk and the tree of a commit are read by the same rules.
package policytree

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"nfsync.dev/nfsync/internal/nf"
)

// The bounds of a policy path.
const (
	MaxFile     = 1 << 20  // bytes of a policy file
	MaxPolicies = 16 << 20 // bytes of all policy files: there are several copies for a while
	MaxEntries  = 100_000  // files and directories, those that are not read too
	maxDepth    = 64       // directories
	maxName     = 255      // bytes, as of file systems
	maxProblems = 200      // then reading stops
)

// Kind is the kind of an entry.
type Kind int

// The kinds.
const (
	File Kind = iota
	Dir
	Link      // a symbolic link
	Submodule // a repository in the repository
	Special   // a pipe, a socket, a device
)

// Entry is an entry of a directory.
type Entry struct {
	Path string // slash-separated, from the policy path on, which itself is ""
	Kind Kind
	ID   [20]byte // the object of the entry, in a commit
}

// Below returns the entry of that name in the directory e.
func (e Entry) Below(name string, kind Kind) Entry {
	if e.Path != "" {
		name = e.Path + "/" + name
	}
	return Entry{Path: name, Kind: kind}
}

func (e Entry) name() string { return e.Path[strings.LastIndexByte(e.Path, '/')+1:] }

// Tree is a policy path, on disk or in a commit.
type Tree interface {
	// Entries returns the entries of a directory, in any order.
	Entries(dir Entry) ([]Entry, error)
	// Read returns the content of a file. The error is ErrTooLarge if it has more than most
	// bytes.
	Read(file Entry, most int64) ([]byte, error)
}

// ErrTooLarge is the error of Tree.Read for a file that is larger than allowed.
var ErrTooLarge = errors.New("the file is too large")

// The rules that an entry can break.
const (
	RuleEncoding      = "encoding"
	RuleForbiddenFile = "forbidden-file"
	RuleTooLarge      = "too-large"
)

// Problem is an entry that may not be there. Its path is fit to be printed.
type Problem struct {
	Path, Rule, Message, Hint string
}

// Found is what Read finds beside the policy files.
type Found struct {
	Problems []Problem // sorted by path
	// Unread are files that look like policies and are not read because of their names.
	Unread []string
}

const (
	hintLink      = "put the file itself here, or name the link in " + IgnoreFile
	hintSubmodule = "put its files here, or name it in " + IgnoreFile
	hintSplit     = "split it into several files; if it is no policy, name it in " + IgnoreFile
	hintRename    = "rename it, or name it in " + IgnoreFile
	hintOutside   = "what is no policy can be named in " + IgnoreFile + ", or moved out of the policy path"
)

// Read passes the policy files of a tree to emit, sorted by name. If there are problems, the
// files may be incomplete.
func Read(tree Tree, emit func(name string, data []byte) error) (Found, error) {
	w := walk{tree: tree}
	err := w.directory(Entry{Kind: Dir}, 0)
	if err == nil {
		err = w.read(emit)
	}
	if errors.Is(err, errStop) {
		err = nil
	}
	slices.SortStableFunc(w.found.Problems, func(a, b Problem) int { return cmp.Compare(a.Path, b.Path) })
	return w.found, err
}

// errStop ends a walk after a problem beyond which nothing is read.
var errStop = errors.New("a problem ends the walk")

type walk struct {
	tree     Tree
	ignored  patterns
	entries  int     // seen
	policies []Entry // to be read
	others   []Entry // files whose names are not those of policies
	found    Found
}

func (w *walk) problem(path, rule, message, hint string) error {
	w.found.Problems = append(w.found.Problems, Problem{printable(path), rule, message, hint})
	if len(w.found.Problems) < maxProblems {
		return nil
	}
	w.found.Problems = append(w.found.Problems, Problem{printable(path), rule, fmt.Sprintf("more than %d such errors: nothing more was read", maxProblems), hintOutside})
	return errStop
}

// stop reports a bound that the tree exceeds, and ends the walk.
func (w *walk) stop(path, message, hint string) error {
	return cmp.Or(w.problem(path, RuleTooLarge, message, hint), errStop)
}

func (w *walk) directory(dir Entry, depth int) error {
	if depth > maxDepth {
		return w.stop(dir.Path, fmt.Sprintf("more than %d directories deep", maxDepth), hintOutside)
	}
	entries, err := w.tree.Entries(dir)
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	if depth == 0 {
		if err := w.readIgnoreFile(entries); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if e.name() == ".git" {
			continue // on disk only
		}
		// A tree may contain the same tree many times: each visit of an entry counts.
		if w.entries++; w.entries > MaxEntries {
			return w.stop(cmp.Or(dir.Path, "."), fmt.Sprintf("the policy path holds more than %d files and directories", MaxEntries), hintOutside)
		}
		if err := w.entry(e, depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) entry(e Entry, depth int) error {
	name := e.name()
	switch why := badName(name); {
	case isHidden(name):
		return nil
	case why != "":
		return w.problem(e.Path, RuleForbiddenFile, why, "rename it")
	case w.ignored.match(e.Path, e.Kind == Dir || e.Kind == Submodule):
		return nil
	}
	switch e.Kind {
	case Dir:
		return w.directory(e, depth+1)
	case Link:
		return w.problem(e.Path, RuleForbiddenFile, "a symbolic link is not allowed among policies", hintLink)
	case Submodule:
		return w.problem(e.Path, RuleForbiddenFile, "a submodule is not allowed among policies", hintSubmodule)
	case Special:
		if nf.IsPolicyFile(name) {
			return w.problem(e.Path, RuleForbiddenFile, "not a regular file", "")
		}
		return nil // git does not store it
	}
	if nf.IsPolicyFile(name) {
		w.policies = append(w.policies, e)
	} else {
		w.others = append(w.others, e)
	}
	return nil
}

// isHidden reports whether a file or directory of that name is not read.
func isHidden(name string) bool { return strings.HasPrefix(name, ".") && name != "." && name != ".." }

// badName returns why a name is not allowed, or "".
func badName(name string) string {
	switch {
	case name == "." || name == "..":
		return "it is not a valid file name"
	case len(name) > maxName:
		return fmt.Sprintf("its name is longer than %d bytes", maxName)
	case strings.ContainsFunc(name, unicode.IsControl):
		return "its name has control characters"
	case !utf8.ValidString(name):
		return "its name is not UTF-8"
	}
	return ""
}

// printable replaces control characters and invalid UTF-8 in a path, and shortens it.
func printable(path string) string {
	path = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(path, "?"))
	if most := 4096; len(path) > most { // PATH_MAX
		return strings.ToValidUTF8(path[:most], "") + "…"
	}
	return path
}

// read reads the files that were found.
func (w *walk) read(emit func(string, []byte) error) error {
	slices.SortFunc(w.policies, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	total := 0
	for _, e := range w.policies {
		data, err := w.tree.Read(e, MaxFile)
		if errors.Is(err, ErrTooLarge) {
			if err := w.problem(e.Path, RuleTooLarge, fmt.Sprintf("the file is larger than %d MiB", MaxFile>>20), hintSplit); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if total += len(data); total > MaxPolicies {
			return w.stop(e.Path, fmt.Sprintf("with it the policy files take more than %d MiB", MaxPolicies>>20), hintOutside)
		}
		if err := emit(e.Path, data); err != nil {
			return err
		}
	}
	w.lookAtOthers()
	return nil
}
