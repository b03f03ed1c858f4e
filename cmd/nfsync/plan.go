package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/demo"
	"nfsync.dev/nfsync/internal/durable"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

type planOptions struct {
	git       gitOptions
	snapshots []string
	fleet     fleetOptions
	narrow    narrowOptions
	out       string
	detailed  bool
	restarts  apply.Restarts // the agent's; by hand: one
	planned   func(nf.Plan)  // called with the plan of this node; may be nil
}

func planCommand(a *app) *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use:   "plan PATH | plan --git URL",
		Short: "Show what apply would do; changes nothing",
		Long: `Plan compares the policies below PATH, or those of a git repository, with this
node, or with the snapshot of another one, and prints what is refused and why,
the changes, those that disrupt something or cannot be taken back first, and
what is pending. What is alike for many containers is shown once, unless --full
is given. The JSON has the changes in the order in which apply would make them.

It changes nothing of the node, and observing loads no module and sends no
packet. It writes the file of --out and, with --git, a clone below the state
directory.`,
		Example: `  nfsync plan policies/
  nfsync plan policies/ --detailed-exitcode -o json
  nfsync plan policies/ -o text -o markdown=plan.md -o sarif=plan.sarif
  nfsync plan policies/ --out today.plan && nfsync apply today.plan
  nfsync plan policies/ --snapshot hn-1.yaml
  nfsync plan policies/ --snapshot snapshots/ --expect-nodes nodes.txt
  nfsync plan policies/ --snapshot snapshots/ --base HEAD~1
  nfsync plan policies/ --nodes-from https://git.example.com/nodes.git
  nfsync plan policies/ --nodes-from tls://fleet.example.com:4222
  nfsync plan --git https://git.example.com/policies.git --branch main`,
		Args:              argCount(0, 1, ""),
		Annotations:       prints(view.Plans),
		ValidArgsFunction: completeOne(completePolicies),
		RunE:              withContext(func(ctx context.Context, args []string) error { return a.plan(ctx, &o, args) }),
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.snapshots, "snapshot", nil, "plan for the node of this NodeSnapshot `file` instead of this one; - is standard input. A directory, a pattern, or many of them are a fleet")
	o.fleet.register(f)
	o.narrow.register(f)
	f.StringVar(&o.out, "out", "", "also write the plan to this `file`, for apply; - is standard output, which then gets nothing else")
	o.git.register(f)
	a.emptyFlag(f)
	a.fullFlag(f)
	f.BoolVar(&o.detailed, "detailed-exitcode", false, "exit with 2 if changes are planned")
	return cmd
}

func (a *app) plan(ctx context.Context, o *planOptions, args []string) error {
	o.git.nodes = o.fleet.nodes.isSet()
	path, err := a.where(&o.git, args)
	if err != nil {
		return err
	}
	if path != stdin {
		a.policyPath = cmp.Or(path, o.git.Path)
	}
	if err := cmp.Or(o.narrow.parse(), o.fleet.nodes.check(o.snapshots), o.fleet.find(o.snapshots)); err != nil {
		return err
	}
	a.part, a.published = o.narrow.isSet(), o.fleet.nodes.isSet()
	if o.fleet.nodes.isSet() {
		o.fleet.isFleet = o.fleet.isFleet || !a.flags.Changed("node")
	}
	if err := cmp.Or(a.checkPlan(o), checkStdin(slices.Concat(o.snapshots, args, []string{a.configFile})...)); err != nil {
		return err
	}
	policies, err := a.policies(ctx, &o.git, path, true)
	if err != nil {
		return err
	}
	if o.fleet.nodes.isSet() {
		done, err := o.fleet.open(ctx, a, &o.git)
		if err != nil {
			return err
		}
		defer done()
	}
	if o.fleet.isFleet || o.isReview() {
		a.useFleetMemory()
		q, err := a.question(ctx, o, policies, path)
		switch {
		case err != nil:
			return err
		case o.isReview():
			return a.reviewPlan(ctx, o, q)
		}
		return a.planFleet(ctx, o, q)
	}
	facts, err := a.factsOf(o)
	if err != nil {
		return err
	}
	plan, err := apply.Plan(ctx, apply.Question{Facts: facts, Wants: policies.Resolve, Labels: policies.UseLabels, Revision: policies.revision, Restarts: o.restarts, Filter: o.narrow.filter})
	if err != nil {
		return err
	}
	if o.planned != nil {
		o.planned(plan)
	}
	switch o.out {
	case "":
	case stdout:
		a.format = ""
		if err := view.SavedPlan(a.stdout, plan, policies.files); err != nil {
			return finish(planCode(plan, o.detailed), err)
		}
	default:
		if err := savePlan(durable.Writer{}, o.out, plan, policies.files); err != nil {
			return err
		}
	}
	elsewhere := o.recorded()
	return show(a, planCode(plan, o.detailed), view.Plans, plan, func(opt *view.Options) {
		opt.Elsewhere, opt.Apply = elsewhere, a.applyLine(&o.git, cmp.Or(o.out, path), elsewhere)
	})
}

