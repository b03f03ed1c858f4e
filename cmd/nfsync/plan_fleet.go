package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/spf13/pflag"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/openfile"
	"nfsync.dev/nfsync/internal/review"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

// fleetOptions are those of a plan for many nodes.
type fleetOptions struct {
	maxAge     time.Duration
	flags      *pflag.FlagSet
	allowStale bool
	expect     string   // the file that names the nodes
	files      []string // of snapshots
	isFleet    bool
	stdin      *spec.File // what was read of it
	nodes      nodesOptions
	base       string // a revision
	basePath   string
}

func (o *fleetOptions) register(f *pflag.FlagSet) {
	o.flags = f
	o.nodes.register(f)
	f.DurationVar(&o.maxAge, "max-age", 24*time.Hour, "how old the snapshots of a fleet may be; 0: any age")
	f.BoolVar(&o.allowStale, "allow-stale", false, "older snapshots are no error")
	f.StringVar(&o.base, "base", "", "show what the change since this git `revision` brings, beside what is different anyway")
	f.StringVar(&o.basePath, "base-path", "", "the same, with the policies before the change below this `path`")
	f.StringVar(&o.expect, "expect-nodes", "", "`file` with the names of the nodes that must have a snapshot, one a line")
}

// ageGiven reports whether --max-age is given.
func (o *fleetOptions) ageGiven() bool { return o.flags != nil && o.flags.Changed("max-age") }

// find finds the files of snapshots.
func (o *fleetOptions) find(names []string) error {
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = inputPath(name)
	}
	var err error
	o.files, o.isFleet, err = review.Files(paths)
	o.isFleet = o.isFleet || o.expect != ""
	if err != nil || len(o.files) != 1 || o.files[0] != openfile.Stdin {
		return err
	}
	// A stream may hold the snapshots of many nodes.
	read, err := readDocument(stdin)
	documents := 0
	for range spec.Documents(read) {
		documents++
	}
	o.stdin, o.isFleet = &read, o.isFleet || documents > 1
	return err
}

// read reads a file of snapshots.
func (o *fleetOptions) read(name string) (spec.File, error) {
	switch {
	case o.nodes.opened != nil:
		return o.nodes.read(name)
	case name == openfile.Stdin && o.stdin != nil:
		return *o.stdin, nil
	}
	return readDocument(name)
}

func (a *app) checkFleet(o *planOptions) error {
	switch {
	case o.fleet.maxAge < 0:
		return usageError{errors.New("--max-age must not be negative")}
	case !o.recorded() && (o.fleet.expect != "" || o.fleet.ageGiven() || o.fleet.allowStale):
		return usageError{errors.New("--max-age, --allow-stale and --expect-nodes are about snapshots: name them with --snapshot or --nodes-from")}
	case o.fleet.base != "" && o.fleet.basePath != "":
		return usageError{errors.New("--base and --base-path both name the policies before the change")}
	case o.isReview() && o.out != "":
		return usageError{errors.New("--out saves a plan, and --base shows what a change brings: leave out one of them")}
	case !o.fleet.isFleet:
		return nil
	case a.flags.Changed("node"), a.flags.Changed("label"):
		return usageError{errors.New("--node and --label are of no use with many snapshots: each has its own")}
	case o.out != "":
		return usageError{errors.New("--out saves the plan of one node, for apply: name one snapshot")}
	}
	return nil
}

// fleetMemory is softMemory for the plans of a fleet, which are in memory together.
const fleetMemory = 240 << 20

func (a *app) useFleetMemory() {
	if a.getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(fleetMemory)
	}
}

func (o *fleetOptions) source() review.Source {
	return review.Source{Files: o.files, Read: o.read, Node: o.node}
}

// ages returns a question about how old snapshots may be.
func (o *fleetOptions) ages(now time.Time) review.Question {
	return review.Question{Now: now, MaxAge: o.maxAge, AllowStale: o.allowStale}
}

// question returns what is asked of the nodes.
func (a *app) question(ctx context.Context, o *planOptions, p policies, path string) (review.Question, error) {
	q := o.fleet.ages(time.Now())
	q.Wants, q.Filter, q.Revision = p.Resolve, o.narrow.filter, p.revision
	if o.fleet.expect != "" {
		names, err := readDocument(o.fleet.expect)
		if err != nil {
			return q, fmt.Errorf("cannot read the names of the nodes: %w", err)
		}
		q.Expect = review.Names(string(names.Data))
	}
	if !o.isReview() {
		return q, nil
	}
	base, err := a.basePolicies(ctx, o, path)
	q.Base, q.BaseRevision = base.Resolve, base.revision
	return q, err
}

func (o *planOptions) isReview() bool { return o.fleet.base != "" || o.fleet.basePath != "" }

