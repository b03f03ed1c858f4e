package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
	"nfsync.dev/nfsync/internal/words"
)

func explainCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "explain [WORD]",
		Short: "Explain a word of the output, or list all of them",
		Long: `Explain prints what a word of nfsync's output means, what causes it and what to
do. Of a key it prints the unit, and where the kernel keeps it. If a word has
several meanings, it prints all of them.

Without a word it lists those that it knows, by topic: the codes of refusals and
warnings, keys, levels, the rules of files, exit codes, the conditions of an
agent's status with their reasons, the causes and results of its laps, the
outcomes of changes, states, what doctor asks the kernel, and the glossary.`,
		Example: `  nfsync explain
  nfsync explain level-in-use
  nfsync explain conntrack.timeouts.tcpEstablished
  nfsync explain module/nf_conntrack
  nfsync explain FailedBefore
  nfsync explain rolled back
  nfsync explain 5`,
		Args:              cobra.ArbitraryArgs, // some words have a space in them
		Annotations:       prints(view.Explanations, view.Vocabulary),
		ValidArgsFunction: completeExplained,
		RunE:              withContext(a.explainWord),
	}
}

func (a *app) explainWord(_ context.Context, args []string) error {
	topics := explained()
	if len(args) == 0 {
		return show(a, exitOK, view.Vocabulary, words.Listed(topics))
	}
	word := strings.Join(args, " ")
	if e, ok := words.Explain(topics, word); ok {
		return show(a, exitOK, view.Explanations, e)
	}
	err := fmt.Errorf("%q is nothing that nfsync can explain", word)
	var known []string
	for _, e := range words.Typed(topics) {
		known = append(known, e.Word)
	}
	if near := spec.Closest(word, known); near != "" {
		return usageError{fmt.Errorf("%w: did you mean %s?", err, near)}
	}
	return hinted{err, "nfsync explain lists what it can"}
}

// explained lists the topics of explain, with the exit codes.
func explained() []words.Topic {
	return words.Topics(words.Topic{Topic: view.TopicExitCode, Words: explainedExits()})
}

// completeExplained completes the words of explain, each with what it is. Of one with spaces it
// completes the next part.
func completeExplained(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	before := strings.Join(slices.Concat(args, []string{""}), " ")
	kinds := map[string]string{} // by the part that is offered
	for _, e := range words.Typed(explained()) {
		rest, ok := strings.CutPrefix(e.Word, before)
		part, _, hasMore := strings.Cut(rest, " ")
		if _, known := kinds[part]; ok && !(known && hasMore) {
			kinds[part] = e.Topic.String()
		}
	}
	return described(kinds), cobra.ShellCompDirectiveNoFileComp
}
