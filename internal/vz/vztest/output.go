package vztest

import (
	"fmt"
	"strings"
)

// output is what a program prints to one of its two streams.
type output struct{ strings.Builder }

func (o *output) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(o, format, args...) // a Builder does not fail
}

// options are the arguments of a program, as getopt_long(3) has them: options
// and operands in any order.
type options struct {
	flags    map[string]string // by name without dashes; those without a value have the empty one
	operands []string
	unknown  string // the first that is no option
}

// parseOptions takes the names of the options that have a value and of those
// that have none. Single letters can stand together.
func parseOptions(args []string, withValue, without string) options {
	o := options{flags: map[string]string{}}
	values, flags := strings.Fields(withValue), strings.Fields(without)
	for i := 0; i < len(args); i++ {
		name, value, given := strings.Cut(args[i], "=")
		switch {
		case !strings.HasPrefix(name, "-") || name == "-":
			o.operands = append(o.operands, args[i])
		case has(values, name) && given:
			o.flags[name] = value
		case has(values, name) && i+1 < len(args):
			i++
			o.flags[name] = args[i]
		case has(flags, name) && !given:
			o.flags[name] = ""
		case !o.letters(flags, name) && o.unknown == "":
			o.unknown = args[i]
		}
	}
	return o
}

// letters takes letters that stand together, and is false if one is unknown.
func (o *options) letters(flags []string, word string) bool {
	if strings.HasPrefix(word, "--") || len(word) < 3 {
		return false
	}
	for _, letter := range word[1:] {
		if !has(flags, "-"+string(letter)) {
			return false
		}
		o.flags["-"+string(letter)] = ""
	}
	return true
}

func has(list []string, name string) bool {
	for _, l := range list {
		if l == name {
			return true
		}
	}
	return false
}

// given reports whether one of the names of an option was given.
func (o *options) given(names ...string) bool {
	for _, name := range names {
		if _, ok := o.flags[name]; ok {
			return true
		}
	}
	return false
}

// value is that of the first name that was given.
func (o *options) value(names ...string) string {
	for _, name := range names {
		if v, ok := o.flags[name]; ok {
			return v
		}
	}
	return ""
}
