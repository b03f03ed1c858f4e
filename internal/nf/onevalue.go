package nf

import (
	"strconv"
	"strings"
)

// variable names a value of the kernel that a policy can set under more than one key.
type variable string

// htableSize is nf_conntrack_htable_size, the number of conntrack's hash buckets.
const htableSize variable = "nf_conntrack_htable_size"

// variableParameters are the parameters of modules that set a variable. Others have the
// meaning of a sysctl and a variable of their own: acct and tstamp of nf_conntrack are only
// the first value of a new namespace's sysctl (nf_conntrack_acct.c and
// nf_conntrack_timestamp.c in net/netfilter).
var variableParameters = []struct {
	variable  variable
	module    Key
	parameter string
}{
	{htableSize, ModuleKey("nf_conntrack"), "hashsize"},      // net/netfilter/nf_conntrack_core.c
	{htableSize, ModuleKey("nf_conntrack_ipv4"), "hashsize"}, // net/ipv4/netfilter/nf_conntrack_l3proto_ipv4.c, before Linux 4.19
}

// setting is what a want sets a variable to.
type setting struct {
	want *Want
	wish Wish
}

// variables returns what the want sets the variables to that other keys set too.
func (w *Want) variables() map[variable]setting {
	if w.Key == KeyBuckets {
		return map[variable]setting{htableSize: {w, w.Wish}}
	}
	_, parameters, _ := w.Wish.Value.Module()
	found := map[variable]setting{}
	for _, p := range variableParameters {
		if text, ok := parameters[p.parameter]; ok && p.module == w.Key {
			found[p.variable] = setting{w, Exactly(parameterNumber(text))}
		}
	}
	return found
}

// parameterNumber returns the number in the text of a parameter (kstrtouint with base 0,
// lib/kstrtox.c), or the text itself if it is none.
func parameterNumber(text string) Value {
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil || strings.Contains(text, "_") {
		return Text(text)
	}
	return Number(n)
}

// AddRivals makes wants for one target rivals of each other that set one value of the
// kernel under different keys, and to different things. Priorities do not matter: the
// kernel would have the value of the want that is applied last.
func AddRivals(wants []*Want) {
	set := map[variable][]setting{}
	for _, w := range wants {
		for v, s := range w.variables() {
			for _, other := range set[v] {
				if other.want.Key != w.Key && !agree(s.wish, other.wish) {
					other.want.addRival(*w)
					w.addRival(*other.want)
				}
			}
			set[v] = append(set[v], s)
		}
	}
}

// addRival adds the wish of another key.
func (w *Want) addRival(other Want) {
	w.Rivals = append(w.Rivals[:len(w.Rivals):len(w.Rivals)], Rival{Key: other.Key, Wish: other.Wish, Source: other.Source})
}

// agree reports whether two wishes are the same, or one is a range and has the other.
func agree(a, b Wish) bool { return a == b || a.has(b) || b.has(a) }

// has reports whether a range has an exact number.
func (w Wish) has(exact Wish) bool {
	n, ok := exact.Value.Number()
	return ok && w.IsRange() && n >= w.AtLeast && (w.AtMost == 0 || n <= w.AtMost)
}
