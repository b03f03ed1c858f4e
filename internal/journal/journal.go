// Package journal writes lines to stderr as the journal of systemd takes them.
package journal

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"

	"github.com/coreos/go-systemd/v22/journal"
)

// IsStderr reports whether stderr is the journal's, which takes the priority of a line from
// its start (sd-daemon(3)). systemd before 231 does not say so.
func IsStderr() bool {
	is, err := journal.StderrIsJournalStream()
	return err == nil && is
}

// Lines returns w, which is the journal's, for whole lines of a level.
func Lines(w io.Writer, level slog.Level) io.Writer {
	priority := journal.PriInfo
	switch {
	case level >= slog.LevelError:
		priority = journal.PriErr
	case level >= slog.LevelWarn:
		priority = journal.PriWarning
	}
	return leveled{w, fmt.Appendf(nil, "<%d>", priority)}
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
