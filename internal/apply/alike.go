package apply

import (
	"context"
	"fmt"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// Wishes are what policies want of a node that was listed: see Question.
type Wishes struct {
	Wants  func(listed *nf.Snapshot) nf.Wants
	Labels LabelUse
}

// WantTheSame reports whether two sets of policies want the same of a machine: of the node, and of the containers
// that it lists now. It observes identities and labels only.
func WantTheSame(ctx context.Context, m Observer, a, b Wishes) (bool, error) {
	listed, err := m.List(ctx)
	if err != nil {
		return false, fmt.Errorf("cannot list the node's containers: %w", err)
	}
	if a.Labels.of(&listed) || b.Labels.of(&listed) {
		Label(ctx, m, &listed)
	}
	return sameWants(a.Wants(&listed).List, b.Wants(&listed).List), nil
}

// sameWants reports whether two lists of wants, sorted by target and key, bring the same. Where they are
// written does not count, nor do wishes of a lower priority.
func sameWants(a, b []nf.Want) bool {
	return slices.EqualFunc(a, b, func(a, b nf.Want) bool {
		return a.Target == b.Target && a.Key == b.Key && a.Wish == b.Wish && a.Restart == b.Restart && sameRivals(a.Rivals, b.Rivals)
	})
}

// sameRivals reports whether two lists have the same wishes, in any order.
func sameRivals(a, b []nf.Rival) bool {
	within := func(list []nf.Rival) func(nf.Rival) bool {
		return func(r nf.Rival) bool {
			return !slices.ContainsFunc(list, func(o nf.Rival) bool { return o.Key == r.Key && o.Wish == r.Wish })
		}
	}
	return len(a) == len(b) && !slices.ContainsFunc(a, within(b)) && !slices.ContainsFunc(b, within(a))
}
