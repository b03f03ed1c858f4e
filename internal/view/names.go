package view

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// placeList returns places as people name them: "node", "container netns/web-1",
// "containers netns/web-1 … web-300 (300)", or the same "of nodes hn-1 … hn-9 (9)".
func placeList(places []place) string {
	nodes, targets, everywhere := axes(places)
	var of string
	switch {
	case nodes[0] == "":
	case targets[0].IsNode() && len(nodes) == 1:
		return "node " + nodes[0]
	case targets[0].IsNode():
		return "nodes " + foldNames(nodes)
	case len(nodes) == 1:
		of = " of node " + nodes[0]
	default:
		of = " of nodes " + foldNames(nodes)
	}
	switch {
	case len(targets) == 1:
		return Clean(targets[0].String()) + of
	case !everywhere:
		return count(len(places), nf.TargetContainer) + of
	}
	return "containers " + foldNames(targetNames(targets)) + of
}

// axes returns the different nodes and targets of places that are in order, and whether each
// node has each of the targets.
func axes(places []place) (nodes []string, targets []nf.Target, everywhere bool) {
	targets = make([]nf.Target, 0, len(places))
	for _, at := range places {
		if node := Clean(at.node); len(nodes) == 0 || nodes[len(nodes)-1] != node {
			nodes = append(nodes, node)
		}
		if n := len(targets); n == 0 || targets[n-1] != at.target {
			targets = append(targets, at.target)
		}
	}
	if len(nodes) > 1 {
		targets = once(targets)
	}
	return nodes, targets, len(nodes)*len(targets) == len(places)
}

// once returns the targets, each once, at its first place.
func once(list []nf.Target) []nf.Target {
	seen := map[nf.Target]bool{}
	return slices.DeleteFunc(list, func(t nf.Target) bool {
		was := seen[t]
		seen[t] = true
		return was
	})
}

// targetName returns the name of a container, or its id if it has none.
func targetName(t nf.Target) string { return Clean(cmp.Or(t.Name, t.ID)) }

// targetNames returns the names of containers, each runtime before its first one. Containers with
// the same name have their ids too.
func targetNames(targets []nf.Target) []string {
	type runtimeName struct{ runtime, name string }
	named := make(map[runtimeName]int, len(targets))
	for _, t := range targets {
		named[runtimeName{t.Runtime, targetName(t)}]++
	}
	names := make([]string, 0, len(targets))
	runtime := ""
	for _, t := range targets {
		name := targetName(t)
		if named[runtimeName{t.Runtime, name}] > 1 {
			name = Clean(t.ID) + " (" + name + ")"
		}
		if t.Runtime != runtime {
			runtime = t.Runtime
			name = runtime + "/" + name
		}
		names = append(names, name)
	}
	return names
}

// maxRuns is how many names and ranges of names are listed, and minRange the shortest range.
const (
	maxRuns  = 6
	minRange = 3
)

// foldNames returns names that are in order as a list with their number. Names with consecutive
// numbers, none of which is missing, are a range: "db, web-1 … web-300 (301)".
func foldNames(names []string) string {
	var parts []string
	listed := 0
	for listed < len(names) && len(parts) < maxRuns {
		if n := rangeLength(names[listed:]); n >= minRange {
			parts = append(parts, names[listed]+" … "+names[listed+n-1])
			listed += n
		} else {
			parts = append(parts, names[listed])
			listed++
		}
	}
	list := strings.Join(parts, ", ")
	if more := len(names) - listed; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("%s (%d)", list, len(names))
}

// rangeLength returns how many names, from the first one on, differ only in one number, which is
// one more in each of them. Only the first one may begin with a runtime.
func rangeLength(names []string) int {
	last := names[0][strings.IndexByte(names[0], '/')+1:]
	var counted numbered
	n := 1
	for ; n < len(names); n++ {
		next, ok := successor(last, names[n])
		if !ok || n > 1 && (next.before != counted.before || next.after != counted.after) {
			break
		}
		counted, last = next, names[n]
	}
	return n
}

// numbered is a name without the number in it that counts.
type numbered struct{ before, after string }

// successor returns what two names have in common if they differ only in one number, and the second
// one has the next one. A number with leading zeros keeps its width.
func successor(a, b string) (numbered, bool) {
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	for at > 0 && isDigit(a[at-1]) {
		at--
	}
	numberA, after := cutDigits(a[at:])
	numberB, afterB := cutDigits(b[at:])
	x, err := strconv.ParseUint(numberA, 10, 63)
	next := fmt.Sprintf("%0*d", len(numberA), x+1)
	return numbered{a[:at], after}, err == nil && after == afterB && numberB == next
}

// cutDigits returns the digits with which s begins, and the rest.
func cutDigits(s string) (digits, rest string) {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return s[:n], s[n:]
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
