package hosttest

import (
	"context"
	"fmt"
	"syscall"

	"nfsync.dev/nfsync/internal/nf"
)

// Call is one call of Set.
type Call struct {
	Change nf.Change
	Err    error // that Set returned
}

// Calls returns the calls of Set so far, in order.
func (m *Machine) Calls() []Call {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Call(nil), m.calls...)
}

// Set is Set of host.Machine.
func (m *Machine) Set(ctx context.Context, s *nf.Snapshot, c nf.Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	effect, err := m.applyFault(ctx, OpSet, c)
	if effect {
		if e := m.set(s, c); e != nil {
			err = e
		}
	}
	m.calls = append(m.calls, Call{c, err})
	return err
}

func (m *Machine) set(s *nf.Snapshot, c nf.Change) error {
	ns, exists := m.find(c.Target)
	_, at, observed := s.Find(c.Target)
	if !exists || !observed || at != nil && at.Instance != ns.instance {
		return fmt.Errorf("cannot change %s: %w", c.Target, nf.ErrGone)
	}
	name, module := c.Key.Module()
	if why, denied := m.denied[ability(c)]; denied {
		return fmt.Errorf("cannot change %s of %s: %s: %w", c.Key, c.Target, why, syscall.EPERM)
	}
	state, params, _ := c.To.Module()
	n, number := c.To.Number()
	switch {
	case c.Layer == nf.LayerBoot && !c.Target.IsNode():
		return ns.saveLevel(c)
	case c.Layer == nf.LayerBoot:
		return m.setBoot(c)
	case c.Key == nf.KeyRestart:
		return m.restart(ns)
	case !ns.runs():
		return fmt.Errorf("cannot enter %s, which is %s: %w", c.Target, ns.vz.state, nf.ErrGone)
	case module && c.Target.IsNode():
		return m.setModule(name, state, params)
	case c.Key.Conntrack() && number:
		return m.write(ns, c.Key, n)
	}
	return fmt.Errorf("cannot set %s of %s to %s: no such change", c.Key, c.Target, c.To)
}

// ability returns the nf.Ability constant that a change needs.
func ability(c nf.Change) string {
	if _, ok := c.Key.Module(); ok {
		return nf.AbilityModules
	}
	if c.Target.IsNode() {
		return nf.AbilityNode
	}
	return nf.AbilityContainers
}
