package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

func explainCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "explain CODE|KEY|RULE",
		Short: "Explain a refusal's code, a policy's key, or a rule of files",
		Long: `Explain prints what a refusal's code means, what causes it and what to do, or
what a key is, in which unit, and where the kernel keeps it, or what a rule of
policy files means and how to mend the file.

The codes:
` + columns(codes()) + `

The keys, as plans name them:
  level                   modulesAboveLevel       module/NAME
  conntrack.max           conntrack.buckets       conntrack.expectMax
  conntrack.timeouts.NAME                         conntrack.sysctls.NAME
  restart

The rules of files, as validate names them:
` + columns(rules()),
		Example: `  nfsync explain level-in-use
  nfsync explain conntrack.max
  nfsync explain conntrack.timeouts.tcpEstablished
  nfsync explain module/nf_conntrack
  nfsync explain duplicate-key`,
		Args:        argCount(1, 1, "a refusal's code, a key, or a rule"),
		Annotations: prints(view.Explanations, view.KeyExplanations, view.RuleExplanations),
		ValidArgs:   explainable(),
		RunE:        withContext(a.explainWord),
	}
}

func (a *app) explainWord(_ context.Context, args []string) error {
	if e, ok := diff.Explain(nf.Code(args[0])); ok {
		return show(a, exitOK, view.Explanations, e)
	}
	if e, ok := diff.ExplainKey(args[0]); ok {
		return show(a, exitOK, view.KeyExplanations, e)
	}
	if e, ok := spec.ExplainRule(args[0]); ok {
		return show(a, exitOK, view.RuleExplanations, e)
	}
	return usageError{fmt.Errorf("%q is no refusal's code, no key and no rule: the help lists them", args[0])}
}

// explainable lists the codes and rules, sorted. The word conflict is both.
func explainable() []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(codes(), rules()))))
}

func codes() []string {
	var list []string
	for _, c := range nf.Codes() {
		list = append(list, string(c))
	}
	return list
}

func rules() []string {
	var list []string
	for _, r := range spec.Rules() {
		list = append(list, string(r.Rule))
	}
	return list
}

// columns lists words below each other, three in a row.
func columns(words []string) string {
	var b strings.Builder
	for row := range slices.Chunk(words, 3) {
		last := len(row) - 1
		for _, w := range row[:last] {
			fmt.Fprintf(&b, "  %-22s", w)
		}
		fmt.Fprintf(&b, "  %s\n", row[last])
	}
	return strings.TrimSuffix(b.String(), "\n")
}
