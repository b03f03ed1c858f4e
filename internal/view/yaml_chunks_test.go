package view

import (
	"bytes"
	"encoding/json"
	"testing"

	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"
)

// TestYAMLInParts: a document that is encoded in parts is the one that is encoded as a whole.
func TestYAMLInParts(t *testing.T) {
	scalar := rapid.OneOf(rapid.Just[any](nil), rapid.Map(rapid.Bool(), asAny[bool]), rapid.Map(rapid.Int(), asAny[int]), rapid.Map(rapid.String(), asAny[string]),
		rapid.Map(rapid.SampledFrom([]string{"", "no", "1e3", "a: b", "- a", "# a", "a\nb\n", "? a", "'", `"`, "a b"}), asAny[string]))
	key := rapid.SampledFrom([]string{"a", "b", "c d", "- e", "no", "1", "f: g", "?"})
	value := scalar
	for range 3 {
		list := rapid.Map(rapid.SliceOfN(value, 0, 3), asAny[[]any])
		object := rapid.Map(rapid.MapOfN(key, value, 0, 3), asAny[map[string]any])
		value = rapid.OneOf(scalar, list, object)
	}
	rapid.Check(t, func(t *rapid.T) {
		doc := value.Draw(t, "doc")
		got, err := encodeYAML(doc)
		if err != nil {
			t.Fatal(err)
		}
		if want := encodeWhole(t, doc); string(got) != want {
			t.Fatalf("in parts:\n%s\nas a whole:\n%s", got, want)
		}
	})
}

func asAny[T any](v T) any { return v }

func encodeWhole(t *rapid.T, doc any) string {
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	if err := enc.Encode(yamlNode(dec)); err != nil {
		t.Fatal(err)
	}
	return string(escapeUnprintable(buf.Bytes(), yamlEscape))
}
