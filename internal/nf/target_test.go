package nf

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestTargetOrder: the node, then containers as people count them.
func TestTargetOrder(t *testing.T) {
	container := func(runtime, id string) Target {
		return Target{Kind: TargetContainer, Runtime: runtime, ID: id, Name: id}
	}
	want := []Target{
		Node,
		container(RuntimeNetns, "db"),
		container(RuntimeNetns, "web-1"), container(RuntimeNetns, "web-03"), container(RuntimeNetns, "web-3"), container(RuntimeNetns, "web-3a"),
		container(RuntimeNetns, "web-10"), container(RuntimeNetns, "web-10-2"), container(RuntimeNetns, "web-10-11"),
		container(RuntimeNetns, "web-99999999999999999999"), container(RuntimeNetns, "web-100000000000000000000"),
		container(RuntimeNetns, "web-a"),
		container(RuntimeVZ, "101"), container(RuntimeVZ, "1000"),
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, Target.Compare)
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// TestTargetOrderIsTotal: two different names are never equal, and the order has no circle.
func TestTargetOrderIsTotal(t *testing.T) {
	name := rapid.StringMatching(`[0-1a-]{0,5}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := name.Draw(t, "a"), name.Draw(t, "b"), name.Draw(t, "c")
		if (CompareNames(a, b) == 0) != (a == b) || CompareNames(a, b) != -CompareNames(b, a) {
			t.Errorf("%q and %q: %d, %d", a, b, CompareNames(a, b), CompareNames(b, a))
		}
		if CompareNames(a, b) < 0 && CompareNames(b, c) < 0 && CompareNames(a, c) >= 0 {
			t.Errorf("%q < %q < %q, and %d", a, b, c, CompareNames(a, c))
		}
	})
}
