package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// narrowOptions are the flags that select targets and keys.
type narrowOptions struct {
	targets []string
	keys    []string
	filter  nf.Filter
}

func (o *narrowOptions) register(f *pflag.FlagSet) {
	f.StringArrayVar(&o.targets, "target", nil, "only this `target`: node, container/NAME or RUNTIME/NAME, where NAME may be a pattern; may be repeated")
	f.StringArrayVar(&o.keys, "key", nil, "only the keys that match this `pattern`, such as conntrack.timeouts.*; may be repeated")
}

// parse parses the flags.
func (o *narrowOptions) parse() error {
	for _, text := range o.targets {
		p, err := nf.ParseTarget(text)
		if err != nil {
			return usageError{fmt.Errorf("--target: %w", err)}
		}
		o.filter.Targets = append(o.filter.Targets, p)
	}
	for _, pattern := range o.keys {
		if !nf.IsPattern(pattern) {
			return usageError{fmt.Errorf("--key: %q is no pattern", pattern)}
		}
		if err := checkKey(pattern); err != nil {
			return err
		}
	}
	o.filter.Keys = o.keys
	return nil
}

// isSet reports whether one of the flags is given.
func (o *narrowOptions) isSet() bool { return !o.filter.IsZero() }

// errNarrowed is the error for a saved plan of which a part is selected.
var errNarrowed = usageError{errors.New("--target and --key select a part of a plan, and a saved one is applied as a whole: leave them out")}

// checkKey returns an error for a key that there cannot be, and for a pattern that matches none.
func checkKey(pattern string) error {
	known := append(kernel.KnownSysctls(), nf.KeyLevel, nf.KeyRestart, nf.KeyAboveLevel)
	if nf.IsLiteral(pattern) {
		return checkLiteralKey(pattern, known)
	}
	if slices.ContainsFunc(known, func(k nf.Key) bool { return (nf.Filter{Keys: []string{pattern}}).Match(nf.Node, k) }) {
		return nil
	}
	// The names of modules and of other sysctls are the kernel's.
	begins := pattern[:strings.IndexAny(pattern, nf.PatternCharacters)]
	for _, open := range []string{string(nf.ModuleKey("")), string(nf.SysctlKey(""))} {
		if strings.HasPrefix(begins, open) || strings.HasPrefix(open, begins) {
			return nil
		}
	}
	return usageError{fmt.Errorf("--key: there is no key %q", pattern)}
}

func checkLiteralKey(key string, known []nf.Key) error {
	if spec.IsKey(nf.Key(key)) {
		return nil
	}
	words := make([]string, len(known))
	for i, k := range known {
		words[i] = string(k)
	}
	err := fmt.Errorf("--key: there is no key %q", key)
	if near := spec.Closest(key, words); near != "" {
		err = fmt.Errorf("%w: did you mean %s?", err, near)
	}
	return usageError{err}
}
