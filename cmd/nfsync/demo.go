package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/demo"
)

func demoCommand(a *app) *cobra.Command {
	var inside bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show nfsync at work on this kernel, in namespaces of its own",
		Long: `Demo walks through validate, a commit, plan, the agent's lap, drift, heal, a
commit with a mistake and a refusal, with the example policies, on the real
kernel.

It works in a user, mount and network namespace of its own, with four network
namespaces inside that stand for containers. It can change nothing of this
machine, needs no root, and leaves nothing behind: everything vanishes with its
process.`,
		Example:           `  nfsync demo`,
		Args:              argCount(0, 0, ""),
		ValidArgsFunction: completeNothing,
		RunE:              withContext(func(ctx context.Context, _ []string) error { return a.demo(ctx, inside) }),
	}
	cmd.Flags().BoolVar(&inside, demo.InsideFlag, false, "this process is in the demo's namespaces already")
	cmd.Flags().Lookup(demo.InsideFlag).Hidden = true
	return cmd
}

func (a *app) demo(ctx context.Context, inside bool) error {
	d := demo.Demo{Stdout: a.stdout, Stderr: a.stderr, Bold: a.viewOptions(a.stdout).Color}
	run := d.Run
	if inside {
		run = d.Inside
	}
	err := run(ctx)
	switch {
	case errors.Is(err, demo.ErrNoNamespaces):
		return hinted{err, demo.NamespacesRemedy}
	case errors.Is(err, demo.ErrFailed):
		return outcome(exitError) // it has said why
	}
	return finish(exitOK, err)
}
