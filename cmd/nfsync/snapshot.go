package main

import (
	"context"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/view"
)

func snapshotCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "snapshot",
		Short: "Print all facts of this node",
		Long: `Snapshot prints everything that nfsync can observe of this node and its
containers as a NodeSnapshot document, as YAML unless -o says otherwise. A plan
made from it equals the plan made on the node.`,
		Example: `  nfsync snapshot > hn-1.yaml
  nfsync plan policies/ --snapshot hn-1.yaml`,
		Args:              argCount(0, 0, ""),
		Annotations:       prints(view.Snapshots),
		ValidArgsFunction: completeNothing,
		RunE:              withContext(a.snapshot),
	}
}

func (a *app) snapshot(ctx context.Context, _ []string) error {
	s, err := apply.Snapshot(ctx, a.facts(), apply.AllLabels)
	if err != nil {
		return err
	}
	return show(a, exitOK, view.Snapshots, s)
}
