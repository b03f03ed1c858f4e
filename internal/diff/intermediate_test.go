package diff

import (
	"slices"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// A node without a limit and its containers are lowered together: the kernel takes no limit for
// a container while the node's is 0 (extra2 in nf_conntrack_standalone.c of the Virtuozzo 7
// kernel), and the node's must not go below a container's.
func TestIntermediateLimit(t *testing.T) {
	a, b := virtuozzo().Containers[0].Target(), virtuozzo(second()).Containers[1].Target()
	limits := func(node, a, b int64) edit {
		return func(s *nf.Snapshot) {
			nodeMax(node)(s)
			s.Host.Count = nf.Number(0)
			maxOf(&s.Containers[0], a)
			maxOf(&s.Containers[1], b)
			for i := range s.Containers {
				s.Containers[i].Count, s.Containers[i].MaxScope = nf.Number(0), nf.ScopeOwn
			}
		}
	}
	count := func(i int, v nf.Value) edit { return func(s *nf.Snapshot) { s.Containers[i].Count = v } }
	max := func(t nf.Target, n int64) nf.Want { return want(t, nf.KeyMax, nf.Number(n)) }
	for name, test := range map[string]struct {
		edits []edit
		wants []nf.Want
		steps string // target, from, to
		codes string // of the refusals
	}{
		"one container": {[]edit{limits(0, 65536, 1000)}, []nf.Want{max(nf.Node, 50000), max(a, 20000)},
			"node 0 65536*, 101 65536 20000, node 65536 50000", ""},
		"two containers": {[]edit{limits(0, 65536, 131072)}, []nf.Want{max(nf.Node, 50000), max(a, 20000), max(b, 50000)},
			"node 0 131072*, 101 65536 20000, 102 131072 50000, node 131072 50000", ""},
		"one is raised": {[]edit{limits(0, 65536, 1000)}, []nf.Want{max(nf.Node, 50000), max(a, 20000), max(b, 40000)},
			"node 0 65536*, 101 65536 20000, 102 1000 40000, node 65536 50000", ""},
		"one follows the node": {[]edit{limits(0, 65536, 0)}, []nf.Want{max(nf.Node, 50000), max(a, 20000), max(b, 40000)},
			"node 0 65536*, 101 65536 20000, node 65536 50000, 102 0 40000", ""},
		"a range": {[]edit{limits(0, 65536, 1000)}, []nf.Want{wantRange(nf.Node, nf.KeyMax, 1000, 50000), wantRange(a, nf.KeyMax, 0, 20000)},
			"node 0 65536*, 101 65536 20000, node 65536 50000", ""},
		"more entries than any limit": {[]edit{limits(0, 65536, 1000), func(s *nf.Snapshot) { s.Containers[1].MaxScope = nf.ScopeUnknown }, count(1, nf.Number(40000))},
			[]nf.Want{max(nf.Node, 50000), max(a, 20000)}, "node 0 65536*, 101 65536 20000, node 65536 50000", ""},
		"no container is above": {[]edit{limits(0, 30000, 1000)}, []nf.Want{max(nf.Node, 50000), max(a, 20000)},
			"node 0 50000, 101 30000 20000", ""},
		"a container stays above": {[]edit{limits(0, 65536, 131072)}, []nf.Want{max(nf.Node, 50000), max(a, 20000)},
			"", "below-container above-node"},
		"a container is wanted above": {[]edit{limits(0, 65536, 1000)}, []nf.Want{max(nf.Node, 50000), max(a, 60000)},
			"", "below-container above-node"},
		"a container's entries forbid it": {[]edit{limits(0, 65536, 1000), count(0, nf.Number(30000))}, []nf.Want{max(nf.Node, 50000), max(a, 20000)},
			"", "below-container above-node"},
		"entries under the node's limit forbid it": {[]edit{limits(0, 65536, 0), count(1, nf.Number(60000))}, []nf.Want{max(nf.Node, 50000), max(a, 20000)},
			"", "below-count above-node"},
		"entries of a container are unknown": {[]edit{limits(0, 65536, 1000), count(1, nf.Unknown("EIO"))}, []nf.Want{max(nf.Node, 50000), max(a, 20000)},
			"", "unobservable above-node"},
		"the node rises, and a container falls": {[]edit{limits(30000, 65536, 20000)}, []nf.Want{max(nf.Node, 50000), max(a, 10000), max(b, 40000)},
			"node 30000 50000, 101 65536 10000, 102 20000 40000", ""},
		"nobody wants the node": {[]edit{limits(0, 65536, 1000)}, []nf.Want{max(a, 20000)}, "", "above-node"},
	} {
		t.Run(name, func(t *testing.T) {
			p := Plan(wants(test.wants...), virtuozzo(append([]edit{second()}, test.edits...)...))
			var steps, codes []string
			for _, c := range p.Changes {
				step := "node "
				if !c.Target.IsNode() {
					step = c.Target.ID + " "
				}
				step += c.From.String() + " " + c.To.String()
				if c.Intermediate {
					step += "*"
				}
				steps = append(steps, step)
			}
			for _, r := range p.Refusals {
				codes = append(codes, string(r.Code))
			}
			if got := strings.Join(steps, ", "); got != test.steps {
				t.Errorf("steps %s, want %s", got, test.steps)
			}
			if got := strings.Join(codes, " "); got != test.codes {
				t.Errorf("refused %s, want %s: %+v", got, test.codes, p.Refusals)
			}
			if p.Summary.Changes != len(p.Changes) || slices.ContainsFunc(p.InSync, func(s nf.Settled) bool { return s.Key == nf.KeyMax && s.Target == a }) {
				t.Errorf("%+v, %+v", p.Summary, p.InSync)
			}
		})
	}
}
