package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// A document is read in both layouts, whatever its size, and is damaged in any other.
func TestEnvelopeLayouts(t *testing.T) {
	for _, size := range []int{10, 2 * readable} {
		doc := map[string]string{"a": strings.Repeat("x", size), "b": "<&> ."}
		data, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, indented := range []bool{true, false} {
			text, err := envelope{format, "kind", checksum(data), data}.text(indented)
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]string
			if _, direct := sealedData("kind", text); direct == indented {
				t.Errorf("%d bytes, indented %t: its data is found without parsing: %t", size, indented, direct)
			}
			if err := unseal("kind", text, &got); err != nil || got["a"] != doc["a"] || got["b"] != doc["b"] {
				t.Errorf("%d bytes, indented %t: %v", size, indented, err)
			}
			for _, change := range [][2]string{{"x", "y"}, {"{", "{ "}, {":", ": "}, {",", ",\n"}, {"}\n", "}"}} {
				changed := bytes.Replace(text, []byte(change[0]), []byte(change[1]), 1)
				if change[0] == "}\n" {
					changed = bytes.TrimSuffix(text, []byte("\n"))
				}
				if err := unseal("kind", changed, &got); !errors.Is(err, ErrDamaged) {
					t.Errorf("%d bytes, indented %t, %q instead of %q: %v", size, indented, change[1], change[0], err)
				}
			}
		}
		sealed, err := seal("kind", doc)
		if want := size <= readable; err != nil || bytes.HasPrefix(sealed, []byte("{\n")) != want {
			t.Errorf("%d bytes: indented %t, want %t, %v", size, !want, want, err)
		}
	}
}
