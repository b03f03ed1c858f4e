package main

import (
	"fmt"
	"log/slog"

	"nfsync.dev/nfsync/internal/nf"
)

// maxTables is how many conntrack tables are written about at one time.
const maxTables = 10

// tablesChanged writes a line about each conntrack table that begins to fill, is full, or does not
// fill any more, and the status.
func (a *app) tablesChanged(was []nf.FillingTable, s nf.NodeStatus) {
	lines := tableLines(was, s.Tables)
	for _, line := range lines[:min(len(lines), maxTables)] {
		a.say(line.level, line.text, "")
	}
	if more := len(lines) - maxTables; more > 0 {
		a.say(slog.LevelWarn, fmt.Sprintf("there is news of %d more conntrack tables: see nfsync status", more), "")
	}
	if err := a.writeStatus(s); err != nil {
		a.say(slog.LevelWarn, err.Error(), "")
	}
}

// tableLine is a line about a conntrack table.
type tableLine struct {
	level slog.Level
	text  string
}

// tableLines returns what is new of the tables that fill, the most urgent first.
func tableLines(was, is []nf.FillingTable) []tableLine {
	full := map[nf.Target]bool{} // of those that filled
	for _, f := range was {
		full[f.Target] = f.Full
	}
	var lines []tableLine
	fills := map[nf.Target]bool{}
	for _, f := range is {
		fills[f.Target] = true
		if wasFull, known := full[f.Target]; !known || f.Full && !wasFull {
			lines = append(lines, tableLine{slog.LevelWarn, fmt.Sprintf("the conntrack table of %s %s: it has %d of %d entries", f.Target, f.When(), f.Count, f.Max)})
		}
	}
	for _, f := range was {
		if !fills[f.Target] {
			lines = append(lines, tableLine{slog.LevelInfo, fmt.Sprintf("the conntrack table of %s does not fill any more", f.Target)})
		}
	}
	return lines
}
