package fleet

import (
	"sync"
	"time"
)

// waker calls a function when it was triggered: at once, and then at most once in an interval, whatever the number of triggers.
type waker struct {
	triggered chan struct{}
	done      chan struct{}
	ended     chan struct{}
	once      sync.Once
}

func newWaker(least time.Duration, wake func()) *waker {
	w := &waker{triggered: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{})}
	go w.run(least, wake)
	return w
}

func (w *waker) run(least time.Duration, wake func()) {
	defer close(w.ended)
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-w.done:
			return
		case <-pause.C:
		}
		select {
		case <-w.done:
			return
		case <-w.triggered:
		}
		wake()
		pause.Reset(least)
	}
}

// trigger makes the function be called. It does not wait.
func (w *waker) trigger() {
	select {
	case w.triggered <- struct{}{}:
	default: // it will be called
	}
}

// stop ends the calls.
func (w *waker) stop() {
	w.once.Do(func() { close(w.done) })
	<-w.ended
}
