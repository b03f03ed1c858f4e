package hosttest

import (
	"context"
	"slices"
	"syscall"

	"nfsync.dev/nfsync/internal/nf"
)

// Op names a method of the machine.
type Op string

// The methods.
const (
	OpList    Op = "list"
	OpObserve Op = "observe"
	OpRefresh Op = "refresh"
	OpSet     Op = "set"
)

// Kind is what goes wrong.
type Kind int

// The kinds of faults.
const (
	Fail      Kind = iota // an error, and nothing happens
	FailAfter             // it takes effect, and an error is returned all the same
	Swallow               // nothing happens, and no error says so
	Block                 // nothing happens until the context is done, whose error is returned
	Vanish                // the container is gone just before
	Halt                  // a container of the vz runtime is stopped, and an error is returned: a restart that fails half-way
)

// Fault makes calls go wrong. The zero Target, Key and Layer are any.
type Fault struct {
	Op     Op
	Target nf.Target
	Key    nf.Key
	Layer  nf.Layer
	Kind   Kind
	Err    error // of Fail, FailAfter and Halt; nil is EIO
	Skip   int   // that many matching calls go well first
	Times  int   // how many calls go wrong then; 0 is all
}

// Inject makes calls go wrong. Of several faults that match a call, the one
// injected first counts.
func (m *Machine) Inject(f Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, &f)
}

// Heal takes all faults away.
func (m *Machine) Heal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = nil
}

// fault tells whether a call takes effect, and the error it returns beside
// that. A context that is done fails every call.
func (m *Machine) fault(ctx context.Context, op Op, c nf.Change) (effect bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	f := m.hit(op, c)
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
		m.must(c.Target).halt()
		return false, err
	default:
		m.remove(c.Target)
		return true, nil
	}
}

// hit finds the fault that a call meets, and counts it.
func (m *Machine) hit(op Op, c nf.Change) *Fault {
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
