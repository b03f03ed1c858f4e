package apply

import (
	"fmt"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// Forgotten is what was dropped from memory.
type Forgotten struct {
	Keys []nf.MemoryKey `json:"keys"` // never nil
}

// ForgetInput is the input of Forget.
type ForgetInput struct {
	State *state.Dir
	Lock  *Lock
	Keys  []nf.Key
	// Wanted returns the line that asks for a key of a target, if any does; nil: none is known.
	Wanted func(nf.Target, nf.Key) *nf.Source
}

// Forget drops the last wishes and values of keys from memory, and that they could not be set. The
// values stay as they are. It drops all or, with an error, none: a key that memory does not have, and
// one that a policy asks for, is an error. Where tracking was seen, and which restarts were made,
// stays: that is no matter of a policy.
func Forget(in ForgetInput) (Forgotten, error) {
	unlock, err := in.Lock.Take()
	if err != nil {
		return Forgotten{}, err
	}
	defer unlock()
	m, err := in.State.Memory()
	if err != nil {
		return Forgotten{}, err
	}
	out := Forgotten{Keys: []nf.MemoryKey{}}
	for _, k := range in.Keys {
		found := false
		for _, known := range m.Keys {
			if known.Key != k {
				continue
			}
			if line := in.wanted(known); line != nil {
				return Forgotten{}, fmt.Errorf("cannot forget %s of %s: the policy %s asks for it at %s", k, known.Target, line.Name, line)
			}
			found = true
		}
		if !found {
			return Forgotten{}, fmt.Errorf("cannot forget %s: nfsync remembers nothing of it", k)
		}
	}
	named := func(k nf.Key) bool { return slices.Contains(in.Keys, k) }
	m.Keys = slices.DeleteFunc(m.Keys, func(known nf.MemoryKey) bool {
		if named(known.Key) {
			out.Keys = append(out.Keys, known)
		}
		return named(known.Key)
	})
	m.Failures = slices.DeleteFunc(m.Failures, func(f nf.Failure) bool { return named(f.Key) })
	return out, in.State.SaveMemory(m)
}

func (in ForgetInput) wanted(k nf.MemoryKey) *nf.Source {
	if in.Wanted == nil {
		return nil
	}
	return in.Wanted(k.Target, k.Key)
}
