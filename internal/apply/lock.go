package apply

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/openfile"
)

const lockName = "lock"

// LockHolder names the process that holds the lock; empty if it is free.
// It creates no file, and holds the lock for a moment.
func LockHolder(dir string) (string, error) {
	f, err := openLock(dir, os.O_RDONLY)
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
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot lock: %w", err)
	}
	if err := openfile.OwnDir(dir); err != nil {
		return nil, fmt.Errorf("cannot lock: %w", err)
	}
	f, err := openLock(dir, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, fmt.Errorf("cannot lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%w: %s holds %s; try again when it has ended", ErrLocked, holder(f), f.Name())
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

// openLock opens the lock. Whoever can open it can hold it, and who can write to its
// directory can replace it: both are for one user only.
func openLock(dir string, flag int) (*os.File, error) {
	if err := openfile.CheckDir(dir); err != nil {
		return nil, err
	}
	return openfile.Own(filepath.Join(dir, lockName), flag, 0o600)
}

// holder names the process whose id is in the lock, if it lives.
func holder(f *os.File) string {
	text := make([]byte, 32)
	n, _ := f.ReadAt(text, 0)
	pid, err := strconv.Atoi(string(bytes.TrimSpace(text[:n])))
	if err != nil || pid <= 0 || errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		return "a process"
	}
	return fmt.Sprintf("process %d", pid)
}
