package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/internal/nf"
)

// beyondSchema are the invalid files that the schema takes, and why it cannot
// do otherwise.
var beyondSchema = map[string]string{
	"anchor.yaml":                 "an editor's YAML reader drops anchors",
	"anchor-required-key.yaml":    "an editor's YAML reader drops anchors",
	"anchor-key.yaml":             "an editor's YAML reader drops anchors",
	"merge-key.yaml":              "an editor's YAML reader merges",
	"tag-plain.yaml":              "an editor's YAML reader resolves tags",
	"tag-scalar.yaml":             "an editor's YAML reader resolves tags",
	"text-utf16.yaml":             "an editor's YAML reader takes UTF-16",
	"integer-octal.yaml":          "a schema sees the number, not its spelling",
	"integer-exponent.yaml":       "a schema sees the number, not its spelling",
	"integer-underscore.yaml":     "a schema sees the number, not its spelling",
	"integer-hex.yaml":            "a schema sees the number, not its spelling",
	"integer-sign.yaml":           "a schema sees the number, not its spelling",
	"integer-minus-zero.yaml":     "a schema sees the number, not its spelling",
	"duplicate-module.yaml":       "a schema cannot compare keys",
	"duplicate-parameter.yaml":    "a schema cannot compare keys",
	"range-inverted.yaml":         "a schema cannot compare values",
	"timeout-above-duration.yaml": "a schema cannot count the seconds of a text",
	"nodes-glob.yaml":             "a schema cannot tell a malformed glob",
	"containers-glob.yaml":        "a schema cannot tell a malformed glob",
	"name-taken.yaml":             "a schema sees one document",
	"text-line-separator.yaml":    "a schema sees no comments, and not what they hide",
}

// TestSchemaAgrees holds the schemas to take exactly the files that the parser
// takes, but for the ones above.
func TestSchemaAgrees(t *testing.T) {
	schema := compile(t, "policy.schema.json")
	for _, name := range slices.Concat(glob(t, "testdata/ok/*.yaml"), glob(t, "../../examples/policies/*.yaml")) {
		if err := validate(schema, read(t, name)); err != nil {
			t.Errorf("%s: the schema refuses what the parser takes: %v", name, err)
		}
	}
	beyond := map[string]bool{}
	for _, name := range glob(t, "testdata/err/*.yaml") {
		base := filepath.Base(name)
		_, excepted := beyondSchema[base]
		beyond[base] = true
		switch err := validate(schema, read(t, name)); {
		case err == nil && !excepted:
			t.Errorf("%s: the schema takes what the parser refuses", name)
		case err != nil && excepted:
			t.Errorf("%s: is no exception any more: %v", name, err)
		}
	}
	for name := range beyondSchema {
		if !beyond[name] {
			t.Errorf("%s is an exception and no file", name)
		}
	}
}

// TestExampleSnapshots: the example snapshots say nothing that nfsync could not
// have said. The parser leaves out what it does not know; the schema does not.
func TestExampleSnapshots(t *testing.T) {
	schema := compile(t, "snapshot.schema.json")
	for _, name := range glob(t, "../../examples/snapshots/*.yaml") {
		data := read(t, name)
		if err := validate(schema, data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, found := ParseSnapshot(File{Name: name, Data: data}); len(found) > 0 {
			t.Errorf("refused:\n%s", format(found))
		}
	}
}

func compile(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("../../schemas", name))
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// validate reads the documents as an editor does, and returns what is wrong
// with the first that is.
func validate(schema *jsonschema.Schema, data []byte) error {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if isNothing(document.Content[0]) {
			continue
		}
		var value any
		if err := document.Decode(&value); err != nil {
			return err
		}
		if err := schema.Validate(asJSON(value)); err != nil {
			return err
		}
	}
}

