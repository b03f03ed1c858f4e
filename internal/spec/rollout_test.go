package spec

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the names of zones are those of this database

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"nfsync.dev/nfsync/internal/nf"
)

// TestRolloutErrors holds every invalid plan to its exact messages, hints and places.
func TestRolloutErrors(t *testing.T) {
	files := glob(t, "testdata/rollout/err/*.yaml")
	if len(files) < 80 {
		t.Fatalf("only %d invalid files", len(files))
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			parsed, found := ParseAll([]File{{Name: filepath.Base(name), Data: read(t, name)}})
			if len(found) == 0 {
				t.Fatal("it was taken")
			}
			if diff := cmp.Diff(Parsed{}, parsed); diff != "" {
				t.Errorf("a plan beside errors:\n%s", diff)
			}
			golden(t, strings.TrimSuffix(name, ".yaml")+".out", format(found))
		})
	}
}

// planOf returns the plan of a valid file, which has no policy.
func planOf(t *testing.T, name string) nf.RolloutPlan {
	t.Helper()
	parsed, found := ParseAll([]File{{Name: name, Data: read(t, name)}})
	if len(found) > 0 || len(parsed.Policies) > 0 || len(parsed.Tests) > 0 {
		t.Fatalf("%s: %d policies, %d tests\n%s", name, len(parsed.Policies), len(parsed.Tests), format(found))
	}
	return parsed.Rollout
}

