package main

import (
	"log/slog"
	"strings"
	"testing"
)

// TestJournal: each line that the journal gets has the priority of its message, and no other stderr
// gets any.
func TestJournal(t *testing.T) {
	for name, test := range map[string]struct {
		journal bool
		format  string
		level   slog.Level
		want    string
	}{
		"an error":   {true, logText, slog.LevelError, "<3>nfsync: m\n<3>  h\n"},
		"a warning":  {true, logText, slog.LevelWarn, "<4>nfsync: m\n<4>  h\n"},
		"news":       {true, logText, slog.LevelInfo, "<6>nfsync: m\n<6>  h\n"},
		"JSON":       {true, logJSON, slog.LevelWarn, `<4>{"time":`},
		"a terminal": {false, logText, slog.LevelError, "nfsync: m\n  h\n"},
	} {
		var stderr strings.Builder
		a := app{system: system{stderr: &stderr, journal: test.journal}, options: options{logFormat: test.format}}
		a.say(test.level, "m", "h")
		if got := stderr.String(); got != test.want && (test.format != logJSON || !strings.HasPrefix(got, test.want)) {
			t.Errorf("%s: %q, not %q", name, got, test.want)
		}
	}
}
