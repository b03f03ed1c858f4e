//go:build vm

package vm_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// diskSize is in bytes.
const diskSize = 16 << 20

// disk is the file of a machine's disk, with the copies that the machine has asked
// for.
type disk struct {
	path   string
	copies []string
	names  []string // of the copies
	last   []byte   // the content of the last copy
	made   int
}

// newDisk makes an empty disk with a file system.
func newDisk(t *testing.T) *disk {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	run(t, "mke2fs", "-q", "-t", "ext4", path, fmt.Sprintf("%dK", diskSize>>10))
	return &disk{path: path}
}

// take returns the copies that the previous boot made, and forgets them.
func (d *disk) take() []string {
	copies := d.copies
	d.copies, d.names, d.last = nil, nil, nil
	return copies
}

// list returns the names of the copies, one a line, in the order of the machine's
// disks. Equal copies in a row are one copy, with all their names.
func (d *disk) list() []byte { return []byte(strings.Join(append(d.names, ""), "\n")) }

// copy copies the disk while the machine is stopped. The copy lacks what the machine
// has not written to the disk by then, as after a power cut.
func (d *disk) copy(machine *os.Process, name string) (err error) {
	if err := machine.Signal(unix.SIGSTOP); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, machine.Signal(unix.SIGCONT)) }()
	// The parent is notified once all threads have stopped. WSTOPPED leaves the
	// exit status for the one who waits for the end.
	if err := unix.Waitid(unix.P_PID, machine.Pid, nil, unix.WSTOPPED, nil); err != nil {
		return err
	}
	data, err := os.ReadFile(d.path)
	if err != nil {
		return err
	}
	if bytes.Equal(data, d.last) {
		d.names[len(d.names)-1] += ", " + name
		return nil
	}
	d.last = data
	d.made++
	path := fmt.Sprintf("%s.%d", d.path, d.made)
	d.copies, d.names = append(d.copies, path), append(d.names, name)
	return writeSparse(path, data)
}

// writeSparse writes a file without the blocks that are only zeros.
func writeSparse(path string, data []byte) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	zeros := make([]byte, 64<<10)
	for at := 0; at < len(data); at += len(zeros) {
		block := data[at:min(at+len(zeros), len(data))]
		if bytes.Equal(block, zeros[:len(block)]) {
			continue
		}
		if _, err := f.WriteAt(block, int64(at)); err != nil {
			return err
		}
	}
	return f.Truncate(int64(len(data)))
}
