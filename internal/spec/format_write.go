package spec

import (
	"bytes"
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/internal/nf"
)

// How long a line with a collection in brackets may be, without its comment: of one that its author
// wrote on several lines, and on one.
const (
	joinedWidth  = 100
	writtenWidth = 200
)

// layoutLine is a line of the new text.
type layoutLine struct {
	indent int
	text   string
	side   *comment
}

// layoutWriter writes sections.
type layoutWriter struct {
	lines  []layoutLine
	blocks map[*yaml.Node][]string
	quoted map[*yaml.Node]string // scalars in quotes on one line, with their quotes
	kind   string                // of the document
}

// section writes a section.
func (w *layoutWriter) section(d *section) {
	if d.marked {
		w.lines = append(w.lines, layoutLine{text: "---", side: d.mark})
	}
	first := len(w.lines)
	w.comments(d.head, 0)
	if d.root == nil {
		w.unpadded(first)
		return
	}
	if d.blank {
		w.blank()
	}
	w.kind, _ = textOf(d.root.value, "kind")
	if len(d.root.children) == 0 {
		w.lines = append(w.lines, layoutLine{text: w.flow(d.root, "")})
	}
	w.children(d.root, "", 0)
	w.unpadded(first)
}

// unpadded removes a blank line at the start of a section or collection.
func (w *layoutWriter) unpadded(first int) {
	if first < len(w.lines) && w.lines[first] == (layoutLine{}) {
		w.lines = slices.Delete(w.lines, first, first+1)
	}
}

func (w *layoutWriter) blank() { w.lines = append(w.lines, layoutLine{}) }

func (w *layoutWriter) comments(list []*comment, indent int) {
	for _, c := range list {
		if c.blank && c.own {
			w.blank()
		}
		w.lines = append(w.lines, layoutLine{indent: indent, text: c.text})
	}
}

// children writes the entries of a collection, and the comments behind them. path is that of the
// collection in its document.
func (w *layoutWriter) children(e *entry, path string, indent int) {
	first := len(w.lines)
	for _, child := range w.ordered(e, path) {
		w.comments(w.headOf(child, path, indent), indent)
		if child.blank {
			w.blank()
		}
		w.unpadded(first)
		if child.key == nil {
			w.item(child, path, indent)
			continue
		}
		w.value(child, below(path, child.key.Value), w.scalar(child.key)+":", indent)
	}
	w.comments(e.foot, indent)
}

// headOf returns the comments before an entry. Those of the first key of a list's entry are
// before the dash.
func (w *layoutWriter) headOf(e *entry, path string, indent int) []*comment {
	if e.key != nil || w.fits(e, "-", indent) {
		return e.head
	}
	first := w.ordered(e, path)[0]
	list := slices.Concat(e.head, w.headOf(first, path, indent+2))
	first.head, first.blank = nil, false
	return list
}

// item writes an entry of a list.
func (w *layoutWriter) item(e *entry, path string, indent int) {
	if w.fits(e, "-", indent) {
		w.value(e, path, "-", indent)
		return
	}
	first := len(w.lines)
	w.children(e, path, indent+2)
	line := &w.lines[first]
	line.indent, line.text = indent, "- "+line.text
	if e.side == nil {
		return
	}
	if line.side == nil {
		line.side = e.side
		return
	}
	w.lines = slices.Insert(w.lines, first, layoutLine{indent: indent, text: e.side.text})
}

// value writes an entry of a mapping, or one of a list that fits into a line. start is what is
// before the value.
func (w *layoutWriter) value(e *entry, path, start string, indent int) {
	block := w.blocks[e.value]
	switch {
	case len(block) > 0:
		w.lines = append(w.lines, layoutLine{indent, start + " " + block[0], e.side})
		for _, line := range block[1:] {
			w.lines = append(w.lines, layoutLine{indent: indent + 2, text: line})
		}
	case w.fits(e, start, indent):
		w.lines = append(w.lines, layoutLine{indent, start + " " + w.flow(e, path), e.side})
	default:
		w.lines = append(w.lines, layoutLine{indent, start, e.side})
		w.children(e, path, indent+2)
	}
}

