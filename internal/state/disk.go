package state

import "os"

// Disk is the three calls that put bytes on the disk for good. Tests replace
// it to stop a run between any two of them.
type Disk interface {
	// Write appends to a file that is open for writing.
	Write(f *os.File, data []byte) error
	// Sync makes durable what was written to a file, or renamed in a directory.
	Sync(f *os.File) error
	// Rename puts a file in another one's place.
	Rename(from, to string) error
}

type realDisk struct{}

func (realDisk) Write(f *os.File, data []byte) error {
	_, err := f.Write(data)
	return err
}

func (realDisk) Sync(f *os.File) error { return f.Sync() }

func (realDisk) Rename(from, to string) error { return os.Rename(from, to) }
