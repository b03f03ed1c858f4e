package main

import (
	"context"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
)

func recoverCommand(a *app) *cobra.Command {
	var accept bool
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Show what a failed undo has left, and accept it",
		Long: `Recover shows the changes of earlier runs that could be neither finished nor
undone, and the present value of each. Until they are settled, nfsync changes
nothing more of their targets.

A restart that has left its container down is among them, until the container
runs again. No other container is restarted before that.

What waits for nfsync confirm is shown too, and cannot be accepted here.

Correct by hand what is wrong, then run it with --accept: nfsync takes the
present values as they are. The exit code is 6 until then.`,
		Example: `  nfsync recover
  nfsync recover --accept`,
		Args:              argCount(0, 0, ""),
		Annotations:       prints(view.Reports),
		ValidArgsFunction: completeNothing,
		RunE:              withContext(func(ctx context.Context, _ []string) error { return a.recover(ctx, accept) }),
	}
	cmd.Flags().BoolVar(&accept, "accept", false, "take the present values as they are")
	return cmd
}

func (a *app) recover(ctx context.Context, accept bool) error {
	dir, err := state.Open(a.stateDir)
	if err != nil {
		return err
	}
	bootID, err := bootID()
	if err != nil {
		return err
	}
	report, err := apply.Recover(ctx, apply.RecoverInput{
		Machine: a.machine(a.host()), State: dir, Lock: apply.NewLock(a.runDir, a.stateDir), Accept: accept, BootID: bootID, Runtimes: a.runtimes,
	})
	if err != nil {
		return err
	}
	return show(a, verdictCode(report.Verdict()), view.Reports, report)
}
