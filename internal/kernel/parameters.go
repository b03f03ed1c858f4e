package kernel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// parameter is one word of the parameters of a module.
type parameter struct {
	name, value string
	assigned    bool // it has a =
}

// parseParameters splits the parameters of a module as the kernel does (next_arg in
// lib/cmdline.c): quotation marks around a word or a value are removed.
func parseParameters(text string) []parameter {
	var list []parameter
	for _, word := range cmdlineWords(text) {
		if inner, quoted := strings.CutPrefix(word, `"`); quoted {
			word = strings.TrimSuffix(inner, `"`)
		}
		p := parameter{}
		p.name, p.value, p.assigned = strings.Cut(word, "=")
		if inner, quoted := strings.CutPrefix(p.value, `"`); quoted {
			p.value = strings.TrimSuffix(inner, `"`)
		}
		list = append(list, p)
	}
	return list
}

// refusal says why the kernel refuses to load a module with these parameters; empty if
// it does not, or if nobody can tell. The kernel ignores a parameter that the module
// does not have (unknown_module_param_cb in kernel/module/main.c), so that blanks around
// a = leave the parameter without its value.
func (t *tree) refusal(module, text string) string {
	list := parseParameters(text)
	if len(list) == 0 {
		return ""
	}
	types := t.parameterTypes(module)
	for _, p := range list {
		kind, known := types[nf.NormalizeModule(p.name)]
		switch {
		case !known || p.accepted(kind):
		case !p.assigned:
			return fmt.Sprintf("the kernel refuses %s without a value, and does not load the module", p.name)
		default:
			return fmt.Sprintf("the kernel refuses %s=%s, and does not load the module", p.name, strings.ToValidUTF8(p.value, "\uFFFD"))
		}
	}
	return ""
}

// parameterTypes returns the types of the parameters that a module takes, by name; empty
// of those with their own setter. hashsize of nf_conntrack is one, and a uint
// (nf_conntrack_set_hashsize in nf_conntrack_core.c).
func (t *tree) parameterTypes(module string) map[string]string {
	if types, read := t.types[module]; read {
		return types
	}
	types := map[string]string{}
	if file, ok := t.files[module]; ok {
		if data, err := readModule(t.path(file)); err == nil {
			if offered, _ := moduleParameters(data); offered != nil {
				types = offered
			}
		}
	}
	if module == "nf_conntrack" {
		types["hashsize"] = "uint"
	}
	if t.types == nil {
		t.types = map[string]map[string]string{}
	}
	t.types[module] = types
	return types
}

// accepted reports whether the kernel accepts the value of a parameter of this type
// (kernel/params.c). A bool needs no value. What another setter accepts, its code
// decides: it is taken to need a value.
func (p parameter) accepted(kind string) bool {
	if !p.assigned {
		return kind == "bool" || kind == "bint"
	}
	element, isArray := strings.CutPrefix(kind, "array of ")
	values := []string{p.value}
	if isArray {
		values = strings.Split(p.value, ",")
	}
	return !slices.ContainsFunc(values, func(v string) bool { return !isOfType(element, v) })
}

// integers are the sizes in bits of the types of numbers; negative if they are signed.
var integers = map[string]int{"byte": 8, "short": -16, "ushort": 16, "int": -32, "uint": 32, "hexint": 32, "long": -64, "ulong": 64, "ullong": 64}

// isOfType reports whether the kernel reads a text as a value of that type: kstrtobool
// of lib/kstrtox.c, and kstrtoint and the like with base 0. It is true for other types.
func isOfType(kind, text string) bool {
	bits, isNumber := integers[kind]
	switch {
	case kind == "bool" || kind == "invbool" || kind == "bint":
		lower := strings.ToLower(text)
		return lower != "" && strings.ContainsRune("ytnf01", rune(lower[0])) || strings.HasPrefix(lower, "on") || strings.HasPrefix(lower, "of")
	case !isNumber:
		return true
	}
	digits := strings.ToLower(strings.TrimPrefix(text, "+"))
	if strings.Contains(digits, "_") || strings.HasPrefix(digits, "0b") || strings.HasPrefix(digits, "0o") {
		return false // numbers of Go, not of C
	}
	var err error
	if bits < 0 {
		_, err = strconv.ParseInt(digits, 0, -bits)
	} else {
		_, err = strconv.ParseUint(digits, 0, bits)
	}
	return err == nil
}