// fits reports whether a value is written on one line: a scalar, an empty collection, or one that
// its author wrote in brackets, without comments, and that is short.
func (w *layoutWriter) fits(e *entry, start string, indent int) bool {
	if len(e.children) == 0 {
		return true
	}
	width := joinedWidth
	if e.lastLine() == e.value.Line {
		width = writtenWidth
	}
	return e.isFlow() && e.parent != nil && !e.hasComments() && indent+utf8.RuneCountInString(start+" "+w.flow(e, "")) <= width
}

// lastLine returns the line on which the last value of an entry begins.
func (e *entry) lastLine() int {
	if len(e.children) == 0 {
		return e.value.Line
	}
	return e.children[len(e.children)-1].lastLine()
}

// hasComments reports whether comments are within a collection.
func (e *entry) hasComments() bool {
	return len(e.foot) > 0 || slices.ContainsFunc(e.children, func(c *entry) bool {
		return len(c.head) > 0 || c.side != nil || c.hasComments()
	})
}

// flow returns a value in brackets.
func (w *layoutWriter) flow(e *entry, path string) string {
	if e.value.Kind == yaml.ScalarNode {
		return w.scalar(e.value)
	}
	var list []string
	for _, c := range w.ordered(e, path) {
		if c.key == nil {
			list = append(list, w.flow(c, path))
			continue
		}
		list = append(list, w.scalar(c.key)+": "+w.flow(c, below(path, c.key.Value)))
	}
	if e.value.Kind == yaml.SequenceNode {
		return "[" + strings.Join(list, ", ") + "]"
	}
	return "{" + strings.Join(list, ", ") + "}"
}

// bytes returns the text.
func (w *layoutWriter) bytes() []byte {
	var out bytes.Buffer
	for i, l := range w.lines {
		if l == (layoutLine{}) && (i == 0 || w.lines[i-1] == (layoutLine{})) {
			continue
		}
		out.WriteString(strings.TrimRight(strings.Repeat(" ", l.indent)+l.text+sideText(l), " "))
		out.WriteByte('\n')
	}
	return out.Bytes()
}

// sideText returns the comment behind a line. One that its author has moved to the right, to
// stand below others, stays in its column, as far as the line itself has not moved.
func sideText(l layoutLine) string {
	if l.side == nil {
		return ""
	}
	gap := max(1, l.side.gap)
	if gap > 2 {
		column := l.side.column - 1 - l.side.indent + l.indent
		gap = max(1, column-l.indent-utf8.RuneCountInString(l.text))
	}
	return strings.Repeat(" ", gap) + l.side.text
}

// readsAsOther matches the plain scalars that are not a text in YAML 1.1 or 1.2: the old booleans,
// null, numbers of any base, dates and times, merge and value keys.
var readsAsOther = regexp.MustCompile(`(?i)^(y|n|yes|no|on|off|true|false|null|~|=|<<|[-+.]?(inf|nan)|[-+.]?[0-9][-+.:_0-9a-fxotz ]*)$`)

// ReadsAsOther reports whether some reader of YAML takes a text without quotes for something
// else than this text, as far as no character of it has a meaning of its own.
func ReadsAsOther(text string) bool { return readsAsOther.MatchString(text) }

// plainWord matches texts none of whose characters has a meaning in YAML, wherever they are.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./-]*$`)

func isQuoted(n *yaml.Node) bool {
	return n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0
}

// scalar returns the text of a scalar: without quotes if it does not need them, else as it was
// written. One that was written on several lines gets one, in double quotes.
func (w *layoutWriter) scalar(n *yaml.Node) string {
	switch written, ok := w.quoted[n]; {
	case isNull(n) && n.Value == "" && !isQuoted(n):
		return "null"
	case plainWord.MatchString(n.Value) && (!ReadsAsOther(n.Value) || n.Style == 0):
		return n.Value
	case ok:
		return written
	case n.Style == 0 && !strings.Contains(n.Value, "\n"):
		return n.Value
	}
	return strconv.Quote(n.Value)
}

// The orders of keys that configurations share.
var (
	sourceOrder = []string{"urls", "branch", "tag", "commit", "path", "allowEmpty", "interval", "timeout", "maxPackSize", "http", "ssh"}
	sshOrder    = []string{"keyFile", "knownHostsFile", "legacyAlgorithms"}
	httpOrder   = []string{"user", "passwordFile", "tokenFile", "caFile", "certFile", "keyFile", "proxy"}
)

