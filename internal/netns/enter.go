package netns

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Enter runs f in the network namespace that the file at path names, and returns its error.
// f runs in a new goroutine that is locked to an operating system thread, so that the
// caller's thread stays in its namespace. Goroutines that f starts are not in the namespace.
//
// The thread then returns to its namespace. If that fails, the thread ends with the goroutine,
// so that no other goroutine runs in the wrong namespace. The main thread is never used, since Go
// cannot end it. A panic in f continues in the caller, and so does runtime.Goexit.
func Enter(path string, f func() error) error {
	fd, err := openFile(path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return enterFD(fd, f)
}

// EnterIf calls check with the identity of the namespace, and enters the namespace as Enter
// does if check returns nil. Else it returns the error of check as it is. Both use the same
// open file, even if the path names another namespace by then.
func EnterIf(path string, check func(Identity) error, f func() error) error {
	fd, err := openFile(path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return enterIf(fd, check, f)
}

func enterIf(fd int, check func(Identity) error, f func() error) error {
	id, err := identifyFD(fd)
	if err == nil {
		err = check(id)
	}
	if err != nil {
		return err
	}
	return enterFD(fd, f)
}

// Create makes a network namespace and mounts it on a new file, as ip-netns(8) add does.
func Create(path string) error {
	err := os.WriteFile(path, nil, 0o600)
	if err == nil {
		onThread(func() { // never unlocked: the thread ends
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

// enterFD runs f in the network namespace of an open file. It passes on a panic and Goexit.
func enterFD(fd int, f func() error) error {
	var err error
	var panicked any
	returned := false // neither panic nor Goexit
	onThread(func() {
		defer func() { panicked = recover() }()
		err = visit(fd, f)
		returned = true
	})
	switch {
	case panicked != nil:
		panic(panicked)
	case !returned:
		runtime.Goexit()
	}
	return err
}

// onThread runs a function in a new goroutine that is locked to a thread other than the
// main one, and waits for it. The function unlocks the thread if other goroutines may use
// it.
func onThread(run func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			run()
			return
		}
		// While this goroutine holds the main thread, the next one gets another.
		defer runtime.UnlockOSThread()
		onThread(run)
	}()
	<-done
}

// visit enters the namespace, calls f and leaves the namespace, also on a panic and on Goexit.
func visit(fd int, f func() error) error {
	home, err := openFile(ownPath())
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer unix.Close(home)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("cannot enter the network namespace: %w", err)
	}
	defer func() {
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return f()
}

// ownPath returns the file of the calling thread's network namespace. proc(5) has
// thread-self since Linux 3.17.
func ownPath() string { return fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()) }

// openFile opens the file of a namespace. Opening another kind of file does not block.
func openFile(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return -1, &os.PathError{Op: "cannot open", Path: path, Err: err}
	}
	return fd, nil
}