// asJSON makes every key a text, as editors do.
func asJSON(value any) any {
	switch v := value.(type) {
	case map[any]any:
		object := map[string]any{}
		for key, value := range v {
			object[fmt.Sprint(key)] = asJSON(value)
		}
		return object
	case map[string]any:
		for key, value := range v {
			v[key] = asJSON(value)
		}
	case []any:
		for i := range v {
			v[i] = asJSON(v[i])
		}
	}
	return value
}

// TestSchemaKeys holds the schemas to have the very keys of the parser, which
// it names where it meets an unknown one, and to describe each.
func TestSchemaKeys(t *testing.T) {
	const unknown = "NoSuchKey: 1"
	node := []struct{ path, text string }{
		{"", unknown},
		{"metadata", "metadata: {" + unknown + "}"},
		{"spec", "spec: {" + unknown + "}"},
		{"spec.nodes", "spec: {nodes: {" + unknown + "}}"},
		{"spec.conntrack", "spec: {conntrack: {" + unknown + "}}"},
		{"spec.conntrack.max", "spec: {conntrack: {max: {" + unknown + "}}}"},
	}
	containers := append(slices.Clone(node), struct{ path, text string }{"spec.containers", "spec: {containers: {" + unknown + "}}"})
	node = append(node,
		struct{ path, text string }{"spec.conntrack.buckets", "spec: {conntrack: {buckets: {" + unknown + "}}}"},
		struct{ path, text string }{"spec.conntrack.expectMax", "spec: {conntrack: {expectMax: {" + unknown + "}}}"})
	for kind, tests := range map[string][]struct{ path, text string }{nf.KindNodePolicy: node, nf.KindContainerPolicy: containers} {
		schema := compile(t, strings.ToLower(kind)+".schema.json")
		for _, test := range tests {
			_, found := Parse([]File{{Name: "x", Data: []byte("kind: " + kind + "\n" + test.text + "\n")}})
			got := sortedKeys(t, schemaAt(schema, test.path))
			if diff := cmp.Diff(knownKeys(found), got); diff != "" {
				t.Errorf("%s %q: parser and schema differ:\n%s", kind, test.path, diff)
			}
		}
		if diff := cmp.Diff(nf.TimeoutNames(), sortedKeys(t, schemaAt(schema, "spec.conntrack.timeouts"))); diff != "" {
			t.Errorf("%s: timeouts: nf and schema differ:\n%s", kind, diff)
		}
		var levels []string
		for _, v := range schemaAt(schema, "spec.level").Enum.Values {
			levels = append(levels, v.(string))
		}
		if diff := cmp.Diff(nf.LevelNames(), levels); diff != "" {
			t.Errorf("%s: levels: nf and schema differ:\n%s", kind, diff)
		}
	}
}

// schemaAt follows properties, references and alternatives to the schema of a
// mapping or value.
func schemaAt(s *jsonschema.Schema, path string) *jsonschema.Schema {
	for _, key := range strings.Split(path, ".") {
		if key != "" {
			s = resolved(s).Properties[key]
		}
	}
	return resolved(s)
}

func resolved(s *jsonschema.Schema) *jsonschema.Schema {
	for {
		switch {
		case s.Ref != nil:
			s = s.Ref
		case len(s.AllOf) == 1:
			s = s.AllOf[0]
		case len(s.OneOf) == 2 && len(s.Properties) == 0:
			s = s.OneOf[1]
		default:
			return s
		}
	}
}

func sortedKeys(t *testing.T, s *jsonschema.Schema) []string {
	t.Helper()
	var keys []string
	for key, property := range s.Properties {
		keys = append(keys, key)
		if property.Description == "" && (property.Ref == nil || property.Ref.Description == "") {
			t.Errorf("%s has no description", property.Location)
		}
	}
	slices.Sort(keys)
	return keys
}

func knownKeys(found []Diagnostic) []string {
	for _, d := range found {
		if strings.HasPrefix(d.Message, `unknown key "NoSuchKey"`) {
			return strings.Split(strings.TrimPrefix(d.Hint, "known keys: "), ", ")
		}
	}
	return nil
}
