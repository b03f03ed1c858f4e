package spec

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"nfsync.dev/nfsync/internal/nf"
)

// TestSelection: the index finds the policies whose selectors match, and no others.
func TestSelection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Few letters, so that names, patterns and ids meet.
		name := rapid.StringMatching(`[ab/\[\]\\é]{0,4}`)
		pattern := rapid.OneOf(name, rapid.SampledFrom([]string{"*", "a*", "*b", "*a*", "?", "a?", "?b", "[ab]", "[a-b]b", "a[^b]", `\*`, `a\*`, `*\a`, `\[a`, "a*b", "*é", "é*"})).
			Filter(nf.IsPattern)
		id := rapid.OneOf(name, rapid.SampledFrom([]string{"A", "a", "AB", "ab", "É"}))
		labelName := rapid.SampledFrom([]string{"", "a", "b"})
		policy := rapid.Custom(func(t *rapid.T) *Policy {
			return &Policy{Containers: ContainerSelector{
				Names:    rapid.SliceOfN(pattern, 0, 3).Draw(t, "names"),
				IDs:      rapid.SliceOfN(id, 0, 2).Draw(t, "ids"),
				Labels:   rapid.MapOfN(labelName, labelName, 0, 2).Draw(t, "labels"),
				Runtimes: rapid.SampledFrom([][]string{nil, {nf.RuntimeVZ}, {nf.RuntimeNetns}}).Draw(t, "runtimes"),
			}}
		})
		policies := rapid.SliceOfN(policy, 0, 12).Draw(t, "policies")
		c := nf.Container{
			Runtime: rapid.SampledFrom([]string{nf.RuntimeVZ, nf.RuntimeNetns}).Draw(t, "runtime"),
			ID:      id.Draw(t, "id"), UUID: id.Draw(t, "uuid"), Name: name.Draw(t, "name"),
			Aliases: rapid.SliceOfN(name, 0, 2).Draw(t, "aliases"),
			Labels:  rapid.MapOfN(labelName, labelName, 0, 3).Draw(t, "labels"),
		}
		var want []int
		for i, p := range policies {
			if p.Containers.Match(&c) {
				want = append(want, i)
			}
		}
		got := newSelection(policies).of(&c)
		if len(got)+len(want) > 0 && !cmp.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// TestResolveEachByName prints what ten thousand policies for as many containers take.
func TestResolveEachByName(t *testing.T) {
	const many = 10_000
	var s nf.Snapshot
	var policies Policies
	for i := range many {
		name := fmt.Sprintf("web-%d", i)
		s.Containers = append(s.Containers, nf.Container{Runtime: nf.RuntimeNetns, ID: name, Name: name})
		selector := [][]string{{name}, {name + "*"}, {fmt.Sprintf("*-%d", i)}, {fmt.Sprintf("web-%d?", i)}}[i%4]
		policies = append(policies, Policy{Kind: nf.KindContainerPolicy, Source: nf.Source{Name: name}, Containers: ContainerSelector{Names: selector},
			Wishes: []KeyWish{{Key: nf.KeyMax, Wish: nf.Exactly(nf.Number(int64(i + 1)))}}})
	}
	start := time.Now()
	wants := policies.Resolve(&s)
	t.Logf("%d policies for %d containers, %d wants: %v", many, many, len(wants.List), time.Since(start))
	if len(wants.List) < many/2 {
		t.Errorf("%d wants", len(wants.List))
	}
}
