package netns

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Process is a process that is held by its directory in procfs. What is read of it is never
// that of a later process with its number.
type Process struct {
	PID   int
	Start uint64 // starttime of proc_pid_stat(5)
	dir   int    // the open directory
	state byte   // of proc_pid_stat(5)
}

// OpenProcess opens a process of a procfs. It returns fs.ErrNotExist if there is none, or if it
// has ended and its parent has not waited for it yet.
func OpenProcess(proc string, pid int) (*Process, error) {
	path := proc + "/" + strconv.Itoa(pid)
	dir, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: ended(err)}
	}
	p := &Process{PID: pid, dir: dir}
	stat, err := p.Read("stat", 1024)
	if err == nil {
		p.Start, p.state, err = parseStat(stat)
	}
	if err == nil && (p.state == 'Z' || p.state == 'X') {
		err = fs.ErrNotExist
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Close releases the process.
func (p *Process) Close() { unix.Close(p.dir) }

// Path returns the path of a file of the process, while it is open.
func (p *Process) Path(name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", p.dir, name) }

// Read reads a file of the process, of at most that many bytes: the rest is left out. It returns
// fs.ErrNotExist if the process has ended.
func (p *Process) Read(name string, most int) ([]byte, error) {
	failed := func(err error) error {
		return &fs.PathError{Op: "read", Path: fmt.Sprintf("/proc/%d/%s", p.PID, name), Err: ended(err)}
	}
	fd, err := unix.Openat(p.dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, failed(err)
	}
	defer unix.Close(fd)
	data := make([]byte, 0, most)
	for len(data) < most {
		n, err := unix.Read(fd, data[len(data):most])
		if err != nil {
			return nil, failed(err)
		}
		if n == 0 {
			break
		}
		data = data[:len(data)+n]
	}
	return data, nil
}

// Inode returns the device and the inode of the network namespace of the process, as an Identity
// without a cookie.
func (p *Process) Inode() (Identity, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(p.dir, "ns/net", &st, 0); err != nil {
		return Identity{}, &fs.PathError{Op: "stat", Path: fmt.Sprintf("/proc/%d/ns/net", p.PID), Err: ended(err)}
	}
	return Identity{Device: uint64(st.Dev), Inode: st.Ino}, nil
}

// ended returns fs.ErrNotExist for the two errors that the kernel has for a process that has ended.
func ended(err error) error {
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) {
		return fs.ErrNotExist
	}
	return err
}

// StartTime returns when the process with a directory in procfs started: starttime of
// proc_pid_stat(5).
func StartTime(dir string) (uint64, error) {
	data, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0, ended(err)
	}
	start, _, err := parseStat(data)
	return start, err
}

// parseStat reads the start time and the state of a process. The command before them, in
// parentheses, may have any character, a parenthesis too.
func parseStat(stat []byte) (start uint64, state byte, err error) {
	const field = 22 - 3 // fields 1 and 2 end with the parenthesis
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) <= field {
		return 0, 0, errors.New("stat of the process has no start time")
	}
	start, err = strconv.ParseUint(f[field], 10, 64)
	return start, f[0][0], err
}
