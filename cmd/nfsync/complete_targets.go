package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/openfile"
	"nfsync.dev/nfsync/internal/spec"
)

// completeWait is how long a shell waits for the names of containers.
const completeWait = 3 * time.Second

// completeTarget completes --target: node, container/NAME or, once a runtime is typed, RUNTIME/NAME.
func (a *app) completeTarget(verb *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	kind, _, _ := strings.Cut(typed, "/")
	list := []string{nf.TargetNode}
	for _, c := range a.containers(verb) {
		if c.Runtime == kind {
			list = append(list, c.Runtime+"/"+targetName(c))
			continue
		}
		list = append(list, nf.TargetContainer+"/"+targetName(c))
	}
	return offered(list), cobra.ShellCompDirectiveNoFileComp
}

// completeShown completes the target of show, of which a name alone will do.
func (a *app) completeShown(verb *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	switch {
	case len(args) > 0:
		return completeNothing(verb, args, typed)
	case strings.Contains(typed, "/"):
		return a.completeTarget(verb, args, typed)
	}
	list := []string{nf.TargetNode}
	for _, c := range a.containers(verb) {
		list = append(list, targetName(c))
	}
	return offered(list), cobra.ShellCompDirectiveNoFileComp
}

// completeKey completes --key.
func completeKey(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	list := []string{string(nf.KeyLevel), string(nf.KeyMax), string(nf.KeyBuckets), string(nf.KeyExpectMax), string(nf.ModuleKey("*")), string(nf.SysctlKey("*")), string(nf.TimeoutKey("*"))}
	for _, name := range nf.TimeoutNames() {
		list = append(list, string(nf.TimeoutKey(name)))
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}

// containers lists those of this node or, if the command line names snapshots, those of them. What
// cannot be read has none: a shell shows no errors.
func (a *app) containers(verb *cobra.Command) []nf.Container {
	quiet := *a
	quiet.stderr = io.Discard
	names, err := verb.Flags().GetStringArray("snapshot")
	if err == nil && len(names) > 0 {
		return recordedContainers(names)
	}
	if quiet.configure(true) != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(verb.Context(), completeWait)
	defer cancel()
	listed, err := quiet.machine(quiet.host()).List(ctx)
	if err != nil {
		return nil
	}
	return listed.Containers
}

// recordedContainers lists the containers of snapshots. Standard input is not read: the shell has it.
func recordedContainers(names []string) (list []nf.Container) {
	var fleet fleetOptions
	if slices.ContainsFunc(names, func(name string) bool { return openfile.IsStream(inputPath(name)) }) || fleet.find(names) != nil {
		return nil
	}
	for _, name := range fleet.files {
		file, err := fleet.read(name)
		if err != nil {
			continue
		}
		for d := range spec.Documents(file) {
			s, _ := d.Snapshot()
			list = append(list, s.Containers...)
		}
	}
	return list
}

// targetName returns the name of a container as a pattern that matches it, or its id.
func targetName(c nf.Container) string {
	name := c.Name
	if name == "" {
		name = c.ID
	}
	return nf.EscapePattern(name)
}

// offered returns what a shell can be offered, each once: it takes a line for a word, and what follows
// a tab for its description.
func offered(list []string) []string {
	list = slices.DeleteFunc(list, func(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) })
	slices.Sort(list)
	return slices.Compact(list)
}
