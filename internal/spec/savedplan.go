package spec

import (
	"reflect"
	"regexp"

	"nfsync.dev/nfsync/internal/nf"
)

// SavedPlan is what apply needs of a plan that was saved to a file: for which
// node it was made, from which policies, and the id that a plan made anew must
// have.
type SavedPlan struct {
	ID       string
	Node     string
	Revision string
	Files    []File
}

type planDocument struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	ID         string       `json:"id"`
	Node       string       `json:"node"`
	Revision   string       `json:"revision"`
	Policies   []planPolicy `json:"policies"`
}

type planPolicy struct {
	File string `json:"file"`
	Text string `json:"text"`
}

var planID = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// ParseSavedPlan reads a plan that was saved to a file: the Plan document with
// the policies that it was made from.
func ParseSavedPlan(f File) (SavedPlan, []Diagnostic) {
	found := &diagnostics{file: f.Name}
	root := readDocument(f, found)
	if root == nil || !isKind(root, nf.KindPlan, found) {
		return SavedPlan{}, found.sorted()
	}
	if root.get("policies") == nil {
		found.add(RuleMissingKey, int(root.line), int(root.column), "this plan holds no policies: it was printed, not saved", "save a plan with: nfsync plan --out FILE")
		return SavedPlan{}, found.sorted()
	}
	var document planDocument
	b := newBinder(found)
	b.bind("", root, reflect.ValueOf(&document).Elem())
	if id := root.get("id"); id != nil && id.kind == nodeText && !planID.MatchString(id.text) {
		b.wrong(id, "id", "sha256: and 64 hexadecimal digits")
	}
	b.unique("policies", root.get("policies"), "file")
	if found.count() > 0 {
		return SavedPlan{}, found.sorted()
	}
	plan := SavedPlan{ID: document.ID, Node: document.Node, Revision: document.Revision}
	for _, p := range document.Policies {
		plan.Files = append(plan.Files, File{Name: p.File, Data: []byte(p.Text)})
	}
	return plan, nil
}
