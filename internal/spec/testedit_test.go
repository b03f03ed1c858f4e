package spec

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/nf"
)

// TestEditTests holds edits to change what they name and nothing else, in each layout.
func TestEditTests(t *testing.T) {
	const head = "# head\napiVersion: nfsync.dev/v1alpha1\nkind: PolicyTest\nmetadata: {name: x} # x\n"
	five := nf.Number(5)
	add := nf.TestEntry{Target: "node", Key: nf.KeyMax, To: &five}
	set := nf.TestEntry{Code: string(nf.ReadOnly)}
	hours, days, minutes := nf.Number(10800), nf.Number(129600), nf.Exactly(nf.Number(300))
	type edits = []ListEdit
	for name, test := range map[string]struct {
		lists      edits
		text, want string // of the spec
	}{
		"a word in a block": {edits{{List: nf.ExpectRefusals, Set: map[int]nf.TestEntry{1: set}}},
			"spec:\n  snapshot: a.yaml\n  expect:\n    refusals:\n    - {target: a, key: level}\n    # b\n    - target: b # bee\n      code: \"missing\" # why\n      key: level\n  # end\n",
			"spec:\n  snapshot: a.yaml\n  expect:\n    refusals:\n    - {target: a, key: level}\n    # b\n    - target: b # bee\n      code: read-only # why\n      key: level\n  # end\n"},
		"a duration": {edits{{List: nf.ExpectChanges, Set: map[int]nf.TestEntry{0: {From: &days, To: &hours}, 1: {From: &days, To: &hours}, 2: {To: &hours}}}, {List: nf.ExpectWants, Set: map[int]nf.TestEntry{0: {Wanted: &minutes}}}},
			"spec:\n  snapshot: a.yaml\n  expect:\n    changes:\n      - target: a\n        key: conntrack.timeouts.udp\n        from: 5d # five days\n        to: 2h # two hours\n      - {target: a, key: conntrack.timeouts.icmp, from: 432000, to: \"90s\"}\n      - {target: a, key: \"*\", to: 2h}\n    wants: [{target: a, key: conntrack.timeouts.udp, wanted: 2m}]\n",
			"spec:\n  snapshot: a.yaml\n  expect:\n    changes:\n      - target: a\n        key: conntrack.timeouts.udp\n        from: 1d12h # five days\n        to: 3h # two hours\n      - {target: a, key: conntrack.timeouts.icmp, from: 129600, to: 3h}\n      - {target: a, key: \"*\", to: 10800}\n    wants:\n      - {target: a, key: conntrack.timeouts.udp, wanted: 5m}\n"},
		"removed and added": {edits{{List: nf.ExpectChanges, Remove: map[int]bool{0: true, 2: true}, Add: []nf.TestEntry{add}}},
			"spec:\n  expect:\n    changes:\n      - {target: a, key: level} # a\n\n      # b\n      - {target: b, key: level} # b\n      -\n        target: c\n        key: level\n\n    # pending\n    pending: []\n  snapshot: a.yaml\n",
			"spec:\n  expect:\n    changes:\n\n      # b\n      - {target: b, key: level} # b\n      - {target: node, key: conntrack.max, to: 5}\n\n    # pending\n    pending: []\n  snapshot: a.yaml\n"},
		"all removed": {edits{{List: nf.ExpectChanges, Remove: map[int]bool{0: true}}},
			"spec:\n  snapshot: a.yaml\n  expect:\n    changes: # here\n    - {target: a, key: level}\n    pending: []\n",
			"spec:\n  snapshot: a.yaml\n  expect:\n    changes: [] # here\n    pending: []\n"},
		"from none": {edits{{List: nf.ExpectChanges, Add: []nf.TestEntry{add, add}}},
			"spec:\n  snapshot: a.yaml\n  expect:\n    changes: [] # none\n    pending: []",
			"spec:\n  snapshot: a.yaml\n  expect:\n    changes: # none\n      - {target: node, key: conntrack.max, to: 5}\n      - {target: node, key: conntrack.max, to: 5}\n    pending: []"},
		"brackets, to none": {edits{{List: nf.ExpectRefusals, Remove: map[int]bool{0: true}}},
			"spec:\n  snapshot: a.yaml\n  expect:\n    refusals: [{target: a, key: level}]\n", "spec:\n  snapshot: a.yaml\n  expect:\n    refusals: []\n"},
		"brackets": {edits{{List: nf.ExpectRefusals, Set: map[int]nf.TestEntry{1: set}, Add: []nf.TestEntry{add}}},
			"spec: {snapshot: a.yaml, expect: {refusals: [{target: \"a]}\", key: level}, {target: 'b''{', key: level, code: missing}]}} # end\n",
			"spec: {snapshot: a.yaml, expect: {refusals: [{target: \"a]}\", key: level}, {target: 'b''{', key: level, code: read-only}, {target: node, key: conntrack.max, to: 5}]}} # end\n"},
		"no lists": {edits{{List: nf.ExpectChanges}, {List: nf.ExpectRefusals, Add: []nf.TestEntry{add}}},
			"spec:\n    targets:\n    - node\n    snapshot: a.yaml # last\n\n# end\n",
			"spec:\n    targets:\n    - node\n    snapshot: a.yaml # last\n    expect:\n      changes: []\n      refusals:\n        - {target: node, key: conntrack.max, to: 5}\n\n# end\n"},
		"no lists, no newline": {edits{{List: nf.ExpectChanges}}, "spec:\n  snapshot: a.yaml", "spec:\n  snapshot: a.yaml\n  expect:\n    changes: []"},
		"no lists, in braces":  {edits{{List: nf.ExpectChanges}}, "spec: {snapshot: a.yaml,\n}\n", "spec: {snapshot: a.yaml, expect: {changes: []}\n}\n"},
		"empty":                {edits{{List: nf.ExpectChanges, Add: []nf.TestEntry{add}}}, "spec: {snapshot: a.yaml, expect: {}}\n", "spec: {snapshot: a.yaml, expect: {changes: [{target: node, key: conntrack.max, to: 5}]}}\n"},
	} {
		for _, eol := range []string{"\n", "\r\n"} {
			other := "---\nkind: NodePolicy\napiVersion: nfsync.dev/v1alpha1\nmetadata: {name: x}\nspec: {level: full}\n"
			before := "\uFEFF" + strings.ReplaceAll(other+"---\n"+head+test.text, "\n", eol)
			want := "\uFEFF" + strings.ReplaceAll(other+"---\n"+head+test.want, "\n", eol)
			got, err := EditTests(File{Name: "x", Data: []byte(before)}, []TestEdit{{Name: "x", Lists: test.lists}})
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
}

// TestEditUnusual: a layout that cannot be edited without a loss is an error.
func TestEditUnusual(t *testing.T) {
	for _, text := range []string{
		"refusals: [{target: a, key: level, code: missing}, # why\n  {target: b, key: level}]",
		"{refusals: [target: a]}",
		"refusals:\n      - target: a\n        key: level\n        code: >-\n          missing\n",
	} {
		doc := "apiVersion: nfsync.dev/v1alpha1\nkind: PolicyTest\nmetadata: {name: x}\nspec:\n  snapshot: a\n  expect:\n    " + text
		edit := ListEdit{List: nf.ExpectRefusals, Set: map[int]nf.TestEntry{0: {Code: string(nf.ReadOnly)}}}
		if got, err := EditTests(File{Name: "x", Data: []byte(doc)}, []TestEdit{{Name: "x", Lists: []ListEdit{edit}}}); err == nil {
			t.Errorf("%s: %s", text, got)
		}
	}
}
