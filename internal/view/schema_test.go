package view

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/schemas"
)

func compiled(t *testing.T, kind string) *jsonschema.Schema {
	t.Helper()
	text, ok := schemas.Get(kind)
	if !ok {
		t.Fatalf("there is no schema of %s", kind)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(kind, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(kind)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func valid(t *testing.T, schema *jsonschema.Schema, doc []byte) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(v)
}

func TestDocumentsMatchTheirSchema(t *testing.T) {
	for _, d := range documents() {
		if d.schema == "" {
			continue
		}
		if err := valid(t, compiled(t, d.schema), written(t, d, FormatJSON, Options{})); err != nil {
			t.Errorf("%s: %v", d.name, err)
		}
	}
	var saved bytes.Buffer
	if err := SavedPlan(&saved, richPlan(), []spec.File{{Name: "policies/web.yaml", Data: []byte("kind: ContainerPolicy\n")}}); err != nil {
		t.Fatal(err)
	}
	if err := valid(t, compiled(t, nf.KindPlan), saved.Bytes()); err != nil {
		t.Error(err)
	}
}

// TestSchemasRefuse changes a valid document in one place, which its schema
// must notice.
func TestSchemasRefuse(t *testing.T) {
	for _, c := range []struct{ kind, from, to string }{
		{nf.KindPlan, `"kind": "Plan"`, `"kind": "plan"`},
		{nf.KindPlan, `"id": "sha256:`, `"id": "sha1:`},
		{nf.KindPlan, `"layer": "boot"`, `"layer": "disk"`},
		{nf.KindPlan, `"code": "conflict"`, `"code": "conflicts"`},
		{nf.KindPlan, `"until": "rules-removed"`, `"until": "soon"`},
		{nf.KindPlan, `"cause": "drift"`, `"cause": "fate"`},
		{nf.KindPlan, `"key": "restart"`, `"key": "reboot"`},
		{nf.KindPlan, `"from": 432000`, `"from": 432000.5`},
		{nf.KindPlan, `"unknown": "`, `"unkown": "`},
		{nf.KindPlan, `"line": 14`, `"line": -1`},
		{nf.KindPlan, `"revision":`, `"version":`},
		{nf.KindPlan, `"kind": "node"`, `"kind": "node", "id": "1"`},
		{nf.KindPlan, `"runtime": "netns",`, ``},
		{nf.KindEffective, `"state": "differs"`, `"state": "other"`},
		{nf.KindReview, `"affected": 3`, `"affected": null`},
		{nf.KindReview, `"cause": "policy"`, `"cause": "fate"`},
		{nf.KindFleetPlan, `"state": "stale"`, `"state": "old"`},
		{nf.KindFleetPlan, `"failed": 3`, `"failed": "3"`},
		{nf.KindPolicyTestResults, `"list": "refusals"`, `"list": "refused"`},
		{nf.KindPolicyTestResults, `"got": null`, `"got": []`},
		{nf.KindPolicyTestResults, `"passed": 1`, `"passed": true`},
		{nf.KindReceipt, `"outcome": "gone"`, `"outcome": "lost"`},
		{nf.KindReceipt, `"startedAt": "2026-`, `"startedAt": "26-`},
		{nf.KindReceipt, `"stuck": 1`, `"stuck": "1"`},
		{nf.KindNodeStatus, `"status": "True"`, `"status": "true"`},
		{nf.KindNodeStatus, `"result": "refused"`, `"result": "maybe"`},
		{nf.KindNodeStatus, `"updatedAt": "2026-`, `"updatedAt": "26-`},
		{nf.KindNodeStatus, `"type": "Ready"`, `"type": "Fine"`},
		{nf.KindFleetStatus, `"state": "halted"`, `"state": "stopped"`},
		{nf.KindFleetStatus, `"at": "2026-`, `"at": "26-`},
		{nf.KindFleetStatus, `"silent": 2`, `"silent": -2`},
		{nf.KindFleetNodes, `"bootID":`, `"bootId":`},
		{nf.KindFleetNodes, `"silent": true`, `"silent": null`},
		{nf.KindFleetNodeStatus, `"position": 0.25`, `"position": 2.5`},
		{nf.KindFleetRollout, `"state": "halted"`, `"state": "stopped"`},
		{nf.KindFleetRollout, `"lost": 1`, `"lost": "1"`},
		{nf.KindNodeSnapshot, `"support": "locked"`, `"support": "shut"`},
		{nf.KindNodeSnapshot, `"state": "on"`, `"state": "maybe"`},
		{nf.KindNodeSnapshot, `"level": "stateful"`, `"level": "Stateful"`},
		{nf.KindNodeSnapshot, `"key": "conntrack.max"`, `"key": "restart"`},
		{nf.KindNodeSnapshot, `"maxScope": "node"`, `"maxScope": "nodes"`},
		{nf.KindNodeSnapshot, `"atMost": 50000`, `"atMost": 0`},
		{nf.KindNodeSnapshot, `"atMost": 50000`, `"atmost": 50000`},
		{nf.KindNodeSnapshot, `"bootID":`, `"bootId":`},
		{nf.KindNodeSnapshot, `"hashsize": {`, `"hashsize": {"min": "1",`},
	} {
		for _, d := range documents() {
			if d.schema != c.kind || !strings.HasSuffix(d.name, "-rich") && !strings.HasSuffix(d.name, "-failed") {
				continue
			}
			doc := string(written(t, d, FormatJSON, Options{}))
			changed := strings.Replace(doc, c.from, c.to, 1)
			if changed == doc {
				t.Errorf("%s does not hold %s", d.name, c.from)
			} else if valid(t, compiled(t, c.kind), []byte(changed)) == nil {
				t.Errorf("the schema of %s takes %s", c.kind, c.to)
			}
		}
	}
}

// TestSchemasHaveEveryField walks the Go types and the schemas side by side:
// the same fields, described, required unless they may be left out.
func TestSchemasHaveEveryField(t *testing.T) {
	for kind, goType := range map[string]reflect.Type{
		nf.KindPlan:      reflect.TypeFor[savedPlan](),
		nf.KindEffective: reflect.TypeFor[nf.Effective](),
		nf.KindReview:    reflect.TypeFor[nf.Review](),
		nf.KindFleetPlan: reflect.TypeFor[nf.FleetPlan](),

		nf.KindPolicyTestResults: reflect.TypeFor[nf.PolicyTestResults](),

		nf.KindReceipt:   reflect.TypeFor[apply.Receipt](),
		nf.KindReceipts:  reflect.TypeFor[receiptsJSON](),
		nf.KindForgotten: reflect.TypeFor[forgottenJSON](),

		nf.KindFleetCredentials: reflect.TypeFor[fleetCredentialsJSON](),

		nf.KindNodeSnapshot: reflect.TypeFor[nf.Snapshot](),
		nf.KindNodeStatus:   reflect.TypeFor[nf.NodeStatus](),
		nf.KindDiagnostics:  reflect.TypeFor[diagnosticsJSON](),
		nf.KindDoctor:       reflect.TypeFor[doctorJSON](),
		nf.KindExplanation:  reflect.TypeFor[explanationJSON](),
		nf.KindRecovery:     reflect.TypeFor[recoveryJSON](),
		nf.KindSchemaList:   reflect.TypeFor[schemaListJSON](),
		nf.KindConfirmation: reflect.TypeFor[confirmationJSON](),
		nf.KindVocabulary:   reflect.TypeFor[vocabularyJSON](),
		nf.KindVersion:      reflect.TypeFor[versionJSON](),

		nf.KindFleetStatus:     reflect.TypeFor[nf.FleetStatus](),
		nf.KindFleetNodes:      reflect.TypeFor[nf.FleetNodes](),
		nf.KindFleetNodeStatus: reflect.TypeFor[nf.FleetNodeStatus](),
		nf.KindFleetRollout:    reflect.TypeFor[nf.FleetRollout](),
		nf.KindRolloutDocument: reflect.TypeFor[nf.RolloutDocument](),
	} {
		text, _ := schemas.Get(kind)
		var root map[string]any
		if err := json.Unmarshal(text, &root); err != nil {
			t.Fatal(err)
		}
		w := fieldWalk{t: t, root: root, used: map[string]bool{}}
		w.walk(kind, goType, root)
		definitions, _ := root["definitions"].(map[string]any)
		for name := range definitions {
			if !w.used[name] {
				t.Errorf("%s: nothing refers to the definition %s", kind, name)
			}
		}
	}
}

type fieldWalk struct {
	t    *testing.T
	root map[string]any
	used map[string]bool
}

// optional are the fields that are not always written although their type
// says so: a plan's policies are in a saved plan only.
var optional = map[string]bool{"Plan.policies": true}

func (w fieldWalk) walk(path string, goType reflect.Type, schema map[string]any) {
	schema = w.resolve(schema)
	switch {
	case goType == reflect.TypeFor[nf.Value](), goType == reflect.TypeFor[time.Time]():
	case goType == reflect.TypeFor[nf.Wish]() && schema["anyOf"] != nil: // as its value, or as a range
	case goType == reflect.TypeFor[nf.Wish]() && schema["minProperties"] != nil: // a range
	case goType == reflect.TypeFor[*nf.TestEntry]() && schema["anyOf"] != nil: // null, or an entry
		w.walk(path, goType.Elem(), schema["anyOf"].([]any)[1].(map[string]any))
	case goType == reflect.TypeFor[*nf.Wish]() && schema["anyOf"] != nil: // as its value, or as a range
		for _, way := range schema["anyOf"].([]any) {
			w.resolve(way.(map[string]any))
		}
	case (goType == reflect.TypeFor[*nf.Plan]() || goType == reflect.TypeFor[*nf.RolloutDocument]()) && schema["anyOf"] != nil: // null, or another document
		w.resolve(schema["anyOf"].([]any)[1].(map[string]any))
	case goType.Kind() == reflect.Pointer:
		w.walk(path, goType.Elem(), schema)
	case goType.Kind() == reflect.Slice:
		w.walk(path+"[]", goType.Elem(), schema["items"].(map[string]any))
	case goType.Kind() == reflect.Map:
		if values, ok := schema["additionalProperties"].(map[string]any); ok {
			w.walk(path+"{}", goType.Elem(), values)
		}
	case goType.Kind() == reflect.Struct:
		w.fields(path, goType, schema)
	}
}

func (w fieldWalk) fields(path string, goType reflect.Type, schema map[string]any) {
	properties := schema["properties"].(map[string]any)
	var required []string
	list, _ := schema["required"].([]any)
	for _, name := range list {
		required = append(required, name.(string))
	}
	if schema["additionalProperties"] != false {
		w.t.Errorf("%s: takes additional properties", path)
	}
	var names []string
	for _, f := range jsonFields(goType) {
		names = append(names, f.name)
		property, ok := properties[f.name].(map[string]any)
		if !ok {
			w.t.Errorf("%s.%s is not in the schema", path, f.name)
			continue
		}
		must := !f.omitEmpty && !optional[path+"."+f.name]
		if slices.Contains(required, f.name) != must {
			w.t.Errorf("%s.%s: required is %v", path, f.name, !must)
		}
		if property["description"] == nil && w.resolve(property)["description"] == nil {
			w.t.Errorf("%s.%s has no description", path, f.name)
		}
		w.walk(path+"."+f.name, f.goType, property)
	}
	for name := range properties {
		if !slices.Contains(names, name) {
			w.t.Errorf("%s.%s is in the schema only", path, name)
		}
	}
}

// resolve follows $ref, alone or beside a description.
func (w fieldWalk) resolve(schema map[string]any) map[string]any {
	if all, ok := schema["allOf"].([]any); ok {
		schema = all[0].(map[string]any)
	}
	ref, ok := schema["$ref"].(string)
	if !ok {
		return schema
	}
	name := strings.TrimPrefix(ref, "#/definitions/")
	w.used[name] = true
	return w.resolve(w.root["definitions"].(map[string]any)[name].(map[string]any))
}

type jsonField struct {
	name      string
	omitEmpty bool
	goType    reflect.Type
}

func jsonFields(goType reflect.Type) []jsonField {
	var list []jsonField
	for _, f := range reflect.VisibleFields(goType) {
		tag, tagged := f.Tag.Lookup("json")
		name, rest, _ := strings.Cut(tag, ",")
		if !tagged || name == "-" {
			continue
		}
		list = append(list, jsonField{name, rest == "omitempty" || rest == "omitzero", f.Type})
	}
	return list
}

// TestNoNullList holds the zero value of every document to the rule that a
// list is never null.
func TestNoNullList(t *testing.T) {
	s := nf.Snapshot{Host: nf.Namespace{Rules: &nf.Rules{}}, Containers: []nf.Container{{Namespace: nf.Namespace{Rules: &nf.Rules{}}}}}
	for _, d := range []document{planDocument("plan", nf.Plan{}), receiptDocument("receipt", apply.Receipt{}),
		reportDocument("report", apply.Report{}), documentOf("snapshot", "", Snapshots, nf.Snapshot{}), documentOf("snapshot", "", Snapshots, s),
		documentOf("fleet status", "", FleetStatuses, nf.FleetStatus{Rollout: &nf.RolloutBrief{}}), documentOf("fleet nodes", "", FleetNodes, nf.FleetNodes{Nodes: []nf.NodeInFleet{{HeardNode: nf.HeardNode{FleetNode: nf.FleetNode{Progress: &nf.NodeProgress{}}}}}}),
		documentOf("fleet show", "", FleetNodeStatuses, nf.FleetNodeStatus{Node: nf.NodeInFleet{HeardNode: nf.HeardNode{FleetNode: nf.FleetNode{Progress: &nf.NodeProgress{}}}}, Turn: &nf.NodeTurn{}, Snapshot: &nf.PutSnapshot{}}),
		documentOf("fleet rollout", "", FleetRollouts, nf.FleetRollout{Document: &nf.RolloutDocument{StepEnded: &statusTime}}),
		diagnosticsDocument("validate", nil, 0)} {
		var doc any
		if err := json.Unmarshal(written(t, d, FormatJSON, Options{}), &doc); err != nil {
			t.Fatal(err)
		}
		walkNulls(doc, d.name, func(path string) {
			if !strings.HasSuffix(path, ".count") { // an absent value
				t.Errorf("%s is null", path)
			}
		})
	}
	if s.Containers[0].Facts != nil || s.Host.Rules.Tables != nil {
		t.Error("writing a snapshot has changed it")
	}
}

func walkNulls(doc any, path string, found func(string)) {
	switch v := doc.(type) {
	case nil:
		found(path)
	case []any:
		for _, item := range v {
			walkNulls(item, path+"[]", found)
		}
	case map[string]any:
		for name, item := range v {
			walkNulls(item, path+"."+name, found)
		}
	}
}

// TestYAMLIsTheJSON reads every document back from both notations.
func TestYAMLIsTheJSON(t *testing.T) {
	for _, d := range documents() {
		if d.schema == "" {
			continue
		}
		sameValue(t, d.name, written(t, d, FormatJSON, Options{}), written(t, d, FormatYAML, Options{}))
	}
}

// sameValue reads both and compares them, keys in their order.
func sameValue(t *testing.T, name string, fromJSON, fromYAML []byte) {
	t.Helper()
	var asYAML yaml.Node
	if err := yaml.Unmarshal(fromYAML, &asYAML); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, fromYAML)
	}
	var asJSON yaml.Node // JSON is YAML, but for the escapes of characters beyond the basic plane
	if err := yaml.Unmarshal(fromJSON, &asJSON); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, fromJSON)
	}
	if got, want := flat(&asYAML), flat(&asJSON); !slices.Equal(got, want) {
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("%s: YAML has %s, JSON has %s", name, got[i], want[i])
			}
		}
		t.Fatalf("%s: YAML has %d values, JSON has %d", name, len(got), len(want))
	}
}

// flat are the scalars of a document with the type that a reader gives them.
func flat(n *yaml.Node) []string {
	if n.Kind == yaml.ScalarNode {
		return []string{n.ShortTag() + " " + n.Value}
	}
	list := []string{n.ShortTag()}
	for _, c := range n.Content {
		list = append(list, flat(c)...)
	}
	return append(list, "end")
}

// enum is the list of a definition's words, or of those of its property.
func enum(t *testing.T, kind, definition, property string) []string {
	t.Helper()
	text, _ := schemas.Get(kind)
	type words struct {
		Enum []string `json:"enum"`
	}
	var root struct {
		Definitions map[string]struct {
			words
			Properties map[string]json.RawMessage `json:"properties"`
		} `json:"definitions"`
	}
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	d := root.Definitions[definition]
	if property == "" {
		return d.Enum
	}
	var w words
	if err := json.Unmarshal(d.Properties[property], &w); err != nil {
		t.Fatal(err)
	}
	return w.Enum
}
