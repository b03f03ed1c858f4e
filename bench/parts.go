package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"nfsync.dev/nfsync/bench/bare"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/host"
	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// partVerb is the first argument of this program when it runs a part of nfsync in its own process,
// and prints what that has taken.
const partVerb = "part"

// runPart runs a part of nfsync.
func runPart(name string, args []string) error {
	if part, ok := talkParts[name]; ok {
		return runTalk(part, args)
	}
	policies, err := policiesAt(args[0])
	if err != nil {
		return err
	}
	var own bare.Own
	switch name {
	case "observe": // POLICIES
		own, err = observeOnce(policies)
	case "plan": // POLICIES SNAPSHOT
		own, err = planOnce(policies, args[1])
	case "recheck", "look": // POLICIES: once, and then again for each line of standard input
		again, err := recheck(policies, name == "look")
		if err != nil {
			return err
		}
		return bare.Serve(again, os.Stdin, os.Stdout)
	default:
		err = fmt.Errorf("nfsync has no part %s", name)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(own)
}

// policiesAt returns the policies of a path.
func policiesAt(path string) (spec.Policies, error) {
	read, err := spec.ReadDir(path)
	if err != nil {
		return nil, err
	}
	policies, wrong := spec.Parse(read.Files)
	if wrong = append(read.Diagnostics, wrong...); len(wrong) > 0 {
		return nil, fmt.Errorf("%s", wrong[0])
	}
	return policies, nil
}

// nodeConfig describes the node of the scenes.
func nodeConfig() host.Config {
	return host.Config{NodeName: nodeName, FS: kernel.FS{Proc: "/proc", Sys: "/sys", Root: "/"},
		Runtimes: []string{nf.RuntimeNetns}, NetnsDir: netnsDir, NodeNetns: nodeFile}
}

// observeOnce lists the containers and observes what the policies ask, as a plan does.
func observeOnce(policies spec.Policies) (bare.Own, error) {
	ctx, m := context.Background(), host.New(nodeConfig())
	var listed nf.Snapshot
	list, err := bare.Timed(func() error {
		var err error
		listed, err = m.List(ctx)
		return err
	})
	if err != nil {
		return bare.Own{}, err
	}
	ask := diff.Ask(policies.Resolve(&listed))
	observe, err := bare.Timed(func() error {
		_, err := m.Observe(ctx, listed, ask)
		return err
	})
	return bare.Own{Wall: list.Wall + observe.Wall, CPU: list.CPU + observe.CPU}, err
}

// recheck returns the function by which a running agent looks for drift. It reads the values of the
// containers again through files that are open and, if whole is set, does all that a lap observes:
// it lists the containers anew and reads the node's own facts too.
func recheck(policies spec.Policies, whole bool) (func() error, error) {
	config := nodeConfig()
	config.Cache = host.NewCache()
	ctx, m := context.Background(), host.New(config)
	var s nf.Snapshot
	var ask nf.Ask
	look := func() (err error) {
		if s, err = m.List(ctx); err == nil {
			ask = diff.Ask(policies.Resolve(&s))
			s, err = m.Observe(ctx, s, ask)
		}
		return err
	}
	values := func() error {
		m.ObserveContainers(ctx, &s, ask)
		return nil
	}
	if whole {
		return look, look()
	}
	return values, look()
}

// planOnce plans from the facts of a snapshot that is in memory.
func planOnce(policies spec.Policies, snapshot string) (bare.Own, error) {
	text, err := os.ReadFile(snapshot)
	if err != nil {
		return bare.Own{}, err
	}
	s, wrong := spec.ParseSnapshot(spec.File{Name: snapshot, Data: text})
	if len(wrong) > 0 {
		return bare.Own{}, fmt.Errorf("%s", wrong[0])
	}
	return bare.Timed(func() error {
		_, err := apply.Plan(context.Background(), apply.Question{Facts: apply.Recorded(s), Wants: policies.Resolve})
		return err
	})
}
