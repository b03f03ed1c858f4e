package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"nfsync.dev/nfsync/internal/nf"
)

// failing is a *testing.T, or that of a property.
type failing interface {
	Helper()
	Errorf(format string, args ...any)
}

// sameSnapshot fails if a document is read directly that the tree's readers refuse, or to another
// snapshot. It returns whether it was read directly.
func sameSnapshot(t failing, text []byte) bool {
	t.Helper()
	got, ok := readDirectly(text)
	if !ok {
		return false
	}
	normalize(&got)
	want, found := parseTree(File{Name: "s.json", Data: text})
	if len(found) > 0 {
		t.Errorf("it was read although there is an error:\n%s%s", format(found), text)
	} else if diff := cmp.Diff(want, got, compareValues); diff != "" {
		t.Errorf("it was read to something else:\n%s\n%s", diff, text)
	}
	return true
}

// TestReadDirectly holds what nfsync prints to be read directly, and what it must not be.
func TestReadDirectly(t *testing.T) {
	all := read(t, "testdata/snapshot.json")
	var compact bytes.Buffer
	if err := json.Compact(&compact, all); err != nil {
		t.Fatal(err)
	}
	with := func(entry string) []byte { return bytes.Replace(all, []byte("{"), []byte("{"+entry+","), 1) }
	for _, row := range []struct {
		name   string
		text   []byte
		direct bool
	}{
		{"all that there is", all, true},
		{"in one line", compact.Bytes(), true},
		{"many containers", printed(containersOf(300, nf.TimeoutNames())).Data, true},
		{"a byte order mark", append([]byte("\ufeff"), all...), true},
		{"another order", []byte(reversed(t, all)), true},
		{"keys of a newer nfsync", with(`"later": {"a": [1, true, "x", null, {"b": "é\n"}], "c": {}}`), true},
		{"a fraction in a key of a newer nfsync", with(`"later": 1.5`), false},
		{"a key twice in one of a newer nfsync", with(`"later": {"a": 1, "a": 2}`), false},
		{"a key twice", with(`"bootID": "x"`), false},
		{"a container twice", edit(t, "\"runtime\": \"vz\",\n      \"id\": \"132694\"", "\"runtime\": \"netns\", \"id\": \"web-1\""), false},
		{"a bound without a number", edit(t, `"atLeast": 1000`, `"atLeast": null`), false},
		{"a number with zeros", edit(t, `"count": 2`, `"count": 02`), false},
		{"a tab in a text", edit(t, `"says": "blacklist xt_LOG"`, "\"says\": \"blacklist\txt_LOG\""), false},
		{"more after the end", append(bytes.Clone(all), "{}"...), false},
		{"a comma too many", edit(t, `"machine": "x86_64"`, `"machine": "x86_64",`), false},
		{"another kind", edit(t, nf.KindNodeSnapshot, "Plan"), false},
		{"YAML", read(t, "testdata/snapshot.yaml"), false},
	} {
		if got := sameSnapshot(t, row.text); got != row.direct {
			t.Errorf("%s: read directly is %t", row.name, got)
		}
	}
}

// reversed returns a JSON document with the keys of its mappings in reverse order.
func reversed(t *testing.T, text []byte) string {
	t.Helper()
	var document any
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	var write func(v any) string
	write = func(v any) string {
		var parts []string
		switch v := v.(type) {
		case map[string]any:
			for _, key := range slices.Backward(slices.Sorted(maps.Keys(v))) {
				parts = append(parts, fmt.Sprintf("%q: %s", key, write(v[key])))
			}
			return "{" + strings.Join(parts, ", ") + "}"
		case []any:
			for _, entry := range v {
				parts = append(parts, write(entry))
			}
			return "[" + strings.Join(parts, ", ") + "]"
		}
		scalar, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(scalar)
	}
	return write(document)
}

// TestReadDirectlySame changes a snapshot at random: what is read directly is what the tree's
// readers make of it.
func TestReadDirectlySame(t *testing.T) {
	all := read(t, "testdata/snapshot.json")
	values := rapid.SampledFrom([]string{`null`, `0`, `-1`, `5`, `1.5`, `""`, `"x"`, `"unknown"`, `"node"`, `"full"`, `true`, `{}`, `[]`, `[null]`, `{"unknown": "why"}`, `{"state": "loaded"}`,
		`{"state": "loaded", "parameters": {"a": "b"}}`, `{"atLeast": 1, "atMost": null}`, `{"atLeast": 2}`, `{"a": 1, "a": 2}`, `"é\n"`, `"\ud800"`, `99999999999999999999`})
	edits := []struct {
		of   *regexp.Regexp
		edit func(t *rapid.T, found string) string
	}{
		{regexp.MustCompile(`: ("[^"\n]*"|-?[0-9]+|true|false|null)`), func(t *rapid.T, _ string) string { return ": " + values.Draw(t, "value") }},
		{regexp.MustCompile(`\n *"[^"\n]*": `), func(t *rapid.T, key string) string { return "\n\"later\": " + values.Draw(t, "value") + "," + key }},
		{regexp.MustCompile(`\n *"[^"\n]*": [^\n\[{]*,\n`), func(*rapid.T, string) string { return "\n" }},
		{regexp.MustCompile(`: -?[0-9]+`), func(t *rapid.T, _ string) string {
			return fmt.Sprintf(": %d", rapid.IntRange(-2, 300).Draw(t, "number"))
		}},
		{regexp.MustCompile(`"[^"\n]+"`), func(t *rapid.T, text string) string {
			return text[:1] + rapid.SampledFrom([]string{"x", `\\`, `\u00fc`, "\t", "é", " "}).Draw(t, "character") + text[1:]
		}},
		{regexp.MustCompile(`[\[\]{},:"]`), func(t *rapid.T, _ string) string {
			return rapid.SampledFrom([]string{"", "{", "}", "[", "]", ",", ":", "\""}).Draw(t, "mark")
		}},
	}
	direct := 0
	rapid.Check(t, func(t *rapid.T) {
		text := all
		for range rapid.IntRange(1, 2).Draw(t, "edits") {
			e := edits[rapid.IntRange(0, len(edits)-1).Draw(t, "edit")]
			if places := e.of.FindAllIndex(text, -1); len(places) > 0 {
				at := rapid.SampledFrom(places).Draw(t, "place")
				text = slices.Concat(text[:at[0]], []byte(e.edit(t, string(text[at[0]:at[1]]))), text[at[1]:])
			}
		}
		if sameSnapshot(t, text) {
			direct++
		}
	})
	if direct == 0 {
		t.Error("no document was read directly")
	}
}

// TestCodecs holds the types of a snapshot to be those that a directReader can read.
func TestCodecs(t *testing.T) {
	for of, c := range allCodecs().built {
		if len(c.fields) > 64 {
			t.Errorf("%s has more fields than bits", of)
		}
		switch kind := of.Kind(); kind {
		case reflect.Struct, reflect.Slice, reflect.Map, reflect.Pointer, reflect.String, reflect.Bool, reflect.Int, reflect.Int64:
		default:
			t.Errorf("%s is a %s", of, kind)
		}
		if c.of == codecMap && of.Key().Kind() != reflect.String && !c.levels {
			t.Errorf("%s has keys of another type", of)
		}
	}
}
