package hosttest

import (
	"context"
	"slices"
	"syscall"

	"nfsync.dev/nfsync/internal/nf"
)

// Op is a method of the machine.
type Op string

// The methods of the machine.
const (
	OpList    Op = "list"
	OpObserve Op = "observe"
	OpRefresh Op = "refresh"
	OpSet     Op = "set"
)

// Kind is a kind of fault.
type Kind int

// The kinds of faults.
const (
	Fail      Kind = iota // the call has no effect and returns an error
	FailAfter             // the call takes effect and returns an error
	Swallow               // the call has no effect and returns no error
	Block                 // the call has no effect, waits until the context is done, and returns its error
	Vanish                // the container is removed just before the call
	Halt                  // the call stops a container of the vz runtime and returns an error: a restart that fails half-way
)

// Fault makes calls fail. A zero Target, Key or Layer matches any.
type Fault struct {
	Op     Op
	Target nf.Target
	Key    nf.Key
	Layer  nf.Layer
	Kind   Kind
	Err    error // of Fail, FailAfter and Halt; nil: EIO
	Skip   int   // the number of matching calls that succeed first
	Times  int   // the number of calls that fail then; 0: all
}

// Inject adds a fault. If several faults match a call, the one that was added first
// counts.
func (m *Machine) Inject(f Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, &f)
}

// Heal removes all faults.
func (m *Machine) Heal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = nil
}

// applyFault reports whether a call takes effect, and returns the error of its
// fault. If the context is done every call fails.
func (m *Machine) applyFault(ctx context.Context, op Op, c nf.Change) (effect bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	f := m.match(op, c)
	if f == nil {
		return true, nil
	}
	err = f.Err
	if err == nil {
		err = syscall.EIO
	}
	switch f.Kind {
	case Fail:
		return false, err
	case FailAfter:
		return true, err
	case Swallow:
		return false, nil
	case Block:
		m.mu.Unlock()
		<-ctx.Done()
		m.mu.Lock()
		return false, ctx.Err()
	case Halt:
		m.mustFind(c.Target).stop()
		return false, err
	default: // Vanish
		m.remove(c.Target)
		return true, nil
	}
}

// match returns the fault of a call, or nil, and counts the call.
func (m *Machine) match(op Op, c nf.Change) *Fault {
	for i, f := range m.faults {
		if f.Op != op || f.Target != (nf.Target{}) && f.Target != c.Target || f.Key != "" && f.Key != c.Key || f.Layer != "" && f.Layer != c.Layer {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			return nil
		}
		if f.Times--; f.Times == 0 {
			m.faults = slices.Delete(m.faults, i, i+1)
		}
		return f
	}
	return nil
}
