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

// inits starts and ends the init processes. One thread of the test's process starts them all.
// The kernel kills them when that thread ends, even by a panic (PR_SET_PDEATHSIG follows the
// thread, prctl(2)).
type inits struct {
	work   chan func() // for the thread to run
	closed sync.WaitGroup

	mu       sync.Mutex
	children map[int]*exec.Cmd
}

var errEnded = errors.New("the node has ended")

func (s *inits) open() {
	s.work = make(chan func())
	s.children = map[int]*exec.Cmd{}
	s.closed.Go(func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for call := range s.work {
			call()
		}
	})
}

// close ends every init process, and the thread.
func (s *inits) close() {
	s.mu.Lock()
	children := s.children
	s.children = nil
	s.mu.Unlock()
	for _, child := range children {
		end(child)
	}
	close(s.work)
	s.closed.Wait()
}

// startInit starts an init process and returns its process id. If shared is set it runs in the
// node's network namespace, else in a new one.
func (s *inits) startInit(shared bool) (int, error) {
	child := exec.CommandContext(context.Background(), "/bin/sleep", "infinity")
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if !shared {
		child.SysProcAttr.Cloneflags = unix.CLONE_NEWNET
	}
	started := make(chan error)
	s.work <- func() { started <- child.Start() }
	if err := <-started; err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.children == nil {
		end(child)
		return 0, errEnded
	}
	s.children[child.Process.Pid] = child
	return child.Process.Pid, nil
}

// endInit ends an init process and waits for its end.
func (s *inits) endInit(pid int) {
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
	_ = child.Wait() // the error only says that it was killed
}
