package bare

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// dir is the directory of conntrack's sysctls, below a procfs.
const dir = "sys/net/netfilter/"

// Sysctl returns the file of a conntrack sysctl in the namespace of the calling thread.
func Sysctl(key string) string { return "/proc/" + dir + key }

// longest is the most bytes of a sysctl that is a number.
const longest = 32

// pread reads a sysctl that is open.
func pread(fd int) (string, error) {
	var buf [longest]byte
	n, err := unix.Pread(fd, buf[:], 0)
	if err != nil {
		return "", err
	}
	if n > 0 && buf[n-1] == '\n' {
		n--
	}
	return string(buf[:n]), nil
}

// read opens and reads a sysctl.
func read(at int, path string) (string, error) {
	fd, err := unix.Openat(at, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	defer unix.Close(fd)
	return pread(fd)
}

// Read returns the value of a conntrack sysctl in the namespace of the calling thread.
func Read(key string) (string, error) { return read(unix.AT_FDCWD, Sysctl(key)) }

// Namespaces returns the files of a directory of namespaces.
func Namespaces(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	paths := make([]string, len(entries))
	for i, e := range entries {
		paths[i] = filepath.Join(dir, e.Name())
	}
	return paths, nil
}

// enter moves the calling thread, which must be locked, into a namespace.
func enter(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", path, err)
	}
	err = unix.Setns(fd, unix.CLONE_NEWNET)
	unix.Close(fd)
	if err != nil {
		return fmt.Errorf("cannot enter %s: %w", path, err)
	}
	return nil
}

// visit calls f in each of the namespaces, on one thread, which ends with the last.
func visit(paths []string, f func(path string) error) error {
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		failed <- func() error {
			for _, path := range paths {
				if err := enter(path); err != nil {
					return err
				}
				if err := f(path); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
			}
			return nil
		}()
	}()
	return <-failed
}

// Apply writes a value in every namespace of a directory and reads it back, on one thread: open,
// setns, open, pread, pwrite, pread.
func Apply(dir, key, value string) error {
	paths, err := Namespaces(dir)
	if err != nil {
		return err
	}
	file := Sysctl(key)
	return visit(paths, func(string) error { return set(file, []byte(value)) })
}

func set(file string, value []byte) error {
	fd, err := unix.Open(file, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := pread(fd); err != nil {
		return err
	}
	if _, err := unix.Pwrite(fd, value, 0); err != nil {
		return err
	}
	return check(fd, string(value))
}

// check returns an error if a sysctl that is open has another value.
func check(fd int, want string) error {
	now, err := pread(fd)
	if err == nil && now != want {
		err = fmt.Errorf("the value is %s, not %s", now, want)
	}
	return err
}

// Plain reads a sysctl of every namespace on one thread, through the procfs of all.
func Plain(dir, key string) error {
	paths, err := Namespaces(dir)
	if err != nil {
		return err
	}
	return visit(paths, func(string) error { _, err := Read(key); return err })
}

// perProcfs is the number of namespaces that are read through one procfs. The lookup in one that
// has seen many is slow: the directories of all have one name.
const perProcfs = 32

// Private calls f in each of the namespaces, on one thread, with a procfs that is mounted nowhere
// and fills no cache that others use.
func Private(paths []string, f func(path string, proc int) error) error {
	proc, left := -1, 0
	defer func() { unix.Close(proc) }()
	return visit(paths, func(path string) error {
		if left == 0 {
			unix.Close(proc)
			var err error
			if proc, err = procfs(); err != nil {
				return err
			}
			left = perProcfs
		}
		left--
		return f(path, proc)
	})
}

// procfs makes a procfs that is mounted nowhere.
func procfs() (int, error) {
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("cannot make a procfs: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("cannot make a procfs: %w", err)
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
}

// Verify returns an error if a sysctl has another value in one of the namespaces.
func Verify(paths []string, key, want string) error {
	return Private(paths, func(_ string, proc int) error {
		now, err := read(proc, dir+key)
		if err == nil && now != want {
			err = fmt.Errorf("%s is %s, not %s", key, now, want)
		}
		return err
	})
}

// Scan reads sysctls of every namespace of a directory in the fastest way that is known: on two
// threads, each through a procfs of its own that is renewed after a few namespaces.
func Scan(dir string, keys []string) error {
	paths, err := Namespaces(dir)
	if err != nil {
		return err
	}
	var failed [2]error
	var all sync.WaitGroup
	half := (len(paths) + 1) / 2
	for i, part := range [][]string{paths[:half], paths[half:]} {
		all.Go(func() {
			failed[i] = Private(part, func(_ string, proc int) error { return readKeys(proc, keys) })
		})
	}
	all.Wait()
	return errors.Join(failed[:]...)
}

// readKeys looks the directory up once, if there are several keys.
func readKeys(proc int, keys []string) error {
	at, prefix := proc, dir
	if len(keys) > 1 {
		fd, err := unix.Openat(proc, dir, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		at, prefix = fd, ""
	}
	for _, key := range keys {
		if _, err := read(at, prefix+key); err != nil {
			return err
		}
	}
	return nil
}

// Hold opens sysctls of every namespace of a directory, and returns a function that reads the open
// files again. It is an error if a value has changed.
func Hold(dir string, keys []string) (func() error, error) {
	paths, err := Namespaces(dir)
	if err != nil {
		return nil, err
	}
	type held struct {
		fd    int
		value string
	}
	var open []held
	err = visit(paths, func(string) error {
		for _, key := range keys {
			fd, err := unix.Open(Sysctl(key), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			value, err := pread(fd)
			if err != nil {
				return err
			}
			open = append(open, held{fd, value})
		}
		return nil
	})
	return func() error {
		for _, h := range open {
			if err := check(h.fd, h.value); err != nil {
				return err
			}
		}
		return nil
	}, err
}
