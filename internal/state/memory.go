package state

import (
	"fmt"
	"path/filepath"

	"nfsync.dev/nfsync/internal/nf"
)

const memoryRemedy = "put a good copy in its place, or move it away: nfsync then starts with no memory, and knows of no tracking that it saw"

// ReadMemory reads the memory below a state directory, with what is stuck. It takes no lock
// and makes nothing. No file or no directory is no memory; a damaged file is an
// error, and one that may not be read is fs.ErrPermission.
func ReadMemory(path string) (nf.Memory, error) {
	var m nf.Memory
	if _, err := load(filepath.Join(path, memoryName), memoryName, memoryRemedy, &m); err != nil {
		return nf.Memory{}, err
	}
	var err error
	m.Stuck, err = readStuck(path)
	m.SetKinds()
	return m, err
}

// Memory reads the memory.
func (d *Dir) Memory() (nf.Memory, error) { return ReadMemory(d.path) }

// SaveMemory replaces the memory. What is stuck has its own file: see SaveStuck.
func (d *Dir) SaveMemory(m nf.Memory) error {
	m.Stuck = nil
	return d.save(memoryName, memoryName, m)
}

func (d *Dir) save(name, kind string, doc any) error {
	text, err := seal(kind, doc)
	if err == nil {
		err = d.replace(name, text)
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", d.file(name), err)
	}
	return nil
}
