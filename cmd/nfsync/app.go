package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/term"

	"nfsync.dev/nfsync/internal/host"
	"nfsync.dev/nfsync/internal/journal"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

// app is one run of the command: its options, and how it speaks.
type app struct {
	system
	options
	given      options          // before the configuration was read
	config     spec.AgentConfig // what its file says, or the defaults
	configRead bool             // its file was read
	allowEmpty bool             // there may be no policy at all
	full       bool             // text folds nothing
	cache      *host.Cache      // of the runs of this command; nil: of none yet
}

// explain says on stderr why the command ends as it does. An outcome says
// nothing: its reason is in the output.
func (a *app) explain(err error, command string) {
	if _, quiet := errors.AsType[outcome](err); quiet {
		return
	}
	a.say(slog.LevelError, err.Error(), hintFor(err, command))
}

// say writes one message to stderr, in the format that --log-format asks for. A message may
// hold names that others have chosen: what a terminal would interpret is escaped.
func (a *app) say(level slog.Level, message, hint string) {
	if a.quiet && level < slog.LevelError {
		return
	}
	message, hint = oneLine(message), oneLine(hint)
	if a.logFormat == logJSON {
		var attrs []slog.Attr
		if hint != "" {
			attrs = append(attrs, slog.String("hint", hint))
		}
		a.log(level, message, attrs...)
		return
	}
	text := "nfsync: " + message + "\n"
	if hint != "" {
		text += "  " + hint + "\n"
	}
	// Where even stderr is closed, nobody can read an error about it.
	_, _ = io.WriteString(a.lines(level), text)
}

// lines returns stderr for lines of a level.
func (a *app) lines(level slog.Level) io.Writer {
	if !a.journal {
		return a.stderr
	}
	return journal.Lines(a.stderr, level)
}

// sayWith writes one message to stderr. In JSON it has the attributes, which the message has in
// words.
func (a *app) sayWith(level slog.Level, message string, attrs ...slog.Attr) {
	if a.logFormat == logJSON {
		a.log(level, oneLine(message), attrs...)
		return
	}
	a.say(level, message, "")
}

// log writes one line of JSON to stderr.
func (a *app) log(level slog.Level, message string, attrs ...slog.Attr) {
	if a.quiet && level < slog.LevelError {
		return
	}
	slog.New(slog.NewJSONHandler(a.lines(level), nil)).LogAttrs(context.Background(), level, message, attrs...)
}

// oneLine joins the lines of joined errors, and escapes the result.
func oneLine(text string) string { return view.Clean(strings.ReplaceAll(text, "\n", "; ")) }

// viewOptions lays out text for where it goes, nil for a file: colour and width are for
// terminals.
func (a *app) viewOptions(w io.Writer) view.Options {
	opt := view.Options{Full: a.full, Command: a.verb, Path: repositoryPath, Policies: a.policyPath, Part: a.part, Published: a.published}
	if a.configRead && (w == nil || w == a.stdout) {
		opt.Configuration = a.configFile
	}
	fd, ok := terminal(w)
	opt.Color = w != nil && a.color == colorAlways ||
		ok && a.color == colorAuto && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
	if !ok {
		return opt
	}
	if width, _, err := term.GetSize(fd); err == nil {
		opt.Width = width
	}
	return opt
}

// terminal returns the descriptor of a reader or writer that is a terminal.
func terminal(stream any) (int, bool) {
	f, ok := stream.(*os.File)
	if !ok {
		return 0, false
	}
	fd := int(f.Fd())
	return fd, term.IsTerminal(fd)
}
