// Package openfile opens files that others may have put in the way: a pipe that blocks, a
// link to another file, a file that somebody else can write.
package openfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// flags keep an open from waiting for the other end of a pipe, and from making a terminal
// the controlling one (open(2)).
const flags = unix.O_NONBLOCK | unix.O_NOCTTY

// Regular opens a regular file for reading. It follows symbolic links.
func Regular(path string) (*os.File, error) {
	return checked(path, os.O_RDONLY|flags, 0, checkRegular)
}

// In opens a regular file within a root for reading.
func In(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|flags, 0)
	return verify(f, filepath.Join(root.Name(), name), err, checkRegular)
}

// Read reads a regular file of at most that many bytes.
func Read(path string, most int64) ([]byte, error) {
	f, err := Regular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadAll(f, most)
}

// ReadAll reads a stream to its end, of at most that many bytes. A regular file is read into the
// memory that it needs, which does not grow on the way.
func ReadAll(r io.Reader, most int64) ([]byte, error) {
	var size int64
	if f, ok := r.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = min(info.Size(), most)
		}
	}
	read := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	_, err := read.ReadFrom(io.LimitReader(r, most+1))
	data := read.Bytes()
	if err == nil && int64(len(data)) > most {
		err = TooLargeError(most)
		if f, ok := r.(*os.File); ok {
			err = &fs.PathError{Op: "read", Path: f.Name(), Err: err}
		}
	}
	return data, err
}

// TooLargeError is the error of a file that is larger than so many bytes.
type TooLargeError int64

func (e TooLargeError) Error() string {
	if e >= 1<<20 {
		return fmt.Sprintf("the file is larger than %d MiB", e>>20)
	}
	return fmt.Sprintf("the file is larger than %d bytes", int64(e))
}

// Own opens a regular file that belongs to this user, or to root, and that nobody else can
// write. It follows no symbolic link. Other bits than the access mode are those of open(2).
func Own(path string, flag int, mode fs.FileMode) (*os.File, error) {
	f, err := checked(path, flag|flags|unix.O_NOFOLLOW, mode, checkRegular)
	if err != nil {
		return nil, err
	}
	if err := CheckOwner(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// CheckDir returns an error unless path is a directory, not a link to one, that belongs to
// this user, or to root, and that nobody else can write.
func CheckDir(path string) error { return withDir(path, CheckOwner) }

// OwnDir is CheckDir that also takes the right to read the directory from all others, if it
// is this user's.
func OwnDir(path string) error {
	return withDir(path, func(f *os.File) error {
		if err := CheckOwner(f); err != nil {
			return err
		}
		return onlyOwn(f)
	})
}

func withDir(path string, check func(*os.File) error) error {
	f, err := checked(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0, func(fs.FileInfo) error { return nil })
	if err != nil {
		return err
	}
	defer f.Close()
	return check(f)
}

func checked(path string, flag int, mode fs.FileMode, check func(fs.FileInfo) error) (*os.File, error) {
	f, err := os.OpenFile(path, flag, mode)
	if info, lstatErr := os.Lstat(path); err != nil && flag&unix.O_NOFOLLOW != 0 && lstatErr == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("a symbolic link, which is not followed here")}
	}
	return verify(f, path, err, check)
}

// verify returns an open file that passes a check, or closes it.
func verify(f *os.File, path string, err error, check func(fs.FileInfo) error) (*os.File, error) {
	if errors.Is(err, unix.ENXIO) { // a pipe that nobody reads, a socket
		return nil, &fs.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = check(info)
	}
	if err != nil {
		_ = f.Close()
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return f, nil
}

var errNotRegular = errors.New("not a regular file")

func checkRegular(info fs.FileInfo) error {
	switch {
	case info.IsDir():
		return syscall.EISDIR
	case info.Mode()&fs.ModeNamedPipe != 0:
		return fmt.Errorf("%w but a pipe", errNotRegular)
	case !info.Mode().IsRegular():
		return errNotRegular
	}
	return nil
}