// stdout is the name of standard output, as a file to write.
const stdout = "-"

func (a *app) checkPlan(o *planOptions) error {
	if err := a.checkFleet(o); err != nil {
		return err
	}
	if nf.IsPolicyFile(o.out) {
		return usageError{fmt.Errorf("a saved plan cannot be named *%s: apply would take it for a policy", filepath.Ext(o.out))}
	}
	if o.out != "" && o.narrow.isSet() {
		return errNarrowed
	}
	if o.out == stdout && len(a.outputs) > len(a.files) {
		return usageError{errors.New("--out - writes the saved plan, which is JSON, to standard output: leave out -o")}
	}
	if slices.ContainsFunc(a.files, func(f output) bool { return filepath.Clean(f.file) == filepath.Clean(o.out) }) {
		return usageError{fmt.Errorf("--out and -o both name the file %s", o.out)}
	}
	return nil
}

// recorded reports whether the facts are those of snapshots.
func (o *planOptions) recorded() bool { return len(o.snapshots) > 0 || o.fleet.nodes.isSet() }

// factsOf returns the facts of this node, or those of a snapshot.
func (a *app) factsOf(o *planOptions) (apply.Facts, error) {
	if !o.recorded() {
		return a.facts(), nil
	}
	file, err := o.fleet.read(o.fleet.files[0])
	if err != nil {
		return nil, fmt.Errorf("cannot read the snapshot: %w", err)
	}
	s, diagnostics := spec.ParseSnapshot(file)
	if len(diagnostics) > 0 {
		return nil, a.refuse(exitError, diagnostics, "the snapshot is not valid: nothing was planned")
	}
	if err := cmp.Or(a.checkTaken(&o.fleet, &s), a.isOf(&s)); err != nil {
		return nil, err
	}
	return apply.Recorded(s), nil
}

// isOf returns an error if --node or --label contradict the snapshot, whose node and labels
// are used.
func (a *app) isOf(s *nf.Snapshot) error {
	if a.flags.Changed("node") && a.node != s.Node.Name {
		return usageError{fmt.Errorf("--node %s is of no use with --snapshot: the snapshot is of the node %s", a.node, s.Node.Name)}
	}
	for _, k := range slices.Sorted(maps.Keys(a.labels)) {
		if a.flags.Changed("label") && s.Node.Labels[k] != a.labels[k] {
			return usageError{fmt.Errorf("--label %s=%s is of no use with --snapshot: the snapshot has the node's labels, and not that one", k, a.labels[k])}
		}
	}
	return nil
}

// applyLine returns the command that makes the changes of a plan: of a path or, if that is
// empty, from git. It repeats the flags about this node; those of another node are not known.
func (a *app) applyLine(o *gitOptions, path string, elsewhere bool) string {
	words := []string{"nfsync", "apply"}
	if a.flags.Changed("config") {
		words = append(words, "--config", a.configFile)
	}
	if a.allowEmpty {
		words = append(words, "--allow-empty")
	}
	if path != "" {
		words = append(words, path)
	} else {
		words = append(words, o.words()...)
	}
	if !elsewhere && a.getenv(demo.Variable) == "" {
		words = append(words, a.nodeWords()...)
	}
	return view.CommandLine(words...)
}

// savePlan writes the plan for apply, whole or not at all.
func savePlan(w durable.Writer, path string, p nf.Plan, files []spec.File) error {
	var text bytes.Buffer
	err := view.SavedPlan(&text, p, files)
	if err == nil {
		err = w.Save(path, text.Bytes(), 0o644)
	}
	if err != nil {
		return fmt.Errorf("cannot save the plan: %w", err)
	}
	return nil
}
