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
	if s, ok := readDirectly(f.Data); ok {
		normalize(&s)
		return s, nil
	}
	return parseTree(f)
}

// parseTree reads a NodeSnapshot by way of its tree, and says where which error is.
func parseTree(f File) (nf.Snapshot, []Diagnostic) {
	found := &diagnostics{file: f.Name}
	r := newSnapshotReader(&diagnostics{file: f.Name})
	root := readDocument(f, entries{containersKey, r.take}, found)
	if root != nil && isSnapshot(root, found) {
		r.read(root)
		found = r.b.found
	}
	if found.count() > 0 {
		return nf.Snapshot{}, found.sorted()
	}
	normalize(&r.s)
	return r.s, nil
}

// containersKey is the key of the containers in a snapshot, which are read one by one.
const containersKey = "containers"

// snapshotReader reads a snapshot: its containers first, which may be many, then the rest.
type snapshotReader struct {
	b          binder
	s          nf.Snapshot
	containers []nf.Container
	ids        lines
}

func newSnapshotReader(found *diagnostics) *snapshotReader {
	return &snapshotReader{b: binder{found: found, fieldsOf: map[reflect.Type][]jsonField{}}, ids: lines{}}
}

// take reads a container.
func (r *snapshotReader) take(i int, entry *node) {
	if c := r.b.container(i, entry, r.ids); r.b.found.count() == 0 {
		r.containers = append(r.containers, c)
	}
}

// takeAll reads the containers of a document, and removes them from it.
func (r *snapshotReader) takeAll(root *node) {
	if list := root.get(containersKey); list != nil && list.kind == nodeList {
		for i := range list.items {
			r.take(i, &list.items[i])
		}
		list.items = nil
	}
}

// read reads the rest.
func (r *snapshotReader) read(root *node) {
	r.b.bind(nil, root, reflect.ValueOf(&r.s).Elem())
	r.s.Containers = r.containers
	checkSnapshot(&r.b, root, &r.s)
}

// container reads one container. ids are the lines of those before it.
func (b *binder) container(i int, entry *node, ids lines) (c nf.Container) {
	list := document.key(containersKey)
	path := list.item(i)
	b.bind(path, entry, reflect.ValueOf(&c).Elem())
	b.unique(list, entry, ids, "runtime", "id")
	b.uniqueAll(path.key("facts"), entry.get("facts"), "key")
	if id := entry.get("id"); id != nil && id.kind == nodeText && id.text == "" {
		b.wrong(RuleEmptyValue, id, path.key("id"), "the id of a container")
	}
	return c
}

// isSnapshot reports whether a document is a NodeSnapshot. Of another one that is the
// only error.
func isSnapshot(root *node, found *diagnostics) bool {
	before := found.count()
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
	return found.count() == before
}

// checkSnapshot holds names to be there, and to be there once.
func checkSnapshot(b *binder, root *node, s *nf.Snapshot) {
	if name := root.get("node").get("name"); name != nil && s.Node.Name == "" && name.kind == nodeText {
		b.wrong(RuleEmptyValue, name, document.key("node").key("name"), "the name of a node")
	}
	b.uniqueAll(document.key("modules").key("list"), root.get("modules").get("list"), "name")
	b.uniqueAll(document.key("host").key("facts"), root.get("host").get("facts"), "key")
}

// normalize brings a snapshot that a person may have edited into the order
// that nf promises, and its values into the kinds of their keys.
func normalize(s *nf.Snapshot) {
	s.AddKeepers()
	slices.SortFunc(s.Modules.List, func(a, b nf.ModuleFact) int { return cmp.Compare(a.Name, b.Name) })
	nf.SortContainers(s.Containers)
	sortFacts(s.Host.Facts)
	for i := range s.Containers {
		sortFacts(s.Containers[i].Facts)
	}
	s.SetKinds()
}

func sortFacts(facts []nf.Fact) {
	slices.SortFunc(facts, func(a, b nf.Fact) int { return cmp.Compare(a.Key, b.Key) })
}
