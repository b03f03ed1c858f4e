package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// owner is a user that root acts as.
type owner struct{ uid, gid int }

// actAsOwner lets root act as the user who owns the coordinator's directory: what root adds to it stays that user's, and
// the service can read it. A directory that is not there yet will be of who makes it.
func (a *app) actAsOwner(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look at the directory: %w", err)
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || s.Uid == 0 {
		return nil
	}
	a.owner = &owner{int(s.Uid), int(s.Gid)}
	return a.owner.begin()
}

// begin gives the rights of the owner to all threads, in place of root's. The real user stays root, who may return.
func (o owner) begin() error {
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setegid(o.gid), syscall.Seteuid(o.uid)); err != nil {
		return fmt.Errorf("cannot act as user %d, who owns the directory: %w", o.uid, err)
	}
	return nil
}

// asCaller does what the caller of the command does for themselves, outside the directory, with the caller's rights.
func (a *app) asCaller(do func() error) error {
	if a.owner == nil {
		return do()
	}
	if err := errors.Join(syscall.Seteuid(0), syscall.Setegid(0)); err != nil {
		return fmt.Errorf("cannot act as root again: %w", err)
	}
	return errors.Join(do(), a.owner.begin())
}
