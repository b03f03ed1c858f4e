package spec

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/internal/nf"
)

// conntrack returns a function that reads a conntrack mapping that has these limits.
func (p *parser) conntrack(policy *Policy, limits map[string]nf.Key, elsewhere map[string]foreign) field {
	want := fields{
		"timeouts": func(path string, n *yaml.Node) { p.timeouts(path, n, policy) },
		"sysctls":  func(path string, n *yaml.Node) { p.sysctls(path, n, policy) },
	}
	for name, key := range limits {
		want[name] = p.wish(policy, key, p.limit)
	}
	return p.mapping(want, nil, elsewhere)
}

// limit reads a number, or a range of numbers.
func (p *parser) limit(path string, n *yaml.Node) (nf.Wish, bool) {
	if n.Kind != yaml.MappingNode {
		number, ok := p.integer(path, n, 1, math.MaxInt32)
		return nf.Exactly(nf.Number(number)), ok
	}
	var wish nf.Wish
	before := p.found.count()
	bound := func(to *int64) field {
		return func(path string, n *yaml.Node) { *to, _ = p.integer(path, n, 1, math.MaxInt32) }
	}
	p.mapping(fields{"atLeast": bound(&wish.AtLeast), "atMost": bound(&wish.AtMost)}, nil, nil)(path, n)
	switch {
	case len(n.Content) == 0:
		p.report(n, RuleEmptyValue, "write a number, or atLeast, atMost or both", "%s is an empty range", path)
	case wish.AtLeast != 0 && wish.AtMost != 0 && wish.AtLeast > wish.AtMost:
		p.report(n, RuleEmptyValue, "", "%s is an empty range: atLeast %d is more than atMost %d", path, wish.AtLeast, wish.AtMost)
	}
	return wish, p.found.count() == before
}

func (p *parser) timeouts(path string, n *yaml.Node, policy *Policy) {
	p.entries(path, n, func(key *yaml.Node) field {
		timeout := nf.TimeoutKey(key.Value)
		if _, known := timeout.Sysctl(); !known {
			p.report(key, RuleUnknownKey, "nfsync schema NodePolicy lists them", "unknown timeout %s in %s%s", quote(key.Value), path, guessTimeout(key.Value))
			return nil
		}
		return p.wish(policy, timeout, exactly(p.timeout, nf.Number))
	})
}

// guessTimeout also knows the kernel's names.
func guessTimeout(name string) string {
	file := "nf_conntrack_" + strings.TrimPrefix(name, "nf_conntrack_")
	if key, ok := nf.SysctlFileKey(file); ok {
		if timeout, ok := key.Timeout(); ok {
			return fmt.Sprintf(": did you mean %q?", timeout)
		}
	}
	return didYouMean(name, nf.TimeoutNames())
}

