package hosttest

import (
	"fmt"

	"nfsync.dev/nfsync/internal/nf"
)

// bootFiles holds the boot files of the node: nfsync's own and others.
type bootFiles struct {
	values   map[nf.Key]nf.Value         // in nfsync's own
	declared map[nf.Key][]nf.Declaration // in others
	unknown  string                      // why nfsync's own cannot be read
}

// SetBootFiles gives the node a boot layer, as if its namespace were the initial
// one. Nothing is saved yet.
func (m *Machine) SetBootFiles() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boot = &bootFiles{values: map[nf.Key]nf.Value{}, declared: map[nf.Key][]nf.Declaration{}}
}

// SetBootUnknown makes nfsync's own boot files unreadable for a reason; an empty
// reason makes them readable again.
func (m *Machine) SetBootUnknown(why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boot.unknown = why
}

// PutBoot changes nfsync's own boot files as another program would; an absent value
// removes the key.
func (m *Machine) PutBoot(k nf.Key, v nf.Value) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boot.put(k, v)
}

// Declare adds a setting of a key of the node to another boot file.
func (m *Machine) Declare(k nf.Key, d nf.Declaration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boot.declared[k] = append(m.boot.declared[k], d)
}

// BootValue returns the value of a key of the node in nfsync's own boot files.
func (m *Machine) BootValue(k nf.Key) nf.Value {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.boot == nil {
		return nf.Absent()
	}
	return m.boot.values[k]
}

func (b *bootFiles) put(k nf.Key, v nf.Value) {
	if v.IsAbsent() {
		delete(b.values, k)
		return
	}
	b.values[k] = v
}

// factValue returns the boot value for the key's fact: nil if nfsync's own boot
// files do not have the key or cannot be read.
func (b *bootFiles) factValue(k nf.Key) *nf.Value {
	if v, ok := b.values[k]; ok && b.unknown == "" {
		return &v
	}
	return nil
}

// observeBoot adds what boot files say to the facts of the node.
func (m *Machine) observeBoot(s *nf.Snapshot) {
	if m.boot == nil {
		return
	}
	s.Capabilities.BootFiles, s.Capabilities.BootUnknown = true, m.boot.unknown
	for k := range m.boot.declared {
		m.addBoot(s, k)
	}
	for k := range m.boot.values {
		m.addBoot(s, k)
	}
}

// addBoot adds what boot files say about one key to its fact.
func (m *Machine) addBoot(s *nf.Snapshot, k nf.Key) {
	name, isModule := k.Module()
	if !isModule {
		f := s.Host.Fact(k)
		f.Boot, f.Declared = m.boot.factValue(k), m.boot.declared[k]
		s.Host.SetFact(f)
		return
	}
	if f, ok := s.Modules.Find(name); ok && f.Name == name {
		f.Boot, f.Declared = m.boot.factValue(k), m.boot.declared[k]
	}
}

// withBoot returns a fact of the node that was re-read, with the boot values that
// the snapshot has of it.
func withBoot(s *nf.Snapshot, f nf.Fact) nf.Fact {
	was := s.Host.Fact(f.Key)
	f.Boot, f.Declared = was.Boot, was.Declared
	return f
}

// setBoot saves a key of the node for the next start.
func (m *Machine) setBoot(c nf.Change) error {
	state, _, isState := c.To.Module()
	n, number := c.To.Number()
	_, module := c.Key.Module()
	switch {
	case m.boot == nil:
		return fmt.Errorf("cannot save %s of %s: nothing stores it for the next start", c.Key, c.Target)
	case m.boot.unknown != "":
		return fmt.Errorf("cannot save %s: %s", c.Key, m.boot.unknown)
	case c.To.IsAbsent() && (module || c.Key.Conntrack()),
		module && isState && (state == nf.ModuleLoaded || state == nf.ModuleUnloaded),
		c.Key.Conntrack() && number && n >= 0:
		m.boot.put(c.Key, c.To)
		return nil
	}
	return fmt.Errorf("cannot save %s of %s as %s: no such change", c.Key, c.Target, c.To)
}
