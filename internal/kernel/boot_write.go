package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// writeBoot makes one of nfsync's own boot files have that content, for good
// once it returns: removed where there is none, and not touched where it has it
// already.
func (fs FS) writeBoot(name string, data []byte) error {
	path := fs.root(name)
	if data == nil {
		return removeFile(path)
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := fs.makeDir(filepath.Dir(name)); err != nil {
		return err
	}
	return replaceFile(path, data)
}

// makeDir makes a directory below Root, which must be there itself, and those
// above it.
func (fs FS) makeDir(name string) error {
	parent := fs.Root
	for elem := range strings.SplitSeq(name, "/") {
		dir := filepath.Join(parent, elem)
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			err = errors.Join(os.Chmod(dir, 0o755), syncDir(parent)) // whatever the umask
		}
		if err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		parent = dir
	}
	return nil
}

// replaceFile puts a file with that content in the path's place. The name that
// it has until then is one that no reader of the directory takes: it does not
// end with .conf. What a crash leaves under that name goes with the next write.
func replaceFile(path string, data []byte) error {
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	err := writeFileSync(tmp, data)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp) // best effort: the error is what counts
		return err
	}
	return syncDir(filepath.Dir(path))
}

// writeFileSync makes a new file that everybody can read, and its content
// durable.
func writeFileSync(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644) // whatever the umask
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func removeFile(path string) error {
	err := os.Remove(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes durable which files a directory has.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("cannot make %s durable: %w", path, err)
	}
	return nil
}
