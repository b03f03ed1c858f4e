package apply

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const lockName = "lock"

// LockHolder returns the id of the process that holds the lock; empty if it is free.
// It creates no file, and holds the lock for a moment.
func LockHolder(dir string) (string, error) {
	f, err := os.Open(filepath.Join(dir, lockName))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return holder(f), nil
	}
	return "", err
}

// Lock takes the lock of this node and returns the function that releases it. A
// caller that has more to write than Run does takes it, and sets Input.Locked. The
// error is ErrLocked if another process holds it. The kernel releases it when the
// process ends, however it ends (flock(2)).
func Lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("cannot lock: %w", err)
	}
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%w: process %s holds %s; wait until it is done, or stop it, and try again", ErrLocked, holder(f), path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	// The number is only for the message of another process that wants the lock:
	// it does no harm if it cannot be written.
	_ = f.Truncate(0)
	_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	return func() { _ = f.Close() }, nil
}

func holder(f *os.File) string {
	pid := make([]byte, 32)
	n, _ := f.ReadAt(pid, 0)
	if pid = bytes.TrimSpace(pid[:n]); len(pid) > 0 {
		return string(pid)
	}
	return "(unknown)"
}
