package main

import (
	"bytes"
	"context"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/openfile"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

func validateCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate PATH...",
		Short: "Check policy files; no kernel needed",
		Long: `Validate checks policy files, or every *.yaml and *.yml below a directory, and
prints each error as file:line:column: message, with the source line and a hint.
The path - is standard input. Below a directory, names that begin with a dot
and those that match .nfsyncignore are not read. A directory without any policy
is an error.

It ends with 4 where a file is invalid, and with 3 where all are valid but two
policies with the same selectors want different things: of one key with equal
priority, or of one value that two keys set.`,
		Example: `  nfsync validate policies/
  nfsync validate -o json web.yaml db.yaml
  ./generate | nfsync validate -`,
		Args:              argCount(1, noMore, "policy files, or directories that hold them"),
		Annotations:       prints(view.Validations),
		ValidArgsFunction: completePolicies,
		RunE:              withContext(a.validate),
	}
	a.emptyFlag(cmd.Flags())
	return cmd
}

func (a *app) validate(_ context.Context, paths []string) error {
	if err := checkStdin(paths...); err != nil {
		return err
	}
	var files []spec.File // one that two paths name is parsed once all the same
	var diagnostics []spec.Diagnostic
	reads := make([]spec.Read, len(paths))
	for i, path := range paths {
		var err error
		if reads[i], err = a.readPath(path); err != nil {
			return err
		}
		files, diagnostics = append(files, reads[i].Files...), append(diagnostics, reads[i].Diagnostics...)
	}
	all, more := spec.ParseAll(files)
	parsed := all.Policies
	diagnostics = append(diagnostics, more...)
	if len(diagnostics) == 0 && !a.allowEmpty {
		diagnostics = emptyPaths(paths, reads, parsed)
	}
	diagnostics = sortDiagnostics(diagnostics)
	code := exitOK
	if len(diagnostics) > 0 {
		code = exitInvalid
	} else {
		for _, c := range parsed.Conflicts() {
			diagnostics, code = append(diagnostics, c.Diagnostic()), exitRefused
		}
		spec.AddText(diagnostics, files...)
	}
	if a.quiet && a.format == "" && len(diagnostics) > 0 {
		message := "the policies are invalid"
		if code == exitRefused {
			message = "policies want different things of one value"
		}
		a.sayInvalid(diagnostics, message)
	}
	return show(a, code, view.Validations, view.Validation{Diagnostics: diagnostics, Policies: len(parsed), Tests: len(all.Tests), Files: len(files)})
}

// emptyPaths returns an error for each directory without a policy, and for a stream without
// any text. A file without one, such as a snapshot, was named.
func emptyPaths(paths []string, reads []spec.Read, parsed spec.Policies) (list []spec.Diagnostic) {
	count := map[string]int{} // of policies, by file
	for _, p := range parsed {
		count[p.Source.File]++
	}
	for i, r := range reads {
		policies := 0
		for _, f := range r.Files {
			policies += count[f.Name]
			if openfile.IsStream(inputPath(paths[i])) && len(bytes.TrimSpace(f.Data)) == 0 {
				list = append(list, spec.NoPolicies(f.Name, 0))
			}
		}
		if r.IsDir && policies == 0 {
			list = append(list, spec.NoPolicies(paths[i], len(r.Files)))
		}
	}
	return list
}
