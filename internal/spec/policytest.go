package spec

import (
	"cmp"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/internal/nf"
)

// PolicyTest says what the policies must bring for the node of a snapshot.
type PolicyTest struct {
	Source   nf.Source // its name, and the place of metadata.name
	Snapshot string    // the file, with slashes, from the directory of this one on
	// Filter selects the entries that the lists are about: all of the node if it is empty.
	Filter nf.Filter
	Expect []Expectations // the lists that are given, in the order of the file
}

// Expectations are one list of a test. The plan must have each of them, and nothing else.
type Expectations struct {
	List    nf.ExpectList
	Source  nf.Source // the place of the list
	Entries []Expectation
}

// Expectation is one entry of a list. What it does not give is not compared.
type Expectation struct {
	nf.TestEntry
	Filter nf.Filter // its target and its key as patterns
	Place  nf.Source
}

// SnapshotFile returns the path of the test's snapshot, from where that of the test's file begins.
func (t PolicyTest) SnapshotFile() string { return path.Join(path.Dir(t.Source.File), t.Snapshot) }

// notOfTest are keys that people may expect in the spec of a test.
var notOfTest = map[string]foreign{
	"node":     {"a test is about the node of its snapshot", "nfsync snapshot makes one on a node"},
	"nodes":    {"a test is about the node of its snapshot", "nfsync snapshot makes one on a node"},
	"policies": {"a test is about all policies below the path that nfsync test is given", "entries name a policy as policy: NAME"},
}

// policyTest reads a PolicyTest.
func (p *parser) policyTest(n *yaml.Node) PolicyTest {
	var test PolicyTest
	p.mapping(fields{
		"apiVersion": p.apiVersion,
		"kind":       func(string, *yaml.Node) {}, // kindOf has read it
		"metadata":   p.mapping(fields{"name": func(path string, n *yaml.Node) { test.Source = p.named(path, n) }}, []string{"name"}, nil),
		"spec": p.mapping(fields{
			"snapshot": store(&test.Snapshot, p.besidePath),
			"targets": func(path string, n *yaml.Node) {
				_, _ = p.texts(func(path string, n *yaml.Node) (string, bool) {
					pattern, ok := p.target(path, n)
					test.Filter.Targets = append(test.Filter.Targets, pattern)
					return n.Value, ok
				})(path, n)
			},
			"keys":   store(&test.Filter.Keys, p.texts(p.key)),
			"expect": func(path string, n *yaml.Node) { p.expect(path, n, &test) },
		}, []string{"snapshot"}, notOfTest),
	}, []string{"apiVersion", "kind", "metadata", "spec"}, nil)("", n)
	return test
}

func (p *parser) expect(path string, n *yaml.Node, test *PolicyTest) {
	want := fields{}
	for _, list := range nf.ExpectLists() {
		want[string(list)] = func(path string, n *yaml.Node) {
			if n.Kind != yaml.SequenceNode {
				p.report(n, RuleWrongType, "write it as a list; [] expects none", "%s must be a list, not %s", path, p.describe(n))
				return
			}
			found := Expectations{List: list, Source: p.source(n)}
			for i, entry := range n.Content {
				if !p.bad[entry] {
					found.Entries = append(found.Entries, p.expectation(path+"["+strconv.Itoa(i)+"]", entry, list))
				}
			}
			test.Expect = append(test.Expect, found)
		}
	}
	p.mapping(want, nil, nil)(path, n)
}

// The keys of the entries of each list.
var (
	entryKeys = map[nf.ExpectList][]string{
		nf.ExpectWants:    {"target", "key", "wanted", "state", "policy"},
		nf.ExpectChanges:  {"target", "key", "layer", "from", "to", "cause", "oneWay", "disruptive", "policy"},
		nf.ExpectRefusals: {"target", "key", "code", "layer", "from", "to", "until", "policy"},
		nf.ExpectPending:  {"target", "key", "from", "to", "until", "policy"},
		nf.ExpectWarnings: {"target", "code", "key", "policy"},
	}
	notOfEntry = map[string]foreign{
		"want":    {"it has the name that nfsync show -o json gives it", "write it as wanted"},
		"message": {"texts may change between versions, and are not compared", "remove it"},
		"reason":  {"texts may change between versions, and are not compared", "remove it; code and until are compared"},
		"remedy":  {"texts may change between versions, and are not compared", "remove it; code and until are compared"},
	}
)

func (p *parser) expectation(path string, n *yaml.Node, list nf.ExpectList) Expectation {
	e := Expectation{Place: p.source(n)}
	exact := nf.Key("") // the key, if it is no pattern
	if key := valueOf(n, "key"); key != nil && nf.IsLiteral(key.Value) {
		exact = nf.Key(key.Value)
	}
	all := p.entryFields(&e, list, exact)
	want := fields{}
	for _, key := range entryKeys[list] {
		want[key] = all[key]
	}
	required := "key"
	if list == nf.ExpectWarnings {
		required = "code"
	}
	p.mapping(want, []string{"target", required}, notOfEntry)(path, n)
	return e
}

