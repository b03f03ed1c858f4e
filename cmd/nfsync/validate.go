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
prints each error as file:line:column: message, with the source line and a hint.

It ends with 4 where a file is invalid, and with 3 where all are valid but two
policies of equal priority and the same selectors want different things.`,
		Example: `  nfsync validate policies/
  nfsync validate -o json web.yaml db.yaml`,
		Args:              argCount(1, noMore, "policy files, or directories that hold them"),
		Annotations:       prints(view.Validations),
		ValidArgsFunction: completePolicies,
		RunE:              withContext(a.validate),
	}
}

func (a *app) validate(_ context.Context, paths []string) error {
	var files []spec.File // one that two paths name is parsed once all the same
	var diagnostics []spec.Diagnostic
	for _, path := range paths {
		read, found, err := readPath(path)
		if err != nil {
			return err
		}
		files, diagnostics = append(files, read...), append(diagnostics, found...)
	}
	parsed, more := spec.Parse(files)
	diagnostics = sortDiagnostics(append(diagnostics, more...))
	code := exitOK
	if len(diagnostics) > 0 {
		code = exitInvalid
	} else {
		for _, c := range parsed.Conflicts() {
			diagnostics, code = append(diagnostics, c.Diagnostic()), exitRefused
		}
		spec.AddText(diagnostics, files...)
	}
	return show(a, code, view.Validations, view.Validation{Diagnostics: diagnostics, Policies: len(parsed)})
}
