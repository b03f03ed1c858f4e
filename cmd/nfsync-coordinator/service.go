package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/coreos/go-systemd/v22/journal"
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

// stderrIsJournal reports whether stderr is the journal's.
func stderrIsJournal() bool {
	is, err := journal.StderrIsJournalStream()
	return err == nil && is
}

// prioritized returns lines as the journal takes them: the priority of a level is before each (sd-daemon(3)).
func prioritized(level slog.Level, lines string) string {
	priority := journal.PriInfo
	switch {
	case level >= slog.LevelError:
		priority = journal.PriErr
	case level >= slog.LevelWarn:
		priority = journal.PriWarning
	}
	var b strings.Builder
	for line := range strings.Lines(lines) {
		fmt.Fprintf(&b, "<%d>%s", priority, line)
	}
	return b.String()
}
