// Package durable puts files on the disk so that a crash or a power cut leaves
// the old one or the new one, and never a part of one.
//
// A file is written under a temporary name in its directory, fsynced and
// renamed, and the directory is fsynced after that. The temporary name begins
// with a dot and ends with .tmp, so no reader of *.conf takes it. What a crash
// leaves of it, the next write of the same file removes.
package durable

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Disk is the three calls that put bytes on the disk for good. Tests replace
// it to stop a run between any two of them.
type Disk interface {
	// Write appends to a file that is open for writing.
	Write(f *os.File, data []byte) error
	// Sync makes durable what was written to a file, or which files a
	// directory has.
	Sync(f *os.File) error
	// Rename puts a file in another one's place.
	Rename(from, to string) error
}

type realDisk struct{}

func (realDisk) Write(f *os.File, data []byte) error {
	_, err := f.Write(data)
	return err
}

func (realDisk) Sync(f *os.File) error { return f.Sync() }

func (realDisk) Rename(from, to string) error { return os.Rename(from, to) }

// Writer writes files through a disk. The zero Writer writes to the real one.
type Writer struct{ Disk Disk }

func (w Writer) disk() Disk { return cmp.Or[Disk](w.Disk, realDisk{}) }

// Replace makes data the content of the file at path. Its mode is as given,
// whatever the umask. Of two processes that replace the same file at once, one
// can fail.
func (w Writer) Replace(path string, data []byte, mode fs.FileMode) error {
	dir, name := filepath.Split(path)
	dir = cmp.Or(dir, ".")
	RemoveLeftovers(dir, name)
	temp, err := w.writeTemp(dir, name, data, mode)
	if err == nil {
		err = w.Rename(temp, path)
	}
	if err != nil && temp != "" {
		_ = os.Remove(temp) // best effort: the error counts
	}
	return err
}

func (w Writer) writeTemp(dir, name string, data []byte, mode fs.FileMode) (path string, err error) {
	f, err := os.CreateTemp(dir, "."+name+".*.tmp")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Chmod(mode); err != nil {
		return f.Name(), err
	}
	return f.Name(), w.Append(f, data)
}

// RemoveLeftovers removes the temporary files that crashes have left of the
// writing of a file, or of all files of the directory where name is empty, as
// far as this user may.
func RemoveLeftovers(dir, name string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		file, hidden := strings.CutPrefix(e.Name(), ".")
		file, temporary := strings.CutSuffix(file, ".tmp")
		of := strings.TrimSuffix(strings.TrimRight(file, "0123456789"), ".")
		if hidden && temporary && (name == "" || name == of) {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// Save makes data the content of what a path leads to, as a shell's > does: a
// symbolic link stays and the file behind it is replaced, a device or a pipe is
// written to.
func (w Writer) Save(path string, data []byte, mode fs.FileMode) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(path, data, mode)
	}
	for range maxLinks {
		to, err := os.Readlink(path)
		if err != nil { // no link, or nothing there
			return w.Replace(path, data, mode)
		}
		if !filepath.IsAbs(to) { // not cleaned: ".." is the parent of what a link before it leads to
			dir, _ := filepath.Split(path)
			to = dir + to
		}
		path = to
	}
	return &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
}

// maxLinks is how many links the kernel follows, path_resolution(7).
const maxLinks = 40

// Append writes to an open file and makes that durable.
func (w Writer) Append(f *os.File, data []byte) error {
	if err := w.disk().Write(f, data); err != nil {
		return err
	}
	return w.disk().Sync(f)
}

// Rename puts a file in the place of another one of the same directory.
func (w Writer) Rename(from, to string) error {
	if err := w.disk().Rename(from, to); err != nil {
		return err
	}
	return w.syncDir(filepath.Dir(to))
}

// Remove removes a file. One that is missing is no error.
func (w Writer) Remove(path string) error {
	switch err := os.Remove(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return w.syncDir(filepath.Dir(path))
}

// MkdirAll makes a directory and the missing ones above it, with that mode
// whatever the umask. One that exists stays as it is.
func (w Writer) MkdirAll(path string, mode fs.FileMode) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	parent := filepath.Dir(path)
	if err := w.MkdirAll(parent, mode); err != nil {
		return err
	}
	if err := os.Mkdir(path, mode); err != nil {
		return err
	}
	if err := os.Chmod(path, mode); err != nil {
		return err
	}
	return w.syncDir(parent)
}

func (w Writer) syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := w.disk().Sync(f); err != nil {
		return fmt.Errorf("cannot make %s durable: %w", path, err)
	}
	return nil
}
