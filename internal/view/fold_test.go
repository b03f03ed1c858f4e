package view

import (
	"fmt"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// change is a change of conntrack.max of the n-th container.
func change(n int, from, to int64) entry {
	return changeEntry(nf.Change{Target: foldedTarget(n), Key: nf.KeyMax, From: nf.Number(from), To: nf.Number(to)})
}

// folded returns the groups of entries of one node.
func folded(entries []entry) []group {
	f := newFolder(foldAbove)
	for _, e := range entries {
		f.add(place{"", e.target}, e)
	}
	return f.groups()
}

// TestFoldOnlyManyAndAlike: nothing is folded at the threshold, and no target is lost above it.
func TestFoldOnlyManyAndAlike(t *testing.T) {
	for _, n := range []int{1, foldAbove, foldAbove + 1} {
		var entries []entry
		for i := range n {
			entries = append(entries, change(i, 1, 2), change(i+100, 1, int64(i)+3))
		}
		shown, named := folded(entries), 0
		for _, g := range shown {
			named += len(g.places)
		}
		want := 2 * n
		if n > foldAbove {
			want = 1 + n
		}
		if len(shown) != want || named != 2*n {
			t.Errorf("%d alike and %d not: %d groups of %d targets, want %d of %d", n, n, len(shown), named, want, 2*n)
		}
	}
}

// TestFoldEntries: entries of the same targets are one group, those of some of them another one,
// and different present values are shown as alternatives.
func TestFoldEntries(t *testing.T) {
	udp := func(n int) entry {
		return changeEntry(nf.Change{Target: foldedTarget(n), Key: nf.TimeoutKey("udp"), From: nf.Number(int64(30 * (n%3 + 1))), To: nf.Number(99)})
	}
	var entries []entry
	for n := range 12 {
		n = 11 - n
		entries = append(entries, change(n, int64(n), 100), udp(n))
		if n%2 == 0 {
			entries = append(entries, changeEntry(nf.Change{Target: foldedTarget(n), Key: nf.TimeoutKey("icmp"), From: nf.Number(1), To: nf.Number(2)}))
		}
	}
	entries = append(entries, changeEntry(nf.Change{Target: nf.Node, Key: nf.KeyMax, From: nf.Number(1), To: nf.Number(100)}))
	var got []string
	for _, g := range folded(entries) {
		for _, e := range g.entries {
			got = append(got, fmt.Sprint(len(g.places), " ", e.cells[columnKey].plain(), " ", e.cells[columnFrom].plain()))
		}
	}
	want := "1 conntrack.max 1\n12 conntrack.max 0 … 11 (12 values)\n12 conntrack.timeouts.udp 30s, 1m or 90s\n6 conntrack.timeouts.icmp 1s"
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

// TestFoldValues: a present value is named once, whatever the reason is, and only numbers are a range.
func TestFoldValues(t *testing.T) {
	full, stateful, disabled := nf.LevelFull.Value(), nf.LevelStateful.Value(), nf.LevelDisabled.Value()
	for _, c := range []struct {
		key    nf.Key
		values []nf.Value
		want   string
	}{
		{nf.KeyLevel, []nf.Value{nf.Unknown("it is migrating"), nf.Unknown("no permission")}, "unknown"},
		{nf.KeyLevel, []nf.Value{nf.Unknown("it is migrating"), full, nf.Unknown("no permission")}, "full or unknown"},
		{nf.KeyLevel, []nf.Value{full, stateful, disabled, nf.Unknown("a"), nf.Unknown("b")}, "disabled, full, stateful or 1 other"},
		{nf.KeyMax, []nf.Value{nf.Number(4), nf.Number(3), nf.Number(2), nf.Number(1)}, "1 … 4 (4 values)"},
		{nf.KeyMax, []nf.Value{nf.Number(4), nf.Number(3), nf.Number(2), nf.Unknown("a")}, "unknown, 2, 3 or 1 other"},
	} {
		var entries []entry
		for n := range 10 {
			entries = append(entries, changeEntry(nf.Change{Target: foldedTarget(n), Key: c.key, From: c.values[n%len(c.values)], To: nf.Number(9)}))
		}
		shown := folded(entries)
		if got := shown[0].entries[0].cells[columnFrom].plain(); len(shown) != 1 || got != c.want {
			t.Errorf("%v: %q in %d groups, want %q", c.values, got, len(shown), c.want)
		}
	}
}

func TestFoldNames(t *testing.T) {
	for in, want := range map[string]string{
		"a b":                              "a, b (2)",
		"web-1 web-2 web-3":                "web-1 … web-3 (3)",
		"web-1 web-2":                      "web-1, web-2 (2)",
		"db web-1 web-2 web-7 x":           "db, web-1, web-2, web-7, x (5)",
		"1 2 3 a1 a2 a3 b-1-1 b-1-2 b-1-3": "1 … 3, a1 … a3, b-1-1 … b-1-3 (9)",
		// A number that is missing ends a range.
		"web-2 web-3 web-5":                           "web-2, web-3, web-5 (3)",
		"n1 n2 n3 n4 n6 n7 n8 n9 n10 n11 n12":         "n1 … n4, n6 … n12 (11)",
		"box-1 box-5 box-9 box-20 box-22":             "box-1, box-5, box-9, box-20, box-22 (5)",
		"n1 n3 n5 n7 n9 n11 n13 n15":                  "n1, n3, n5, n7, n9, n11 and 2 more (8)",
		"web-1 web-1 web-1":                           "web-1, web-1, web-1 (3)",
		"web-8 web-9 web-10 web-11":                   "web-8 … web-11 (4)",
		"web-08 web-09 web-10":                        "web-08 … web-10 (3)",
		"web-8 web-09 web-10":                         "web-8, web-09, web-10 (3)",
		"web-1 web-02 web-3":                          "web-1, web-02, web-3 (3)",
		"a1-1 a1-2 a2-2":                              "a1-1, a1-2, a2-2 (3)",
		"n1.dc.example n2.dc.example n3.dc.example":   "n1.dc.example … n3.dc.example (3)",
		"n1.dc.example n2.lab.example n3.dc.example":  "n1.dc.example, n2.lab.example, n3.dc.example (3)",
		"n1 n2a n3":                                   "n1, n2a, n3 (3)",
		"9223372036854775807 9223372036854775808 x y": "9223372036854775807, 9223372036854775808, x, y (4)",
		"vz/1 2 3 netns/4 5 6 7":                      "vz/1 … 3, netns/4 … 7 (7)",
		"a b c d e f g h":                             "a, b, c, d, e, f and 2 more (8)",
	} {
		if got := foldNames(strings.Fields(in)); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// TestNarrow: where a line is wider than the terminal, the policy is on a line of its own, whole.
func TestNarrow(t *testing.T) {
	source := nf.Source{Name: "web", File: "policies/of/many/directories/web-servers.yaml", Line: 12, Column: 24}
	c := nf.Change{Target: nf.Node, Key: nf.TimeoutKey("udp"), From: nf.Number(1), To: nf.Number(2), Cause: nf.CausePolicy, Source: source}
	doc := nf.Plan{Node: "hn-1", Changes: []nf.Change{c}, Summary: nf.Summary{Changes: 1}}
	for width, want := range map[int]string{
		0:   "  ~ conntrack.timeouts.udp  1s → 2s  web policies/of/many/directories/web-servers.yaml:12:24  policy\n",
		120: "  ~ conntrack.timeouts.udp  1s → 2s  web policies/of/many/directories/web-servers.yaml:12:24  policy\n",
		80:  "  ~ conntrack.timeouts.udp  1s → 2s  policy\n      by      web policies/of/many/directories/web-servers.yaml:12:24\n",
	} {
		var out strings.Builder
		if err := Plans.Write(&out, FormatText, doc, Options{Width: width}); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%d columns: %v\n%s", width, err, out.String())
		}
	}
}

func TestPlaceList(t *testing.T) {
	at := func(node string, n int) place { return place{node, foldedTarget(n)} }
	for want, places := range map[string][]place{
		"node":                     {{"", nf.Node}},
		"node hn-1":                {{"hn-1", nf.Node}},
		"nodes hn-1 … hn-3 (3)":    {{"hn-1", nf.Node}, {"hn-2", nf.Node}, {"hn-3", nf.Node}},
		"container netns/web-0001": {at("", 1)},
		"containers netns/web-0001, web-0002 (2)":                   {at("", 1), at("", 2)},
		"container netns/web-0001 of node hn-1":                     {at("hn-1", 1)},
		"container netns/web-0001 of nodes hn-1, hn-2 (2)":          {at("hn-1", 1), at("hn-2", 1)},
		"containers netns/web-0001, web-0002 (2) of node hn-1":      {at("hn-1", 1), at("hn-1", 2)},
		"containers netns/web-0001, web-0002 (2) of nodes a, b (2)": {at("a", 1), at("a", 2), at("b", 1), at("b", 2)},
		"3 containers of nodes a, b (2)":                            {at("a", 1), at("a", 2), at("b", 7)},
	} {
		if got := placeList(places); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestPlacesByName: containers are in the order of their printed names, whatever their ids are, and
// equal names have their ids.
func TestPlacesByName(t *testing.T) {
	vz := func(id, name string) nf.Target {
		return nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeVZ, ID: id, Name: name}
	}
	for _, c := range []struct {
		targets   []nf.Target
		list, all string
	}{
		{[]nf.Target{vz("0c", "web-12"), vz("1a", "web-8"), vz("2b", "web-10"), vz("3d", "web-9"), vz("4e", "web-11")},
			"containers vz/web-8 … web-12 (5)", "web-8 web-9 web-10 web-11 web-12"},
		{[]nf.Target{vz("105", "web-1"), vz("101", "web-1"), vz("102", "web-1"), vz("100", "web-2")},
			"containers vz/101 (web-1), 102 (web-1), 105 (web-1), web-2 (4)", "web-1 web-1 web-1 web-2"},
		{[]nf.Target{vz("101", "b"), vz("102", ""), vz("103", "a"), vz("99", "99")}, "containers vz/99, 102, a, b (4)", "99 102 a b"},
	} {
		for _, above := range []int{foldAbove, foldAt(Options{Full: true}, false)} {
			f := newFolder(above)
			for _, target := range c.targets {
				f.add(place{"", target}, changeEntry(nf.Change{Target: target, Key: nf.KeyMax, From: nf.Number(1), To: nf.Number(2)}))
			}
			var names []string
			groups := f.groups()
			for _, g := range groups {
				for _, at := range g.places {
					names = append(names, targetName(at.target))
				}
			}
			if got := strings.Join(names, " "); got != c.all {
				t.Errorf("at most %d: %s, want %s", above, got, c.all)
			}
			if got := placeList(groups[0].places); above == foldAbove && got != c.list {
				t.Errorf("got %s, want %s", got, c.list)
			}
		}
	}
}
