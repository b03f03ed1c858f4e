package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
)

func forgetCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "forget KEY...",
		Short: "Forget keys that no policy names any more",
		Long: `Forget drops from nfsync's memory what it last asked and read of a key, on the
node and in every container. The values stay as they are. nfsync remembers a key
that it has set, and warns in each plan when no policy names it any more
(no-longer-wanted): this ends the warning.

A key that the last good revision still asks for is not forgotten. If one of
several keys cannot be forgotten, none is. While an apply runs, none is.`,
		Example: `  nfsync forget conntrack.timeouts.icmp
  nfsync forget module/ip_set conntrack.max`,
		Args:              argCount(1, noMore, "the keys to forget, as a plan names them"),
		Annotations:       prints(view.Forgotten),
		ValidArgsFunction: a.completeForgotten,
		RunE:              withContext(a.forget),
	}
}

func (a *app) forget(ctx context.Context, args []string) error {
	dir, err := state.Open(a.stateDir)
	if err != nil {
		return err
	}
	wanted, err := a.lastWanted(ctx, dir)
	if err != nil {
		return err
	}
	in := apply.ForgetInput{State: dir, Lock: apply.NewLock(a.runDir, a.stateDir), Wanted: wanted}
	for _, word := range args {
		in.Keys = append(in.Keys, nf.Key(word))
	}
	forgotten, err := apply.Forget(in)
	if err != nil {
		return err
	}
	return show(a, exitOK, view.Forgotten, forgotten)
}

// lastWanted returns the lines of the last good revision that ask for keys of this node.
func (a *app) lastWanted(ctx context.Context, dir *state.Dir) (func(nf.Target, nf.Key) *nf.Source, error) {
	good, err := agent.LastGood(dir)
	if err != nil || good.Commit == "" {
		return nil, err
	}
	listed, err := apply.List(ctx, a.machine(a.host()), good.Policies.UseLabels)
	if err != nil {
		return nil, err
	}
	wants := good.Policies.Resolve(&listed).List
	return func(t nf.Target, k nf.Key) *nf.Source {
		i := slices.IndexFunc(wants, func(w nf.Want) bool { return w.Target.Nameless() == t.Nameless() && w.Key == k })
		if i < 0 {
			return nil
		}
		return &wants[i].Source
	}, nil
}
