// Package durable puts files on the disk so that a crash or a power cut leaves
// the old one or the new one, and never a part of one.
//
// A file is written under a temporary name in its directory, fsynced and
// renamed, and the directory is fsynced after that. The temporary name begins
// with a dot and ends with .tmp, so no reader of *.conf takes it. Its writer holds
// a lock on it (flock(2)), which ends with the writer: what a crash leaves is
// not locked, and the next write of the same file removes it.
package durable

import (
	"cmp"
	"errors"
	"fmt"
	"io"
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
// whatever the umask. Of several that replace the same file at once, the last one
// counts.
func (w Writer) Replace(path string, data []byte, mode fs.FileMode) error {
	return w.replace(path, withMode(mode), whole(data))
}

// whole returns a function that writes data.
func whole(data []byte) func(io.Writer) error {
	return func(out io.Writer) error {
		_, err := out.Write(data)
		return err
	}
}

// diskFile is an open file as a writer.
type diskFile struct {
	disk Disk
	file *os.File
}

func (d diskFile) Write(data []byte) (int, error) {
	if err := d.disk.Write(d.file, data); err != nil {
		return 0, err
	}
	return len(data), nil
}

// withMode returns a function that gives a file its mode.
func withMode(mode fs.FileMode) func(*os.File) error {
	return func(f *os.File) error { return f.Chmod(mode) }
}

// Rewrite makes data the content of a file that exists. Its owner and its mode stay.
func (w Writer) Rewrite(path string, data []byte) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	return w.replace(path, func(f *os.File) error { return errors.Join(chown(f, info), f.Chmod(info.Mode().Perm())) }, whole(data))
}

// chown gives a file the owner of another one, unless it has it.
func chown(f *os.File, like fs.FileInfo) error {
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	has, _ := mine.Sys().(*syscall.Stat_t)
	want, ok := like.Sys().(*syscall.Stat_t)
	if !ok || has.Uid == want.Uid && has.Gid == want.Gid {
		return nil
	}
	return f.Chown(int(want.Uid), int(want.Gid))
}

// replace is Replace for a file that prepare gives its owner and mode.
func (w Writer) replace(path string, prepare func(*os.File) error, write func(io.Writer) error) (err error) {
	dir, name := filepath.Split(path)
	dir = cmp.Or(dir, ".")
	RemoveLeftovers(dir, name)
	f, err := createTemp(dir, name)
	if err != nil {
		return err
	}
	// The lock ends after the rename.
	defer func() { err = errors.Join(err, f.Close()) }()
	if err = prepare(f); err == nil {
		err = write(diskFile{w.disk(), f})
	}
	if err == nil {
		err = w.disk().Sync(f)
	}
	if err == nil {
		err = w.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // best effort: the error counts
	}
	return err
}

// createTemp creates a temporary file for a file of that name, and locks it.
func createTemp(dir, name string) (*os.File, error) {
	for {
		f, err := os.CreateTemp(dir, "."+name+".*.tmp")
		if err != nil {
			return nil, err
		}
		flock(f, syscall.LOCK_EX)
		// Before it was locked, another process may have taken it for a leftover.
		var st syscall.Stat_t
		if err := syscall.Fstat(int(f.Fd()), &st); err != nil || st.Nlink > 0 {
			return f, nil //nolint:nilerr // what is wrong with the file, writing it shows
		}
		_ = f.Close() // it is gone
	}
}

// flock locks a file, and reports whether it is not locked by others. A file system without
// locks has none.
func flock(f *os.File, how int) bool {
	for {
		switch err := syscall.Flock(int(f.Fd()), how); {
		case errors.Is(err, syscall.EINTR):
		default:
			return !errors.Is(err, syscall.EWOULDBLOCK)
		}
	}
}

// RemoveLeftovers removes the temporary files that crashes have left of the
// writing of a file, or of all files of the directory where name is empty, as
// far as this user may. Those of writers that still write stay.
func RemoveLeftovers(dir, name string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		file, hidden := strings.CutPrefix(e.Name(), ".")
		file, temporary := strings.CutSuffix(file, ".tmp")
		of := strings.TrimSuffix(strings.TrimRight(file, "0123456789"), ".")
		if hidden && temporary && (name == "" || name == of) {
			removeUnlocked(filepath.Join(dir, e.Name()))
		}
	}
}

// removeUnlocked removes a file unless a writer has locked it.
func removeUnlocked(path string) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err == nil {
		defer func() { _ = f.Close() }()
		if !flock(f, syscall.LOCK_EX|syscall.LOCK_NB) {
			return
		}
	}
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		_ = os.Remove(path)
	}
}

// Save makes data the content of what a path leads to, as a shell's > does: a
// symbolic link stays and the file behind it is replaced, a device or a pipe is
// written to.
func (w Writer) Save(path string, data []byte, mode fs.FileMode) error {
	return w.SaveFrom(path, mode, whole(data))
}

// SaveFrom is Save for what a function writes.
func (w Writer) SaveFrom(path string, mode fs.FileMode, write func(io.Writer) error) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return writeTo(path, write)
	}
	for range maxLinks {
		to, err := os.Readlink(path)
		if err != nil { // no link, or nothing there
			return w.replace(path, withMode(mode), write)
		}
		if !filepath.IsAbs(to) { // not cleaned: ".." is the parent of what a link before it leads to
			dir, _ := filepath.Split(path)
			to = dir + to
		}
		path = to
	}
	return &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
}

// writeTo writes to a device or a pipe.
func writeTo(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
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
	switch err := os.Mkdir(path, mode); {
	case errors.Is(err, fs.ErrExist): // another process has just made it
		return nil
	case err != nil:
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
