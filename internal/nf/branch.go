package nf

import (
	"fmt"
	"net/url"
	"strings"
)

// NodePlaceholder stands for the name of a node in the name of a branch.
const NodePlaceholder = "{node}"

// DefaultNodeBranch is the branch to which a node publishes what it is.
const DefaultNodeBranch = "nodes/" + NodePlaceholder

// NodeBranch returns the branch of a node: the template with the node's name in the place of
// NodePlaceholder. What git does not allow in the name of a branch, and what would be a directory, is
// written as in a URL (%2F), so that different nodes have different branches.
func NodeBranch(template, node string) string {
	return strings.ReplaceAll(template, NodePlaceholder, escapeNode(node))
}

// BranchNode returns the name of the node that a branch belongs to. It is false for a branch that
// NodeBranch does not return for any node. The template has the placeholder once.
func BranchNode(template, branch string) (string, bool) {
	before, after, _ := strings.Cut(template, NodePlaceholder)
	escaped, begins := strings.CutPrefix(branch, before)
	escaped, ends := strings.CutSuffix(escaped, after)
	if !begins || !ends {
		return "", false
	}
	node, err := url.PathUnescape(escaped)
	return node, err == nil && node != "" && escapeNode(node) == escaped
}

// escapeNode writes a name so that git-check-ref-format(1) allows it as a part of a branch's name.
func escapeNode(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_',
			c == '-' && i > 0, c == '.' && isPlainDot(name, i):
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// isPlainDot reports whether git allows the dot at that place of a name: neither first nor last, not after
// another one, and not that of .lock.
func isPlainDot(name string, i int) bool {
	return i > 0 && i < len(name)-1 && name[i-1] != '.' && name[i:] != ".lock"
}
