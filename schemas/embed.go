// Package schemas holds the JSON Schemas (draft-07) of nfsync's documents, for
// editors and for everybody who reads what nfsync prints. The title of each is
// the kind of document that it describes.
package schemas

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

//go:embed *.json
var files embed.FS

const suffix = ".schema.json"

// Get returns the schema of that kind of document, whole: what it refers to is
// in it. Capitals do not matter, and the file's name without .schema.json will
// do as well.
func Get(kind string) ([]byte, bool) {
	for _, name := range names() {
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, false
		}
		if strings.EqualFold(kind, title(data)) || strings.EqualFold(kind, strings.TrimSuffix(name, suffix)) {
			whole, err := bundle(data)
			return whole, err == nil
		}
	}
	return nil, false
}

// sibling is a reference to another file of this directory.
var sibling = regexp.MustCompile(`"\$ref": "([a-z]+)\.schema\.json"`)

// bundle takes the files that a schema refers to into its definitions, so that
// it can be used wherever it is put.
func bundle(schema []byte) ([]byte, error) {
	refs := sibling.FindAllSubmatch(schema, -1)
	if refs == nil {
		return schema, nil
	}
	definitions := map[string]json.RawMessage{}
	for _, ref := range refs {
		data, err := files.ReadFile(string(ref[1]) + suffix)
		if err != nil {
			return nil, err
		}
		inside := fmt.Sprintf(`"#/definitions/%s/definitions/`, ref[1])
		definitions[string(ref[1])] = bytes.ReplaceAll(data, []byte(`"#/definitions/`), []byte(inside))
	}
	var whole map[string]any
	if err := json.Unmarshal(sibling.ReplaceAll(schema, []byte(`"$$ref": "#/definitions/$1"`)), &whole); err != nil {
		return nil, err
	}
	whole["definitions"] = definitions
	text, err := json.MarshalIndent(whole, "", "  ")
	return append(text, '\n'), err
}

// Kinds lists the kinds of documents that have a schema, sorted.
func Kinds() []string {
	var kinds []string
	for _, name := range names() {
		if data, err := files.ReadFile(name); err == nil {
			kinds = append(kinds, title(data))
		}
	}
	slices.Sort(kinds)
	return kinds
}

// Description returns what the schema of that kind says of its documents; empty if there is none.
func Description(kind string) string {
	text, _ := Get(kind)
	var s struct {
		Description string `json:"description"`
	}
	if json.Unmarshal(text, &s) != nil {
		return ""
	}
	return s.Description
}

func names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func title(schema []byte) string {
	var s struct {
		Title string `json:"title"`
	}
	if err := json.Unmarshal(schema, &s); err != nil {
		return ""
	}
	return s.Title
}
