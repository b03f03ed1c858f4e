package main

import (
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

// A completer completes an argument of a verb, or the value of a flag. It changes nothing, asks no
// server but that of a fleet, and offers nothing where it cannot read something: a shell shows no errors.
type completer = func(verb *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective)

// described returns the words of a map, sorted, with the descriptions that it has of them.
func described(descriptions map[string]string) []string {
	var list []string
	for _, word := range slices.Sorted(maps.Keys(descriptions)) {
		if description := descriptions[word]; description != "" {
			word = cobra.CompletionWithDesc(word, description)
		}
		list = append(list, word)
	}
	return list
}

// completeNothing is for a verb without arguments, and for a value that nobody can guess: a
// shell would offer files.
func completeNothing(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// completeFile completes with any file.
func completeFile(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// completeDirectory completes with directories.
func completeDirectory(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// completePolicies completes with directories and the files that may hold policies.
func completePolicies(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// completeSnapshots completes with directories and the files that may hold snapshots.
func completeSnapshots(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt
}

// completeWords completes with the words of a map, and shows its descriptions.
func completeWords(descriptions map[string]string) completer {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return described(descriptions), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeOne is a completer for a verb that takes one argument.
func completeOne(complete completer) completer {
	return func(verb *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return completeNothing(verb, args, typed)
		}
		return complete(verb, args, typed)
	}
}

// completeList completes the last word of a list with commas, with the words that are not in it.
func completeList(descriptions map[string]string) completer {
	return func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		before := typed[:strings.LastIndex(typed, ",")+1]
		given := strings.Split(before, ",")
		list := map[string]string{}
		for word, description := range descriptions {
			if before != "" {
				description = "" // bash quotes a comma, and finds no described word that has one
			}
			if !slices.Contains(given, word) {
				list[before+word] = description
			}
		}
		return described(list), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

// runtimeWords describe the runtimes.
var runtimeWords = map[string]string{
	nf.RuntimeVZ: "containers of Virtuozzo 7", nf.RuntimeCRI: "pods of Kubernetes", nf.RuntimeDocker: "containers of Docker",
	nf.RuntimePodman: "containers and pods of Podman", nf.RuntimeIncus: "containers of Incus and LXD", nf.RuntimeLXC: "containers of LXC",
	nf.RuntimeNspawn: "machines of systemd-nspawn", nf.RuntimeNetns: "named network namespaces",
}

// flagCompleters returns what completes the values of the flags of all verbs, by their names.
func (a *app) flagCompleters() map[string]completer {
	return map[string]completer{
		"output":     completeOutput,
		"color":      completeWords(map[string]string{colorAuto: "on a terminal, without NO_COLOR", colorAlways: "also in a pipe", colorNever: "nowhere"}),
		"log-format": completeWords(map[string]string{logText: "for people", logJSON: "one JSON object a line"}),
		"verify": completeWords(map[string]string{spec.VerifyNone: "no commit must be signed", spec.VerifyTip: "the commit that is applied",
			spec.VerifyAll: "each commit since the one that was applied last"}),
		"runtime": completeList(runtimeWords),
		"ci":      completeList(map[string]string{ciGitHub: ciFiles[ciGitHub].path, ciGitLab: ciFiles[ciGitLab].path, ciNone: "no CI file"}),

		"servers":         a.completeConfigured(func() []string { return a.config.Fleet.Servers }),
		"coordinator-key": a.completeConfigured(func() []string { return []string{a.config.Fleet.CoordinatorKey} }),
		"channel":         a.completeChannel,
		"group":           a.completeFleetGroup,
		"revision":        a.completeFleetRevision,

		"node":   a.completeNode,
		"target": a.completeTarget,
		"key":    a.completeKey,
		"run":    a.completeTests,

		"git":          a.completeRepository(func() []string { return a.config.Source.URLs }),
		"nodes-from":   a.completeRepository(a.publishURLs),
		"nodes-branch": completeWords(map[string]string{nf.DefaultNodeBranch: "the default of publish.branch"}),
		"base":         completeWords(map[string]string{"HEAD": "the last commit: what is not committed is the change", "HEAD~1": "the commit before the last one"}),

		"confirm-within": completeWords(map[string]string{"60s": "a minute", "5m": "five minutes", "15m": "a quarter of an hour"}),
		"for":            completeWords(map[string]string{"30m": "half an hour", "2h": "two hours", "24h": "a day"}),
		"max-age":        completeWords(map[string]string{"1h": "an hour", "24h": "a day", "0": "any age"}),
		"timeout":        completeWords(map[string]string{"30s": "half a minute", "1m": "a minute", "5m": "five minutes"}),
		"max-pack-size":  completeWords(map[string]string{"256MiB": "the default", "1GiB": "a large repository"}),

		"config":   completePolicies,
		"policies": completePolicies, "base-path": completePolicies,
		"snapshot":  completeSnapshots,
		"state-dir": completeDirectory, "run-dir": completeDirectory, "root": completeDirectory, "netns-dir": completeDirectory, "vz-root": completeDirectory,
		"node-netns": completeFile, "out": completeFile, "expect-nodes": completeFile,
		"ssh-key": completeFile, "known-hosts": completeFile, "password-file": completeFile, "token-file": completeFile, "ca-file": completeFile,
		"keyring": completeFile, "allowed-signers": completeFile, "credentials": completeFile,

		// Nobody can guess these.
		"label": completeNothing, "branch": completeNothing, "tag": completeNothing, "commit": completeNothing, "accept": completeNothing,
		"path": completeNothing, "user": completeNothing, "reason": completeNothing, "name": completeNothing,
	}
}

// completeFlags completes the values of the flags of all verbs.
func (a *app) completeFlags(root *cobra.Command) {
	completers := a.flagCompleters()
	var walk func(*cobra.Command)
	walk = func(verb *cobra.Command) {
		flags := verb.Flags()
		if verb == root {
			flags = root.PersistentFlags()
		}
		flags.VisitAll(func(f *pflag.Flag) {
			if complete := completers[f.Name]; complete != nil && f.Value.Type() != "bool" {
				_ = verb.RegisterFlagCompletionFunc(f.Name, complete) // fails only for a flag that has one already
			}
		})
		for _, sub := range verb.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// formatTexts describe the formats of documents.
var formatTexts = map[string]string{
	view.FormatText: "for people", view.FormatJSON: "the document, for programs", view.FormatYAML: "the document, for programs",
	view.FormatMarkdown: "a comment on a merge request", view.FormatHTML: "one page that needs no other file", view.FormatSARIF: "for code scanning",
	view.FormatJUnit: "a test report", view.FormatGitHub: "annotations of GitHub Actions", view.FormatGitLab: "a Code Quality report of GitLab",
}

// completeOutput completes -o with the formats of the verb and, behind =, with files.
func completeOutput(verb *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if strings.Contains(typed, "=") {
		return completeFile(verb, args, typed)
	}
	var list []string
	for _, format := range formats(verb) {
		list = append(list, cobra.CompletionWithDesc(format, formatTexts[format]))
	}
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// completeRepository completes with the URLs of the configuration or, without any, with directories.
func (a *app) completeRepository(urls func() []string) completer {
	return func(verb *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		var list []string
		if a.silently(func(quiet *app) error { return quiet.configure(true) }) == nil {
			for _, u := range urls() {
				list = append(list, nf.PublicURL(u))
			}
		}
		if len(list) == 0 {
			return completeDirectory(verb, args, typed)
		}
		return printable(list), cobra.ShellCompDirectiveNoFileComp
	}
}

// publishURLs returns the repository to which the configuration publishes, if it does.
func (a *app) publishURLs() []string {
	if p := a.config.Publish; p != nil {
		return []string{p.URL}
	}
	return nil
}

// silently runs a part of the command that may say something on stderr.
func (a *app) silently(run func(*app) error) error {
	stderr := a.stderr
	defer func() { a.stderr = stderr }()
	a.stderr = io.Discard
	return run(a)
}
