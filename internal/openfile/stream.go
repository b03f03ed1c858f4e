package openfile

import (
	"io/fs"
	"os"
	"regexp"
	"strconv"

	"golang.org/x/sys/unix"
)

// Stdin is the path of standard input.
const Stdin = "/dev/stdin"

var descriptor = regexp.MustCompile(`^(?:/dev/fd|/proc/self/fd)/(0|[1-9][0-9]{0,8})$`)

// Input opens what a person has named to be read: a stream that is open already (IsStream), or
// a regular file.
func Input(path string) (*os.File, error) {
	if fd, ok := stream(path); ok {
		return duplicate(fd, path)
	}
	return Regular(path)
}

// IsStream reports whether a path names a stream that this process was started with, as
// /dev/stdin or as /dev/fd/63 for the process substitution of a shell. To read it waits for
// nobody but the one who started both ends.
func IsStream(path string) bool {
	_, ok := stream(path)
	return ok
}

// stream returns the descriptor of an open stream, which is no directory.
func stream(path string) (fd int, ok bool) {
	if path != Stdin {
		m := descriptor.FindStringSubmatch(path)
		if m == nil {
			return 0, false
		}
		fd, _ = strconv.Atoi(m[1]) // nine digits
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return 0, false
	}
	return fd, stat.Mode&unix.S_IFMT != unix.S_IFDIR
}

// duplicate returns an open stream as a file that can be closed. To open its path again would
// wait for another writer if it is a named pipe.
func duplicate(fd int, path string) (*os.File, error) {
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(copied), path), nil
}
