package agent

import (
	"slices"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// Overview returns what laps have last seen of the node; one without a time if none has looked at it.
func (a *Agent) Overview() apply.Overview {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.overview
}

// saw keeps what a lap has seen. What a lap for born containers has seen is added to what is known of
// the others.
func (a *Agent) saw(o apply.Overview) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if o.Partial {
		o = merge(a.overview, o)
	}
	a.overview = o
}

// merge returns an overview with the containers of a newer one, which has only some.
func merge(was, is apply.Overview) apply.Overview {
	newer := map[nf.Target]bool{}
	for i := range is.Containers {
		newer[is.Containers[i].Target.Nameless()] = true
	}
	list := make([]apply.Seen, 0, len(was.Containers)+len(is.Containers)) // others read that of before
	for _, c := range was.Containers {
		if !newer[c.Target.Nameless()] {
			list = append(list, c)
		}
	}
	was.Containers = append(list, is.Containers...)
	slices.SortFunc(was.Containers, func(a, b apply.Seen) int { return a.Target.Compare(b.Target) })
	return was
}

// Changes returns a channel that receives something after each new status and each reading of the
// conntrack tables, until done is called. Changes that nobody has received are one.
func (a *Agent) Changes() (changes <-chan struct{}, done func()) {
	c := make(chan struct{}, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.watchers[c] = true
	return c, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.watchers, c)
	}
}

// changed tells those who watch that something has changed. The caller holds mu.
func (a *Agent) changed() {
	for c := range a.watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
