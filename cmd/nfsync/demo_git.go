package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"nfsync.dev/nfsync/internal/source"
)

// demoRepository is the repository that the demo's node follows, made without a
// git program: all that the demo needs is this one.
const (
	demoRepository = "policies.git"
	demoBranch     = "main"
)

// follow are the words of a command that takes its policies from the demo's
// repository.
func follow(words ...string) []string { return append(words, "--git", demoRepository) }

// create makes the repository.
func (d *demo) create() {
	if d.err == nil {
		d.repo, d.err = source.CreateRepository(demoRepository, demoBranch)
	}
}

// commit commits the policies and says so, as git log --oneline would.
func (d *demo) commit(message string) {
	if d.err != nil {
		return
	}
	files, err := readFiles(demoPolicies)
	if err == nil {
		var hash string
		if hash, err = d.repo.Commit(files, message+"\n", "nfsync demo", "demo@nfsync.invalid", time.Now()); err == nil {
			_, err = fmt.Fprintf(d.app.stdout, "\n%s: %.7s (%s) %s\n", demoRepository, hash, demoBranch, message)
		}
	}
	d.err = err
}

// readFiles are the files of a directory and of those below it, by their path
// in it.
func readFiles(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files[name], err = os.ReadFile(filepath.Join(dir, name))
		return err
	})
	return files, err
}
