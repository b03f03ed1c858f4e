package nf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

type valueKind uint8

const (
	kindAbsent valueKind = iota
	kindNumber
	kindText
	kindLevel
	kindMask
	kindModule
	kindUnknown
)

// Value is the value of one key: absent, a number, a text, a level, a mask that
// is no level's, the state of a module, or unknown with the reason. The zero Value
// is absent. Values are comparable with ==.
//
// In JSON a number is a number, a text a string, an absent value null, an
// unknown one {"unknown": "why"}; a level is its name and a mask "custom(0x…)"; a
// module is the string of its state, or {"state": "loaded", "parameters":
// {"max_sets": "512"}} where parameters are meant.
type Value struct {
	kind   valueKind
	number int64  // a number, a Level, or the bits of a mask
	text   string // a text, a module's state, or why the value is unknown
	params string // a module's parameters, sorted: each name and each value quoted, one after another
}

// Module states, as the text of a module's value. A want is loaded or
// unloaded; a fact can be any of them. A module that does not exist on the
// node is an absent Value.
const (
	ModuleLoaded   = "loaded"
	ModuleUnloaded = "unloaded"
	ModuleBuiltin  = "builtin"
)

// Absent returns the value of a key that the kernel does not have.
func Absent() Value { return Value{} }

// Number returns a numeric value: entries, buckets, or whole seconds.
func Number(n int64) Value { return Value{kind: kindNumber, number: n} }

// Text returns a textual value, such as a text in a sysctl.d file that is no number.
func Text(s string) Value { return Value{kind: kindText, text: s} }

// Unknown returns a value that could not be read, with the reason. It never reads as off.
func Unknown(why string) Value { return Value{kind: kindUnknown, text: why} }

// Module returns the state of a kernel module as a value, with parameters.
func Module(state string, params map[string]string) Value {
	var quoted []byte
	for _, name := range slices.Sorted(maps.Keys(params)) {
		quoted = strconv.AppendQuote(strconv.AppendQuote(quoted, name), params[name])
	}
	return Value{kind: kindModule, text: state, params: string(quoted)}
}

// IsAbsent reports whether the kernel does not have the key.
func (v Value) IsAbsent() bool { return v.kind == kindAbsent }

// IsUnknown reports whether the value could not be read.
func (v Value) IsUnknown() bool { return v.kind == kindUnknown }

// Why returns the reason why the value is unknown.
func (v Value) Why() string {
	if v.kind != kindUnknown {
		return ""
	}
	return v.text
}

// Number returns the number, if v is one.
func (v Value) Number() (int64, bool) {
	if v.kind != kindNumber {
		return 0, false
	}
	return v.number, true
}

// Lowers reports whether a limit goes down, or may: 0 is no limit, and one that is
// not known may be any.
func Lowers(from, to Value) bool {
	was, known := from.Number()
	will, ok := to.Number()
	return ok && will != 0 && (!known || was == 0 || will < was)
}

// Text returns the text, if v is one.
func (v Value) Text() (string, bool) {
	if v.kind != kindText {
		return "", false
	}
	return v.text, true
}

// Level returns the level, if v is one.
func (v Value) Level() (Level, bool) {
	if level := Level(v.number); v.kind == kindLevel && level.named() {
		return level, true
	}
	return LevelUnset, false
}

// Module returns a module's state and parameters, if v is a module's value.
func (v Value) Module() (state string, params map[string]string, ok bool) {
	if v.kind != kindModule {
		return "", nil, false
	}
	for rest := v.params; rest != ""; {
		if params == nil {
			params = map[string]string{}
		}
		var name string
		name, rest = unquoted(rest)
		params[name], rest = unquoted(rest)
	}
	return v.text, params, true
}

// unquoted splits off the first of the texts that Module has quoted.
func unquoted(s string) (text, rest string) {
	quoted, err := strconv.QuotedPrefix(s)
	if err == nil {
		text, err = strconv.Unquote(quoted)
	}
	if err != nil {
		panic(err) // no other function sets Value.params
	}
	return text, s[len(quoted):]
}

// String returns the value as text.
func (v Value) String() string {
	switch v.kind {
	case kindNumber:
		return strconv.FormatInt(v.number, 10)
	case kindText:
		return v.text
	case kindLevel:
		return Level(v.number).String()
	case kindMask:
		return customPrefix + strconv.FormatUint(uint64(v.number), 16) + customSuffix
	case kindModule:
		return v.moduleString()
	case kindUnknown:
		return "unknown"
	}
	return "absent"
}

func (v Value) moduleString() string {
	state, params, _ := v.Module()
	if params == nil {
		return state
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(params)) {
		list = append(list, name+"="+params[name])
	}
	return state + " (" + strings.Join(list, " ") + ")"
}

type moduleJSON struct {
	State      string            `json:"state"`
	Parameters map[string]string `json:"parameters"`
}

type unknownJSON struct {
	Unknown string `json:"unknown"`
}

// MarshalJSON writes the value as described at Value.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.kind {
	case kindNumber:
		return strconv.AppendInt(nil, v.number, 10), nil
	case kindText, kindLevel, kindMask:
		return json.Marshal(v.String())
	case kindUnknown:
		return json.Marshal(unknownJSON{v.text})
	case kindModule:
		state, params, _ := v.Module()
		if params == nil {
			return json.Marshal(state)
		}
		return json.Marshal(moduleJSON{state, params})
	}
	return []byte("null"), nil
}

// UnmarshalJSON reads what MarshalJSON wrote. A string is read as a text: only
// the key makes it a level or the state of a module: see Value.As.
func (v *Value) UnmarshalJSON(data []byte) error {
	data = bytes.TrimSpace(data)
	switch {
	case bytes.Equal(data, []byte("null")):
		*v = Absent()
		return nil
	case len(data) > 0 && data[0] == '"':
		var s string
		err := json.Unmarshal(data, &s)
		*v = Text(s)
		return err
	case len(data) > 0 && data[0] == '{':
		return v.unmarshalObject(data)
	}
	n, err := strconv.ParseInt(string(data), 10, 64)
	if err != nil {
		return fmt.Errorf("a value must be a whole number, a string, null, {\"unknown\": …} or {\"state\": …}, not %s", data)
	}
	*v = Number(n)
	return nil
}

func (v *Value) unmarshalObject(data []byte) error {
	var o struct {
		Unknown    *string           `json:"unknown"`
		State      *string           `json:"state"`
		Parameters map[string]string `json:"parameters"`
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return err
	}
	switch {
	case o.Unknown != nil:
		*v = Unknown(*o.Unknown)
	case o.State != nil:
		*v = Module(*o.State, o.Parameters)
	default:
		return fmt.Errorf("a value that is a mapping must have the key unknown or state")
	}
	return nil
}

// As returns v as a value of that key: JSON has a level, a mask and the state of a module
// as plain strings, which without their key are texts.
func (v Value) As(k Key) Value {
	if v.kind != kindText {
		return v
	}
	if _, isModule := k.Module(); isModule {
		return Module(v.text, nil)
	}
	if k == KeyLevel || k == KeyRestart {
		if level, ok := ParseLevel(v.text); ok {
			return level.Value()
		}
		if mask, ok := parseCustom(v.text); ok {
			return MaskValue(mask)
		}
	}
	return v
}
