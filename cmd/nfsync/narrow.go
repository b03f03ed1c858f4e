package main

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"nfsync.dev/nfsync/internal/nf"
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
	}
	o.filter.Keys = o.keys
	return nil
}

// isSet reports whether one of the flags is given.
func (o *narrowOptions) isSet() bool { return !o.filter.IsZero() }

// errNarrowed is the error for a saved plan of which a part is selected.
var errNarrowed = usageError{errors.New("--target and --key select a part of a plan, and a saved one is applied as a whole: leave them out")}
