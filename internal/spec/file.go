package spec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"nfsync.dev/nfsync/internal/openfile"
	"nfsync.dev/nfsync/internal/policytree"
)

// File is one file to be parsed. Name is its path as errors show it.
type File struct {
	Name string
	Data []byte
}

// maxPolicyFile is the most that a policy file may hold, in bytes.
const maxPolicyFile = policytree.MaxFile

// StdinName is the name of standard input as a file.
const StdinName = "<stdin>"

// Read is what was read of a path.
type Read struct {
	IsDir bool
	Files []File
	// Diagnostics are about files that are not allowed, such as symbolic links.
	Diagnostics []Diagnostic
	// Unread are files that look like policies and are not read because of their names.
	Unread []string
}

// ReadDir reads the policy files of a directory and of those below it, as package policytree
// finds them, or one file of any name, or a stream (openfile.IsStream). The names of the files
// begin with path. A file that cannot be read is an error.
func ReadDir(path string) (Read, error) {
	r, err := readDir(path)
	if err != nil {
		return Read{}, fmt.Errorf("cannot read policies: %w", err)
	}
	return r, nil
}

func readDir(name string) (r Read, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return r, err
	}
	shown := filepath.ToSlash(filepath.Clean(name))
	if name == openfile.Stdin {
		shown = StdinName
	}
	if !info.IsDir() {
		if !info.Mode().IsRegular() && !openfile.IsStream(name) {
			r.refuse(shown, policytree.RuleForbiddenFile, "not a regular file", "")
			return r, nil
		}
		f, err := openfile.Input(name)
		if err != nil {
			return r, err
		}
		defer f.Close()
		return readStream(shown, f)
	}
	r.IsDir = true
	found, err := policytree.ReadDir(name, func(below string, data []byte) error {
		r.Files = append(r.Files, File{Name: path.Join(shown, below), Data: data})
		return nil
	})
	for i := range found.Problems {
		found.Problems[i].Path = path.Join(shown, found.Problems[i].Path)
	}
	for _, below := range found.Unread {
		r.Unread = append(r.Unread, path.Join(shown, below))
	}
	r.Diagnostics = FromTree(found.Problems)
	return r, err
}

// readStream reads one policy file to its end.
func readStream(name string, from io.Reader) (r Read, err error) {
	data, err := openfile.ReadAll(from, maxPolicyFile)
	if _, large := errors.AsType[openfile.TooLargeError](err); large {
		r.refuse(name, policytree.RuleTooLarge, tooLarge(maxPolicyFile), "split it into several files")
		return r, nil
	}
	if err != nil {
		return r, err
	}
	r.Files = []File{{Name: name, Data: data}}
	return r, nil
}

func (r *Read) refuse(name, rule, message, hint string) {
	r.Diagnostics = FromTree([]policytree.Problem{{Path: name, Rule: rule, Message: message, Hint: hint}})
}

// NoPolicies returns the error for a path below which there is no policy. files are those that
// were read there.
func NoPolicies(path string, files int) Diagnostic {
	what := "no *.yaml or *.yml file was read"
	if files == 1 {
		what = "1 file was read"
	} else if files > 1 {
		what = fmt.Sprintf("%d files were read", files)
	}
	return Diagnostic{Rule: RuleNoPolicies, File: path, Line: 1, Column: 1, Message: "there is no policy here: " + what,
		Hint: "name the right path; --allow-empty, or source.allowEmpty: true in the agent's configuration, allows one without policies"}
}

// FromTree returns the problems of a policy path as diagnostics, in the order of their files.
func FromTree(problems []policytree.Problem) []Diagnostic {
	list := make([]Diagnostic, len(problems))
	for i, p := range problems {
		list[i] = Diagnostic{Rule: Rule(p.Rule), File: p.Path, Line: 1, Column: 1, Message: p.Message, Hint: p.Hint}
	}
	return Limit(list)
}

func tooLarge(limit int) string {
	return fmt.Sprintf("the file is larger than %d MiB", limit>>20)
}
