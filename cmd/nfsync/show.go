package main

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/review"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
)

type showOptions struct {
	plan     planOptions
	policies string
}

func showCommand(a *app) *cobra.Command {
	var o showOptions
	cmd := &cobra.Command{
		Use:   "show [TARGET]",
		Short: "Show the effective policy: what is wanted of each key, and by whom",
		Long: `Show lists each key that a policy wants something of: its live value, what is
saved for the next start, what is wanted, by which policy and line, over which
ones with a lower priority, and whether it is in sync, differs, waits or is
refused, and why.

The policies are those that are in force: the last good revision. --policies and
the flags of git name others. TARGET is node, or the name of a container, which
may be a pattern.`,
		Example: `  nfsync show
  nfsync show web-1
  nfsync show node --key 'conntrack.*' --policies policies/
  nfsync show --snapshot snapshots/ --policies policies/ -o json
  nfsync show web-1 --nodes-from nodes.git --policies policies/`,
		Args:              argCount(0, 1, ""),
		Annotations:       prints(view.Effectives),
		ValidArgsFunction: completeOne(a.completeShown),
		RunE:              withContext(func(ctx context.Context, args []string) error { return a.showPolicy(ctx, &o, args) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.policies, "policies", "", "the policies below this `path`")
	f.StringArrayVar(&o.plan.snapshots, "snapshot", nil, "show the nodes of these NodeSnapshots: a `file`, a directory or a pattern; may be repeated")
	o.plan.fleet.nodes.register(f)
	f.StringArrayVar(&o.plan.narrow.keys, "key", nil, "only the keys that match this `pattern`; may be repeated")
	o.plan.git.register(f)
	a.emptyFlag(f)
	a.fullFlag(f)
	return cmd
}

func (a *app) showPolicy(ctx context.Context, o *showOptions, args []string) error {
	nodes := &o.plan.fleet.nodes
	o.plan.narrow.targets, o.plan.git.nodes = args, nodes.isSet()
	if err := cmp.Or(o.plan.narrow.parse(), nodes.check(o.plan.snapshots), o.plan.fleet.find(o.plan.snapshots)); err != nil {
		return err
	}
	p, err := a.policiesInForce(ctx, o)
	if err != nil {
		return err
	}
	if nodes.isSet() {
		o.plan.fleet.isFleet = !a.flags.Changed("node")
		done, err := o.plan.fleet.open(ctx, a, &o.plan.git)
		if err != nil {
			return err
		}
		defer done()
	}
	q := review.Question{Wants: p.Resolve, Revision: p.revision, Now: time.Now(), Filter: o.plan.narrow.filter}
	var e nf.Effective
	if o.plan.fleet.isFleet {
		a.useFleetMemory()
		if e, _, err = review.Effective(ctx, o.plan.fleet.source(), q); err != nil {
			return err
		}
	} else {
		facts, err := a.factsOf(&o.plan)
		if err != nil {
			return err
		}
		s, err := apply.Snapshot(ctx, facts, p.UseLabels)
		if err != nil {
			return err
		}
		if err := q.Filter.Check(&s); err != nil {
			return err
		}
		e = review.EffectiveNode(s, q)
	}
	code := exitOK
	for _, n := range e.Nodes {
		if n.Error != "" {
			code = exitError
		}
	}
	return show(a, code, view.Effectives, e)
}

// policiesInForce returns the policies that are named, or those that are in force.
func (a *app) policiesInForce(ctx context.Context, o *showOptions) (policies, error) {
	switch words := o.plan.git.words(); {
	case o.policies != "" && len(words) > 0:
		return policies{}, usageError{errors.New("--policies and the flags of git both name the policies")}
	case o.policies != "":
		return a.readPolicies(o.policies)
	case len(words) > 0:
		return a.policies(ctx, &o.plan.git, "", true)
	}
	dir, err := state.Look(a.stateDir)
	if err == nil {
		var good agent.Revision
		if good, err = agent.LastGood(dir); err == nil && good.Commit != "" {
			return policies{Policies: good.Policies, revision: good.Commit}, nil
		}
	}
	if len(a.config.Source.URLs) > 0 {
		return a.policies(ctx, &o.plan.git, "", true)
	}
	return policies{}, hinted{errors.Join(errors.New("there is no last good revision"), err), "name the policies with --policies DIR or --git URL"}
}
