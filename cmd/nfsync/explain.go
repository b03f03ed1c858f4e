package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

func explainCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "explain WORD",
		Short: "Explain a word of the output: a code, a key, a rule",
		Long: `Explain prints what a word of nfsync's output means, what causes it and what to
do. Of a key it prints the unit, and where the kernel keeps it.

The codes of refusals:
` + columns(codes()) + `

The keys, as plans name them:
` + columns(keys) + `

The codes of warnings:
` + columns(warnings()) + `

The levels:
` + columns(nf.LevelNames()) + `

The rules of files, as validate names them:
` + columns(rules()) + `

The conditions of an agent's status:
` + columns(conditions()) + `

The exit codes: ` + strings.Join(exitCodes(), ", "),
		Example: `  nfsync explain level-in-use
  nfsync explain conntrack.max
  nfsync explain conntrack.timeouts.tcpEstablished
  nfsync explain module/nf_conntrack
  nfsync explain no-longer-wanted
  nfsync explain duplicate-key
  nfsync explain 5`,
		Args:              argCount(1, 1, "a code, a key, a warning, a level, a rule, a condition or an exit code"),
		Annotations:       prints(view.Explanations),
		ValidArgsFunction: completeWords(explainable),
		RunE:              withContext(a.explainWord),
	}
}

func (a *app) explainWord(_ context.Context, args []string) error {
	word := args[0]
	if e, ok := explanation(word); ok {
		return show(a, exitOK, view.Explanations, e)
	}
	err := fmt.Errorf("%q is nothing that nfsync can explain", word)
	if near := spec.Closest(word, explainable()); near != "" {
		err = fmt.Errorf("%w: did you mean %s?", err, near)
	}
	return usageError{err}
}

// explanation returns the explanation of a word. One that is a refusal's code and a rule of files
// (conflict) is explained as the code.
func explanation(word string) (view.Explanation, bool) {
	if e, ok := diff.Explain(nf.Code(word)); ok {
		return view.ExplainRefusal(e), true
	}
	if e, ok := diff.ExplainKey(word); ok {
		return view.ExplainKey(e), true
	}
	if e, ok := diff.ExplainWarning(word); ok {
		return view.ExplainWarning(e), true
	}
	if e, ok := diff.ExplainLevel(word); ok {
		return view.ExplainLevel(e), true
	}
	if e, ok := spec.ExplainRule(word); ok {
		return view.ExplainRule(e), true
	}
	if c, ok := agent.ExplainCondition(word); ok {
		return view.Explanation{Word: word, Topic: view.TopicCondition, Meaning: c.Meaning, Cause: c.Cause, Remedy: c.Remedy}, true
	}
	return explainExit(word)
}

// explainable lists the words that explain knows, sorted, but for those with a NAME in them.
func explainable() []string {
	words := slices.Concat(codes(), warnings(), nf.LevelNames(), rules(), conditions(), exitCodes())
	for _, k := range keys {
		if !strings.Contains(k, "NAME") {
			words = append(words, k)
		}
	}
	for _, name := range nf.TimeoutNames() {
		words = append(words, string(nf.TimeoutKey(name)))
	}
	return slices.Compact(slices.Sorted(slices.Values(words)))
}

// keys are the keys, as plans name them.
var keys = []string{
	string(nf.KeyLevel), string(nf.KeyAboveLevel), "module/NAME", string(nf.KeyMax), string(nf.KeyBuckets), string(nf.KeyExpectMax),
	"conntrack.timeouts.NAME", "conntrack.sysctls.NAME", string(nf.KeyRestart),
}

func codes() []string {
	var list []string
	for _, c := range nf.Codes() {
		list = append(list, string(c))
	}
	return list
}

func warnings() []string {
	var list []string
	for _, w := range diff.Warnings() {
		list = append(list, w.Code)
	}
	return list
}

func conditions() []string {
	var list []string
	for _, t := range nf.ConditionTypes() {
		list = append(list, string(t))
	}
	return list
}

func rules() []string {
	var list []string
	for _, r := range spec.Rules() {
		list = append(list, string(r.Rule))
	}
	return list
}

// columns lists words below each other, three in a row.
func columns(words []string) string {
	var b strings.Builder
	for row := range slices.Chunk(words, 3) {
		last := len(row) - 1
		for _, w := range row[:last] {
			fmt.Fprintf(&b, "  %-22s", w)
		}
		fmt.Fprintf(&b, "  %s\n", row[last])
	}
	return strings.TrimSuffix(b.String(), "\n")
}
