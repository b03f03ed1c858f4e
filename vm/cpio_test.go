//go:build vm

package vm_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// archive writes an initramfs in the newc format of cpio
// (Documentation/driver-api/early-userspace/buffer-format.rst). A later entry
// replaces an earlier one of the same name.
type archive struct {
	w     io.Writer
	err   error
	inode int
}

// The types of files in a mode (inode(7)).
const (
	typeDir     = 0o040000
	typeFile    = 0o100000
	typeSymlink = 0o120000
	typeDevice  = 0o020000
)

func (a *archive) entry(name string, mode int, major, minor int, data []byte) {
	if a.err != nil {
		return
	}
	a.inode++
	var b bytes.Buffer
	fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0)
	b.WriteString(name)
	b.WriteByte(0)
	pad(&b)
	b.Write(data)
	pad(&b)
	_, a.err = a.w.Write(b.Bytes())
}

func pad(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}

func (a *archive) file(name string, mode int, data []byte) {
	a.entry(name, typeFile|mode, 0, 0, data)
}
func (a *archive) dir(name string) { a.entry(name, typeDir|0o755, 0, 0, nil) }

// tree adds everything below a directory.
func (a *archive) tree(dir string) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == "." {
			return err
		}
		switch d.Type() {
		case fs.ModeDir:
			a.dir(name)
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			a.entry(name, typeSymlink|0o777, 0, 0, []byte(target))
		default:
			info, err := d.Info()
			if err != nil {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			a.file(name, int(info.Mode().Perm()), data)
		}
		return a.err
	})
	if a.err == nil {
		a.err = err
	}
}

// end writes the trailer of the archive.
func (a *archive) end() error {
	a.entry("TRAILER!!!", 0, 0, 0, nil)
	return a.err
}
