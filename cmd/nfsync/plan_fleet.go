package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/openfile"
	"nfsync.dev/nfsync/internal/review"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

// fleetOptions are those of a plan for many nodes.
type fleetOptions struct {
	maxAge     time.Duration
	allowStale bool
	expect     string   // the file that names the nodes
	files      []string // of snapshots
	isFleet    bool
	stdin      *spec.File // what was read of it
}

func (o *fleetOptions) register(f *pflag.FlagSet) {
	f.DurationVar(&o.maxAge, "max-age", 24*time.Hour, "how old the snapshots of a fleet may be; 0: any age")
	f.BoolVar(&o.allowStale, "allow-stale", false, "older snapshots are no error")
	f.StringVar(&o.expect, "expect-nodes", "", "`file` with the names of the nodes that must have a snapshot, one a line")
}

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
	if name == openfile.Stdin && o.stdin != nil {
		return *o.stdin, nil
	}
	return readDocument(name)
}

func (a *app) checkFleet(o *planOptions) error {
	switch {
	case o.fleet.maxAge < 0:
		return usageError{errors.New("--max-age must not be negative")}
	case len(o.snapshots) == 0 && (o.fleet.expect != "" || a.flags.Changed("max-age") || o.fleet.allowStale):
		return usageError{errors.New("--max-age, --allow-stale and --expect-nodes are about snapshots: name them with --snapshot")}
	case !o.fleet.isFleet:
		return nil
	case a.flags.Changed("node"), a.flags.Changed("label"):
		return usageError{errors.New("--node and --label are of no use with many snapshots: each has its own")}
	case o.out != "":
		return usageError{errors.New("--out saves the plan of one node, for apply: name one snapshot")}
	}
	return nil
}

// planFleet plans for the nodes of many snapshots.
func (a *app) planFleet(ctx context.Context, o *planOptions, p policies) error {
	q := review.Question{Wants: p.Resolve, Revision: p.revision, Now: time.Now(), MaxAge: o.fleet.maxAge, AllowStale: o.fleet.allowStale}
	if o.fleet.expect != "" {
		names, err := readDocument(o.fleet.expect)
		if err != nil {
			return fmt.Errorf("cannot read the names of the nodes: %w", err)
		}
		q.Expect = review.Names(string(names.Data))
	}
	fleet, unused, err := review.Fleet(ctx, o.fleet.files, o.fleet.read, q)
	if err != nil {
		return err
	}
	if len(unused) > 0 {
		a.say(slog.LevelWarn, fmt.Sprintf("not used, since there is a newer snapshot of the same node: %s", nf.FirstFew(unused, maxUnread)), "")
	}
	return finish(fleetCode(fleet, o.detailed), view.FleetPlans.Write(a.stdout, a.format, fleet, a.viewOptions(a.stdout)))
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
