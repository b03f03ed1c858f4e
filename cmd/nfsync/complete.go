package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

type completer = func(verb *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective)

// completeWords completes the one argument of a verb, or a flag, with these words.
func completeWords(words func() []string) completer {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return words(), cobra.ShellCompDirectiveNoFileComp
	}
}

// described returns the words of a map, sorted, with the descriptions that it has of them.
func described(descriptions map[string]string) []string {
	var list []string
	for _, word := range slices.Sorted(maps.Keys(descriptions)) {
		list = append(list, cobra.CompletionWithDesc(word, descriptions[word]))
	}
	return list
}

// completeNothing is for a verb without arguments: a shell would offer files.
func completeNothing(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// completePolicies completes with directories and the files that may hold policies.
func completePolicies(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// completePath is completePolicies for a verb that takes one path.
func completePath(verb *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return completeNothing(verb, args, typed)
	}
	return completePolicies(verb, args, typed)
}

// completeDirectory completes the one argument of a verb with directories.
func completeDirectory(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// completeList completes the last word of a list with commas, with the words that are not in it.
func completeList(words ...string) completer {
	return func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		before := typed[:strings.LastIndex(typed, ",")+1]
		given := strings.Split(before, ",")
		var list []string
		for _, w := range words {
			if !slices.Contains(given, w) {
				list = append(list, before+w)
			}
		}
		return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

// completeFlags completes the values of the flags of all verbs. A function or mark fails to
// be registered only for a flag that does not exist.
func (a *app) completeFlags(root *cobra.Command) {
	fixed := func(words ...string) completer {
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return words, cobra.ShellCompDirectiveNoFileComp
		}
	}
	byName := map[string]completer{
		"log-format": fixed(logText, logJSON),
		"color":      fixed(colorAuto, colorAlways, colorNever),
		"runtime":    completeList(nf.RuntimeVZ, nf.RuntimeNetns),
		"node":       fixed(),
		"label":      fixed(),
	}
	for name, complete := range byName {
		_ = root.RegisterFlagCompletionFunc(name, complete)
	}
	for _, name := range []string{"state-dir", "run-dir", "root", "netns-dir", "vz-root"} {
		_ = root.MarkPersistentFlagDirname(name)
	}
	_ = root.MarkPersistentFlagFilename("config", "yaml", "yml")
	for _, verb := range root.Commands() {
		if verb.Flags().Lookup("verify") != nil {
			_ = verb.RegisterFlagCompletionFunc("verify", fixed(spec.VerifyNone, spec.VerifyTip, spec.VerifyAll))
			for _, name := range []string{"git", "branch", "tag", "commit", "path", "accept", "timeout", "max-pack-size", "user"} {
				_ = verb.RegisterFlagCompletionFunc(name, fixed())
			}
		}
		if verb.Flags().Lookup("target") != nil {
			_ = verb.RegisterFlagCompletionFunc("target", a.completeTarget)
		}
		if verb.Flags().Lookup("key") != nil {
			_ = verb.RegisterFlagCompletionFunc("key", completeKey)
		}
		if verb.Flags().Lookup("nodes-from") != nil {
			_ = verb.RegisterFlagCompletionFunc("nodes-from", fixed())
			_ = verb.RegisterFlagCompletionFunc("nodes-branch", fixed())
		}
		if verb.Flags().Lookup("snapshot") != nil {
			_ = verb.MarkFlagFilename("snapshot", "yaml", "yml", "json")
		}
	}
}

// completeDirs completes the one argument of a verb with directories.
func completeDirs(verb *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return completeNothing(verb, args, typed)
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}
