package view

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/internal/adopt"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// Policies is the output of import: policies, as files have them.
var Policies = Kind[[]adopt.Policy]{
	{name: FormatText, encode: policyTexts},
	{name: FormatYAML, encode: policyTexts},
}

func policyTexts(list []adopt.Policy, _ Options) ([]byte, error) {
	var texts [][]byte
	for _, p := range list {
		text, err := PolicyText(p)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return bytes.Join(texts, []byte("---\n")), nil
}

// PolicyText returns a policy as a file has it.
func PolicyText(p adopt.Policy) ([]byte, error) {
	var out yamlWriter
	for _, line := range leftLines(p.Left, len(p.Nodes.Names) > 1) {
		out.buf.WriteString("# " + line + "\n")
	}
	out.block(policyNode(p.Policy), "")
	if out.err != nil {
		return nil, fmt.Errorf("cannot write the policy %s: %w", p.Source.Name, out.err)
	}
	text, found := spec.Format(spec.File{Name: p.Source.Name, Data: out.buf.Bytes()})
	if len(found) > 0 {
		return nil, fmt.Errorf("cannot write the policy: %w", errors.New(found[0].String()))
	}
	return text, nil
}

// leftLines says what was observed and is in no policy. What is alike for several targets is one
// line. The node is named if there are several.
func leftLines(list []adopt.Left, several bool) []string {
	type line struct {
		targets []string
		what    string
	}
	var lines []line
	for _, l := range list {
		what := ": " + l.Why
		if l.Key != "" {
			what = fmt.Sprintf(": %s %s: %s", l.Key, l.Key.Text(l.Value), l.Why)
		}
		if module, ok := l.Key.Module(); ok {
			what = fmt.Sprintf(": module %s %s: %s", module, l.Value, l.Why)
		}
		i := slices.IndexFunc(lines, func(o line) bool { return o.what == what })
		if i < 0 {
			i = len(lines)
			lines = append(lines, line{what: what})
		}
		target := l.Target.String()
		if several {
			target = l.Node + " " + target
		}
		lines[i].targets = append(lines[i].targets, target)
	}
	if len(lines) == 0 {
		return nil
	}
	texts := []string{"Found, and in no policy:"}
	for _, l := range lines {
		texts = append(texts, "  "+Clean(nf.FirstFew(l.targets, maxLeft)+l.what))
	}
	return texts
}

// maxLeft is how many targets a comment names.
const maxLeft = 3

// policyNode returns the document of a policy.
func policyNode(p spec.Policy) *yaml.Node {
	var body yamlMap
	if p.Priority != 0 {
		body.add("priority", yamlNumber(int64(p.Priority)))
	}
	var nodes yamlMap
	nodes.add("names", yamlList(p.Nodes.Names))
	nodes.add("labels", yamlLabels(p.Nodes.Labels))
	body.add("nodes", nodes.node(yaml.FlowStyle))
	var containers yamlMap
	containers.add("names", yamlList(p.Containers.Names))
	containers.add("ids", yamlList(p.Containers.IDs))
	containers.add("labels", yamlLabels(p.Containers.Labels))
	containers.add("runtimes", yamlList(p.Containers.Runtimes))
	body.add("containers", containers.node(yaml.FlowStyle))
	addWishes(&body, p.Wishes)
	if p.Restart != "" && p.Restart != nf.RestartRefuse {
		body.add("restart", yamlString(string(p.Restart)))
	}
	content := body.node(0)
	if content == nil {
		content = &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	}
	var doc, metadata yamlMap
	metadata.add("name", yamlString(p.Source.Name))
	doc.add("apiVersion", yamlString(nf.APIVersion))
	doc.add("kind", yamlString(p.Kind))
	doc.add("metadata", metadata.node(yaml.FlowStyle))
	doc.add("spec", content)
	return doc.node(0)
}

// yamlLabels returns labels, sorted by their names; nil if there are none.
func yamlLabels(labels map[string]string) *yaml.Node {
	var list yamlMap
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		list.add(name, yamlString(labels[name]))
	}
	return list.node(0)
}

// addWishes adds the wishes of a policy to its spec.
func addWishes(body *yamlMap, wishes []spec.KeyWish) {
	var modules, conntrack, timeouts, sysctls yamlMap
	for _, w := range wishes {
		name := string(w.Key)[strings.LastIndexAny(string(w.Key), "./")+1:]
		n, _ := w.Wish.Value.Number()
		_, isTimeout := w.Key.Timeout()
		_, isModule := w.Key.Module()
		_, hasName := strings.CutPrefix(string(w.Key), string(nf.SysctlKey("")))
		switch {
		case w.Key == nf.KeyLevel:
			body.add("level", yamlString(w.Wish.Value.String()))
		case isModule:
			modules.add(name, yamlString(w.Wish.Value.String()))
		case isTimeout:
			timeouts.add(name, yamlString(policyDuration(n)))
		case hasName:
			sysctls.add(name, yamlNumber(n))
		default:
			conntrack.add(name, yamlNumber(n))
		}
	}
	body.add("modules", modules.node(0))
	conntrack.add("timeouts", timeouts.node(0))
	conntrack.add("sysctls", sysctls.node(0))
	body.add("conntrack", conntrack.node(0))
}

// policyDuration returns a number of seconds as a policy has it: 2h, 5m, 90s.
func policyDuration(seconds int64) string {
	switch {
	case seconds%3600 == 0:
		return strconv.FormatInt(seconds/3600, 10) + "h"
	case seconds%60 == 0:
		return strconv.FormatInt(seconds/60, 10) + "m"
	}
	return strconv.FormatInt(seconds, 10) + "s"
}

// yamlMap collects the keys of a mapping.
type yamlMap struct{ content []*yaml.Node }

// add adds a key, unless its value is nil.
func (m *yamlMap) add(key string, value *yaml.Node) {
	if value != nil {
		m.content = append(m.content, yamlString(key), value)
	}
}

// node returns the mapping; nil if it is empty.
func (m *yamlMap) node(style yaml.Style) *yaml.Node {
	if len(m.content) == 0 {
		return nil
	}
	return &yaml.Node{Kind: yaml.MappingNode, Style: style, Content: m.content}
}

// yamlList returns a list of texts in brackets; nil if there are none.
func yamlList(texts []string) *yaml.Node {
	if len(texts) == 0 {
		return nil
	}
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, text := range texts {
		n.Content = append(n.Content, yamlString(text))
	}
	return n
}

func yamlNumber(n int64) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatInt(n, 10)}
}
