package view

import (
	"encoding/json"

	"nfsync.dev/nfsync/internal/nf"
)

// Kinds are the names of the kinds of documents that have a schema, one a line: the
// SchemaList document.
var Kinds = newKind(kindsJSON, (*page).kinds)

type schemaListJSON struct {
	header
	Kinds []string `json:"kinds"`
}

func kindsJSON(list []string) any { return schemaListJSON{headerOf(nf.KindSchemaList), filled(list)} }

func (p *page) kinds(list []string) {
	for _, kind := range list {
		p.line(kind)
	}
}

// Schemas are JSON Schemas. They are JSON as text too, byte for byte.
var Schemas = Kind[[]byte]{
	{name: FormatText, encode: schemaBytes},
	{name: FormatJSON, encode: schemaBytes},
	yamlFormat(FormatYAML, func(schema []byte) any { return json.RawMessage(schema) }),
}

func schemaBytes(schema []byte, _ Options) ([]byte, error) { return schema, nil }
