package main

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// attend tells systemd that the coordinator is ready, that it is alive, as often as the watchdog wants to hear it, and
// that it stops when ctx ends (sd_notify(3)). Without systemd it does nothing. end waits until it has stopped.
func attend(ctx context.Context, alive func() bool) (end func()) {
	notify(daemon.SdNotifyReady)
	var signs <-chan time.Time
	if patience, err := daemon.SdWatchdogEnabled(false); err == nil && patience > 0 { // an error: the variables are not of systemd
		tick := time.NewTicker(patience / 2)
		context.AfterFunc(ctx, tick.Stop)
		signs = tick.C
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-signs:
				if alive() {
					notify(daemon.SdNotifyWatchdog)
				}
			case <-ctx.Done():
				notify(daemon.SdNotifyStopping)
				return
			}
		}
	}()
	return func() { <-ended }
}

func notify(state string) { _, _ = daemon.SdNotify(false, state) } // where nobody listens, nobody needs to know
