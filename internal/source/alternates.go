package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"nfsync.dev/nfsync/internal/openfile"
)

// The bounds of the list of alternates. git follows alternates of alternates as deep.
const (
	maxAlternatesFile = 1 << 20 // bytes
	maxAlternateDepth = 5
)

// alternates are the directories of objects that a repository borrows from others
// (gitrepository-layout(5), objects/info/alternates).
type alternates struct {
	dirs   []string
	failed []error // of those that cannot be read
}

// alternates returns the alternates of the repository, and theirs.
func (d gitDir) alternates() alternates {
	var a alternates
	own := filepath.Join(d.common, "objects")
	a.add(own, 0)
	a.dirs = slices.DeleteFunc(a.dirs, func(dir string) bool { return dir == own })
	return a
}

// add adds the alternates of a directory of objects.
func (a *alternates) add(objects string, depth int) {
	text, err := openfile.Read(filepath.Join(objects, "info", "alternates"), maxAlternatesFile)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			a.failed = append(a.failed, err)
		}
		return
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		if unquoted, err := strconv.Unquote(line); err == nil && line[0] == '"' {
			line = unquoted
		}
		dir := from(objects, line)
		switch err := checkAlternate(dir, depth); {
		case err != nil:
			a.failed = append(a.failed, err)
		case !slices.Contains(a.dirs, dir):
			a.dirs = append(a.dirs, dir)
			a.add(dir, depth+1)
		}
	}
}

// checkAlternate returns an error if objects cannot be read from a directory.
func checkAlternate(dir string, depth int) error {
	if depth >= maxAlternateDepth {
		return fmt.Errorf("%s: it is the alternate of more than %d others in turn", dir, maxAlternateDepth)
	}
	if filepath.Base(dir) != "objects" { // go-git looks for that name
		return fmt.Errorf(`%s: nfsync reads alternates that are named "objects"`, dir)
	}
	_, err := os.ReadDir(dir)
	return err
}
