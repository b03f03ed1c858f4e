package spec

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// notInName are the characters that a name of a document does not have.
var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// NewTest returns a file with a test about the node of a snapshot, which expects nothing. The
// snapshot is named from the directory of the file on. The name of the test is made valid.
func NewTest(file, name, snapshot string) File {
	name = strings.Trim(notInName.ReplaceAllString(strings.ToLower(name), "-"), "-")
	return File{Name: file, Data: []byte("# What the policies bring for the node of a snapshot. nfsync test --update writes what is there now.\n" +
		"apiVersion: " + nf.APIVersion + "\nkind: " + nf.KindPolicyTest + "\nmetadata: {name: " + textOrQuoted(name) + "}\nspec:\n  snapshot: " + textOrQuoted(snapshot) + "\n")}
}

// entryField is a key of an entry of a test, with the text of its value in YAML.
type entryField struct{ key, text string }

// entryText returns an entry as a flow mapping.
func entryText(e nf.TestEntry) string {
	var parts []string
	for _, f := range fieldsOf(e) {
		parts = append(parts, f.key+": "+f.text)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// fieldsOf returns the fields that an entry gives, in the order in which people read them.
func fieldsOf(e nf.TestEntry) (list []entryField) {
	word := func(key, text string) {
		if text != "" {
			list = append(list, entryField{key, textOrQuoted(text)})
		}
	}
	flag := func(key string, set *bool) {
		if set != nil {
			list = append(list, entryField{key, strconv.FormatBool(*set)})
		}
	}
	value := func(key string, v *nf.Value) {
		if v != nil {
			list = append(list, entryField{key, valueText(*v)})
		}
	}
	word("target", e.Target)
	word("key", string(e.Key))
	word("code", e.Code)
	word("layer", string(e.Layer))
	value("from", e.From)
	value("to", e.To)
	if e.Wanted != nil {
		list = append(list, entryField{"wanted", wishText(*e.Wanted)})
	}
	word("state", string(e.State))
	word("cause", string(e.Cause))
	flag("oneWay", e.OneWay)
	flag("disruptive", e.Disruptive)
	word("until", string(e.Until))
	word("policy", e.Policy)
	return list
}

// The texts that are texts without quotes, in a flow mapping and for every reader of YAML.
var (
	plainText = regexp.MustCompile(`^(\.\.?/)*[A-Za-z][A-Za-z0-9/_.-]*$`)
	otherType = regexp.MustCompile(`(?i)^(y|n|yes|no|on|off|true|false|null)$`)
)

// textOrQuoted returns a text, in double quotes where it needs them. The escapes of Go are among
// those of YAML.
func textOrQuoted(text string) string {
	if plainText.MatchString(text) && !otherType.MatchString(text) {
		return text
	}
	return strconv.QuoteToASCII(text)
}

// valueText returns a value as seen reads it.
func valueText(v nf.Value) string {
	number, isNumber := v.Number()
	state, parameters, _ := v.Module()
	switch {
	case v.IsAbsent():
		return wordAbsent
	case v.IsUnknown():
		return wordUnknown
	case isNumber:
		return strconv.FormatInt(number, 10)
	case len(parameters) > 0:
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(parameters)) {
			parts = append(parts, textOrQuoted(name)+": "+strconv.QuoteToASCII(parameters[name]))
		}
		return "{state: " + state + ", parameters: {" + strings.Join(parts, ", ") + "}}"
	}
	return textOrQuoted(v.String())
}

func wishText(w nf.Wish) string {
	var parts []string
	if w.AtLeast != 0 {
		parts = append(parts, "atLeast: "+strconv.FormatInt(w.AtLeast, 10))
	}
	if w.AtMost != 0 {
		parts = append(parts, "atMost: "+strconv.FormatInt(w.AtMost, 10))
	}
	if parts == nil {
		return valueText(w.Value)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
