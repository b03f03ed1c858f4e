package main

import (
	"bytes"
	"fmt"
	"path/filepath"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/durable"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

type fmtOptions struct {
	check bool
	diff  bool
}

func fmtCommand(a *app) *cobra.Command {
	var o fmtOptions
	cmd := &cobra.Command{
		Use:   "fmt [PATH...]",
		Short: "Lay out policy files in one way, with their comments",
		Long: `Fmt rewrites policy files, and nfsync's other kinds, in one layout: two spaces
of indentation, the keys in the order of the documentation, quotes only where
they are needed. Comments, blank lines and short collections in brackets stay as
they are. It prints the name of each file that it has changed.

Without a path it works on the files below the current directory. - lays out
standard input, and prints it. A file with an error of syntax is reported and
left as it is (exit code 4), and the others are laid out all the same.

--check and --diff write nothing. --check prints the names of the files that
would change, and ends with 1 if there are any.`,
		Example: `  nfsync fmt policies/
  nfsync fmt --check policies/
  nfsync fmt --diff policies/web.yaml
  nfsync fmt - < web.yaml`,
		Args:              argCount(0, noMore, ""),
		Annotations:       map[string]string{formatsKey: view.FormatText},
		ValidArgsFunction: completePolicies,
		RunE:              func(_ *cobra.Command, args []string) error { return a.fmt(o, args) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.check, "check", false, "write nothing; print the names of files that would change, and end with 1 if there are any")
	f.BoolVar(&o.diff, "diff", false, "write nothing; print what would change")
	return cmd
}

func (a *app) fmt(o fmtOptions, paths []string) error {
	if len(paths) == 0 {
		paths = []string{"."}
	}
	if err := checkStdin(paths...); err != nil {
		return err
	}
	var found []spec.Diagnostic
	changed := false
	seen := map[string]bool{}
	for _, path := range paths {
		read, err := a.readPath(path)
		if err != nil {
			return err
		}
		found = append(found, read.Diagnostics...)
		for _, f := range read.Files {
			if seen[f.Name] {
				continue
			}
			seen[f.Name] = true
			text, wrong := spec.Format(f)
			found = append(found, wrong...)
			if len(wrong) > 0 {
				continue
			}
			changed = changed || !bytes.Equal(text, f.Data)
			if err := a.laidOut(o, f, text); err != nil {
				return err
			}
		}
	}
	code := exitOK
	if changed && o.check {
		code = exitError
	}
	if len(found) > 0 {
		return a.refuse(severest(code, exitInvalid), found, "files with errors were left as they are")
	}
	return finish(code, nil)
}

// laidOut writes a file in its layout, or prints what the options ask for.
func (a *app) laidOut(o fmtOptions, f spec.File, text []byte) error {
	same := bytes.Equal(text, f.Data)
	var out []byte
	switch {
	case f.Name == spec.StdinName && !o.check && !o.diff:
		out = text
	case same:
		return nil
	case o.check && !o.diff:
		out = []byte(view.Clean(f.Name) + "\n")
	case o.diff:
		out = diff.Diff(f.Name+".orig", f.Data, f.Name, text)
	default:
		if err := rewrite(f.Name, text); err != nil {
			return fmt.Errorf("cannot write %s: %w", f.Name, err)
		}
		out = []byte(view.Clean(f.Name) + "\n")
	}
	_, err := a.stdout.Write(out)
	return finish(exitOK, err)
}

// rewrite replaces the content of a file. One that is named by a link stays behind it.
func rewrite(name string, text []byte) error {
	path, err := filepath.EvalSymlinks(filepath.FromSlash(name))
	if err != nil {
		return err
	}
	return durable.Writer{}.Rewrite(path, text)
}