func (p *parser) entryFields(e *Expectation, list nf.ExpectList, key nf.Key) fields {
	codes := nf.WarningCodes()
	if list == nf.ExpectRefusals {
		codes = wordsOf(nf.Codes())
	}
	return fields{
		"target": func(path string, n *yaml.Node) {
			if pattern, ok := p.target(path, n); ok {
				e.Target, e.Filter.Targets = n.Value, []nf.TargetPattern{pattern}
			}
		},
		"key": func(path string, n *yaml.Node) {
			if pattern, ok := p.key(path, n); ok {
				e.Key, e.Filter.Keys = nf.Key(pattern), []string{pattern}
			}
		},
		"code":       store(&e.Code, p.word("code", codes...)),
		"layer":      storeWord(&e.Layer, p.word("layer", string(nf.LayerLive), string(nf.LayerBoot))),
		"from":       p.storeValue(&e.From, key),
		"to":         p.storeValue(&e.To, key),
		"wanted":     p.storeWanted(&e.Wanted, key),
		"state":      storeWord(&e.State, p.word("state", wordsOf(nf.KeyStates())...)),
		"cause":      storeWord(&e.Cause, p.word("cause", wordsOf(nf.Causes())...)),
		"until":      storeWord(&e.Until, p.word("event", wordsOf(nf.Untils())...)),
		"oneWay":     storePointer(&e.OneWay, p.boolean),
		"disruptive": storePointer(&e.Disruptive, p.boolean),
		"policy":     store(&e.Policy, p.text),
	}
}

func wordsOf[W ~string](list []W) []string {
	texts := make([]string, len(list))
	for i, w := range list {
		texts[i] = string(w)
	}
	return texts
}

func storeWord[W ~string](to *W, read reader[string]) field {
	return func(path string, n *yaml.Node) {
		if word, ok := read(path, n); ok {
			*to = W(word)
		}
	}
}

func storePointer[T any](to **T, read reader[T]) field {
	return func(path string, n *yaml.Node) {
		if value, ok := read(path, n); ok {
			*to = &value
		}
	}
}

func (p *parser) storeValue(to **nf.Value, key nf.Key) field {
	return storePointer(to, func(path string, n *yaml.Node) (nf.Value, bool) { return p.seen(path, n, key) })
}

func (p *parser) storeWanted(to **nf.Wish, key nf.Key) field {
	return storePointer(to, func(path string, n *yaml.Node) (nf.Wish, bool) {
		if n.Kind == yaml.MappingNode && (valueOf(n, "atLeast") != nil || valueOf(n, "atMost") != nil) {
			return p.limit(path, n)
		}
		value, ok := p.seen(path, n, key)
		return nf.Exactly(value), ok
	})
}

// The words for values that no policy can want.
const (
	wordAbsent  = "absent"
	wordUnknown = "unknown"
)

// seen reads a value as the text of a plan shows it. key is empty if it is not one only.
func (p *parser) seen(path string, n *yaml.Node, key nf.Key) (nf.Value, bool) {
	_, isModule := key.Module()
	switch {
	case n.Kind == yaml.MappingNode && (isModule || key == ""):
		wish, ok := p.module(path, n)
		return wish.Value, ok
	case n.Kind == yaml.ScalarNode && n.Tag == "!!str":
		return p.seenText(path, n, key)
	case isModule, key == nf.KeyLevel, key == nf.KeyRestart, key == nf.KeyAboveLevel:
		p.report(n, RuleWrongType, "a word, as the text of a plan shows it", "%s must be a text, not %s", path, describe(n))
		return nf.Value{}, false
	}
	number, ok := p.integer(path, n, math.MinInt64, math.MaxInt64)
	return nf.Number(number), ok
}

// seenText reads a value that is a text.
func (p *parser) seenText(path string, n *yaml.Node, key nf.Key) (nf.Value, bool) {
	_, isModule := key.Module()
	_, isTimeout := key.Timeout()
	isSysctl := strings.HasPrefix(string(key), string(nf.SysctlKey("")))
	switch value := nf.Text(n.Value).As(key); {
	case n.Value == wordAbsent:
		return nf.Absent(), true
	case n.Value == wordUnknown:
		return nf.Unknown(""), true
	case isTimeout, key == "" && isDuration(n):
		seconds, ok := p.seenTimeout(path, n)
		return nf.Number(seconds), ok
	case isModule:
		_, ok := p.word("state of a module", nf.ModuleLoaded, nf.ModuleUnloaded, nf.ModuleBuiltin, wordAbsent, wordUnknown)(path, n)
		return value, ok
	case key == nf.KeyLevel, key == nf.KeyRestart:
		if _, isText := value.Text(); !isText { // a level, or a mask that is none
			return value, true
		}
		_, ok := p.word("level", append(nf.LevelNames(), wordAbsent, wordUnknown)...)(path, n)
		return value, ok
	case key == "", key == nf.KeyAboveLevel, isSysctl:
		return value, true
	}
	number, ok := p.integer(path, n, math.MinInt64, math.MaxInt64) // it is none
	return nf.Number(number), ok
}

