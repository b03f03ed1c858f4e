// Package statetest has a disk that fails and loses power, for the tests of
// what must survive that.
package statetest

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// The calls of a disk.
const (
	Write  = "write"
	Sync   = "sync"
	Rename = "rename"
)

// Disk is a durable.Disk on real files that remembers what is not yet durable,
// and does not wait for the real disk.
type Disk struct {
	// Before and After are called around each call, with the path that it is
	// about; an error of Before is the call's own. They may panic: that is a
	// crash between two calls. Either may be nil.
	Before, After func(call, path string) error
	// Syncs counts the fsyncs.
	Syncs int

	synced  map[uint64]int64 // inode: bytes that are durable; one that is not here is durable wholly
	renamed []rename         // those whose directory was not synced since
}

type rename struct {
	path string
	old  []byte // nil where there was no such file
}

// Write appends, half of it only where Before fails.
func (d *Disk) Write(f *os.File, data []byte) error {
	d.dirty(f)
	return d.around(Write, f.Name(), func() error {
		_, err := f.Write(data)
		return err
	}, func() { _, _ = f.Write(data[:len(data)/2]) })
}

// Sync makes a file's bytes, or a directory's renames, durable.
func (d *Disk) Sync(f *os.File) error {
	return d.around(Sync, f.Name(), func() error {
		d.Syncs++
		delete(d.synced, inode(f))
		d.keep(func(r rename) bool { return filepath.Dir(r.path) != filepath.Clean(f.Name()) })
		return nil
	}, nil)
}

// Rename replaces a file.
func (d *Disk) Rename(from, to string) error {
	return d.around(Rename, to, func() error {
		old, err := os.ReadFile(to)
		if err != nil {
			old = nil
		}
		d.renamed = append(d.renamed, rename{to, old})
		return os.Rename(from, to)
	}, nil)
}

func (d *Disk) around(call, path string, do func() error, half func()) error {
	if d.Before != nil {
		if err := d.before(call, path, half); err != nil {
			return err
		}
	}
	if err := do(); err != nil {
		return err
	}
	if d.After != nil {
		return d.After(call, path)
	}
	return nil
}

// before does half of a write where it is stopped, by an error or a panic.
func (d *Disk) before(call, path string, half func()) error {
	stopped := true
	defer func() {
		if stopped && half != nil {
			half()
		}
	}()
	err := d.Before(call, path)
	stopped = err != nil
	return err
}

func (d *Disk) dirty(f *os.File) {
	if d.synced == nil {
		d.synced = map[uint64]int64{}
	}
	info, err := f.Stat()
	if err != nil {
		return
	}
	if durable, ok := d.synced[inode(f)]; !ok || durable > info.Size() {
		d.synced[inode(f)] = info.Size()
	}
}

func (d *Disk) keep(unsynced func(rename) bool) {
	var left []rename
	for _, r := range d.renamed {
		if unsynced(r) {
			left = append(left, r)
		}
	}
	d.renamed = left
}

// PowerCut makes of the files below dir what a power cut may leave: choose
// returns a number from 0 to n, how much of what is not durable survives.
func (d *Disk) PowerCut(dir string, choose func(n int) int) error {
	survived := choose(len(d.renamed))
	for i := len(d.renamed) - 1; i >= survived; i-- {
		if err := d.restore(d.renamed[i]); err != nil {
			return err
		}
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return d.cut(path, choose)
	})
	d.renamed, d.synced = nil, nil
	return err
}

// restore undoes a rename. What was replaced is durable, and its inode may be
// a number that was used before.
func (d *Disk) restore(r rename) error {
	if err := os.Remove(r.path); err != nil || r.old == nil {
		return err
	}
	if err := os.WriteFile(r.path, r.old, 0o600); err != nil {
		return err
	}
	info, err := os.Stat(r.path)
	if err == nil {
		delete(d.synced, number(info))
	}
	return err
}

func (d *Disk) cut(path string, choose func(int) int) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	durable, ok := d.synced[number(info)]
	if !ok || durable >= info.Size() {
		return nil
	}
	return os.Truncate(path, durable+int64(choose(int(info.Size()-durable))))
}

func inode(f *os.File) uint64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return number(info)
}

func number(info fs.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }
