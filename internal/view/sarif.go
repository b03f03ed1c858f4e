package view

import (
	"net/url"
	"path"
	"strings"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// FormatSARIF is the Static Analysis Results Interchange Format, version 2.1.0.
const FormatSARIF = "sarif"

// The parts of a SARIF log that nfsync writes, by their names in the standard.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name  string      `json:"name"`
		Rules []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string    `json:"id"`
		Name             string    `json:"name"`
		ShortDescription sarifText `json:"shortDescription"`
		FullDescription  sarifText `json:"fullDescription"`
		Help             sarifHelp `json:"help"`
		Configuration    struct {
			Level string `json:"level"`
		} `json:"defaultConfiguration"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifHelp struct {
		Text     string `json:"text"`
		Markdown string `json:"markdown"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints"`
		Baseline     string            `json:"baselineState,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysicalLocation `json:"physicalLocation"`
	}
	sarifPhysicalLocation struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI  string `json:"uri"`
		Base string `json:"uriBaseId,omitempty"`
	}
	sarifRegion struct {
		Line   int `json:"startLine"`
		Column int `json:"startColumn"`
	}
)

const (
	sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
	// sarifFingerprint is the one that GitHub compares with those of earlier runs.
	sarifFingerprint = "primaryLocationLineHash"
)

var sarifLevels = map[severity]string{severityError: "error", severityWarning: "warning", severityNotice: "note"}

// encodeSARIF returns the findings but for plain changes, which are nothing to mend.
func encodeSARIF(o outline, opt Options) ([]byte, error) {
	run := sarifRun{Tool: sarifTool{sarifDriver{Name: "nfsync", Rules: []sarifRule{}}}, ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	rules := map[string]int{}
	for _, f := range findings(o, opt) {
		if f.isChange() {
			continue
		}
		i, known := rules[f.rule]
		if !known {
			i = len(rules)
			rules[f.rule] = i
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRuleOf(f))
		}
		text := f.message
		if f.advice != "" {
			text += "\n" + f.advice
		}
		at := f.somewhere(opt)
		run.Results = append(run.Results, sarifResult{
			RuleID: f.rule, RuleIndex: i, Level: sarifLevels[f.severity], Message: sarifText{noLinks(text)}, Baseline: f.since,
			Locations:    []sarifLocation{{sarifPhysicalLocation{artifact(at.File), sarifRegion{at.Line, at.Column}}}},
			Fingerprints: map[string]string{sarifFingerprint: f.id + ":1"},
		})
	}
	return encodeJSON(sarifLog{sarifSchema, "2.1.0", []sarifRun{run}})
}

// noLinks returns a message in which nothing is a link: [text](target) is one also in plain text.
func noLinks(s string) string { return strings.ReplaceAll(s, "](", "] (") }

// artifact returns the location of a file: below the root of the repository unless its path is absolute.
func artifact(file string) sarifArtifact {
	if path.IsAbs(file) {
		return sarifArtifact{URI: (&url.URL{Scheme: "file", Path: file}).String()}
	}
	return sarifArtifact{(&url.URL{Path: file}).String(), "%SRCROOT%"}
}

// sarifRuleOf returns the rule of a finding, with the texts of nfsync explain.
func sarifRuleOf(f finding) sarifRule {
	e := explainedRule(f.rule)
	r := sarifRule{ID: f.rule, Name: pascal(f.rule), ShortDescription: sarifText{e.Meaning}, FullDescription: sarifText{strings.TrimSpace(e.Meaning + " " + e.Cause)}}
	help := []paragraph{{"Cause", e.Cause}, {"Remedy", e.Remedy}, {"Example", e.Example}}
	r.Help = sarifHelp{e.Meaning, markdownProse(e.Meaning)}
	for _, p := range help {
		if p.text != "" {
			r.Help.Text += "\n" + p.label + ": " + p.text
			r.Help.Markdown += "\n\n**" + p.label + "**: " + markdownProse(p.text)
		}
	}
	r.Configuration.Level = sarifLevels[f.severity]
	return r
}

// pascal returns a rule's name as the standard wants it: LevelInUse for level-in-use.
func pascal(rule string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(rule, "-") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}

// findingTexts explain the rules of findings about changes, and about snapshots that cannot be relied on.
var findingTexts = map[string]Sense{
	ruleRestart:    {Meaning: "A container is restarted.", Cause: "Its saved level is brought live only by a restart, and its policy has restart: allow.", Remedy: "none needed; restart: stage saves the level and leaves the restart to you"},
	ruleOneWay:     {Meaning: "A change cannot be taken back.", Cause: "The rules would refuse its inverse.", Remedy: "none needed; nfsync makes it after all others of its target"},
	ruleDisruptive: {Meaning: "A change interrupts something.", Cause: "What it unloads or resets is in use until then.", Remedy: "apply it when that does no harm"},
	snapshotRule + string(nf.SnapshotStale): {Meaning: "A snapshot is too old to be relied on.", Cause: "The node has not published one for a while.",
		Remedy: "take a new one with nfsync snapshot; --max-age and --allow-stale take older ones"},
	snapshotRule + string(nf.SnapshotMissing): {Meaning: "An expected node has no snapshot.", Cause: "The list of expected nodes names a node of which no snapshot was read.",
		Remedy: "take one with nfsync snapshot, or take the node out of the list"},
	snapshotRule + string(nf.SnapshotUnreadable): {Meaning: "A snapshot cannot be read.", Cause: "The file is damaged, or is no NodeSnapshot.", Remedy: "take a new one with nfsync snapshot"},
}

// FindingRules lists the rules of findings that are no refusals, warnings or errors of files.
func FindingRules() []string {
	return []string{ruleRestart, ruleOneWay, ruleDisruptive, snapshotRule + string(nf.SnapshotStale), snapshotRule + string(nf.SnapshotMissing), snapshotRule + string(nf.SnapshotUnreadable)}
}

// ExplainFinding returns the explanation of one of FindingRules.
func ExplainFinding(rule string) Explanation {
	s := findingTexts[rule]
	s.Topic = TopicFinding
	return Explanation{Word: rule, Sense: s}
}

// ExplainSnapshot returns the explanation of a snapshot's state.
func ExplainSnapshot(state nf.SnapshotState) Explanation {
	s, reported := findingTexts[snapshotRule+string(state)]
	if !reported {
		s.Meaning = "The snapshot can be relied on."
	}
	s.Topic = TopicSnapshot
	return Explanation{Word: string(state), Sense: s}
}

// explainedRule returns the explanation of a finding's rule.
func explainedRule(rule string) Explanation {
	if e, ok := diff.Explain(nf.Code(rule)); ok {
		return ExplainRefusal(e)
	}
	if e, ok := diff.ExplainWarning(rule); ok {
		return ExplainWarning(e)
	}
	if e, ok := spec.ExplainRule(rule); ok {
		return ExplainRule(e)
	}
	e := ExplainFinding(rule)
	if e.Meaning == "" {
		e.Meaning = rule
	}
	return e
}
