package review

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"nfsync.dev/nfsync/internal/nf"
)

func someChange(n int, to int64, policy string) nf.Change {
	return nf.Change{Target: nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: fmt.Sprint(n)}, Key: nf.KeyMax, From: nf.Number(1), To: nf.Number(to),
		Source: nf.Source{Name: policy, File: policy, Line: n}}
}

func someRefusal(n int, code nf.Code, reason string) nf.Refusal {
	return nf.Refusal{Target: nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: fmt.Sprint(n)}, Key: nf.KeyMax, From: nf.Number(1), To: nf.Number(2), Code: code, Reason: reason}
}

// TestCompare: what asks for a change, and what a reason counts, make no difference.
func TestCompare(t *testing.T) {
	before := nf.Plan{Changes: []nf.Change{someChange(1, 2, "a"), someChange(2, 2, "a"), someChange(3, 2, "a")},
		Refusals: []nf.Refusal{someRefusal(4, nf.ReadOnly, "5 entries"), someRefusal(5, nf.ReadOnly, "")}}
	after := nf.Plan{Changes: []nf.Change{someChange(3, 9, "b"), someChange(2, 2, "renamed"), someChange(6, 2, "a")},
		Refusals: []nf.Refusal{someRefusal(4, nf.ReadOnly, "7 entries"), someRefusal(5, nf.AboveNode, "")}}
	brings, anyway := compare(before, after)
	ends, _ := compare(after, before)
	ids := func(d nf.Differences) string {
		var list []string
		for _, c := range d.Changes {
			list = append(list, c.Target.ID)
		}
		for _, r := range d.Refusals {
			list = append(list, r.Target.ID+" "+string(r.Code))
		}
		return fmt.Sprint(list)
	}
	for got, want := range map[string]string{ids(brings): "[3 6 5 above-node]", ids(ends): "[1 3 5 read-only]", ids(anyway): "[2 4 read-only]"} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestCompareProperties: equal plans bring nothing, and what a change brings is, with what is
// different anyway, the whole plan after it.
func TestCompareProperties(t *testing.T) {
	changes := rapid.Custom(func(t *rapid.T) nf.Change {
		return someChange(rapid.IntRange(0, 5).Draw(t, "target"), rapid.Int64Range(1, 3).Draw(t, "to"), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "policy"))
	})
	count := func(list ...nf.Change) map[changeMade]int {
		n := map[changeMade]int{}
		for _, c := range list {
			n[made(c)]++
		}
		return n
	}
	rapid.Check(t, func(t *rapid.T) {
		before := nf.Plan{Changes: rapid.SliceOf(changes).Draw(t, "before")}
		after := nf.Plan{Changes: rapid.SliceOf(changes).Draw(t, "after")}
		if d, _ := compare(after, after); len(d.Changes) > 0 {
			t.Fatalf("equal plans bring %v", d)
		}
		shuffled := nf.Plan{Changes: rapid.Permutation(after.Changes).Draw(t, "shuffled")}
		if d, _ := compare(after, shuffled); len(d.Changes) > 0 {
			t.Fatalf("another order brings %v", d)
		}
		brings, anyway := compare(before, after)
		ends, same := compare(after, before)
		if got, want := fmt.Sprint(count(slices.Concat(brings.Changes, anyway.Changes)...)), fmt.Sprint(count(after.Changes...)); got != want {
			t.Fatalf("it brings, with what is different anyway, %s of %s", got, want)
		}
		if fmt.Sprint(count(anyway.Changes...)) != fmt.Sprint(count(same.Changes...)) || len(ends.Changes)+len(same.Changes) != len(before.Changes) {
			t.Fatal("what is in both plans depends on the direction")
		}
	})
}
