package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"nfsync.dev/nfsync/internal/apply"
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

// progressEvery keeps a thousand fast changes from being a thousand lines.
const progressEvery = 50 * time.Millisecond

func (a *app) progress() *progress {
	p := &progress{w: a.stderr}
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
			slog.String("target", e.Change.Target.String()), slog.String("key", string(e.Change.Key)),
			slog.String("from", e.Change.From.String()), slog.String("to", e.Change.To.String()))
	case p.log == nil && p.terminal && e.Kind == apply.EventStarted && (e.Change.Disruptive || time.Since(p.last) >= progressEvery):
		p.last, p.shown = time.Now(), true
		fmt.Fprintf(p.w, "\r\x1b[K%d of %d: %q %q", e.Index+1, e.Total, e.Change.Target.String(), e.Change.Key)
	}
}

func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
