package kernel

import (
	"bytes"
	"os"
	"path/filepath"
)

// writeBoot writes one of nfsync's own boot files durably, or removes it if data is
// nil. It does not touch a file that has that content. Root must exist.
func (fs FS) writeBoot(name string, data []byte) error {
	path := fs.root(name)
	if data == nil {
		return fs.Writer.Remove(path)
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if _, err := os.Stat(fs.Root); err != nil {
		return err
	}
	if err := fs.Writer.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return fs.Writer.Replace(path, data, 0o644)
}
