package openfile

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// OthersError says that a user other than this one and root can change a file or a
// directory.
type OthersError struct{ Path, why, command string }

func (e *OthersError) Error() string {
	return fmt.Sprintf("%s %s: look at what is in it, then remove it or run '%s'", e.Path, e.why, e.command)
}

// CheckOwner returns an *OthersError if a user other than this one and root owns an open
// file or directory, or may write to it.
func CheckOwner(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	switch uid, mode := owner(info), info.Mode().Perm(); {
	case uid != 0 && uid != os.Geteuid():
		return &OthersError{f.Name(), fmt.Sprintf("belongs to user %d, who can change it", uid), fmt.Sprintf("chown %d %s", os.Geteuid(), f.Name())}
	case mode&0o022 != 0:
		return &OthersError{f.Name(), fmt.Sprintf("can be changed by other users (mode %04o)", mode), "chmod go-w " + f.Name()}
	}
	return nil
}

// passable is the mode of a directory through which a group may pass to what it knows the name
// of: a socket.
const passable = 0o710

// onlyOwn takes all rights on an open file of this user from others, but for a passable directory.
func onlyOwn(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Mode().Perm()&0o077 == 0 || info.Mode().Perm() == passable || owner(info) != os.Geteuid() {
		return err
	}
	return f.Chmod(info.Mode().Perm() &^ 0o077)
}

// owner returns the user id of a file's owner; -1 if the file system does not say.
func owner(info fs.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid)
	}
	return -1
}
