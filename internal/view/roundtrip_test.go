package view

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// TestSnapshotIsReadBack holds a written snapshot to be the one that plan
// reads: a plan made from it must equal the one made on the node.
func TestSnapshotIsReadBack(t *testing.T) {
	for _, format := range Formats() {
		var buf bytes.Buffer
		if err := Snapshots.Write(&buf, format, richSnapshot(), Options{}); err != nil {
			t.Fatal(err)
		}
		got, diagnostics := spec.ParseSnapshot(spec.File{Name: "s.yaml", Data: buf.Bytes()})
		for _, d := range diagnostics {
			t.Errorf("%s: %s", format, d)
		}
		// Lists that were nil are empty now: both are written in the same way.
		var again bytes.Buffer
		if err := Snapshots.Write(&again, format, got, Options{}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(buf.Bytes(), again.Bytes()) {
			t.Errorf("%s reads back as\n%s\nnot\n%s", format, again.Bytes(), buf.Bytes())
		}
		if !reflect.DeepEqual(got.Memory, richSnapshot().Memory) {
			t.Errorf("%s: memory reads back as %+v", format, got.Memory)
		}
	}
}

func TestSavedPlanIsReadBack(t *testing.T) {
	p := richPlan()
	files := []spec.File{
		{Name: "policies/web.yaml", Data: []byte("\ufeffkind: ContainerPolicy\r\n# \u202e <&>\n")},
		{Name: "policies/empty.yaml", Data: []byte{}},
	}
	var buf bytes.Buffer
	if err := SavedPlan(&buf, p, files); err != nil {
		t.Fatal(err)
	}
	got, diagnostics := spec.ParseSavedPlan(spec.File{Name: "plan.json", Data: buf.Bytes()})
	for _, d := range diagnostics {
		t.Error(d)
	}
	if !reflect.DeepEqual(got.Files, files) || got.Edited || !got.Shows(p) {
		t.Errorf("got %+v", got)
	}
	// Whatever of a plan's effect differs, the document does not show it; texts do not count.
	for name, change := range map[string]func(p *nf.Plan){
		"id":              func(p *nf.Plan) { p.ID = "sha256:0" },
		"node":            func(p *nf.Plan) { p.Node = "hn-2" },
		"revision":        func(p *nf.Plan) { p.Revision = "forged" },
		"no changes":      func(p *nf.Plan) { p.Changes = nil },
		"a value":         func(p *nf.Plan) { p.Changes[0].To = nf.Number(1) },
		"a target":        func(p *nf.Plan) { p.Changes[0].Target = dns },
		"one-way":         func(p *nf.Plan) { p.Changes[0].OneWay = !p.Changes[0].OneWay },
		"order":           func(p *nf.Plan) { p.Changes[0], p.Changes[1] = p.Changes[1], p.Changes[0] },
		"no refusals":     func(p *nf.Plan) { p.Refusals = []nf.Refusal{} },
		"a code":          func(p *nf.Plan) { p.Refusals[0].Code = nf.InUse },
		"a pending":       func(p *nf.Plan) { p.Pending[0].Until = nf.UntilNever },
		"stuck":           func(p *nf.Plan) { p.Stuck = nil },
		"summary":         func(p *nf.Plan) { p.Summary.InSync++ },
		"a policy's line": func(p *nf.Plan) { p.Changes[0].Source.Line++ },
	} {
		other := richPlan()
		change(&other)
		if got.Shows(other) {
			t.Errorf("another %s is shown", name)
		}
	}
	texts := richPlan()
	texts.Changes[0].LastFailure = &failed
	texts.Changes[0].Cause, texts.Refusals[0].Reason, texts.Refusals[0].Remedy, texts.Pending[0].Reason = nf.CauseDrift, "x", "y", "z"
	if !got.Shows(texts) {
		t.Error("a plan with other texts is not shown")
	}
}

// TestEveryWordIsKnown holds the tables of this package, and the lists of the
// schemas, to the words of the other rooms.
func TestEveryWordIsKnown(t *testing.T) {
	schemaCodes := enum(t, nf.KindPlan, "refusal", "code")
	var codes []string
	for _, c := range nf.Codes() {
		codes = append(codes, string(c))
		e, ok := diff.Explain(c)
		if !ok {
			t.Errorf("%s is not explained", c)
		}
		for _, u := range e.Until {
			if untils[u] == "" {
				t.Errorf("%s ends with %s, which has no words", c, u)
			}
		}
	}
	if !reflect.DeepEqual(schemaCodes, codes) {
		t.Errorf("the schema has the codes %v, not %v", schemaCodes, codes)
	}
	for _, kind := range []string{nf.KindPlan, nf.KindReceipt, nf.KindExplanation} {
		listed := enum(t, kind, "until", "")
		if len(listed) != len(untils) {
			t.Errorf("the schema of %s has %d events, not %d", kind, len(listed), len(untils))
		}
		for _, u := range listed {
			if untils[nf.Until(u)] == "" {
				t.Errorf("%s has no words", u)
			}
		}
	}
	for _, kind := range []string{nf.KindExplanation, nf.KindVocabulary} {
		var topics []string
		for _, topic := range Topics() {
			topics = append(topics, string(topic))
			if topic.String() == "" || topic.Title() == "" {
				t.Errorf("the topic %s has no title", topic)
			}
		}
		if listed := enum(t, kind, "topic", ""); !reflect.DeepEqual(listed, topics) || len(topics) != len(topicTitles) {
			t.Errorf("the schema of %s has the topics %v, not %v", kind, listed, topics)
		}
	}
	listed := enum(t, nf.KindReceipt, "result", "outcome")
	if len(listed) != len(outcomes) {
		t.Errorf("the schema has %d outcomes, not %d", len(listed), len(outcomes))
	}
	for _, o := range listed {
		if outcomes[apply.Outcome(o)].text == "" {
			t.Errorf("%s has no glyph", o)
		}
	}
}

// TestEnumsAreTheConstants holds the lists of the schemas to package nf.
func TestEnumsAreTheConstants(t *testing.T) {
	for _, c := range []struct {
		kind, definition, property string
		want                       []string
	}{
		{nf.KindPlan, "target", "kind", []string{nf.TargetNode, nf.TargetContainer}},
		{nf.KindPlan, "target", "runtime", nf.Runtimes()},
		{nf.KindPlan, "layer", "", []string{string(nf.LayerLive), string(nf.LayerBoot)}},
		{nf.KindPlan, "change", "cause", []string{string(nf.CauseNew), string(nf.CausePolicy), string(nf.CauseRestart), string(nf.CauseDrift)}},
		{nf.KindDoctor, "check", "status", []string{string(OK), string(Warn), string(Fail), string(Unknown)}},
		{nf.KindDoctor, "check", "group", groupNames()},
		{nf.KindNodeSnapshot, "modules", "support", []string{nf.SupportLoadable, nf.SupportNone, nf.SupportLocked}},
		{nf.KindNodeSnapshot, "module", "state", []string{nf.ModuleLoaded, nf.ModuleUnloaded, nf.ModuleBuiltin}},
		{nf.KindNodeSnapshot, "capabilities", "latches", []string{nf.Yes, nf.No, nf.MaybeUnknown}},
		{nf.KindNodeSnapshot, "container", "runtime", nf.Runtimes()},
		{nf.KindNodeSnapshot, "container", "maxScope", []string{nf.ScopeOwn, nf.ScopeNode, nf.ScopeUnknown}},
		{nf.KindNodeSnapshot, "tracking", "state", []string{nf.TrackingOn, nf.TrackingOff, nf.TrackingUnknown}},
		{nf.KindNodeSnapshot, "table", "backend", []string{nf.BackendNft, nf.BackendLegacy}},
		{nf.KindNodeSnapshot, "level", "", nf.LevelNames()},
	} {
		if got := enum(t, c.kind, c.definition, c.property); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %s.%s is one of %v, want %v", c.kind, c.definition, c.property, got, c.want)
		}
	}
}

