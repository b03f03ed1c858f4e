package manual

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"nfsync.dev/nfsync/schemas"
)

// schema is what a page needs of a JSON Schema.
type schema struct {
	Title, Description string
	Ref                string `json:"$ref"`
	Type               any    // a word, or a list of words
	Const              any
	Enum               []any
	Default            any
	Minimum, Maximum   *json.Number
	Examples           []any
	Required           []string
	Properties         schemas.Ordered[*schema]
	PatternProperties  schemas.Ordered[*schema]
	Items              *schema
	// AdditionalProperties is false, or the schema of all others.
	AdditionalProperties json.RawMessage
	AllOf, OneOf, AnyOf  []*schema
	Definitions          map[string]*schema
}

// Fields writes the fields of the documents of a schema, each with its description, type, bounds
// and default. Those of a mapping that is on the page already are not written again.
func (p *Page) Fields(text []byte) error {
	root := &schema{}
	if err := json.Unmarshal(text, root); err != nil {
		return err
	}
	p.paragraph(root.Description)
	w := fieldWriter{page: p, root: root, written: map[string]string{}}
	w.fields("", root)
	return nil
}

type fieldWriter struct {
	page    *Page
	root    *schema
	written map[string]string // the first path of a definition, by its name
}

// resolve follows a reference, alone or beside a description, which it keeps. name is that of
// the definition.
func (w fieldWriter) resolve(s *schema) (resolved *schema, name string) {
	ref := s.Ref
	if ref == "" && len(s.AllOf) > 0 {
		ref = s.AllOf[0].Ref
	}
	if ref == "" {
		return s, ""
	}
	name = strings.TrimPrefix(ref, "#/definitions/")
	d := w.root.Definitions[name]
	if d == nil {
		return s, ""
	}
	found, _ := w.resolve(d)
	merged := *found
	if s.Description != "" {
		merged.Description = s.Description
	}
	if s.Default != nil {
		merged.Default = s.Default
	}
	return &merged, name
}

// fields writes the properties of a mapping, and of what is within.
func (w fieldWriter) fields(prefix string, s *schema) {
	for _, f := range s.Properties {
		w.field(prefix+f.Name, f.Value, slices.Contains(s.Required, f.Name))
	}
	for _, f := range s.PatternProperties {
		w.field(prefix+"NAME", f.Value, false)
	}
	if values := s.values(); values != nil && values.Ref != "" {
		w.field(prefix+"NAME", values, false)
	}
}

// values returns the schema of the properties that have no name of their own; nil if there is none.
func (s *schema) values() *schema {
	values := &schema{}
	if len(s.AdditionalProperties) == 0 || json.Unmarshal(s.AdditionalProperties, values) != nil {
		return nil
	}
	return values
}

func (w fieldWriter) field(path string, f *schema, required bool) {
	s, name := w.resolve(f)
	facts := []string{sentence(w.kind(s))}
	if required {
		facts = append(facts, "Required.")
	}
	if s.Default != nil && !strings.Contains(s.Description, "Default") {
		facts = append(facts, "Default: "+word(s.Default)+".")
	}
	if len(s.Examples) > 0 {
		facts = append(facts, "Such as "+listed(s.Examples, ", ")+".")
	}
	within := w.mapping(s)
	first, again := w.written[name]
	again = again && name != "" && within != nil
	if again {
		facts = append(facts, "It has the fields of "+first+".")
	}
	w.page.Item(Tag{Bold: path}, s.Description, strings.Join(facts, " "))
	if within == nil || again {
		return
	}
	if name != "" {
		w.written[name] = path
	}
	if s.isList() {
		path += "[]"
	}
	w.fields(path+".", within)
}

// isList reports whether a value is a list.
func (s *schema) isList() bool { return s.Type == "array" }

// mapping returns the schema whose fields a value has, itself, in a list or as one of several
// forms; nil if it has none.
func (w fieldWriter) mapping(s *schema) *schema {
	if s.isList() && s.Items != nil {
		s, _ = w.resolve(s.Items)
	}
	values := s.values()
	if len(s.Properties)+len(s.PatternProperties) > 0 || values != nil && values.Ref != "" {
		return s
	}
	for _, form := range slices.Concat(s.OneOf, s.AnyOf) {
		if form, _ := w.resolve(form); form.Type == "object" {
			return w.mapping(form)
		}
	}
	return nil
}

// kind says what values a schema takes.
func (w fieldWriter) kind(s *schema) string {
	switch {
	case s.Const != nil:
		return "always " + word(s.Const)
	case len(s.Enum) > 0:
		return "one of " + listed(s.Enum, ", ")
	case len(s.OneOf)+len(s.AnyOf) > 0:
		return w.forms(slices.Concat(s.OneOf, s.AnyOf))
	case s.isList() && s.Items != nil:
		item, _ := w.resolve(s.Items)
		return "a list; each entry: " + w.kind(item)
	}
	switch s.Type {
	case "integer":
		return "a number" + s.bounds()
	case "boolean":
		return "true or false"
	case "object":
		if values := s.values(); values != nil && len(s.Properties) == 0 {
			values, _ = w.resolve(values)
			return "a mapping; each value: " + w.kind(values)
		}
		return "a mapping"
	}
	if list, ok := s.Type.([]any); ok && slices.Contains(list, "integer") {
		return "a text or a number"
	}
	return "a text"
}

// forms says which forms a value may have, each once.
func (w fieldWriter) forms(list []*schema) string {
	var kinds []string
	for _, form := range list {
		s, _ := w.resolve(form)
		for kind := range strings.SplitSeq(w.kind(s), orElse) {
			if !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
	}
	return strings.Join(kinds, orElse)
}

// orElse is between the forms that a value may have.
const orElse = ", or "

// bounds says between what a number must be.
func (s *schema) bounds() string {
	switch {
	case s.Minimum != nil && s.Maximum != nil:
		return fmt.Sprintf(" from %s to %s", s.Minimum, s.Maximum)
	case s.Minimum != nil:
		return fmt.Sprintf(", at least %s", s.Minimum)
	case s.Maximum != nil:
		return fmt.Sprintf(", at most %s", s.Maximum)
	}
	return ""
}

func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] + "." }

// word returns a value as YAML has it.
func word(value any) string { return fmt.Sprint(value) }

func listed(values []any, separator string) string {
	var list []string
	for _, v := range values {
		list = append(list, word(v))
	}
	return strings.Join(list, separator)
}
