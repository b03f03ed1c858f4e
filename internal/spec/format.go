package spec

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/internal/nf"
)

// Format returns the text of a file of policies, or of nfsync's other kinds, in the one layout:
// two spaces of indentation, the keys in the order of the documentation, quotes only where they
// are needed. Comments, single blank lines and collections in brackets that fit into a line stay
// as their author wrote them. With a diagnostic there is no text.
func Format(f File) ([]byte, []Diagnostic) {
	found := &diagnostics{file: f.Name}
	text, ok := checkText(f.Data, maxPolicyFile, found)
	if !ok {
		return nil, found.sorted()
	}
	found.secret = mayHoldSecrets(text)
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	documents := decodeYAML(text, found)
	for _, n := range documents {
		vetLayout(n, text, found)
	}
	var out []byte
	if found.count() == 0 {
		out = layOut(text, documents, found)
	}
	if found.count() == 0 && !sameContent(text, out) {
		found.add(RuleSyntax, 1, 1, "nfsync cannot lay this file out without a change of what it says: it is left as it is", "write the file in a simpler form")
	}
	if found.count() == 0 {
		return out, nil
	}
	list := found.sorted()
	if !found.secret {
		AddText(list, f)
	}
	return nil, list
}

// vetLayout reports what keeps a document from being laid out: that it is not one of nfsync's, or
// what is forbidden in all of them. Unknown keys and wrong values do not.
func vetLayout(n *yaml.Node, text []byte, found *diagnostics) {
	p := newParser(text, found)
	p.hidesScalars = found.secret
	version, _ := textOf(n, "apiVersion")
	if kindOf(n) == kindOther && !strings.HasPrefix(version, "nfsync.dev/") {
		p.other(n)
		return
	}
	p.nulls = kindOf(n) == nf.KindNodeSnapshot
	p.vet(n, 1)
}

// layOut lays out the documents of a text.
func layOut(text []byte, documents []*yaml.Node, found *diagnostics) []byte {
	s := newLayoutScanner(text, found)
	sections := s.sections(documents)
	w := layoutWriter{blocks: s.blocks, quoted: s.quoted}
	for _, section := range sections {
		w.section(section)
	}
	return w.bytes()
}

// sameContent reports whether two texts have the same documents and the same comments. The order
// of keys and comments does not count.
func sameContent(a, b []byte) bool {
	var found diagnostics
	before, after := decodeYAML(a, &found), decodeYAML(b, &found)
	return found.count() == 0 && slices.EqualFunc(before, after, sameNode) && slices.Equal(commentsOf(a, before), commentsOf(b, after))
}

// sameNode reports whether two nodes have the same value.
func sameNode(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || a.Tag != b.Tag || len(a.Content) != len(b.Content) || a.Kind == yaml.ScalarNode && a.Value != b.Value && a.Tag != "!!null" {
		return false
	}
	if a.Kind != yaml.MappingNode {
		return slices.EqualFunc(a.Content, b.Content, sameNode)
	}
	return slices.EqualFunc(sortedPairs(a), sortedPairs(b), func(x, y [2]*yaml.Node) bool { return sameNode(x[0], y[0]) && sameNode(x[1], y[1]) })
}

// sortedPairs returns the keys and values of a mapping, sorted by key.
func sortedPairs(n *yaml.Node) [][2]*yaml.Node {
	var list [][2]*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		list = append(list, [2]*yaml.Node{n.Content[i], n.Content[i+1]})
	}
	slices.SortStableFunc(list, func(a, b [2]*yaml.Node) int { return cmp.Compare(a[0].Value, b[0].Value) })
	return list
}

// commentsOf returns the comments of a text, sorted.
func commentsOf(text []byte, documents []*yaml.Node) []string {
	s := newLayoutScanner(text, new(diagnostics))
	s.scan(documents)
	var list []string
	for _, c := range s.comments {
		list = append(list, c.text)
	}
	slices.Sort(list)
	return list
}
