package schemas

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestGet holds every schema to be found by the kind that it describes and by
// the name of its file, and to be a schema of draft-07.
func TestGet(t *testing.T) {
	kinds := Kinds()
	if !slices.IsSorted(kinds) || !slices.Contains(kinds, "NodePolicy") || slices.Contains(kinds, "") {
		t.Errorf("the kinds are %q", kinds)
	}
	for _, kind := range kinds {
		if _, ok := Get(kind); !ok {
			t.Errorf("no schema of %s", kind)
		}
	}
	paths, err := filepath.Glob("*" + suffix)
	if err != nil || len(paths) != len(kinds) {
		t.Fatalf("%d files, %d kinds, %v", len(paths), len(kinds), err)
	}
	for _, path := range paths {
		schema, err := jsonschema.NewCompiler().Compile(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if schema.DraftVersion != 7 {
			t.Errorf("%s is of draft %d", path, schema.DraftVersion)
		}
		byFile, _ := Get(path[:len(path)-len(suffix)])
		byTitle, _ := Get(schema.Title)
		if !bytes.Equal(byFile, byTitle) || len(byFile) == 0 {
			t.Errorf("%s is not what %s gives", path, schema.Title)
		}
	}
	if _, ok := Get("NoSuchKind"); ok {
		t.Error("a schema of nothing")
	}
}

// TestWhole holds every schema to be usable by itself, as a person has it who
// keeps what `nfsync schema KIND` prints.
func TestWhole(t *testing.T) {
	for _, kind := range Kinds() {
		text, _ := Get(kind)
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		compiler := jsonschema.NewCompiler()
		if err := compiler.AddResource("file:///nowhere/"+kind+".json", document); err != nil {
			t.Fatal(err)
		}
		schema, err := compiler.Compile("file:///nowhere/" + kind + ".json")
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if kind != "Policy" {
			continue
		}
		for _, test := range []struct {
			spec  map[string]any
			valid bool
		}{{map[string]any{"level": "full"}, true}, {map[string]any{"level": "half"}, false}} {
			policy := map[string]any{"apiVersion": "nfsync.dev/v1alpha1", "kind": "NodePolicy", "metadata": map[string]any{"name": "n"}, "spec": test.spec}
			if err := schema.Validate(policy); (err == nil) != test.valid {
				t.Errorf("%v: %v", test.spec, err)
			}
		}
	}
}
