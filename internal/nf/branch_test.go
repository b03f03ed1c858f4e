package nf

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNodeBranch(t *testing.T) {
	for node, want := range map[string]string{
		"hn-1": "nodes/hn-1", "hn-1.example.com": "nodes/hn-1.example.com", "HN_1": "nodes/HN_1",
		"a/b": "nodes/a%2Fb", "a%2Fb": "nodes/a%252Fb", ".a": "nodes/%2Ea", "a.": "nodes/a%2E", "a..b": "nodes/a.%2Eb", "a.lock": "nodes/a%2Elock", "a.lock.b": "nodes/a.lock.b",
		"@": "nodes/%40", "-a": "nodes/%2Da", "a b": "nodes/a%20b", "é": "nodes/%C3%A9", "a\n": "nodes/a%0A", "{node}": "nodes/%7Bnode%7D",
	} {
		got := NodeBranch(DefaultNodeBranch, node)
		if got != want {
			t.Errorf("%q: %q, want %q", node, got, want)
		}
		if back, ok := BranchNode(DefaultNodeBranch, got); !ok || back != node {
			t.Errorf("%q is the branch of %q, %v, want %q", got, back, ok, node)
		}
	}
	for _, other := range []string{"main", "nodes/", "nodes", "nodes/a/b", "nodes/a%2fb", "nodes/%61", "nodes/a%2", "xnodes/a"} {
		if node, ok := BranchNode(DefaultNodeBranch, other); ok {
			t.Errorf("%q is the branch of %q", other, node)
		}
	}
	if got, ok := BranchNode("x/{node}/y", "x/hn-1/y"); !ok || got != "hn-1" {
		t.Errorf("%q, %v", got, ok)
	}
}

// TestNodeBranchIsOneToOne: no two nodes have one branch, and none is a directory of another.
func TestNodeBranchIsOneToOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		node := rapid.StringN(1, 20, -1).Draw(t, "node")
		branch := NodeBranch("x-{node}-y", node)
		if back, ok := BranchNode("x-{node}-y", branch); !ok || back != node {
			t.Fatalf("%q: %q, %v", branch, back, ok)
		}
		if strings.ContainsAny(branch, "/ ~^:?*[\\\x7f@") || strings.Contains(branch, "..") || strings.HasSuffix(NodeBranch("{node}", node), ".lock") {
			t.Fatalf("%q", branch)
		}
	})
}
