package spec

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"nfsync.dev/nfsync/internal/nf"
)

// TestAreAlike: what changes nothing for a node, whatever containers it gets, and what may.
func TestAreAlike(t *testing.T) {
	policy := func(kind, name, spec string) string {
		return fmt.Sprintf("apiVersion: nfsync.dev/v1alpha1\nkind: %s\nmetadata: {name: %s}\nspec: %s\n", kind, name, spec)
	}
	node := func(spec string) string { return policy("NodePolicy", "n", spec) }
	container := func(spec string) string { return policy("ContainerPolicy", "c", spec) }
	const web = `{containers: {names: ["web-*"]}, level: full}`
	for name, c := range map[string]struct {
		a, b  []string
		alike bool
	}{
		"nothing":                       {nil, nil, true},
		"the same":                      {[]string{container(web)}, []string{container(web)}, true},
		"a comment":                     {[]string{container(web)}, []string{"# why\n" + container(web)}, true},
		"another name":                  {[]string{container(web)}, []string{policy("ContainerPolicy", "d", web)}, true},
		"another order of keys":         {[]string{node("{level: full, conntrack: {max: 1000}}")}, []string{node("{conntrack: {max: 1000}, level: full}")}, true},
		"another order of files":        {[]string{container(web), node("{level: full}")}, []string{node("{level: full}"), container(web)}, true},
		"a duration in other words":     {[]string{node("{conntrack: {timeouts: {udp: 1m}}}")}, []string{node("{conntrack: {timeouts: {udp: 60s}}}")}, true},
		"a policy of other nodes":       {[]string{container(web)}, []string{container(web), node("{nodes: {names: [hn-2]}, level: full}")}, true},
		"a selector that still matches": {[]string{node("{level: full}")}, []string{node("{nodes: {labels: {role: edge}}, level: full}")}, true},
		"a selector that does not":      {[]string{node("{level: full}")}, []string{node("{nodes: {labels: {role: core}}, level: full}")}, false},
		"a policy of later containers":  {nil, []string{container(web)}, false},
		"one of these less":             {[]string{container(web)}, nil, false},
		"other containers":              {[]string{container(web)}, []string{container(`{containers: {names: ["web*"]}, level: full}`)}, false},
		"another level":                 {[]string{container(web)}, []string{container(`{containers: {names: ["web-*"]}, level: stateful}`)}, false},
		"another restart":               {[]string{container(web)}, []string{container(`{containers: {names: ["web-*"]}, level: full, restart: allow}`)}, false},
		"another priority":              {[]string{container(web)}, []string{container(`{containers: {names: ["web-*"]}, level: full, priority: 7}`)}, false},
		"another range":                 {[]string{node("{conntrack: {max: {atLeast: 1000}}}")}, []string{node("{conntrack: {max: {atLeast: 1001}}}")}, false},
		"a parameter of a module":       {[]string{node("{modules: {ip_set: {state: loaded, parameters: {max_sets: 256}}}}")}, []string{node("{modules: {ip_set: {state: loaded, parameters: {max_sets: 512}}}}")}, false},
		"other winners of rivals": {
			[]string{container(`{containers: {names: ["a*"]}, level: full}`), policy("ContainerPolicy", "d", `{containers: {names: ["*a"]}, level: stateful}`)},
			[]string{policy("ContainerPolicy", "d", `{containers: {names: ["*a"]}, level: stateful}`), container(`{containers: {names: ["a*"]}, level: full}`)}, false,
		},
	} {
		parse := func(texts []string) Policies {
			var files []File
			for i, text := range texts {
				files = append(files, File{Name: fmt.Sprintf("%d.yaml", i), Data: []byte(text)})
			}
			return parsed(t, files...)
		}
		a, b := parse(c.a), parse(c.b)
		for _, alike := range []bool{AreAlike(a, b, someNode.Node), AreAlike(b, a, someNode.Node)} {
			if alike != c.alike {
				t.Errorf("%s: %v", name, alike)
			}
		}
	}
}

