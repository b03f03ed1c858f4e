package spec

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"

	"nfsync.dev/nfsync/internal/nf"
)

// SavedPlan is a plan that was saved to a file, without its changes: apply plans again from
// the policies, for the same node, and the new plan must have the same id.
type SavedPlan struct {
	ID       string
	Node     string
	Revision string
	Files    []File
	// Edited reports whether the document is not what nfsync has saved: its digest does
	// not match.
	Edited bool
	shown  shownPlan
}

// shownPlan holds what a plan shows of its effect.
type shownPlan struct {
	Changes  any `json:"changes"`
	Refusals any `json:"refusals"`
	Pending  any `json:"pending"`
	Stuck    any `json:"stuck,omitempty"`
	Summary  any `json:"summary"`
}

// Shows reports whether the document shows a plan with the same effect as p: all but the
// causes, earlier failures and texts, which may hold counters.
func (s SavedPlan) Shows(p nf.Plan) bool {
	text, err := json.Marshal(p)
	if err != nil {
		return false
	}
	var now shownPlan
	if err := unmarshalNumbers(text, &now); err != nil {
		return false
	}
	return p.ID == s.ID && p.Node == s.Node && p.Revision == s.Revision && reflect.DeepEqual(now.withoutTexts(), s.shown.withoutTexts())
}

// withoutTexts removes from each entry what can differ between two plans of the same effect.
func (p shownPlan) withoutTexts() shownPlan {
	for _, list := range []any{p.Changes, p.Refusals, p.Pending, p.Stuck} {
		entries, _ := list.([]any)
		for _, e := range entries {
			if entry, ok := e.(map[string]any); ok {
				for _, text := range []string{"cause", "lastFailure", "reason", "remedy", "why", "reads"} {
					delete(entry, text)
				}
			}
		}
	}
	return p
}

// Digest returns the digest of a JSON document without its key digest, whatever its layout.
func Digest(document []byte) (string, error) {
	var keys map[string]any
	if err := unmarshalNumbers(document, &keys); err != nil {
		return "", err
	}
	delete(keys, "digest")
	canonical, err := json.Marshal(keys)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(canonical)), nil
}

// unmarshalNumbers is json.Unmarshal that keeps the digits of numbers.
func unmarshalNumbers(text []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(v)
}

type planDocument struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	ID         string `json:"id"`
	Node       string `json:"node"`
	Revision   string `json:"revision"`
	Digest     string `json:"digest"`
	Policies   []struct {
		File string  `json:"file"`
		Text *string `json:"text"` // may be empty, but not missing
	} `json:"policies"`
}

var planID = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// ParseSavedPlan reads a plan that was saved to a file: the Plan document with the
// policies that it was made from, as JSON. Nobody writes one by hand: it reports the first
// error only, and the place of one in the syntax or the type of a value. Unknown keys are
// allowed: a newer nfsync may have written them.
func ParseSavedPlan(f File) (SavedPlan, []Diagnostic) {
	found := &diagnostics{file: f.Name}
	text, ok := checkText(f.Data, maxJSONDocument, found)
	if !ok {
		return SavedPlan{}, found.list
	}
	var doc planDocument
	if err := json.Unmarshal(text, &doc); err != nil {
		line, column := jsonPlace(text, err)
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			found.add(RuleWrongType, line, column, fmt.Sprintf("%s: unexpected %s", place(wrong.Field), wrong.Value), "")
		} else {
			found.add(RuleSyntax, line, column, "not JSON: "+err.Error(), "")
		}
		return SavedPlan{}, found.list
	}
	if rule, message := doc.fault(); message != "" {
		found.add(rule, 1, 1, message, "save a plan with: nfsync plan --out FILE")
		return SavedPlan{}, found.list
	}
	plan := SavedPlan{ID: doc.ID, Node: doc.Node, Revision: doc.Revision}
	digest, err := Digest(text)
	plan.Edited = err != nil || digest != doc.Digest || unmarshalNumbers(text, &plan.shown) != nil
	for _, p := range doc.Policies {
		plan.Files = append(plan.Files, File{Name: p.File, Data: []byte(*p.Text)})
	}
	return plan, nil
}

// fault returns what a saved plan lacks, or holds twice; an empty message if nothing.
func (d *planDocument) fault() (rule Rule, message string) {
	switch {
	case d.APIVersion != nf.APIVersion:
		return RuleWrongKind, fmt.Sprintf("apiVersion must be %s, not %s", nf.APIVersion, quote(d.APIVersion))
	case d.Kind != nf.KindPlan:
		return RuleWrongKind, fmt.Sprintf("kind must be %s, not %s", nf.KindPlan, quote(d.Kind))
	case d.Policies == nil:
		return RuleMissingKey, "this plan holds no policies: it was printed, not saved"
	case !planID.MatchString(d.ID):
		return RuleInvalidValue, fmt.Sprintf("id must be sha256: and 64 hexadecimal digits, not %s", quote(d.ID))
	case d.Node == "":
		return RuleMissingKey, `missing key "node"`
	}
	seen := map[string]bool{}
	for i, p := range d.Policies {
		switch {
		case p.File == "":
			return RuleMissingKey, fmt.Sprintf(`missing key "file" in policies[%d]`, i)
		case p.Text == nil:
			return RuleMissingKey, fmt.Sprintf(`missing key "text" in policies[%d]`, i)
		case seen[p.File]:
			return RuleDuplicateName, fmt.Sprintf("policies[%d]: %s is already defined", i, quote(p.File))
		}
		seen[p.File] = true
	}
	return "", ""
}
