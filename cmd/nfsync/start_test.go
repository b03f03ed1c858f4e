package main

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// starter takes work for a thread that never ends. The kernel sends Pdeathsig when the thread that
// started a process ends (prctl(2)), and threads end here with namespaces that they have made.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for do := range work {
			do()
		}
	}()
	return work
})

// startBound starts a command that is killed when this process ends.
func startBound(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error)
	starter() <- func() { started <- cmd.Start() }
	return <-started
}