func TestValueInItsUnit(t *testing.T) {
	for _, c := range []struct {
		target nf.Target
		key    nf.Key
		value  nf.Value
		want   string
	}{
		{nf.Node, nf.TimeoutKey("udp"), nf.Number(0), "0s"},
		{nf.Node, nf.TimeoutKey("udp"), nf.Number(59), "59s"},
		{nf.Node, nf.TimeoutKey("udp"), nf.Number(120), "2m"},
		{nf.Node, nf.TimeoutKey("udp"), nf.Absent(), "absent"},
		{nf.Node, nf.KeyMax, nf.Number(0), "0 (unlimited)"},
		{dns, nf.KeyMax, nf.Number(0), "0"}, // there it is the node's value
		{nf.Node, nf.KeyBuckets, nf.Number(65536), "65536"},
		{nf.Node, nf.KeyLevel, nf.Text("full\x07"), `full\x07`},
		{nf.Node, nf.ModuleKey("x"), nf.Module(nf.ModuleLoaded, map[string]string{"a": "1", "b": "\u202e"}), `loaded (a=1 b=\u{202e})`},
	} {
		if got := value(c.target, c.key, c.value); got != c.want {
			t.Errorf("%s of %s reads %q, want %q", c.key, c.target, got, c.want)
		}
	}
}

