package main

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"unicode"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// Names that others choose neither add a line to stderr nor drive the terminal.
func TestMessagesAreEscaped(t *testing.T) {
	const hostile = "web\x1b[2J\nnfsync: all is well\r\u009b31m\u202egnp\xff\x00"
	for _, format := range []string{logText, logJSON} {
		a := testApp(nil)
		var out bytes.Buffer
		a.stderr, a.logFormat = &out, format
		a.say(slog.LevelWarn, hostile, hostile)
		a.explain(errors.Join(errors.New("first "+hostile), errors.New("second")), "nfsync "+hostile)
		a.explain(usageError{errors.New(hostile)}, "nfsync "+hostile)
		p := a.progress()
		p.event(apply.Event{Kind: apply.EventDone, Outcome: apply.Applied,
			Change: nf.Change{Target: nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: hostile, Name: hostile}, Key: "level", From: nf.Unknown(hostile)}})
		for _, r := range out.String() {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%s: %q", format, out.String())
				break
			}
		}
		lines := map[string]int{logText: 5, logJSON: 4}[format] // as text, a hint has a line of its own
		if n := strings.Count(out.String(), "\n"); n != lines {
			t.Errorf("%s: %d lines, want %d:\n%s", format, n, lines, out.String())
		}
	}
}

// What root may not do either is not mended by running it as root.
func TestPermissionHint(t *testing.T) {
	hint := hintFor(&fs.PathError{Op: "open", Path: "/var/lib/nfsync/memory", Err: fs.ErrPermission}, "nfsync apply")
	if strings.Contains(hint, "run it as root") || !strings.Contains(hint, "lsattr") {
		t.Errorf("the hint for root is: %s", hint)
	}
}
