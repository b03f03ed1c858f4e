package policytree

import (
	"bytes"
	"regexp"
)

// What tells a policy from other texts: YAML, or JSON.
var (
	firstKey   = regexp.MustCompile(`^(["']?(apiVersion|kind|metadata|spec)["']?\s*:|\{\s*")`)
	ourVersion = regexp.MustCompile(`(?m)(^|[{,\s])["']?apiVersion["']?\s*:\s*["']?nfsync\.dev\b`)
	otherKind  = regexp.MustCompile(`(?m)(^|[{,\s])["']?kind["']?\s*:\s*["']?(AgentConfig|CoordinatorConfig|NodeSnapshot|PolicyTest|PolicyTestResults|Plan|Receipt|Diagnostics|Doctor|Explanation|Recovery|RolloutDocument|SchemaList|Version|Vocabulary)\b`)
)

// The bounds of the look at files that are not read as policies.
const (
	maxLooks = 1000
	maxLook  = 64 << 10 // bytes
)

// lookAtOthers finds policies among the files whose names are not those of policies. A file
// that cannot be read is no error: it is not needed.
func (w *walk) lookAtOthers() {
	for _, e := range w.others[:min(len(w.others), maxLooks)] {
		if data, err := w.tree.Read(e, maxLook); err == nil && looksLikePolicy(data) {
			w.found.Unread = append(w.found.Unread, e.Path)
		}
	}
}

// looksLikePolicy reports whether a text begins like a policy. A text that only quotes one,
// such as a README, does not.
func looksLikePolicy(text []byte) bool {
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	for {
		line, rest, more := bytes.Cut(text, []byte("\n"))
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != '%' && !bytes.HasPrefix(line, []byte("---")) {
			break
		}
		if !more {
			return false
		}
		text = rest
	}
	return firstKey.Match(text) && ourVersion.Match(text) && !otherKind.Match(text)
}