// TestRolloutValues holds every value to arrive.
func TestRolloutValues(t *testing.T) {
	none, two, five := 0, 2, 5
	all := nf.RolloutPlan{
		Name: "production", InOrder: true, Canaries: 10, Fractions: []float64{0.001, 0.05, 0.333, 1},
		Groups: []nf.PlanGroup{
			{Name: "staging", Match: map[string]string{"stage": "test"}, Canaries: &five, Restarts: &two},
			{Name: "edge", Match: map[string]string{"role": "edge", "site": "b"}},
			{Name: "edge-rest", Match: map[string]string{"role": "edge"}, Canaries: &none, Restarts: &none},
		},
		Soak: 3600, Rate: 0.5, Deadline: 9000, FailureCount: 5, FailureFraction: 0.005, RefusalsFail: true, Silence: 360, Restarts: 3,
		Windows: []nf.RolloutWindow{
			{Days: []time.Weekday{time.Monday, time.Tuesday}, Start: 9 * 3600, End: 16 * 3600, Zone: "Europe/Berlin"},
			{Start: 22 * 3600, End: 4 * 3600, Zone: "UTC"},
		},
		PauseBefore: []int{0, 4},
	}
	named := nf.DefaultRolloutPlan()
	named.Name = "production"
	for name, want := range map[string]nf.RolloutPlan{"all": all, "minimal": named} {
		if diff := cmp.Diff(want, planOf(t, "testdata/rollout/ok/"+name+".yaml")); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	for name, want := range map[string][]int{"no-canaries": {0}, "canaries-of-a-group": {0}, "same-step": {1, 2}, "bounds": nil, "json": nil} {
		if got := planOf(t, "testdata/rollout/ok/"+name+".yaml").PauseBefore; !slices.Equal(got, want) {
			t.Errorf("%s: it pauses before %v", name, got)
		}
	}
}

// TestRolloutDefault: without a Rollout the plan is the default one, and with any error there is none.
func TestRolloutDefault(t *testing.T) {
	policy := File{Name: "a.yaml", Data: []byte(header + "spec: {}\n")}
	parsed, found := ParseAll([]File{policy})
	if diff := cmp.Diff(nf.DefaultRolloutPlan(), parsed.Rollout); len(found) > 0 || diff != "" {
		t.Errorf("%s%s", format(found), diff)
	}
	plan := File{Name: "r.yaml", Data: read(t, "testdata/rollout/ok/all.yaml")}
	if parsed, found = ParseAll([]File{plan, policy}); len(found) > 0 || parsed.Rollout.Name != "production" || len(parsed.Policies) != 1 {
		t.Errorf("%s%+v", format(found), parsed)
	}
	if parsed, _ = ParseAll([]File{plan, {Name: "b.yaml", Data: []byte("kind: X\n")}}); parsed.Rollout.Name != "" || parsed.Rollout.Fractions != nil {
		t.Errorf("beside an error: %+v", parsed.Rollout)
	}
}

// TestDocumentedDefaults: docs/rollout.md has the values of the default plan.
func TestDocumentedDefaults(t *testing.T) {
	text := string(read(t, "../../docs/rollout.md"))
	var keys []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(canaries|steps|soak|startRate|deadline|silence|restarts)` \\|.*\\| `?([^|`]*)`? \\|$").FindAllStringSubmatch(text, -1) {
		keys = append(keys, m[1]+": "+m[2])
	}
	if len(keys) != 7 {
		t.Fatalf("the table has only %q", keys)
	}
	file := File{Name: "x", Data: []byte("apiVersion: nfsync.dev/v1alpha1\nkind: Rollout\nmetadata: {name: x}\nspec:\n  " + strings.Join(keys, "\n  ") + "\n")}
	parsed, found := ParseAll([]File{file})
	want := nf.DefaultRolloutPlan()
	want.Name = "x"
	if diff := cmp.Diff(want, parsed.Rollout); len(found) > 0 || diff != "" {
		t.Errorf("%s\n%s%s", file.Data, format(found), diff)
	}
}

// TestOneRollout: a second Rollout is an error at its place, in whatever file it is and whatever its name.
func TestOneRollout(t *testing.T) {
	plan := read(t, "testdata/rollout/ok/minimal.yaml")
	other := []byte("# another\n" + strings.Replace(string(plan), "production", "staging", 1))
	_, found := ParseAll([]File{{Name: "b.yaml", Data: other}, {Name: "a/r.yaml", Data: plan}, {Name: "c.yaml", Data: other}})
	if got := format(found); len(found) != 2 || !strings.Contains(got, "b.yaml:2:1: a second Rollout: the first one is at a/r.yaml:1") || !strings.Contains(got, "c.yaml:2:1:") {
		t.Errorf("got\n%s", got)
	}
}

// beyondRolloutSchema are the invalid plans that the schema takes, and why it cannot do otherwise.
var beyondRolloutSchema = map[string]string{
	"anchor.yaml":                 "an editor's YAML reader drops anchors",
	"deadline-long.yaml":          "a schema cannot count the seconds of a text",
	"deadline-short.yaml":         "a schema cannot count the seconds of a text",
	"group-twice.yaml":            "a schema cannot compare values",
	"group-unreachable-same.yaml": "a schema cannot compare values",
	"group-unreachable.yaml":      "a schema cannot compare values",
	"pause-no-canaries.yaml":      "a schema cannot compare values",
	"pause-twice.yaml":            "a schema cannot compare values",
	"pause-unknown.yaml":          "a schema cannot compare values",
	"second.yaml":                 "a schema sees one document",
	"silence-long.yaml":           "a schema cannot count the seconds of a text",
	"silence-short.yaml":          "a schema cannot count the seconds of a text",
	"soak-range.yaml":             "a schema cannot count the seconds of a text",
	"soak-zero.yaml":              "a schema cannot count the seconds of a text",
	"start-rate-digits.yaml":      "a schema sees the number, not its spelling",
	"start-rate-exponent.yaml":    "a schema sees the number, not its spelling",
	"steps-falling.yaml":          "a schema cannot compare values",
	"pause-with-error.yaml":       "a schema cannot compare values",
	"steps-not-all.yaml":          "a schema cannot tell the last entry",
	"steps-twice.yaml":            "a schema cannot compare values",
	"too-large.yaml":              "a schema cannot count the bytes of a document",
	"window-empty.yaml":           "a schema cannot compare values",
	"zone-local.yaml":             "a list of time zones would be unreadable",
	"zone-short.yaml":             "a list of time zones would be unreadable",
	"zone-unknown.yaml":           "a list of time zones would be unreadable",
}

// TestRolloutSchema holds the schema to take exactly the plans that the parser takes, but for the ones above.
func TestRolloutSchema(t *testing.T) {
	schemaAgrees(t, "rollout", glob(t, "testdata/rollout/ok/*.yaml"), beyondRolloutSchema)
}

// schemaAgrees holds a schema to take the valid files, and of the invalid ones in testdata the exceptions alone.
func schemaAgrees(t *testing.T, dir string, valid []string, exceptions map[string]string) {
	t.Helper()
	schema := compile(t, map[string]string{"rollout": "rollout.schema.json", "coordinator": "coordinatorconfig.schema.json"}[dir])
	for _, name := range valid {
		if err := validate(schema, read(t, name)); err != nil {
			t.Errorf("%s: the schema refuses what the parser takes: %v", name, err)
		}
	}
	files := glob(t, "testdata/"+dir+"/err/*.yaml")
	for name := range exceptions {
		if !slices.Contains(files, "testdata/"+dir+"/err/"+name) {
			t.Errorf("%s is an exception and no file", name)
		}
	}
	for _, name := range files {
		_, excepted := exceptions[filepath.Base(name)]
		if err := validate(schema, read(t, name)); (err == nil) != excepted {
			t.Errorf("%s: excepted: %t, and the schema says %v", name, excepted, err)
		}
	}
}

// TestRolloutSchemaKeys holds the schema to have the very keys of the parser, and to describe each.
func TestRolloutSchemaKeys(t *testing.T) {
	schema := compile(t, "rollout.schema.json")
	spec := schemaAt(schema, "spec")
	for text, at := range map[string][]string{
		"NoSuchKey: 1":                                      sortedKeys(t, schema),
		"metadata: {NoSuchKey: 1}":                          sortedKeys(t, schemaAt(schema, "metadata")),
		"spec: {NoSuchKey: 1}":                              sortedKeys(t, spec),
		"spec: {failures: {NoSuchKey: 1}}":                  sortedKeys(t, schemaAt(schema, "spec.failures")),
		"spec: {groups: [{name: a, NoSuchKey: 1}]}":         sortedKeys(t, itemsOf(t, schemaAt(schema, "spec.groups"))),
		"spec: {windows: [{start: '01:00', NoSuchKey: 1}]}": sortedKeys(t, itemsOf(t, schemaAt(schema, "spec.windows"))),
	} {
		_, found := Parse([]File{{Name: "x", Data: []byte("kind: Rollout\n" + text + "\n")}})
		if diff := cmp.Diff(knownKeys(found), at); diff != "" {
			t.Errorf("%s: parser and schema differ:\n%s", text, diff)
		}
	}
}

// TestZones: each name of a zone that the parser takes is one of the database that a coordinator has.
func TestZones(t *testing.T) {
	zones := strings.Fields(zoneNames)
	if len(zones) < 500 || !slices.IsSorted(zones) || !slices.Contains(zones, "UTC") || !slices.Contains(zones, "Asia/Kolkata") {
		t.Errorf("%d zones", len(zones))
	}
	for _, name := range zones {
		if _, err := time.LoadLocation(name); err != nil {
			t.Error(err)
		}
	}
}

// itemsOf returns the schema of the entries of a list.
func itemsOf(t *testing.T, s *jsonschema.Schema) *jsonschema.Schema {
	t.Helper()
	items, ok := s.Items.(*jsonschema.Schema)
	if !ok {
		t.Fatalf("%s has no entries", s.Location)
	}
	return resolved(items)
}
