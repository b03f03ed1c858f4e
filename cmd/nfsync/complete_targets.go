package main

import (
	"context"
	"io"
	"iter"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/openfile"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
	"nfsync.dev/nfsync/internal/words"
)

// completeWait is how long a shell waits for the names of containers.
const completeWait = 3 * time.Second

// completeTarget completes --target: node, container/NAME or, once a runtime is typed, RUNTIME/NAME.
func (a *app) completeTarget(verb *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	kind, _, _ := strings.Cut(typed, "/")
	list := map[string]string{nf.TargetNode: nodeTargetText}
	for _, c := range a.containers(verb) {
		within := nf.TargetContainer
		if c.Runtime == kind {
			within = c.Runtime
		}
		list[within+"/"+targetName(c)] = containerText(c)
	}
	return printable(described(list)), cobra.ShellCompDirectiveNoFileComp
}

// nodeTargetText describes the node as a target.
const nodeTargetText = "the node itself"

// containerText describes a container.
func containerText(c nf.Container) string {
	text := c.Runtime
	if c.Name != "" && c.Name != c.ID {
		text += " " + c.ID
	}
	return text + ", " + c.State
}

// completeShown completes the target of show, of which a name alone will do.
func (a *app) completeShown(verb *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if strings.Contains(typed, "/") {
		return a.completeTarget(verb, args, typed)
	}
	list := map[string]string{nf.TargetNode: nodeTargetText}
	for _, c := range a.containers(verb) {
		list[targetName(c)] = containerText(c)
	}
	return printable(described(list)), cobra.ShellCompDirectiveNoFileComp
}

// completeKey completes --key: the keys, and patterns of them. Of modules it offers the loaded ones.
func (a *app) completeKey(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	list := map[string]string{
		string(nf.ModuleKey("*")): "every module", string(nf.SysctlKey("*")): "every sysctl that has no key of its own", string(nf.TimeoutKey("*")): "every timeout",
	}
	for _, e := range words.Typed(words.Topics()) {
		if _, ok := nf.Key(e.Word).Timeout(); ok || e.Topic == view.TopicKey && e.Word != string(nf.KeyRestart) {
			list[e.Word] = firstSentence(e.Meaning)
		}
	}
	if strings.HasPrefix(typed, string(nf.ModuleKey(""))) {
		for _, name := range a.host().FS.LoadedModules() {
			list[string(nf.ModuleKey(name))] = "is loaded"
		}
	}
	return printable(described(list)), cobra.ShellCompDirectiveNoFileComp
}

// firstSentence returns what a description has room for.
func firstSentence(text string) string {
	first, _, _ := strings.Cut(text, ". ")
	first, _, _ = strings.Cut(first, ": ")
	return strings.TrimSuffix(first, ".")
}

// completeNode completes --node with the nodes of the snapshots that the command line names.
func (a *app) completeNode(verb *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var list []string
	names, _ := verb.Flags().GetStringArray("snapshot") // a verb without the flag has none
	for s := range recorded(names) {
		list = append(list, s.Node.Name)
	}
	return printable(list), cobra.ShellCompDirectiveNoFileComp
}

// completeTests completes --run with the names of the tests below the directory that is named.
func (a *app) completeTests(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var list []string
	for _, dir := range args {
		read, err := spec.ReadDir(dir)
		if err != nil {
			continue
		}
		all, _ := spec.ParseAll(read.Files)
		for _, t := range all.Tests {
			list = append(list, "^"+regexp.QuoteMeta(t.Source.Name)+"$")
		}
	}
	return printable(list), cobra.ShellCompDirectiveNoFileComp
}

// completeReceipt completes the id of a receipt, the newest first. Those of another user are not
// offered.
func (a *app) completeReceipt(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	stored, err := apply.ListReceipts(a.stateDir)
	list := []string{cobra.CompletionWithDesc(apply.LatestReceipt, "the newest one")}
	if err != nil {
		return list, cobra.ShellCompDirectiveNoFileComp
	}
	for _, r := range stored.Receipts {
		list = append(list, cobra.CompletionWithDesc(r.ID, r.StartedAt.UTC().Format(time.DateTime)+" UTC, "+string(r.Verdict)))
	}
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// completeForgotten completes with the keys that can be forgotten: those that memory has and no policy of
// the last good revision asks for.
func (a *app) completeForgotten(verb *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	list := map[string]string{}
	quiet := *a
	quiet.stderr = io.Discard
	dir, err := state.Look(a.stateDir)
	if err != nil || quiet.configure(true) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(verb.Context(), completeWait)
	defer cancel()
	memory, err := dir.Memory()
	wanted, wantsErr := quiet.lastWanted(ctx, dir)
	if err != nil || wantsErr != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, k := range memory.Keys {
		list[string(k.Key)] = "last asked: " + k.Asked.String()
	}
	for _, k := range memory.Keys {
		if wanted != nil && wanted(k.Target, k.Key) != nil || slices.Contains(args, string(k.Key)) {
			delete(list, string(k.Key))
		}
	}
	return printable(described(list)), cobra.ShellCompDirectiveNoFileComp
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

// recordedContainers lists the containers of snapshots.
func recordedContainers(names []string) (list []nf.Container) {
	for s := range recorded(names) {
		list = append(list, s.Containers...)
	}
	return list
}

// recorded yields the snapshots of files. Standard input is not read: the shell has it.
func recorded(names []string) iter.Seq[nf.Snapshot] {
	return func(yield func(nf.Snapshot) bool) {
		var fleet fleetOptions
		if len(names) == 0 || slices.ContainsFunc(names, func(name string) bool { return openfile.IsStream(inputPath(name)) }) || fleet.find(names) != nil {
			return
		}
		for _, name := range fleet.files {
			file, err := fleet.read(name)
			if err != nil {
				continue
			}
			for d := range spec.Documents(file) {
				if s, _ := d.Snapshot(); !yield(s) {
					return
				}
			}
		}
	}
}

// targetName returns the name of a container as a pattern that matches it, or its id.
func targetName(c nf.Container) string {
	name := c.Name
	if name == "" {
		name = c.ID
	}
	return nf.EscapePattern(name)
}

// printable returns what a shell can be offered, each once: it takes a line for a word, and what follows
// the first tab for its description.
func printable(list []string) []string {
	list = slices.DeleteFunc(list, func(s string) bool {
		return strings.ContainsFunc(strings.Replace(s, "\t", "", 1), unicode.IsControl)
	})
	slices.Sort(list)
	return slices.Compact(list)
}
