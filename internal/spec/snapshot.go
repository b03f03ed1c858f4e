package spec

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// ParseSnapshot reads a NodeSnapshot, as JSON or YAML. Keys that this version
// does not know are left out; a value of the wrong kind is an error.
func ParseSnapshot(f File) (nf.Snapshot, []Diagnostic) {
	var s nf.Snapshot
	found := &diagnostics{file: f.Name}
	if root := readDocument(f, found); root != nil && isSnapshot(root, found) {
		b := &binder{found: found, fieldsOf: map[reflect.Type][]jsonField{}}
		b.bind("", root, reflect.ValueOf(&s).Elem())
		checkSnapshot(b, root, &s)
	}
	if found.count() > 0 {
		return nf.Snapshot{}, found.sorted()
	}
	normalize(&s)
	return s, nil
}

// isSnapshot reports whether a document is a NodeSnapshot. Of another one that is the
// only error.
func isSnapshot(root *node, found *diagnostics) bool {
	if root.kind != nodeMapping {
		found.add(RuleWrongKind, int(root.line), int(root.column), fmt.Sprintf("not a %s but %s", nf.KindNodeSnapshot, root), "")
		return false
	}
	for _, want := range []struct{ key, text string }{{"apiVersion", nf.APIVersion}, {"kind", nf.KindNodeSnapshot}} {
		switch value := root.get(want.key); {
		case value == nil:
			found.add(RuleMissingKey, int(root.line), int(root.column), fmt.Sprintf("missing key %q: this is not a %s", want.key, nf.KindNodeSnapshot), "")
		case value.kind != nodeText || value.text != want.text:
			found.add(RuleWrongKind, int(value.line), int(value.column), fmt.Sprintf("%s must be %s, not %s", want.key, want.text, value), "")
		}
	}
	return found.count() == 0
}

// checkSnapshot holds names to be there, and to be there once.
func checkSnapshot(b *binder, root *node, s *nf.Snapshot) {
	if name := root.get("node").get("name"); name != nil && s.Node.Name == "" && name.kind == nodeText {
		b.wrong(RuleEmptyValue, name, "node.name", "the name of a node")
	}
	b.unique("modules.list", root.get("modules").get("list"), "name")
	b.unique("host.facts", root.get("host").get("facts"), "key")
	containers := root.get("containers")
	b.unique("containers", containers, "runtime", "id")
	if containers == nil {
		return
	}
	for i := range containers.items {
		c := &containers.items[i]
		b.unique(fmt.Sprintf("containers[%d].facts", i), c.get("facts"), "key")
		if id := c.get("id"); id != nil && id.kind == nodeText && id.text == "" {
			b.wrong(RuleEmptyValue, id, fmt.Sprintf("containers[%d].id", i), "the id of a container")
		}
	}
}

// normalize brings a snapshot that a person may have edited into the order
// that nf promises, and its values into the kinds of their keys.
func normalize(s *nf.Snapshot) {
	s.AddKeepers()
	slices.SortFunc(s.Modules.List, func(a, b nf.ModuleFact) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Containers, func(a, b nf.Container) int {
		return cmp.Or(cmp.Compare(a.Runtime, b.Runtime), cmp.Compare(a.ID, b.ID))
	})
	sortFacts(s.Host.Facts)
	for i := range s.Containers {
		sortFacts(s.Containers[i].Facts)
	}
	s.SetKinds()
}

func sortFacts(facts []nf.Fact) {
	slices.SortFunc(facts, func(a, b nf.Fact) int { return cmp.Compare(a.Key, b.Key) })
}