// basePolicies returns the policies before the change that is reviewed.
func (a *app) basePolicies(ctx context.Context, o *planOptions, path string) (policies, error) {
	if o.fleet.basePath != "" {
		return a.readPolicies(o.fleet.basePath)
	}
	cfg, err := a.source(&o.git)
	if path != "" {
		var root, within string
		if root, within, err = source.Worktree(path); err == nil {
			cfg = source.Config{URLs: []string{root}, Path: within, Rev: o.fleet.base}
		}
	}
	if err != nil {
		return policies{}, fmt.Errorf("cannot read the base %s: %w", o.fleet.base, err)
	}
	if path == "" {
		cfg.Branch, cfg.Tag, cfg.Commit = o.fleet.base, "", ""
		if nf.IsCommitID(o.fleet.base) {
			cfg.Branch, cfg.Commit = "", o.fleet.base
		}
	}
	var done func()
	if cfg.Dir, done, err = source.CloneDir(a.stateDir); err != nil {
		return policies{}, err
	}
	defer done()
	cfg.UserKeys = true
	r, err := agent.Fetch(ctx, a.fetcher(cfg), source.VerifyNone, nil, "")
	if missing, ok := errors.AsType[*source.TreeError](err); ok && missing.Missing {
		a.say(slog.LevelWarn, fmt.Sprintf("the base %s has no policies: %v", o.fleet.base, err), "all that differs counts as brought by the change")
		return policies{revision: o.fleet.base}, nil
	}
	if invalid, ok := errors.AsType[*agent.InvalidError](err); ok {
		a.say(slog.LevelWarn, fmt.Sprintf("the base %s has no policies that are valid: %s", o.fleet.base, invalid.Diagnostics[0]), "all that differs counts as brought by the change")
		return policies{revision: invalid.Commit}, nil
	}
	if err != nil {
		return policies{}, fmt.Errorf("cannot read the base %s: %w", o.fleet.base, err)
	}
	return policies{Policies: r.Policies, revision: r.Commit}, nil
}

// planFleet plans for the nodes of many snapshots.
func (a *app) planFleet(ctx context.Context, o *planOptions, q review.Question) error {
	fleet, unused, err := review.Fleet(ctx, o.fleet.source(), q)
	if err != nil {
		return err
	}
	a.sayUnused(unused)
	sayFailed(a, fleet.Nodes)
	return show(a, fleetCode(fleet, o.detailed), view.FleetPlans, fleet)
}

// reviewPlan shows what a change of the policies brings to this node, or to those of snapshots.
func (a *app) reviewPlan(ctx context.Context, o *planOptions, q review.Question) error {
	var r nf.Review
	if o.fleet.isFleet {
		var unused []string
		var err error
		if r, unused, err = review.Review(ctx, o.fleet.source(), q); err != nil {
			return err
		}
		a.sayUnused(unused)
		sayFailed(a, r.Nodes)
	} else {
		facts, err := a.factsOf(o)
		if err != nil {
			return err
		}
		s, err := apply.Snapshot(ctx, facts, apply.AllLabels)
		if err != nil {
			return err
		}
		if err := q.Filter.Check(&s); err != nil {
			return err
		}
		r = review.ReviewNode(ctx, s, q)
	}
	return show(a, reviewCode(r, o.detailed), view.Reviews, r)
}

func (a *app) sayUnused(files []string) {
	if len(files) > 0 {
		a.say(slog.LevelWarn, "not used, since there is a newer snapshot of the same node: "+nf.FirstFew(files, maxUnread), "")
	}
}

// sayFailed names the nodes whose snapshots have an error.
func sayFailed[N interface{ Taken() nf.NodeSnapshot }](a *app, nodes []N) {
	var failed []string
	for _, node := range nodes {
		if n := node.Taken(); n.Error != "" {
			failed = append(failed, n.Node)
		}
	}
	if len(failed) > 0 {
		a.say(slog.LevelError, "cannot rely on the snapshots of all nodes: "+nf.FirstFew(failed, maxUnread), "")
	}
}

// reviewCode returns the exit code of a review. Only what the change brings counts.
func reviewCode(r nf.Review, detailed bool) int {
	switch s := r.Summary; {
	case s.Failed > 0:
		return exitError
	case s.Brings.Refusals > 0:
		return exitRefused
	case detailed && s.Brings.Changes > 0:
		return exitChanges
	}
	return exitOK
}

// fleetCode returns the exit code of a fleet plan: the most severe of its nodes.
func fleetCode(f nf.FleetPlan, detailed bool) int {
	code := exitOK
	for _, n := range f.Nodes {
		if n.Error != "" {
			code = severest(code, exitError)
		}
		if n.Plan != nil {
			code = severest(code, planCode(*n.Plan, detailed))
		}
	}
	return code
}
