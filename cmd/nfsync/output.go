package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

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

// show writes a document to standard output, as -o asks for it, and returns the error with
// which the verb ends.
func show[T any](a *app, code int, kind view.Kind[T], doc T) error {
	return finish(code, kind.Write(a.stdout, a.format, doc, a.viewOptions(a.stdout)))
}

// formats lists the formats that -o takes for a verb.
func formats(verb *cobra.Command) []string {
	if list := strings.Fields(verb.Annotations[formatsKey]); len(list) > 0 {
		return list
	}
	return view.Formats()
}

func outputUsage(formats []string) string {
	return "`format` of the result: " + strings.Join(formats, ", ")
}

// explainOutput makes help and completion of -o name the formats of each verb.
func (a *app) explainOutput(root *cobra.Command) {
	usage := root.UsageFunc()
	root.SetUsageFunc(func(verb *cobra.Command) error {
		a.flags.Lookup("output").Usage = outputUsage(formats(verb))
		return usage(verb)
	})
	complete := func(verb *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return formats(verb), cobra.ShellCompDirectiveNoFileComp
	}
	_ = root.RegisterFlagCompletionFunc("output", complete) // fails only for a flag that does not exist
}
