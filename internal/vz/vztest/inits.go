package vztest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// nursery starts and ends the init processes. All are children of one thread of
// the test's process and are killed when it ends, however that is
// (PR_SET_PDEATHSIG is about the thread, prctl(2)).
type nursery struct {
	orders chan func()
	closed sync.WaitGroup

	mu       sync.Mutex
	children map[int]*exec.Cmd
}

var errNurseryClosed = errors.New("the node has ended")

func (s *nursery) open() {
	s.orders = make(chan func())
	s.children = map[int]*exec.Cmd{}
	s.closed.Go(func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		for order := range s.orders {
			order()
		}
	})
}

// close ends every child.
func (s *nursery) close() {
	s.mu.Lock()
	children := s.children
	s.children = nil
	s.mu.Unlock()
	for _, child := range children {
		end(child)
	}
	close(s.orders)
	s.closed.Wait()
}

// birth starts an init process, in a network namespace of its own or in the
// node's, and returns its id.
func (s *nursery) birth(shared bool) (int, error) {
	child := exec.CommandContext(context.Background(), "/bin/sleep", "infinity")
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if !shared {
		child.SysProcAttr.Cloneflags = unix.CLONE_NEWNET
	}
	started := make(chan error)
	s.orders <- func() { started <- child.Start() }
	if err := <-started; err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.children == nil {
		end(child)
		return 0, errNurseryClosed
	}
	s.children[child.Process.Pid] = child
	return child.Process.Pid, nil
}

// death ends an init process and returns when it is gone.
func (s *nursery) death(pid int) {
	s.mu.Lock()
	child := s.children[pid]
	delete(s.children, pid)
	s.mu.Unlock()
	if child != nil {
		end(child)
	}
}

func end(child *exec.Cmd) {
	if err := child.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return
	}
	_ = child.Wait() // that it was killed is known
}