// TestAlikePoliciesWantTheSame: of policies that are alike for a node nothing else is wanted, whatever containers it has.
func TestAlikePoliciesWantTheSame(t *testing.T) {
	alike := 0
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOfN(rapid.Custom(drawPolicy), 0, 4).Draw(t, "policies")
		b := rapid.Permutation(slices.Clone(a)).Draw(t, "others")
		if len(b) > 0 && rapid.Bool().Draw(t, "edit") {
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = drawPolicy(t)
		}
		if rapid.Bool().Draw(t, "add") {
			b = append(b, drawPolicy(t))
		}
		for _, p := range []Policies{a, b} {
			for i := range p {
				p[i].Source = nf.Source{Name: fmt.Sprint(i), File: fmt.Sprint(i)}
			}
		}
		node := nf.NodeIdentity{Name: "n1", Labels: map[string]string{"role": "edge"}}
		if !AreAlike(a, b, node) {
			return
		}
		alike++
		container := rapid.Custom(func(t *rapid.T) nf.Container {
			return nf.Container{Runtime: rapid.SampledFrom([]string{nf.RuntimeVZ, nf.RuntimeNetns}).Draw(t, "runtime"), ID: rapid.SampledFrom([]string{"a", "b", "ab"}).Draw(t, "id"),
				Name: rapid.SampledFrom([]string{"a", "ab", "b", ""}).Draw(t, "name"), Labels: drawLabels(t), State: nf.StateRunning}
		})
		s := nf.Snapshot{Node: node, Containers: rapid.SliceOfNDistinct(container, 0, 5, func(c nf.Container) string { return c.Target().String() }).Draw(t, "containers")}
		byWish := cmpopts.SortSlices(func(x, y nf.Rival) bool { return fmt.Sprint(x.Wish) < fmt.Sprint(y.Wish) })
		if d := cmp.Diff(Policies(a).Resolve(&s).List, Policies(b).Resolve(&s).List, cmp.Comparer(func(x, y nf.Value) bool { return x == y }), cmpopts.IgnoreTypes(nf.Source{}), cmpopts.IgnoreFields(nf.Want{}, "Lost"), byWish); d != "" {
			t.Fatalf("alike, and they want:\n%s", d)
		}
	})
	if alike == 0 {
		t.Error("no policies were alike")
	}
}

func drawLabels(t *rapid.T) map[string]string {
	return rapid.MapOfN(rapid.SampledFrom([]string{"role", "x"}), rapid.SampledFrom([]string{"edge", "core"}), 0, 1).Draw(t, "labels")
}

// drawPolicy draws a policy with few different parts, so that policies meet.
func drawPolicy(t *rapid.T) Policy {
	p := Policy{Kind: rapid.SampledFrom([]string{nf.KindNodePolicy, nf.KindContainerPolicy}).Draw(t, "kind"), Priority: rapid.IntRange(0, 1).Draw(t, "priority"),
		Nodes: NodeSelector{Names: rapid.SampledFrom([][]string{nil, {"n*"}, {"m"}}).Draw(t, "nodes"), Labels: drawLabels(t)}}
	if p.Kind == nf.KindContainerPolicy {
		p.Restart = rapid.SampledFrom([]nf.Restart{nf.RestartRefuse, nf.RestartAllow}).Draw(t, "restart")
		p.Containers = ContainerSelector{Names: rapid.SampledFrom([][]string{nil, {"a*"}, {"b", "a"}, {"a", "b"}}).Draw(t, "names"), IDs: rapid.SampledFrom([][]string{nil, {"a"}}).Draw(t, "ids"),
			Labels: drawLabels(t), Runtimes: rapid.SampledFrom([][]string{nil, {nf.RuntimeVZ}, nf.Runtimes()}).Draw(t, "runtimes")}
	}
	for _, key := range rapid.SampledFrom([][]nf.Key{{nf.KeyLevel}, {nf.KeyMax}, {nf.KeyLevel, nf.KeyMax}, {nf.KeyMax, nf.KeyLevel}}).Draw(t, "keys") {
		wish := nf.Wish{AtLeast: rapid.Int64Range(1, 2).Draw(t, "max")}
		if key == nf.KeyLevel {
			wish = nf.Exactly(rapid.SampledFrom([]nf.Level{nf.LevelFull, nf.LevelStateful}).Draw(t, "level").Value())
		}
		p.Wishes = append(p.Wishes, KeyWish{Key: key, Wish: wish})
	}
	return p
}
