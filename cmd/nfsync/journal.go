package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"

	"github.com/coreos/go-systemd/v22/journal"
)

// stderrIsJournal reports whether stderr is the journal's, which takes the priority of a line from
// its start (sd-daemon(3)). systemd before 231 does not say so.
func stderrIsJournal() bool {
	is, err := journal.StderrIsJournalStream()
	return err == nil && is
}

// lines returns stderr for lines of a level.
func (a *app) lines(level slog.Level) io.Writer {
	if !a.journal {
		return a.stderr
	}
	priority := journal.PriInfo
	switch {
	case level >= slog.LevelError:
		priority = journal.PriErr
	case level >= slog.LevelWarn:
		priority = journal.PriWarning
	}
	return leveled{a.stderr, fmt.Appendf(nil, "<%d>", priority)}
}

// leveled writes whole lines, each after a prefix.
type leveled struct {
	w      io.Writer
	prefix []byte
}

func (l leveled) Write(text []byte) (int, error) {
	var all []byte
	for line := range bytes.Lines(text) {
		all = append(append(all, l.prefix...), line...)
	}
	if _, err := l.w.Write(all); err != nil {
		return 0, err
	}
	return len(text), nil
}
