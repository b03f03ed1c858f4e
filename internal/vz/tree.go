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

// tree is the files below a root, with symbolic links followed as the node
// follows them: an absolute one starts at the root, and none leaves it.
type tree string

// maxLinks is how many symbolic links a path may lead through, as path_resolution(7) has it.
const maxLinks = 40

// maxFile is more than any file has that is read here, in bytes.
const maxFile = 1 << 20

// resolve returns the path, as nfsync itself can open it, of a path on the
// node. It is an error where there is none.
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

// below is a path without the root before it, as somebody writes it who sees the
// node from outside.
func (t tree) below(path string) string { return strings.TrimPrefix(path, string(t)+"/") }

// read reads a file of the node.
func (t tree) read(path string) ([]byte, error) {
	at, err := t.resolve(path)
	if err != nil {
		return nil, err
	}
	return readFile(at)
}

// readFile reads a regular file of a sensible size. Whatever else lies there,
// opening it does not block.
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
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return data, err
}

// missing tells whether a file is not there, as opposed to one that cannot be
// read.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}
