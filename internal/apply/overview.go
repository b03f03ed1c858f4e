package apply

import (
	"time"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
)

// Overview is what a plan or a run has last seen of a node: all keys of the node itself that a policy
// wants, and of each container its level and its limit. It keeps nothing of the snapshot, so that
// the overview of many containers is small.
type Overview struct {
	At      time.Time
	Partial bool   // only some containers were observed, and not the node
	Kernel  string // its release
	// Level is what the rules of the node's own namespace use.
	Level      nf.Value
	Node       []nf.EffectiveKey // by key
	Containers []Seen            // in the order of nf.Target.Compare
}

// Seen is what was seen of one container.
type Seen struct {
	Target       nf.Target
	State        string
	Unobservable string // why nothing of it could be read; empty if it could
	Level, Limit Setting
	Keys         int // that a policy wants something of
}

// Setting is one key of a container. A key that was not read has no live value.
type Setting struct {
	Live, Saved nf.Value
	Wanted      nf.Wish // absent: no policy wants it
}

// IsWanted reports whether a policy wants something of the key.
func (s Setting) IsWanted() bool { return s.Wanted != nf.Wish{} }

// overview returns what a snapshot has of wants that are sorted by target.
func overview(at time.Time, partial bool, wants nf.Wants, s *nf.Snapshot, w *diff.World) Overview {
	o := Overview{At: at, Partial: partial, Kernel: s.Kernel.Release, Containers: make([]Seen, len(s.Containers))}
	rest := wants.List
	for len(rest) > 0 && rest[0].Target.IsNode() {
		rest = rest[1:]
	}
	if !partial {
		o.Level = w.Value(nf.Change{Target: nf.Node, Key: nf.KeyLevel, Layer: nf.LayerLive})
		o.Node = effectiveOfNode(wants, len(wants.List)-len(rest), s)
	}
	for i := range s.Containers {
		var of []nf.Want
		of, rest = wantsOf(s.Containers[i].Target().Nameless(), rest)
		o.Containers[i] = seen(&s.Containers[i], of, w)
	}
	return o
}

// effectiveOfNode returns the keys of the node that the first wants are for, with the modules that
// they need.
func effectiveOfNode(wants nf.Wants, first int, s *nf.Snapshot) []nf.EffectiveKey {
	wants.List, wants.Warnings = wants.List[:first], nil
	keys, _ := diff.Effective(wants, s)
	return keys
}

// wantsOf cuts off the wants of a target, and those before it.
func wantsOf(t nf.Target, list []nf.Want) (of, rest []nf.Want) {
	first := 0
	for first < len(list) && list[first].Target.Nameless().Compare(t) < 0 {
		first++
	}
	end := first
	for end < len(list) && list[end].Target.Nameless() == t {
		end++
	}
	return list[first:end], list[end:]
}

// seen returns what was seen of a container that these wants are for.
func seen(c *nf.Container, wants []nf.Want, w *diff.World) Seen {
	x := Seen{Target: c.Target(), State: c.State, Unobservable: c.Unobservable, Keys: len(wants), Level: settingOf(c, nf.KeyLevel, w), Limit: settingOf(c, nf.KeyMax, w)}
	for i := range wants {
		switch wants[i].Key {
		case nf.KeyLevel:
			x.Level.Wanted = wants[i].Wish
		case nf.KeyMax:
			x.Limit.Wanted = wants[i].Wish
		}
	}
	return x
}

func settingOf(c *nf.Container, k nf.Key, w *diff.World) (s Setting) {
	live := nf.Change{Target: c.Target(), Key: k, Layer: nf.LayerLive}
	saved := live
	saved.Layer = nf.LayerBoot
	if s.Live, s.Saved = w.Value(live), w.Value(saved); k == nf.KeyLevel && c.Rules == nil && s.Live.IsUnknown() {
		s.Live = nf.Absent() // the rules were not asked for
	}
	if s.Saved.IsUnknown() {
		s.Saved = nf.Absent()
	}
	return s
}
