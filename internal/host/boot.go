package host

import (
	"fmt"
	"maps"
	"slices"

	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
)

// hasBootFiles reports whether boot files apply to the node. What reads them at
// the next start sets values of the initial network namespace, so the node's
// namespace must be proved to be that one, from inside.
func (m *Machine) hasBootFiles() (initial bool, err error) {
	err = m.inNode(func() error {
		initial = netns.IsInitial(m.cfg.FS.Proc)
		return nil
	})
	return initial, err
}

// bootFiles is what the boot files say.
type bootFiles struct {
	apply    bool // to the node
	values   map[nf.Key]nf.Value
	unknown  error               // why not all values are known
	declared kernel.Declarations // empty if they are not asked
}

// readBoot reads the boot files, unless they do not apply to the node, while the caller goes on.
func (m *Machine) readBoot(ask nf.Ask) <-chan bootFiles {
	read := make(chan bootFiles, 1)
	if ask.NoBoot {
		read <- bootFiles{}
		return read
	}
	go func() {
		var b bootFiles
		// observeNode records why the namespace cannot be entered.
		if initial, err := m.hasBootFiles(); err == nil && initial {
			b.apply = true
			b.values, b.unknown = m.cfg.FS.BootValues()
			if ask.All || ask.Declared {
				b.declared = m.cfg.FS.Declared()
			}
		}
		read <- b
	}()
	return read
}

// addBoot adds what boot files say to the facts of the node. A value that only they have
// becomes a fact that is absent live.
func (m *Machine) addBoot(s *nf.Snapshot, b bootFiles) {
	if !b.apply {
		return
	}
	s.Capabilities.BootFiles = true
	if b.unknown != nil {
		s.Capabilities.BootUnknown = b.unknown.Error()
	}
	for _, k := range slices.Sorted(maps.Keys(b.values)) {
		v := b.values[k]
		setBoot(s, k, &v)
		s.Warnings = append(s.Warnings, leftoverWarnings(s, k, v)...)
	}
	for i := range s.Modules.List {
		f := &s.Modules.List[i]
		f.Declared = b.declared.Of(nf.ModuleKey(f.Name))
		f.Rereads = b.declared.Rereads(f.Name)
	}
	for _, k := range b.declared.Keys() {
		if name, isModule := k.Module(); !isModule {
			s.Host.SetFact(s.Host.Fact(k))
		} else if f, ok := s.Modules.Find(name); ok && f.Name != name { // an alias
			f.Declared = append(f.Declared, b.declared.Of(k)...)
		}
	}
	for i := range s.Host.Facts {
		f := &s.Host.Facts[i]
		f.Declared = b.declared.Of(f.Key)
	}
}

// Writers returns what else than nfsync sets a key of the node, as far as files and running
// programs show it. They set values of the initial network namespace.
func (m *Machine) Writers(k nf.Key) []nf.Writer {
	if initial, err := m.hasBootFiles(); err != nil || !initial {
		return nil
	}
	return m.cfg.FS.Writers(k)
}

// leftoverWarnings warns of a module that nfsync's own boot files load and that no
// longer exists, for example since an upgrade of the kernel. To keep out such a
// module does no harm.
func leftoverWarnings(s *nf.Snapshot, k nf.Key, v nf.Value) []nf.Warning {
	name, isModule := k.Module()
	state, _, _ := v.Module()
	if _, found := s.Modules.Find(name); !isModule || found || !s.Modules.Complete || state != nf.ModuleLoaded {
		return nil
	}
	return []nf.Warning{{Code: nf.WarnBootLeftover, Target: nf.Node, Key: k,
		Message: fmt.Sprintf("/etc/modules-load.d/nfsync.conf lists the module %s, which this kernel does not have: remove that line, unless another kernel of this node has the module", name)}}
}

// setBoot sets the boot value of a key of the node; nil if the boot files do not
// name the key. The value of a module that does not exist is dropped.
func setBoot(s *nf.Snapshot, k nf.Key, v *nf.Value) {
	if name, ok := k.Module(); ok {
		if f, found := s.Modules.Find(name); found && f.Name == name {
			f.Boot = v
		}
		return
	}
	f := s.Host.Fact(k)
	f.Boot = v
	s.Host.SetFact(f)
}

// refreshBoot re-reads the value that nfsync's own boot files have of one key.
func (m *Machine) refreshBoot(s *nf.Snapshot, k nf.Key) error {
	initial, err := m.hasBootFiles()
	if err != nil || !initial {
		return err
	}
	values, err := m.cfg.FS.BootValues()
	s.Capabilities.BootUnknown = ""
	if err != nil {
		s.Capabilities.BootUnknown = err.Error()
	}
	setBoot(s, k, nil)
	if v, ok := values[k]; ok {
		setBoot(s, k, &v)
	}
	return nil
}

// saveBoot saves a key of the node for the next start.
func (m *Machine) saveBoot(c nf.Change) error {
	initial, err := m.hasBootFiles()
	switch {
	case err != nil:
		return err
	case !initial:
		return fmt.Errorf("cannot save %s of %s: boot files apply to the initial network namespace, and this is another", c.Key, c.Target)
	}
	return m.cfg.FS.SetBoot(c.Key, c.To)
}
