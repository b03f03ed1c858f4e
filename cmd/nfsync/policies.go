package main

import (
	"cmp"
	"context"
	"log/slog"
	"slices"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

// policies are the policies of a command, and where they come from.
type policies struct {
	spec.Policies
	files    []spec.File
	revision string          // the commit that they are of, or empty
	git      *agent.Revision // the same, where it comes from git
	filter   nf.Filter       // of the wants that are planned or applied
	// reviewed returns an error for another plan than the one that was saved or shown;
	// nil if there was none.
	reviewed func(nf.Plan) error
}

// policies reads the policies of a path or, where that is empty, from git, for a plan only or
// to be applied.
func (a *app) policies(ctx context.Context, o *gitOptions, path string, plans bool) (policies, error) {
	if path != "" {
		return a.readPolicies(path)
	}
	r, err := a.fetchRevision(ctx, o, plans)
	return policies{Policies: r.Policies, files: agent.SpecFiles(r.Revision), revision: r.Commit, git: &r}, err
}

// readPolicies reads the policies of one path.
func (a *app) readPolicies(path string) (policies, error) {
	read, err := a.readPath(path)
	if err != nil {
		return policies{}, err
	}
	parsed, found := parseRead(path, read, a.allowEmpty)
	if err := a.refuseInvalid(found); err != nil {
		return policies{}, err
	}
	return policies{Policies: parsed, files: read.Files}, nil
}

// parseRead parses what was read of a path. The diagnostics are those of the files and of the
// policies in them, and that there is none, unless it may be empty.
func parseRead(path string, read spec.Read, mayBeEmpty bool) (spec.Policies, []spec.Diagnostic) {
	policies, more := spec.Parse(read.Files)
	found := append(read.Diagnostics, more...)
	if len(policies)+len(found) == 0 && !mayBeEmpty {
		found = append(found, spec.NoPolicies(path, len(read.Files)))
	}
	return policies, found
}

// refuseInvalid returns the error for policy files with errors, if there are any, as refuse does.
func (a *app) refuseInvalid(list []spec.Diagnostic) error {
	if len(list) == 0 {
		return nil
	}
	return a.refuse(exitInvalid, list, "the policies are invalid: nothing was planned or applied")
}

// refuse says on stderr what is wrong with files and what follows from it, and returns the
// error with which the command ends. Who asked for JSON or YAML gets the errors on stdout too.
func (a *app) refuse(code int, list []spec.Diagnostic, message string) error {
	list = sortDiagnostics(list)
	a.sayInvalid(list, message)
	return a.showInvalid(code, list)
}

// sayInvalid writes the errors of files to stderr, then a message. As JSON each error is a line.
func (a *app) sayInvalid(list []spec.Diagnostic, message string) {
	if a.logFormat == logJSON {
		for _, d := range list {
			a.log(slog.LevelError, d.String(), slog.String("rule", string(d.Rule)), slog.String("file", d.File), slog.Int("line", d.Line),
				slog.Int("column", d.Column), slog.String("message", d.Message), slog.String("hint", d.Hint))
		}
	} else {
		// Where even stderr is closed, nobody can read an error about it.
		_ = view.Validations.Write(a.lines(slog.LevelError), view.FormatText, view.Validation{Diagnostics: list}, a.viewOptions(a.stderr))
	}
	a.say(slog.LevelError, message, "")
}

// showInvalid writes the errors of files in place of the result, and returns the error with which
// the command ends. Text on stdout is left out: stderr has it.
func (a *app) showInvalid(code int, list []spec.Diagnostic) error {
	if a.format == view.FormatText {
		a.format = ""
	}
	return show(a, code, view.Validations, view.Validation{Diagnostics: list})
}

// sortDiagnostics orders diagnostics by their place, each once, and bounds them.
func sortDiagnostics(list []spec.Diagnostic) []spec.Diagnostic {
	slices.SortStableFunc(list, func(a, b spec.Diagnostic) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return spec.Limit(slices.Compact(list))
}
