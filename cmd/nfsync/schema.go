package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/view"
	"nfsync.dev/nfsync/schemas"
)

func schemaCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "schema [KIND]",
		Short: "Print the JSON Schema of a document, or list the kinds",
		Long: `Schema prints the JSON Schema (draft-07) of a kind of document, for editors and
for programs that read what nfsync prints. Without a kind it lists them.`,
		Example: `  nfsync schema
  nfsync schema Policy > policy.schema.json`,
		Args:              argCount(0, 1, ""),
		Annotations:       prints(view.Kinds, view.Schemas),
		ValidArgsFunction: completeOne(completeKind),
		RunE:              withContext(a.schema),
	}
}

func (a *app) schema(_ context.Context, args []string) error {
	if len(args) == 0 {
		return show(a, exitOK, view.Kinds, schemas.Kinds())
	}
	schema, ok := schemas.Get(args[0])
	if !ok {
		return usageError{fmt.Errorf("no schema for %q: there is one for %s", args[0], strings.Join(schemas.Kinds(), ", "))}
	}
	return show(a, exitOK, view.Schemas, schema)
}

// completeKind completes the kind of a document, with what it is.
func completeKind(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	list := map[string]string{}
	for _, kind := range schemas.Kinds() {
		list[kind] = firstSentence(schemas.Description(kind))
	}
	return described(list), cobra.ShellCompDirectiveNoFileComp
}
