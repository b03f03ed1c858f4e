package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/view"
)

func explainCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "explain CODE|KEY",
		Short: "Explain a refusal's code, or a key that policies can set",
		Long: `Explain prints what a refusal's code means, what causes it and what to do, or
what a key is, in which unit, and where the kernel keeps it.

The codes:
` + columns(codes()) + `

The keys, as plans name them:
  level                   modulesAboveLevel       module/NAME
  conntrack.max           conntrack.buckets       conntrack.expectMax
  conntrack.timeouts.NAME                         conntrack.sysctls.NAME
  restart`,
		Example: `  nfsync explain level-in-use
  nfsync explain conntrack.max
  nfsync explain conntrack.timeouts.tcpEstablished
  nfsync explain module/nf_conntrack`,
		Args:      argCount(1, 1, "a refusal's code, or a key"),
		ValidArgs: codes(),
		RunE:      withContext(a.explainWord),
	}
}

func (a *app) explainWord(_ context.Context, args []string) error {
	opt := a.viewOptions(a.stdout)
	if e, ok := diff.Explain(nf.Code(args[0])); ok {
		return finish(exitOK, view.Explanation(a.stdout, a.format, e, opt))
	}
	if e, ok := diff.ExplainKey(args[0]); ok {
		return finish(exitOK, view.KeyExplanation(a.stdout, a.format, e, opt))
	}
	return usageError{fmt.Errorf("%q is neither a refusal's code nor a key: the help lists both", args[0])}
}

func codes() []string {
	var list []string
	for _, c := range nf.Codes() {
		list = append(list, string(c))
	}
	return list
}

// columns lists words below each other, three in a row.
func columns(words []string) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i%3 == 2 || i == len(words)-1:
			fmt.Fprintf(&b, "  %s\n", w)
		default:
			fmt.Fprintf(&b, "  %-22s", w)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}
