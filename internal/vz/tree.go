package vz

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// tree has the files below a root. Symbolic links are followed as on the node: an absolute
// one starts at the root, and none leaves it.
type tree string

// maxLinks bounds the symbolic links of a path, as in path_resolution(7).
const maxLinks = 40

// maxFile bounds a file that is read here, in bytes.
const maxFile = 1 << 20

// resolve returns a path on the node as nfsync itself can open it. It returns an error if
// the path does not exist.
func (t tree) resolve(path string) (string, error) {
	if t == "/" {
		_, err := os.Stat(path)
		return path, err
	}
	at, rest := "/", t.below(path)
	for links := 0; ; {
		rest = strings.TrimLeft(rest, "/")
		if rest == "" {
			return filepath.Join(string(t), at), nil
		}
		name, tail, _ := strings.Cut(rest, "/")
		next := filepath.Join(at, name) // ".." ends at the root
		info, err := os.Lstat(filepath.Join(string(t), next))
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 || name == ".." {
			at, rest = next, tail
			continue
		}
		if links++; links > maxLinks {
			return "", &os.PathError{Op: "resolve", Path: filepath.Join(string(t), path), Err: unix.ELOOP}
		}
		to, err := os.Readlink(filepath.Join(string(t), next))
		if err != nil {
			return "", err
		}
		if filepath.IsAbs(to) {
			at, to = "/", t.below(to)
		}
		rest = to + "/" + tail
	}
}

// below returns a path without the root at its start: a link that was made outside the node
// may have it.
func (t tree) below(path string) string { return strings.TrimPrefix(path, string(t)+"/") }

// read reads a file of the node.
func (t tree) read(path string) ([]byte, error) {
	at, err := t.resolve(path)
	if err != nil {
		return nil, err
	}
	return readFile(at)
}

// readFile reads a regular file of at most maxFile bytes. Opening anything else does not
// block.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return data, err
}

// missing reports whether a file does not exist, as opposed to one that cannot be read.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}
