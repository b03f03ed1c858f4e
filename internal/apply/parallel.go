package apply

import (
	"context"
	"sync"
)

// independent returns the end of the changes from first on, before next, that need no order
// among their containers: a container relies on the node, and the node on its containers,
// but no container on another. Restarts are made one at a time.
func (r *run) independent(first, next int) int {
	end := first
	for end < next && !r.attempts[end].Target.IsNode() && !r.attempts[end].Disruptive {
		end++
	}
	return max(end, first+1)
}

// steps makes changes that are independent: those of one container in their order, and
// several containers at once. Its error says why no other change can follow.
func (r *run) steps(ctx context.Context, first, end int) error {
	var left []*unit
	of := map[*unit][]int{} // the indexes of the changes of each
	for i := first; i < end; i++ {
		u := r.attempts[i].unit
		if of[u] == nil {
			left = append(left, u)
		}
		of[u] = append(of[u], i)
	}
	workers := min(r.in.Parallel, len(left))
	if workers <= 1 {
		return r.stepAll(ctx, first, end)
	}
	r.node.mu = new(sync.Mutex)
	defer func() { r.node.mu = nil }()
	var stopped error
	var panicked any
	work := func() {
		r.node.mu.Lock()
		defer r.node.mu.Unlock()
		defer func() { // it goes on in the caller's goroutine
			if p := recover(); p != nil {
				panicked = p
			}
		}()
		for len(left) > 0 {
			u := left[0]
			left = left[1:]
			for _, i := range of[u] {
				if stopped != nil || panicked != nil {
					return
				}
				if err := r.stepAll(ctx, i, i+1); err != nil && stopped == nil {
					stopped = err
				}
			}
		}
	}
	var all sync.WaitGroup
	for range workers {
		all.Go(work)
	}
	all.Wait()
	if panicked != nil {
		panic(panicked)
	}
	return stopped
}

// stepAll makes changes one after another.
func (r *run) stepAll(ctx context.Context, first, end int) error {
	for i := first; i < end; i++ {
		if err := r.interrupted(ctx); err != nil {
			return err
		}
		if err := r.step(ctx, i); err != nil {
			return err
		}
	}
	return nil
}
