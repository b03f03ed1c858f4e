package spec

import (
	"fmt"
	"strings"
	"testing"
)

func TestDocuments(t *testing.T) {
	for text, want := range map[string]string{
		"":                                `"":0`,
		"a: 1\n":                          `"a: 1\n":0`,
		"---\na: 1\n":                     `"a: 1\n":1`,
		"a: 1\n---\nb: 2":                 `"a: 1\n":0 "b: 2":2`,
		"# x\n---\na: 1\n--- \r\n\n---\n": `"a: 1\n":2`,
		"---\n":                           `"---\n":0`,
		"a: |\n  ---\nb: ---\n":           `"a: |\n  ---\nb: ---\n":0`,
		`{"a":1}`:                         `"{\"a\":1}":0`,
		"{\n}\n{\n}\n":                    `"{\n}":0 "\n{\n}\n":1`,
		`{"}":"\\"{"}  `:                  `"{\"}\":\"\\\\\"{\"}  ":0`,
		`{"a":1} {"b"`:                    `"{\"a\":1}":0 " {\"b\"":0`,
		`{"a`:                             `"{\"a":0`,
	} {
		var got []string
		for d := range Documents(File{Name: "x", Data: []byte(text)}) {
			got = append(got, fmt.Sprintf("%q:%d", d.Data, d.before))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %s, want %s", text, strings.Join(got, " "), want)
		}
	}
}

// TestDocumentLines: errors name the line of the file.
func TestDocumentLines(t *testing.T) {
	var lines []int
	for d := range Documents(File{Name: "x", Data: []byte("a: 1\n---\nb: 2\n---\n\nc: 3\n")}) {
		_, found := d.Snapshot()
		lines = append(lines, found[0].Line)
	}
	if fmt.Sprint(lines) != "[1 3 6]" {
		t.Errorf("lines %v", lines)
	}
}
