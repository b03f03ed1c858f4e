package netns

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/kernel"
)

// Enter runs f in the network namespace that the file at path names, on a thread of its own.
// See Thread.Enter.
func Enter(path string, f func() error) error { return (*Thread)(nil).Enter(path, f) }

// Create makes a network namespace and mounts it on a new file, as ip-netns(8) add does.
func Create(path string) error {
	err := os.WriteFile(path, nil, 0o600)
	if err == nil {
		kernel.OnThread(func() { // never unlocked: the thread ends
			if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
				err = unix.Mount(ownPath(), path, "", unix.MS_BIND, "")
			}
		})
	}
	if err != nil {
		return fmt.Errorf("cannot make the network namespace %s: %w", path, err)
	}
	return nil
}

// openFile opens the file of a namespace. Opening another kind of file does not block.
func openFile(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return -1, &os.PathError{Op: "cannot open", Path: path, Err: err}
	}
	return fd, nil
}
