package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"strings"

	"nfsync.dev/nfsync/internal/engine"
	"nfsync.dev/nfsync/internal/journal"
	"nfsync.dev/nfsync/internal/view"
)

// The formats of messages on stderr.
const (
	logText = "text"
	logJSON = "json"
)

// The exit codes.
const (
	exitOK    = 0
	exitError = 1 // nothing was done, or less than was asked; the message says what
)

// usageError is a command line that nfsync-coordinator does not understand.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// hinted is an error with a hint what to do.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }

// explain says on stderr why the command ends as it does.
func (a *app) explain(err error, command string) {
	a.say(slog.LevelError, err.Error(), hintFor(err, command))
}

// say writes one message to stderr. A message may hold names that others have chosen: what a terminal would interpret is
// escaped.
func (a *app) say(level slog.Level, message, hint string) {
	message, hint = oneLine(message), oneLine(hint)
	if a.logFormat == logJSON {
		var attrs []slog.Attr
		if hint != "" {
			attrs = append(attrs, slog.String("hint", hint))
		}
		var line strings.Builder
		slog.New(slog.NewJSONHandler(&line, nil)).LogAttrs(context.Background(), level, message, attrs...)
		a.write(level, line.String())
		return
	}
	text := "nfsync-coordinator: " + message + "\n"
	if hint != "" {
		text += "  " + hint + "\n"
	}
	a.write(level, text)
}

// write writes lines to stderr.
func (a *app) write(level slog.Level, lines string) {
	w := a.stderr
	if a.journal {
		w = journal.Lines(w, level)
	}
	_, _ = io.WriteString(w, lines) // where even stderr is closed, nobody can read an error about it
}

// oneLine joins the lines of joined errors, and escapes the result.
func oneLine(text string) string { return view.Clean(strings.ReplaceAll(text, "\n", "; ")) }

// hintFor returns the command that helps against an error, or nothing.
func hintFor(err error, command string) string {
	var (
		h        hinted
		usage    usageError
		enrolled *engine.EnrolledError
	)
	switch {
	case errors.As(err, &h):
		return h.hint
	case errors.As(err, &usage):
		return "see '" + command + " --help'"
	case errors.As(err, &enrolled):
		return "--replace revokes them and makes new ones"
	case errors.Is(err, engine.ErrNotEnrolled):
		return "nfsync-coordinator list shows what has been handed out"
	case errors.Is(err, engine.ErrNotMade):
		return "nfsync-coordinator init makes them; --dir names another directory"
	case errors.Is(err, fs.ErrPermission):
		return "run it as root, or as the user of the directory"
	}
	return ""
}
