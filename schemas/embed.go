// Package schemas holds the JSON Schemas (draft-07) of nfsync's documents, for
// editors and for everybody who reads what nfsync prints. The title of each is
// the kind of document that it describes.
package schemas

import (
	"embed"
	"encoding/json"
	"slices"
	"strings"
)

//go:embed *.json
var files embed.FS

const suffix = ".schema.json"

// Get returns the schema of that kind of document. Capitals do not matter, and
// the file's name without .schema.json will do as well.
func Get(kind string) ([]byte, bool) {
	for _, name := range names() {
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, false
		}
		if strings.EqualFold(kind, title(data)) || strings.EqualFold(kind, strings.TrimSuffix(name, suffix)) {
			return data, true
		}
	}
	return nil, false
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
