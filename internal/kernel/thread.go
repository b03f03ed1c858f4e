package kernel

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// OnThread runs a function in a new goroutine that is locked to an operating system thread
// other than the main one, and waits for it. The function unlocks the thread if other goroutines
// may use it. Otherwise the thread ends with the goroutine: Go cannot end the main thread.
func OnThread(run func()) {
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
		OnThread(run)
	}()
	<-done
}
