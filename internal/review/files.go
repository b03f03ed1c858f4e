package review

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// Files returns the files of snapshots that names mean, in order and each once. A name is a file,
// a directory (its .yaml, .yml and .json files, at any depth, without hidden ones) or a pattern
// as in path/filepath.Match. many reports whether they are of a fleet, which one file is not. It
// is an error if a name means no file.
func Files(names []string) (files []string, many bool, err error) {
	for _, name := range names {
		info, err := os.Stat(name)
		switch {
		case err == nil && info.IsDir():
			many = true
			list, err := below(name)
			if err != nil {
				return nil, many, err
			}
			files = append(files, list...)
		case err != nil && strings.ContainsAny(name, "*?["):
			many = true
			list, err := filepath.Glob(name)
			if err != nil || len(list) == 0 {
				return nil, many, fmt.Errorf("no file matches %s", name)
			}
			files = append(files, list...)
		default: // whoever reads it says what is wrong with it
			files = append(files, name)
		}
	}
	slices.SortStableFunc(files, nf.CompareNames)
	files = slices.Compact(files)
	return files, many || len(files) > 1, nil
}

// below returns the snapshots below a directory.
func below(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		hidden := strings.HasPrefix(d.Name(), ".") && path != dir
		switch {
		case err != nil:
			return err
		case hidden && d.IsDir():
			return fs.SkipDir
		case !hidden && !d.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
			files = append(files, path)
		}
		return nil
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("there is no snapshot below %s: their names end in .yaml, .yml or .json", dir)
	}
	return files, err
}

// Names returns the node names that a file lists, one a line. Empty lines and what follows a # is
// ignored.
func Names(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if name := strings.TrimSpace(line); name != "" {
			names = append(names, name)
		}
	}
	return names
}
