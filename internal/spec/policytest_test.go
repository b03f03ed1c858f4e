package spec

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"nfsync.dev/nfsync/internal/nf"
)

// TestPolicyTestErrors holds every invalid test to its exact messages, hints and places.
func TestPolicyTestErrors(t *testing.T) {
	files := glob(t, "testdata/policytest/err/*.yaml")
	if len(files) < 50 {
		t.Fatalf("only %d invalid files", len(files))
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			parsed, found := ParseAll([]File{{Name: filepath.Base(name), Data: read(t, name)}})
			if len(found) == 0 || len(parsed.Tests) > 0 {
				t.Fatalf("%d tests, %d errors", len(parsed.Tests), len(found))
			}
			golden(t, strings.TrimSuffix(name, ".yaml")+".out", format(found))
		})
	}
}

func validTest(t *testing.T, name string) PolicyTest {
	t.Helper()
	parsed, found := ParseAll([]File{{Name: name, Data: read(t, name)}})
	if len(found) > 0 || len(parsed.Tests) != 1 || len(parsed.Policies) > 0 {
		t.Fatalf("%s: %d tests, %d policies\n%s", name, len(parsed.Tests), len(parsed.Policies), format(found))
	}
	return parsed.Tests[0]
}

// TestPolicyTestValid holds every valid test to be read, and to be no policy.
func TestPolicyTestValid(t *testing.T) {
	for _, name := range glob(t, "testdata/policytest/ok/*.yaml") {
		validTest(t, name)
	}
}

