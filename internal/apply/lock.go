package apply

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/openfile"
)

const lockName = "lock"

// How long Take waits for the name of a holder, and how often it looks.
const (
	holderWait  = 500 * time.Millisecond
	holderPause = 5 * time.Millisecond
)

// Lock is the lock of this node: one process changes it at a time. The kernel releases it
// when the last process that has its files ends, however it ends (flock(2)).
type Lock struct {
	dirs  []string
	files atomic.Pointer[[]*os.File] // nil: not held
}

// NewLock returns the lock in a run directory and in a state directory: whoever shares one of
// them with others takes turns with them. It takes nothing.
func NewLock(dirs ...string) *Lock { return &Lock{dirs: dirs} }

// Files returns the files of the lock, or none if this process does not hold it. A program
// that inherits the files holds the lock too: a run that was killed and the next one
// cannot overlap as long as the program works.
func (l *Lock) Files() []*os.File {
	if files := l.files.Load(); files != nil {
		return *files
	}
	return nil
}

// Take takes the lock and returns the function that releases it. A caller that has more to
// write than Run does takes it before. The error is ErrLocked if another process holds it.
func (l *Lock) Take() (release func(), err error) {
	var files []*os.File
	for i, dir := range l.dirs {
		if slices.ContainsFunc(l.dirs[:i], func(other string) bool { return isSame(other, dir) }) {
			continue
		}
		f, err := take(dir)
		if err != nil {
			closeAll(files)
			return nil, err
		}
		files = append(files, f)
	}
	l.files.Store(&files)
	return func() {
		l.files.Store(nil)
		closeAll(files)
	}, nil
}

// isSame reports whether two names lead to one directory.
func isSame(a, b string) bool {
	first, err := os.Stat(a)
	second, otherErr := os.Stat(b)
	return err == nil && otherErr == nil && os.SameFile(first, second)
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// take takes the lock in one directory.
func take(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot lock: %w", err)
	}
	if err := openfile.OwnDir(dir); err != nil {
		return nil, fmt.Errorf("cannot lock: %w", err)
	}
	for deadline := time.Now().Add(holderWait); ; <-time.After(holderPause) {
		f, err := flock(dir)
		if err == nil {
			// The number is only for the message of another process that wants the lock:
			// it does no harm if it cannot be written.
			_ = f.Truncate(0)
			_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
			return f, nil
		}
		if f == nil {
			return nil, fmt.Errorf("cannot lock: %w", err)
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = heldBy(f, time.Now().After(deadline))
		}
		_ = f.Close()
		if err != nil {
			return nil, err
		}
	}
}

// heldBy returns the error of a lock that another process holds, and nil if it may be free
// at the next try. A process that asks for the holder has the lock for a moment, one that has
// just taken it has not written its number, and one that was named may have ended:
// a holder without a name counts only at the last try.
func heldBy(f *os.File, last bool) error {
	who := holderOf(f)
	// The init of a container has the lock from the program that started it, and keeps it as
	// long as the container runs.
	if who.program != "" && isLeaked(f) && os.Remove(f.Name()) == nil {
		return nil
	}
	if who.pid == 0 && !last {
		return nil
	}
	return fmt.Errorf("%w: %s holds %s; try again when it has ended", ErrLocked, who.claim(), f.Name())
}

// flock opens the file of the lock in a directory and locks it. Where another process holds it
// the error is EWOULDBLOCK, beside the file.
func flock(dir string) (*os.File, error) {
	f, err := openLock(dir, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	return f, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// Holder names the process that holds the lock; empty if it is free. It creates no file,
// and holds the lock for a moment.
func (l *Lock) Holder() (string, error) {
	for _, dir := range l.dirs {
		if holder, err := holderIn(dir); holder != "" || err != nil {
			return holder, err
		}
	}
	return "", nil
}

func holderIn(dir string) (string, error) {
	f, err := openLock(dir, os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return holderOf(f).String(), nil
	}
	return "", err
}

// openLock opens the file of the lock in a directory. Whoever can open it can hold it, and who
// can write to its directory can replace it: both are for one user only.
func openLock(dir string, flag int) (*os.File, error) {
	if err := openfile.CheckDir(dir); err != nil {
		return nil, err
	}
	return openfile.Own(filepath.Join(dir, lockName), flag, 0o600)
}

// holder is the process that holds the lock: the nfsync that took it or, if that has ended,
// a program that it had started. A zero pid is unknown.
type holder struct {
	pid     int
	program string // empty: nfsync
}

func (h holder) String() string {
	switch {
	case h.pid == 0:
		return "a process"
	case h.program == "":
		return fmt.Sprintf("process %d", h.pid)
	}
	return fmt.Sprintf("%s (process %d), which a run that has ended had started,", h.program, h.pid)
}

// claim returns the holder as the subject of an error.
func (h holder) claim() string {
	if h.pid != 0 && h.program == "" {
		return "another nfsync is at work: " + h.String()
	}
	return h.String()
}

// holderOf returns the holder of the lock. The file has the id of the nfsync that took it.
func holderOf(f *os.File) holder {
	text := make([]byte, 32)
	n, _ := f.ReadAt(text, 0)
	lock, err := f.Stat()
	if err != nil {
		return holder{}
	}
	if pid, err := strconv.Atoi(string(bytes.TrimSpace(text[:n]))); err == nil && pid > 0 && hasOpen(pid, lock) {
		return holder{pid: pid}
	}
	for _, h := range openers(lock) {
		if h.program != "nfsync" { // that one waits too
			return h
		}
	}
	return holder{}
}

// isLeaked reports whether only processes of containers have the file of the lock open, beside
// this one.
func isLeaked(f *os.File) bool {
	lock, err := f.Stat()
	if err != nil {
		return false
	}
	others := openers(lock)
	return len(others) > 0 && !slices.ContainsFunc(others, func(h holder) bool { return !isContained(h.pid) })
}

// isContained reports whether a process is in a process id namespace below the one of /proc: NSpid
// in proc(5) has more than one number then.
func isContained(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, after, ok := strings.Cut(string(text), "\nNSpid:")
	line, _, _ := strings.Cut(after, "\n")
	return err == nil && ok && len(strings.Fields(line)) > 1
}

// openers lists the other processes that have a file open.
func openers(file os.FileInfo) (list []holder) {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	for _, path := range processes {
		pid, err := strconv.Atoi(filepath.Base(path))
		if err != nil || pid == os.Getpid() || !hasOpen(pid, file) {
			continue
		}
		if name, err := os.ReadFile(filepath.Join(path, "comm")); err == nil {
			list = append(list, holder{pid, string(bytes.TrimSpace(name))})
		}
	}
	return list
}

// hasOpen reports whether a process has a file open: proc(5), /proc/PID/fd.
func hasOpen(pid int, file os.FileInfo) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && os.SameFile(info, file) {
			return true
		}
	}
	return false
}