// isDuration reports whether a value is a text that seenTimeout reads.
func isDuration(n *yaml.Node) bool {
	_, ok := nf.ParseDuration(n.Value)
	return n.Kind == yaml.ScalarNode && n.Tag == "!!str" && (ok || validDuration.MatchString(n.Value))
}

// seenTimeout reads a timeout as the text of a plan shows it, such as 1d12h, or as a policy has it.
func (p *parser) seenTimeout(path string, n *yaml.Node) (int64, bool) {
	if seconds, ok := nf.ParseDuration(n.Value); ok {
		return seconds, true
	}
	return p.timeout(path, n)
}

// target reads a target as --target takes it.
func (p *parser) target(path string, n *yaml.Node) (nf.TargetPattern, bool) {
	text, ok := p.text(path, n)
	if !ok {
		return nf.TargetPattern{}, false
	}
	const hint = "node, container/NAME or RUNTIME/NAME, where NAME may be a pattern"
	kinds := append([]string{nf.TargetContainer}, nf.Runtimes()...)
	kind, _, both := strings.Cut(text, "/")
	pattern, err := nf.ParseTarget(text)
	switch {
	case both && !slices.Contains(kinds, kind):
		p.report(n, RuleUnknownWord, hint, "%s: unknown kind of target %s%s", path, quote(kind), didYouMean(kind, kinds))
		return pattern, false
	case err != nil:
		p.report(n, RuleInvalidValue, hint, "%s: %s names no target", path, quote(text))
		return pattern, false
	}
	return pattern, true
}

// fixedKeys are the keys without a name of their own.
var fixedKeys = []nf.Key{nf.KeyLevel, nf.KeyMax, nf.KeyBuckets, nf.KeyExpectMax, nf.KeyRestart, nf.KeyAboveLevel}

// IsKey reports whether there can be such a key: modules and other sysctls have the kernel's names.
func IsKey(key nf.Key) bool {
	module, isModule := key.Module()
	timeout, isTimeout := key.Timeout()
	sysctl, isSysctl := strings.CutPrefix(string(key), string(nf.SysctlKey("")))
	return slices.Contains(fixedKeys, key) || isSysctl && validSysctl.MatchString(sysctl) || isModule && validWord.MatchString(module) ||
		isTimeout && slices.Contains(nf.TimeoutNames(), timeout)
}

// key reads a key, or a pattern of keys, as --key takes it.
func (p *parser) key(path string, n *yaml.Node) (string, bool) {
	text, ok := p.text(path, n)
	if !ok {
		return "", false
	}
	key := nf.Key(text)
	module, isModule := key.Module()
	timeout, isTimeout := key.Timeout()
	switch {
	case !nf.IsLiteral(text) && nf.IsPattern(text):
		return text, true
	case IsKey(key) && isModule:
		return string(nf.ModuleKey(module)), true
	case IsKey(key):
		return text, true
	case isTimeout:
		p.report(n, RuleUnknownWord, "nfsync schema NodePolicy lists them", "%s: unknown timeout %s%s", path, quote(timeout), guessTimeout(timeout))
	default:
		guess := cmp.Or(didYouMean(text, wordsOf(fixedKeys)), guessKey(text))
		p.report(n, RuleUnknownWord, "a key as a plan shows it, such as conntrack.max or module/ip_set, or a pattern, such as conntrack.*",
			"%s: unknown key %s%s", path, quote(text), guess)
	}
	return "", false
}

// guessKey guesses the key of which only the last part is given, or whose first part is misspelt.
func guessKey(text string) string {
	if name, ok := strings.CutPrefix(text, string(nf.SysctlKey(""))); ok {
		return fmt.Sprintf(": did you mean %q?", nf.SysctlKey("nf_conntrack_"+name))
	}
	last := text[strings.LastIndexAny(text, "./")+1:]
	for _, key := range []nf.Key{nf.KeyMax, nf.KeyBuckets, nf.KeyExpectMax} {
		if string(key) == "conntrack."+last {
			return fmt.Sprintf(": did you mean %q?", key)
		}
	}
	if name := Closest(last, nf.TimeoutNames()); name != "" {
		return fmt.Sprintf(": did you mean %q?", nf.TimeoutKey(name))
	}
	return ""
}

// besidePath reads the path of a file, from the directory of this one on.
func (p *parser) besidePath(where string, n *yaml.Node) (string, bool) {
	const hint = "a path from the directory of this file on, such as ../snapshots/hn-1.yaml"
	name, ok := p.text(where, n)
	switch {
	case !ok:
		return "", false
	case strings.HasPrefix(name, "/") || strings.Contains(name, `\`) || !printable.MatchString(name) || path.Clean(name) == ".":
		p.report(n, RuleInvalidValue, hint, "%s: %s is not a path in the repository", where, quote(name))
		return "", false
	}
	return path.Clean(name), true
}