func TestGlyph(t *testing.T) {
	loaded, unloaded, builtin := nf.Module(nf.ModuleLoaded, nil), nf.Module(nf.ModuleUnloaded, nil), nf.Module(nf.ModuleBuiltin, nil)
	withParam := nf.Module(nf.ModuleLoaded, map[string]string{"a": "1"})
	for _, c := range []struct {
		from, to nf.Value
		want     string
	}{
		{unloaded, loaded, "+"}, {nf.Absent(), nf.Number(1), "+"}, {nf.Absent(), loaded, "+"},
		{loaded, unloaded, "-"}, {builtin, unloaded, "-"}, {nf.Unknown("why"), unloaded, "-"},
		{loaded, withParam, "~"}, {nf.Number(1), nf.Number(2), "~"}, {nf.Unknown("why"), loaded, "~"},
	} {
		if got := glyph(c.from, c.to).text; got != c.want {
			t.Errorf("%s to %s is %s, want %s", c.from, c.to, got, c.want)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"web-1": "web-1", "café 漢字 😀": "café 漢字 😀", "a\tb\nc\rd": `a\tb\nc\x0dd`, "\x1b]0;x\x07": `\x1b]0;x\x07`,
		"\x7f\u0085\u009b": `\x7f\u{85}\u{9b}`, "\u202e\u2066\u200b\ufeff": `\u{202e}\u{2066}\u{200b}\u{feff}`,
		"bad\xff\xc3": `bad\xff\xc3`, "\u00a0": `\u{a0}`, "\U000e0001": `\u{e0001}`,
	} {
		if got := Clean(in); got != want {
			t.Errorf("%q is shown as %s, want %s", in, got, want)
		}
	}
}

func BenchmarkSnapshotYAML(b *testing.B) {
	s := richSnapshot()
	for i := range 1000 {
		c := nf.Container{Runtime: nf.RuntimeNetns, ID: fmt.Sprint(i), State: nf.StateRunning}
		for _, name := range nf.TimeoutNames() {
			c.Facts = append(c.Facts, nf.Fact{Key: nf.TimeoutKey(name), Live: nf.Number(30)})
		}
		s.Containers = append(s.Containers, c)
	}
	for b.Loop() {
		if err := Snapshots.Write(&bytes.Buffer{}, FormatYAML, s, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func groupNames() (list []string) {
	for _, g := range Groups() {
		list = append(list, string(g))
	}
	return list
}