// validDuration matches the texts that time.ParseDuration takes, without signs, units too small
// for whole seconds, and numbers that lack a digit.
var validDuration = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$`)

// timeout reads whole seconds, as a number or as 2h, 90s or 1h30m.
func (p *parser) timeout(path string, n *yaml.Node) (int64, bool) {
	const hint = "write it as 2h, 90s or 1h30m, or as a number of seconds without quotes"
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		if n.Kind == yaml.ScalarNode && (n.Tag == "!!int" || n.Tag == "!!float") {
			return p.integer(path, n, 1, nf.MaxTimeout)
		}
		p.report(n, RuleWrongType, hint, "%s must be a duration, not %s", path, describe(n))
		return 0, false
	}
	duration, err := time.ParseDuration(n.Value)
	switch {
	case err != nil || !validDuration.MatchString(n.Value):
		p.report(n, RuleInvalidValue, hint, "%s: %s is not a duration", path, quote(n.Value))
	case duration%time.Second != 0:
		p.report(n, RuleInvalidValue, hint, "%s must be whole seconds, not %s", path, quote(n.Value))
	case duration < time.Second || duration > nf.MaxTimeout*time.Second:
		p.report(n, RuleOutOfRange, hint, "%s must be 1 to %d seconds, not %s", path, nf.MaxTimeout, quote(n.Value))
	default:
		return int64(duration / time.Second), true
	}
	return 0, false
}

// The spelling of names: of sysctls, and of modules and their parameters.
var (
	validSysctl = regexp.MustCompile(`^nf_conntrack_[A-Za-z0-9_-]+$`)
	validWord   = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
)

// IsSysctl reports whether a policy may name a sysctl so.
func IsSysctl(name string) bool { return validSysctl.MatchString(name) }

func (p *parser) sysctls(path string, n *yaml.Node, policy *Policy) {
	number := func(path string, n *yaml.Node) (int64, bool) { return p.integer(path, n, 0, math.MaxInt32) }
	p.entries(path, n, func(key *yaml.Node) field {
		name := key.Value
		known, _ := nf.SysctlFileKey(name)
		switch {
		case !IsSysctl(name):
			p.report(key, RuleInvalidValue, "the name of a file below /proc/sys/net/netfilter, such as nf_conntrack_tcp_loose",
				"%s: %s is not the name of a nf_conntrack_* sysctl", path, quote(name))
			return nil
		case known != nf.SysctlKey(name):
			p.report(key, RuleInvalidValue, "write it as "+string(known), "%s: %s has its own key, %s", path, quote(name), known)
			return nil
		}
		return p.wish(policy, known, exactly(number, nf.Number))
	})
}

func (p *parser) modules(path string, n *yaml.Node, policy *Policy) {
	p.names(path, "module", n, func(name string) field {
		return p.wish(policy, nf.ModuleKey(name), p.module)
	})
}

// names reads a mapping of names in which - and _ are equal, as the kernel has it for
// modules and their parameters.
func (p *parser) names(path, noun string, n *yaml.Node, read func(name string) field) {
	first := map[string]*yaml.Node{}
	p.entries(path, n, func(key *yaml.Node) field {
		if !validWord.MatchString(key.Value) {
			p.report(key, RuleInvalidValue, "letters, digits, - and _", "%s: %s is not the name of a %s", path, quote(key.Value), noun)
			return nil
		}
		name := nf.NormalizeModule(key.Value)
		if other := first[name]; other != nil {
			p.report(key, RuleDuplicateKey, "remove one of the two", "duplicate %s %s: %s in line %d is the same", noun, quote(key.Value), quote(other.Value), other.Line)
			return nil
		}
		first[name] = key
		return read(name)
	})
}

// module reads a state, or a mapping of a state and parameters.
func (p *parser) module(path string, n *yaml.Node) (nf.Wish, bool) {
	var state string
	var parameters map[string]string
	word := p.word("state of a module", nf.ModuleLoaded, nf.ModuleUnloaded)
	if n.Kind != yaml.MappingNode {
		state, ok := word(path, n)
		return nf.Exactly(nf.Module(state, nil)), ok
	}
	before := p.found.count()
	p.mapping(fields{
		"state":      store(&state, word),
		"parameters": func(path string, n *yaml.Node) { parameters = p.parameters(path, n) },
	}, []string{"state"}, nil)(path, n)
	if state == nf.ModuleUnloaded && parameters != nil {
		p.report(p.value(n, "parameters"), RuleExclusiveKeys, "remove the parameters, or write state: loaded",
			"%s: a module that is to be unloaded takes no parameters", path)
	}
	return nf.Exactly(nf.Module(state, parameters)), p.found.count() == before
}

func (p *parser) parameters(path string, n *yaml.Node) map[string]string {
	parameters := map[string]string{}
	p.names(path, "parameter", n, func(name string) field {
		return func(path string, n *yaml.Node) {
			if text, ok := p.parameter(path, n); ok {
				parameters[name] = text
			}
		}
	})
	return parameters
}

// parameter reads a text without white space, or a whole number.
func (p *parser) parameter(path string, n *yaml.Node) (string, bool) {
	if n.Kind == yaml.ScalarNode && (n.Tag == "!!int" || n.Tag == "!!float") {
		number, ok := p.integer(path, n, math.MinInt64, math.MaxInt64)
		return strconv.FormatInt(number, 10), ok
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		hint := ""
		if n.Tag == "!!bool" {
			hint = `write "Y" or "N", which every kernel understands`
		}
		p.report(n, RuleWrongType, hint, "%s must be a text or a whole number, not %s", path, describe(n))
		return "", false
	}
	if strings.ContainsFunc(n.Value, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		p.report(n, RuleInvalidValue, "", "%s: a parameter cannot hold white space or control characters, as %s does", path, quote(n.Value))
		return "", false
	}
	return n.Value, true
}
