package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"nfsync.dev/nfsync/internal/nf"
)

const memoryRemedy = "put a good copy in its place, or move it away: nfsync then starts with no memory, and knows of no tracking that it saw"

// ReadMemory reads the memory below a state directory, with what is stuck. It takes no lock
// and makes nothing. No file or no directory is no memory; a damaged file is an
// error, and one that may not be read is fs.ErrPermission.
func ReadMemory(path string) (nf.Memory, error) {
	m, err := loadMemory(filepath.Join(path, memoryName))
	if err != nil {
		return nf.Memory{}, err
	}
	m.Stuck, err = readStuck(path)
	return m, err
}

// decoded is the memory that was decoded last, and the text that it was decoded from. An agent
// reads the same memory in each lap, and decoding that of a thousand containers takes longer than
// setting the values of one.
var decoded struct {
	sync.Mutex
	text   []byte
	memory nf.Memory
}

func loadMemory(file string) (nf.Memory, error) {
	text, err := read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nf.Memory{}, nil
	}
	var m nf.Memory
	if err == nil {
		m, err = decodeMemory(text)
	}
	return m, readError(file, memoryRemedy, err)
}

func decodeMemory(text []byte) (nf.Memory, error) {
	decoded.Lock()
	defer decoded.Unlock()
	if decoded.text != nil && bytes.Equal(decoded.text, text) {
		return decoded.memory.Clone(), nil
	}
	var m nf.Memory
	if err := unseal(memoryName, text, &m); err != nil {
		return nf.Memory{}, err
	}
	m.SetKinds()
	decoded.text, decoded.memory = text, m.Clone()
	return m, nil
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
