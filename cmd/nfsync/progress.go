package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/view"
)

// progress says on stderr how far an apply is: one line that is written over
// on a terminal, a message for each change with --log-format json, nothing
// where nobody watches.
type progress struct {
	w        io.Writer
	log      *slog.Logger // nil: one line on a terminal
	terminal bool
	last     time.Time
	shown    bool
}

// progressEvery is the least time between two lines: fast changes share one.
const progressEvery = 50 * time.Millisecond

func (a *app) progress() *progress {
	p := &progress{w: a.stderr}
	if a.quiet {
		return p
	}
	_, p.terminal = terminal(a.stderr)
	if a.logFormat == logJSON {
		p.log = slog.New(slog.NewJSONHandler(a.stderr, nil))
	}
	return p
}

func (p *progress) event(e apply.Event) {
	switch {
	case p.log != nil && e.Kind == apply.EventDone:
		p.log.LogAttrs(context.Background(), slog.LevelInfo, "change "+string(e.Outcome),
			slog.String("target", oneLine(e.Change.Target.String())), slog.String("key", string(e.Change.Key)),
			slog.String("from", oneLine(e.Change.From.String())), slog.String("to", oneLine(e.Change.To.String())))
	case p.log == nil && p.terminal && e.Kind == apply.EventStarted && (e.Change.Disruptive || time.Since(p.last) >= progressEvery):
		p.last, p.shown = time.Now(), true
		fmt.Fprintf(p.w, "\r\x1b[K%d of %d: %s %s", e.Index+1, e.Total, view.Clean(e.Change.Target.String()), view.Clean(string(e.Change.Key)))
	}
}

func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// A fetch that takes longer than fetchQuiet is shown on a terminal, with how long
// it has taken so far.
const fetchQuiet = 300 * time.Millisecond

// fetching shows on a terminal that a fetch goes on, until stop is called.
func (a *app) fetching(from string) (stop func()) {
	if _, ok := terminal(a.stderr); !ok || a.quiet || a.logFormat == logJSON {
		return func() {}
	}
	return rewriteLine(a.stderr, fetchQuiet, func(waited time.Duration) string {
		return fmt.Sprintf("fetching %s (%ds)", view.Clean(nf.PublicURL(from)), int(waited.Seconds()))
	})
}

// rewriteLine writes a line again and again, and clears it in the end.
func rewriteLine(w io.Writer, every time.Duration, line func(time.Duration) string) (stop func()) {
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		began, shown := time.Now(), false
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-done:
				if shown {
					fmt.Fprint(w, "\r\x1b[K")
				}
				return
			case <-t.C:
				shown = true
				fmt.Fprint(w, "\r\x1b[K"+line(time.Since(began)))
			}
		}
	}()
	return func() {
		close(done)
		<-over
	}
}
