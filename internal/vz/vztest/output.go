package vztest

import (
	"fmt"
	"slices"
	"strings"
)

// output collects what a program prints to one of its two streams.
type output struct{ strings.Builder }

func (o *output) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(o, format, args...) // a Builder does not fail
}

// options has the arguments of a program, as getopt_long(3) parses them: options and operands
// in any order.
type options struct {
	flags    map[string]string // values by option, with its dashes; empty for options without one
	operands []string
	unknown  string // the first unknown option
}

// parseOptions parses arguments. withValue lists the options with a value, without those that
// have none. Single letters may be joined, as in -aj.
func parseOptions(args []string, withValue, without string) options {
	o := options{flags: map[string]string{}}
	values, flags := strings.Fields(withValue), strings.Fields(without)
	for i := 0; i < len(args); i++ {
		name, value, given := strings.Cut(args[i], "=")
		switch {
		case !strings.HasPrefix(name, "-") || name == "-":
			o.operands = append(o.operands, args[i])
		case slices.Contains(values, name) && given:
			o.flags[name] = value
		case slices.Contains(values, name) && i+1 < len(args):
			i++
			o.flags[name] = args[i]
		case slices.Contains(flags, name) && !given:
			o.flags[name] = ""
		case !o.parseLetters(flags, name) && o.unknown == "":
			o.unknown = args[i]
		}
	}
	return o
}

// parseLetters parses joined single letters. It returns false if one is unknown.
func (o *options) parseLetters(flags []string, word string) bool {
	if strings.HasPrefix(word, "--") || len(word) < 3 {
		return false
	}
	for _, letter := range word[1:] {
		if !slices.Contains(flags, "-"+string(letter)) {
			return false
		}
		o.flags["-"+string(letter)] = ""
	}
	return true
}

// given reports whether an option was given, by any of its names.
func (o *options) given(names ...string) bool {
	for _, name := range names {
		if _, ok := o.flags[name]; ok {
			return true
		}
	}
	return false
}

// value returns the value of an option, by the first of its names that was given.
func (o *options) value(names ...string) string {
	for _, name := range names {
		if v, ok := o.flags[name]; ok {
			return v
		}
	}
	return ""
}
