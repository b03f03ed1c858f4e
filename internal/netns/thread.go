package netns

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/kernel"
)

// Thread is an operating system thread that enters network namespaces, one after another. It
// is in its own namespace whenever it has not entered one. A nil Thread uses a new thread for
// each.
type Thread struct {
	home    int   // the file of its own namespace
	lost    error // why it enters no namespace any more
	strayed bool  // it could not return to its own
}

// OnThread runs f in a new goroutine with a Thread that only this goroutine may use, and waits
// for it. A panic in f continues in the caller, and so does runtime.Goexit.
func OnThread(f func(*Thread)) {
	var panicked any
	returned := false // neither panic nor Goexit
	kernel.OnThread(func() {
		defer func() { panicked = recover() }()
		t := &Thread{}
		if t.home, t.lost = openFile(ownPath()); t.lost == nil {
			defer unix.Close(t.home)
		}
		defer func() {
			if !t.strayed {
				runtime.UnlockOSThread()
			}
		}()
		f(t)
		returned = true
	})
	switch {
	case panicked != nil:
		panic(panicked)
	case !returned:
		runtime.Goexit()
	}
}

// Enter runs f in the network namespace that the file at path names, and returns its error.
// Goroutines that f starts are not in the namespace.
//
// The thread then returns to its namespace. If that fails, it enters no other one, and ends with
// its goroutine, so that no other goroutine runs in the wrong namespace. The main thread is
// never used, since Go cannot end it. A panic in f continues in the caller, and so does
// runtime.Goexit.
func (t *Thread) Enter(path string, f func() error) error {
	fd, err := openFile(path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return t.enterFD(fd, f)
}

// EnterIf calls check with the identity of the namespace, and enters the namespace as Enter
// does if check returns nil. Else it returns the error of check as it is. Both use the same
// open file, even if the path names another namespace by then.
func (t *Thread) EnterIf(path string, check func(Identity) error, f func() error) error {
	fd, err := openFile(path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return t.enterIf(fd, check, f)
}

func (t *Thread) enterIf(fd int, check func(Identity) error, f func() error) error {
	if !needsEntry() {
		id, err := t.identifyFD(fd)
		if err == nil {
			err = check(id)
		}
		if err != nil {
			return err
		}
		return t.enterFD(fd, f)
	}
	entered := false
	err := t.enterFD(fd, func() error {
		entered = true
		id, err := inodeOf(fd)
		if err == nil {
			id.Cookie, _ = kernel.NetnsCookie()
			err = check(id)
		}
		if err != nil {
			return err
		}
		return f()
	})
	if !entered && errors.Is(err, unix.EPERM) {
		if id, e := inodeOf(fd); e == nil {
			return cmp.Or(check(id), err)
		}
	}
	return err
}

// enterFD runs f in the network namespace of an open file.
func (t *Thread) enterFD(fd int, f func() error) (err error) {
	if t == nil {
		OnThread(func(t *Thread) { err = t.enterFD(fd, f) })
		return err
	}
	if t.lost != nil {
		return t.lost
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("cannot enter the network namespace: %w", err)
	}
	defer func() {
		if err := unix.Setns(t.home, unix.CLONE_NEWNET); err != nil {
			t.lost, t.strayed = fmt.Errorf("cannot return to nfsync's network namespace: %w", err), true
		}
	}()
	return f()
}

// ownPath returns the file of the calling thread's network namespace. proc(5) has
// thread-self since Linux 3.17.
func ownPath() string { return fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()) }