// keyOrders are the orders of the keys of mappings, by the kind of their document and their path
// in it. Other keys follow in the order of their author.
var keyOrders = map[string]map[string][]string{
	"": {"": {"apiVersion", "kind", "metadata", "spec"}},
	nf.KindNodePolicy: {
		"spec":             {"priority", "nodes", "level", "modulesAboveLevel", "modules", "conntrack"},
		"spec.nodes":       {"names", "labels"},
		"spec.modules.*":   {"state", "parameters"},
		"spec.conntrack":   {"max", "buckets", "expectMax", "timeouts", "sysctls"},
		"spec.conntrack.*": {"atLeast", "atMost"},
	},
	nf.KindContainerPolicy: {
		"spec":             {"priority", "nodes", "containers", "level", "conntrack", "restart"},
		"spec.nodes":       {"names", "labels"},
		"spec.containers":  {"names", "ids", "labels", "runtimes"},
		"spec.conntrack":   {"max", "timeouts", "sysctls"},
		"spec.conntrack.*": {"atLeast", "atMost"},
	},
	nf.KindPolicyTest: {
		"spec":                 {"snapshot", "targets", "keys", "expect"},
		"spec.expect":          {"wants", "changes", "refusals", "pending", "warnings"},
		"spec.expect.wants":    {"target", "key", "wanted", "state", "policy"},
		"spec.expect.changes":  {"target", "key", "layer", "from", "to", "cause", "oneWay", "disruptive", "policy"},
		"spec.expect.refusals": {"target", "key", "code", "layer", "from", "to", "until", "policy"},
		"spec.expect.pending":  {"target", "key", "from", "to", "until", "policy"},
		"spec.expect.warnings": {"target", "key", "code", "policy"},
	},
	nf.KindRollout: {
		"spec":          {"groups", "order", "canaries", "steps", "soak", "startRate", "deadline", "failures", "silence", "restarts", "windows", "pauseBefore"},
		"spec.groups":   {"name", "labels", "canaries", "restarts"},
		"spec.failures": {"count", "fraction", "refusals"},
		"spec.windows":  {"days", "start", "end", "zone"},
	},
	nf.KindCoordinatorConfig: {
		"":            {"apiVersion", "kind", "name", "channel", "source", "verify", "listen", "engine", "directory"},
		"source":      sourceOrder,
		"source.ssh":  sshOrder,
		"source.http": httpOrder,
		"verify":      {"mode", "keyrings", "allowedSigners"},
		"engine":      {"listen", "tls", "servers", "credentialsFile", "caFile"},
		"engine.tls":  {"certFile", "keyFile"},
	},
	nf.KindAgentConfig: {
		"":               {"apiVersion", "kind", "node", "source", "verify", "runtimes", "mode", "drift", "apply", "restart", "listen", "webhookSecretFile", "publish", "fleet"},
		"node":           {"name", "labels"},
		"source":         sourceOrder,
		"source.ssh":     sshOrder,
		"source.http":    httpOrder,
		"verify":         {"mode", "keyrings", "allowedSigners"},
		"drift":          {"interval", "heal"},
		"restart":        {"maxRestarts", "window"},
		"restart.window": {"days", "start", "end"},
		"publish":        {"url", "branch", "path", "http", "ssh"},
		"fleet":          {"servers", "credentialsFile", "caFile", "channel", "coordinatorKey"},
	},
}

// orderOf returns the order of the keys of a mapping, if there is one.
func orderOf(kind, path string) []string {
	if path == "" && keyOrders[kind][""] == nil {
		return keyOrders[""][""]
	}
	if order := keyOrders[kind][path]; order != nil {
		return order
	}
	return keyOrders[kind][path[:strings.LastIndexByte(path, '.')+1]+"*"]
}

// ordered returns the entries of a collection in their order.
func (w *layoutWriter) ordered(e *entry, path string) []*entry {
	order := orderOf(w.kind, path)
	if e.value.Kind != yaml.MappingNode || order == nil {
		return e.children
	}
	rank := func(e *entry) int {
		if i := slices.Index(order, e.key.Value); i >= 0 {
			return i
		}
		return len(order)
	}
	list := slices.Clone(e.children)
	slices.SortStableFunc(list, func(a, b *entry) int { return cmp.Compare(rank(a), rank(b)) })
	return list
}
