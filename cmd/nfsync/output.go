package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/durable"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/view"
)

// formatsKey is the annotation of a verb that lists the formats of its output.
const formatsKey = "formats"

// prints returns the annotations of a verb that prints one of these kinds of
// documents: -o takes the formats that all of them have.
func prints(kinds ...interface{ Formats() []string }) map[string]string {
	list := kinds[0].Formats()
	for _, k := range kinds[1:] {
		list = slices.DeleteFunc(list, func(format string) bool { return !slices.Contains(k.Formats(), format) })
	}
	return map[string]string{formatsKey: strings.Join(list, " ")}
}

// output is a file that gets the result, in a format.
type output struct{ format, file string }

// parseOutputs takes the values of -o: FORMAT is for standard output, FORMAT=FILE for a file.
// Standard output gets the usual format of the verb if none is for it and no --quiet forbids it.
func (a *app) parseOutputs(verb *cobra.Command) error {
	a.files, a.format = nil, ""
	for _, value := range a.outputs {
		format, file, toFile := strings.Cut(value, "=")
		if list := formats(verb); !slices.Contains(list, format) {
			return usageError{fmt.Errorf("unknown output format %q of %s: must be one of %s", format, verb.CommandPath(), strings.Join(list, ", "))}
		}
		switch {
		case toFile && file == "":
			return usageError{fmt.Errorf("-o %s names no file: write -o %sFILE", value, value)}
		case toFile && file != stdout && file != "/dev/stdout":
			if err := a.addFile(output{format, file}); err != nil {
				return err
			}
		case a.format != "":
			return usageError{fmt.Errorf("-o %s and -o %s are both for standard output: write one of them to a file, as -o %s=FILE", a.format, format, format)}
		default:
			a.format = format
		}
	}
	if a.format == "" && a.printsUnasked(verb) {
		a.format = usualFormat(verb)
	}
	return nil
}

// addFile adds a file for the result. It returns an error if the result could not be written
// there: that must not come to light after an apply.
func (a *app) addFile(o output) error {
	if slices.ContainsFunc(a.files, func(other output) bool { return filepath.Clean(other.file) == filepath.Clean(o.file) }) {
		return usageError{fmt.Errorf("-o names the file %s twice", o.file)}
	}
	info, err := os.Stat(filepath.Dir(o.file))
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: filepath.Dir(o.file), Err: syscall.ENOTDIR}
	}
	if info, found := os.Stat(o.file); err == nil && found == nil && info.IsDir() {
		err = &fs.PathError{Op: "open", Path: o.file, Err: syscall.EISDIR}
	}
	if err != nil {
		return fmt.Errorf("cannot write -o %s=%s: %w", o.format, o.file, err)
	}
	a.files = append(a.files, o)
	return nil
}

// answers are the verbs whose output is their only result: --quiet leaves it, as that of
// systemctl(1) does.
var answers = []string{"explain", "nodes", "receipts", "rollout", "schema", "show", "snapshot", "status", "version"}

// printsUnasked reports whether a verb prints its result if no -o asks for it.
func (a *app) printsUnasked(verb *cobra.Command) bool {
	if verb.Name() == "snapshot" && len(a.files) > 0 {
		return false // it is no text for people
	}
	return !a.quiet || slices.Contains(answers, verb.Name()) && len(a.files) == 0
}

// usualFormat returns the format of a verb's result if no -o names one.
func usualFormat(verb *cobra.Command) string {
	if verb.Name() == "snapshot" {
		return view.FormatYAML
	}
	return view.FormatText
}

// show writes a document as each -o asks for it, and returns the error with which the verb
// ends. set completes how text is laid out.
func show[T any](a *app, code int, kind view.Kind[T], doc T, set ...func(*view.Options)) error {
	err := writeResult(a, kind, doc, set...)
	if err != nil && code == exitStuck && !errors.Is(err, syscall.EPIPE) {
		a.say(slog.LevelError, err.Error(), "") // the exit code counts
	}
	return finish(code, err)
}

// writeResult writes a document to the files of -o, then to standard output. An error of a file
// keeps it from no other.
func writeResult[T any](a *app, kind view.Kind[T], doc T, set ...func(*view.Options)) error {
	options := func(opt view.Options) view.Options {
		for _, f := range set {
			f(&opt)
		}
		return opt
	}
	var failed []error
	for _, o := range a.files {
		var err error
		if o.file == devStderr {
			err = kind.Write(a.stderr, o.format, doc, options(a.viewOptions(a.stderr)))
		} else {
			err = save(kind, o, doc, options(a.viewOptions(nil)))
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("cannot write -o %s=%s: %w", o.format, o.file, err))
		}
	}
	if a.format != "" {
		err := kind.Write(a.stdout, a.format, doc, options(a.viewOptions(a.stdout)))
		if err != nil && (len(failed) == 0 || !errors.Is(err, syscall.EPIPE)) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// devStderr is standard error, as a file of -o. It is written to: it may be a file that is not to
// be replaced.
const devStderr = "/dev/stderr"

// save writes a document to a file, whole or not at all.
func save[T any](kind view.Kind[T], o output, doc T, opt view.Options) error {
	return durable.Writer{}.SaveFrom(o.file, 0o644, func(w io.Writer) error { return kind.Write(w, o.format, doc, opt) })
}

// repositoryPath returns the path that a file has in the repository whose working tree it is in, as a
// CI system names it. Any other file is named from the working directory, if it is below it.
func repositoryPath(name string) string {
	if root, within, err := source.Worktree(name); err == nil && root != "" {
		return within
	}
	wd, err := os.Getwd()
	if err != nil || !filepath.IsAbs(name) {
		return name
	}
	if below, err := filepath.Rel(wd, name); err == nil && filepath.IsLocal(below) {
		return below
	}
	return name
}

// formats lists the formats that -o takes for a verb.
func formats(verb *cobra.Command) []string {
	if list := strings.Fields(verb.Annotations[formatsKey]); len(list) > 0 {
		return list
	}
	return view.Formats()
}

func outputUsage(formats []string) string {
	return "`format` of the result, or format=FILE; may be repeated: " + strings.Join(formats, ", ")
}

// explainOutput makes the help of -o name the formats of each verb.
func (a *app) explainOutput(root *cobra.Command) {
	usage := root.UsageFunc()
	root.SetUsageFunc(func(verb *cobra.Command) error {
		flag := a.flags.Lookup("output")
		flag.Usage, flag.DefValue = outputUsage(formats(verb)), usualFormat(verb)
		return usage(verb)
	})
}