// TestPolicyTestValues holds every kind of value to arrive.
func TestPolicyTestValues(t *testing.T) {
	test := validTest(t, "testdata/policytest/ok/all.yaml")
	if got := test.SnapshotFile(); got != "testdata/policytest/snapshots/hn-1.yaml" {
		t.Errorf("the snapshot is %s", got)
	}
	var got []string
	for _, list := range test.Expect {
		for _, e := range list.Entries {
			got = append(got, string(list.List)+" "+entryText(e.TestEntry))
		}
	}
	want := []string{
		`wants {target: node, key: level, wanted: stateless, state: in-sync, policy: edge}`,
		`wants {target: node, key: conntrack.max, wanted: {atLeast: 1000, atMost: 2000}, state: differs}`,
		`wants {target: node, key: conntrack.buckets, wanted: {atMost: 2000}}`,
		`wants {target: node, key: module/ip_set, wanted: {state: loaded, parameters: {a: "b", max_sets: "512"}}}`,
		`wants {target: node, key: modulesAboveLevel, wanted: keep, state: refused}`,
		`wants {target: node, key: conntrack.sysctls.nf_conntrack_tcp_loose, wanted: 0, state: pending}`,
		`changes {target: container/web-1, key: level, layer: boot, from: "custom(0xc000003)", to: full, cause: drift, oneWay: true, disruptive: false, policy: web}`,
		`changes {target: container/web-1, key: conntrack.timeouts.tcpEstablished, layer: live, from: 432000, to: 7200}`,
		`changes {target: container/web-1, key: "conntrack.timeouts.*", from: absent, to: 5400}`,
		`changes {target: container/web-1, key: conntrack.timeouts.udp, from: 432000, to: 129600}`,
		`changes {target: container/web-1, key: conntrack.timeouts.udp, from: 0, to: 100}`,
		`changes {target: container/web-1, key: "*", from: 86400, to: 5400}`,
		`changes {target: container/web-1, key: "*", from: unknown, to: 5}`,
		`changes {target: container/web-1, key: conntrack.sysctls.nf_conntrack_log_invalid, from: lots, to: 5}`,
		`changes {target: container/web-1, key: restart, from: full, to: stateless}`,
		`changes {target: node, key: module/ip_set, from: unloaded, to: loaded}`,
		`refusals {target: container/web-1, key: conntrack.max, code: above-node, layer: live, from: 0, to: 5, until: policy-change, policy: web}`,
		`refusals {target: container/web-1, key: level}`,
		`pending {target: container/web-1, key: conntrack.max, from: absent, to: 5, until: container-start, policy: web}`,
		`warnings {target: node, code: node-tracking}`,
		`warnings {target: container/web-1, key: level, code: level-not-enforced, policy: web}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if first := test.Expect[0].Entries[0].Place; first.Line != 10 || first.Column != 9 {
		t.Errorf("the first expectation is at %s", first)
	}
}

// beyondTestSchema are the invalid tests that the schema takes, and why it cannot do otherwise.
var beyondTestSchema = map[string]string{
	"anchor.yaml":             "an editor's YAML reader drops anchors",
	"duration.yaml":           "a schema does not know the key of a value",
	"level.yaml":              "a schema does not know the key of a value",
	"level-number.yaml":       "a schema does not know the key of a value",
	"module-state.yaml":       "a schema does not know the key of a value",
	"name-taken.yaml":         "a schema sees one document",
	"number-octal.yaml":       "a schema sees the number, not its spelling",
	"number-quoted.yaml":      "a schema does not know the key of a value",
	"number-text.yaml":        "a schema does not know the key of a value",
	"range-inverted.yaml":     "a schema cannot compare values",
	"snapshot-directory.yaml": "a schema does not clean paths",
	"targets-glob.yaml":       "a schema cannot tell a malformed glob",
}

// TestPolicyTestSchema holds the schema to take exactly the tests that the parser takes, but for
// the ones above.
func TestPolicyTestSchema(t *testing.T) {
	schema := compile(t, "policytest.schema.json")
	for _, name := range glob(t, "testdata/policytest/ok/*.yaml") {
		if err := validate(schema, read(t, name)); err != nil {
			t.Errorf("%s: the schema refuses what the parser takes: %v", name, err)
		}
	}
	files := glob(t, "testdata/policytest/err/*.yaml")
	for name := range beyondTestSchema {
		if !slices.Contains(files, "testdata/policytest/err/"+name) {
			t.Errorf("%s is an exception and no file", name)
		}
	}
	for _, name := range files {
		_, excepted := beyondTestSchema[filepath.Base(name)]
		if err := validate(schema, read(t, name)); (err == nil) != excepted {
			t.Errorf("%s: excepted: %t, and the schema says %v", name, excepted, err)
		}
	}
}

// TestPolicyTestSchemaKeys holds the schema to have the very keys of the parser, and to describe
// each.
func TestPolicyTestSchemaKeys(t *testing.T) {
	schema := compile(t, "policytest.schema.json")
	for _, path := range []string{"", "metadata", "spec", "spec.expect"} {
		text := "NoSuchKey: 1"
		for _, key := range slices.Backward(strings.Split(path, ".")) {
			if key != "" {
				text = key + ": {" + text + "}"
			}
		}
		_, found := Parse([]File{{Name: "x", Data: []byte("kind: PolicyTest\n" + text + "\n")}})
		if diff := cmp.Diff(knownKeys(found), sortedKeys(t, schemaAt(schema, path))); diff != "" {
			t.Errorf("%q: parser and schema differ:\n%s", path, diff)
		}
	}
	for _, list := range nf.ExpectLists() {
		text := "kind: PolicyTest\nspec: {expect: {" + string(list) + ": [{NoSuchKey: 1}]}}\n"
		_, found := Parse([]File{{Name: "x", Data: []byte(text)}})
		entries := resolved(schemaAt(schema, "spec.expect").Properties[string(list)].Items.(*jsonschema.Schema))
		if diff := cmp.Diff(knownKeys(found), sortedKeys(t, entries)); diff != "" {
			t.Errorf("%s: parser and schema differ:\n%s", list, diff)
		}
	}
}

// TestTestTexts holds what is written into a test to be read as the same.
func TestTestTexts(t *testing.T) {
	module := nf.Module(nf.ModuleLoaded, map[string]string{"max_sets": "5", "a": `"{`})
	text, mask, wish := nf.Text("0x1 # {"), nf.MaskValue(0xc000003), nf.Exactly(module)
	for _, e := range []struct {
		list  nf.ExpectList
		entry nf.TestEntry
	}{
		{nf.ExpectWants, nf.TestEntry{Target: `container/a"b\[*`, Key: nf.ModuleKey("ip_set"), Wanted: &wish, Policy: "yes"}},
		{nf.ExpectChanges, nf.TestEntry{Target: "container/ä\u2028\u0085\x1b😀: x", Key: nf.SysctlKey("nf_conntrack_x"), From: &text, Policy: "1.5"}},
		{nf.ExpectChanges, nf.TestEntry{Target: "vz/123", Key: nf.KeyLevel, From: &mask, Policy: "true"}},
		{nf.ExpectWarnings, nf.TestEntry{Target: "node", Code: nf.WarnNoPolicy}},
	} {
		doc := "apiVersion: nfsync.dev/v1alpha1\nkind: PolicyTest\nmetadata: {name: x}\nspec: {snapshot: a.yaml, expect: {" + string(e.list) + ": [" + entryText(e.entry) + "]}}\n"
		parsed, found := ParseAll([]File{{Name: "x", Data: []byte(doc)}})
		if len(found) > 0 {
			t.Errorf("%s%s", doc, format(found))
			continue
		}
		if got := entryText(parsed.Tests[0].Expect[0].Entries[0].TestEntry); got != entryText(e.entry) {
			t.Errorf("%s is read as %s", entryText(e.entry), got)
		}
	}
}
