//go:build vm

package vm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// diskSize is in bytes.
const diskSize = 16 << 20

// disk is what outlives a machine, and the copies of it that the machine has
// asked for.
type disk struct {
	path   string
	copies []string
	names  []string // of the copies
	made   int
}

// newDisk makes an empty disk with a file system.
func newDisk(t *testing.T) *disk {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	run(t, "mke2fs", "-q", "-t", "ext4", path, fmt.Sprintf("%dK", diskSize>>10))
	return &disk{path: path}
}

// take hands over the copies of the boot before: each is used by one boot.
func (d *disk) take() []string {
	copies := d.copies
	d.copies, d.names = nil, nil
	return copies
}

// list names the copies, one a line, in the order of the machine's disks.
func (d *disk) list() []byte { return []byte(strings.Join(append(d.names, ""), "\n")) }

// copy copies the disk while the machine stands still: what has not reached the
// disk by then is lost with the power.
func (d *disk) copy(machine *os.Process, name string) (err error) {
	if err := machine.Signal(unix.SIGSTOP); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, machine.Signal(unix.SIGCONT)) }()
	// All of its threads have stopped when its parent is told, which takes
	// nothing from the one who waits for its end.
	if err := unix.Waitid(unix.P_PID, machine.Pid, nil, unix.WSTOPPED, nil); err != nil {
		return err
	}
	d.made++
	path := fmt.Sprintf("%s.%d", d.path, d.made)
	d.copies, d.names = append(d.copies, path), append(d.names, name)
	return copySparse(path, d.path)
}

// copySparse copies a file and leaves out its zeros.
func copySparse(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	block, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); ; at += int64(len(block)) {
		n, err := io.ReadFull(in, block)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return errors.Join(err, out.Truncate(at))
		}
		if bytes.Equal(block[:n], zeros[:n]) {
			continue
		}
		if _, err := out.WriteAt(block[:n], at); err != nil {
			return err
		}
	}
}
