package agent

import (
	"context"
	"time"
)

// bell wakes a goroutine that works beside the laps.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

// wake makes the goroutine look whether something has changed. It does not wait.
func (b bell) wake() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// wait waits until the bell wakes, until a time that is not zero, or until ctx ends.
func (b bell) wait(ctx context.Context, until time.Time) {
	var over <-chan time.Time
	if !until.IsZero() {
		clock := time.NewTimer(time.Until(until))
		defer clock.Stop()
		over = clock.C
	}
	select {
	case <-ctx.Done():
	case <-b:
	case <-over:
	}
}
