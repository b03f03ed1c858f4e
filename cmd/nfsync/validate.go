package main

import (
	"context"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

func validateCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "validate PATH...",
		Short: "Check policy files; no kernel needed",
		Long: `Validate checks policy files, or every *.yaml and *.yml below a directory, and
prints each error as file:line:column: message.

It ends with 4 where a file is invalid, and with 3 where all are valid but two
policies of equal priority and the same selectors want different things.`,
		Example: `  nfsync validate policies/
  nfsync validate -o json web.yaml db.yaml`,
		Args: argCount(1, noMore, "policy files, or directories that hold them"),
		RunE: withContext(a.validate),
	}
}

func (a *app) validate(_ context.Context, paths []string) error {
	files, diagnostics, err := readAll(paths)
	if err != nil {
		return err
	}
	parsed, more := spec.Parse(files)
	diagnostics = sortDiagnostics(append(diagnostics, more...))
	code := exitOK
	var conflicts []spec.Conflict
	switch {
	case len(diagnostics) > 0:
		code = exitInvalid
	default:
		if conflicts = parsed.Conflicts(); len(conflicts) > 0 {
			code = exitRefused
		}
	}
	return finish(code, view.Diagnostics(a.stdout, a.format, diagnostics, conflicts, len(parsed.List)))
}
