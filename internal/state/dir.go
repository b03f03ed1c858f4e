package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/durable"
	"nfsync.dev/nfsync/internal/openfile"
)

// The names within the directory.
const (
	memoryName    = "memory"
	stuckName     = "stuck"
	journalName   = "journal"
	lastGoodName  = "lastgood"
	positionsName = "positions"
	receiptsName  = "receipts"
	reserveName   = "reserve"
	probeName     = "probe"

	confirmationName = "confirmation"
)

// probeSize is the free space, in bytes, that opening the directory requires: more than
// a filesystem stores within an inode.
const probeSize = 16 << 10

// Dir is the state directory, open for writing. Its user holds the lock of
// package apply while it writes.
type Dir struct {
	path string
	disk durable.Writer
}

// Open opens the state directory and makes it if it is missing, readable by its owner
// only. It is an error if nothing can be written there, so that a read-only or full
// filesystem is found before anything is changed.
func Open(path string) (*Dir, error) { return OpenOn(path, nil) }

// OpenOn is Open with another disk, for tests; nil is the real one.
func OpenOn(path string, disk durable.Disk) (*Dir, error) {
	d := &Dir{path, durable.Writer{Disk: disk}}
	if err := d.prepare(); err != nil {
		return nil, fmt.Errorf("cannot use the state directory %s: %w", path, err)
	}
	return d, nil
}

// Look opens the state directory only to look at it: it is an error if nothing could be
// written there, and nothing is.
func Look(path string) (*Dir, error) {
	err := openfile.CheckDir(path)
	if err == nil {
		err = unix.Access(path, unix.W_OK|unix.X_OK)
	}
	var space unix.Statfs_t
	if err == nil {
		err = unix.Statfs(path, &space)
	}
	if err == nil && int64(space.Bavail)*space.Bsize < probeSize {
		err = unix.ENOSPC
	}
	if err != nil {
		return nil, fmt.Errorf("cannot use the state directory %s: %w", path, err)
	}
	return &Dir{path: path}, nil
}

func (d *Dir) prepare() error {
	if err := d.disk.MkdirAll(d.file(receiptsName), 0o700); err != nil {
		return err
	}
	if err := errors.Join(openfile.OwnDir(d.path), openfile.OwnDir(d.file(receiptsName))); err != nil {
		return err
	}
	// What a run that was killed has reserved is free for the next one.
	if _, err := os.Lstat(d.file(reserveName)); err == nil {
		return nil
	}
	return d.probe()
}

// probe checks that something can be written, in a file that nobody else knows: another process may
// open the directory at the same time.
func (d *Dir) probe() error {
	f, err := os.CreateTemp(d.path, "."+probeName+".*.tmp")
	if err != nil {
		return err
	}
	_ = os.Remove(f.Name()) // the file is there until it is closed
	return errors.Join(allocate(f, probeSize), f.Close())
}

// reserve takes room on the disk in a file of that name, in place of what was reserved in
// it before. On a filesystem that cannot reserve any, it only checks that something can be
// written.
func (d *Dir) reserve(name string, bytes int64) error {
	if err := d.release(name); err != nil {
		return err
	}
	f, err := open(d.file(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY)
	if err != nil {
		return err
	}
	if err := errors.Join(allocate(f, bytes), f.Close()); err != nil {
		return errors.Join(err, d.release(name))
	}
	return nil
}

// allocate takes room on the disk for a file.
func allocate(f *os.File, bytes int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, bytes)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		_, err = f.Write(make([]byte, probeSize))
	}
	if err != nil {
		return fmt.Errorf("cannot reserve %d bytes: %w", bytes, err)
	}
	return nil
}

// RemoveLeftovers removes what a run that was killed has left beside its record: temporary
// files, and the space that it had reserved. The caller holds the lock.
func (d *Dir) RemoveLeftovers() error {
	durable.RemoveLeftovers(d.path, "")
	durable.RemoveLeftovers(d.file(receiptsName), "")
	return d.release(reserveName)
}

// release frees what reserve took.
func (d *Dir) release(name string) error {
	err := os.Remove(d.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d *Dir) file(name string) string { return filepath.Join(d.path, name) }

// replace replaces a file by data.
func (d *Dir) replace(name string, data []byte) error {
	return d.disk.Replace(d.file(name), data, 0o600)
}
