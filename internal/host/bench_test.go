package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
)

// benchKeys are the keys that the benchmarks read.
var benchKeys = []nf.Key{nf.TimeoutKey("tcpTimeWait"), nf.TimeoutKey("udp"), nf.TimeoutKey("tcpEstablished"), nf.TimeoutKey("icmp")}

// benchNodes are directories with that many namespaces, which are made once.
var benchNodes = map[int]string{}

func benchNode(b *testing.B, n int) (dir string, paths []string) {
	b.Helper()
	dir, ok := benchNodes[n]
	if !ok {
		var err error
		if dir, err = os.MkdirTemp("", "nfsync-bench"); err != nil {
			b.Fatal(err)
		}
		for i := range n {
			if err := netns.Create(filepath.Join(dir, fmt.Sprintf("c%d", i))); err != nil {
				b.Fatal(err)
			}
		}
		benchNodes[n] = dir
	}
	for i := range n {
		paths = append(paths, filepath.Join(dir, fmt.Sprintf("c%d", i)))
	}
	return dir, paths
}

// removeBenchNodes removes what benchNode has made.
func removeBenchNodes() {
	for n, dir := range benchNodes {
		for i := range n {
			_ = unix.Unmount(filepath.Join(dir, fmt.Sprintf("c%d", i)), unix.MNT_DETACH)
		}
		_ = os.RemoveAll(dir)
	}
}

func benchAsk(s *nf.Snapshot, keys []nf.Key) nf.Ask {
	ask := nf.Ask{Keys: map[nf.Target][]nf.Key{}, NoBoot: true}
	for i := range s.Containers {
		ask.Keys[s.Containers[i].Target()] = keys
	}
	return ask
}

// dropDentries makes the next scan a first one.
func dropDentries(b *testing.B) {
	b.Helper()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkScan lists the containers and reads keys of each for the first time. Beside it, bare
// is the least that any program must do for that: two threads that enter each namespace and read
// the files relative to one directory, in a procfs of their own that is renewed every 32
// namespaces.
func BenchmarkScan(b *testing.B) {
	for _, n := range []int{100, 1000} {
		dir, paths := benchNode(b, n)
		for _, keys := range [][]nf.Key{benchKeys[:1], benchKeys} {
			b.Run(fmt.Sprintf("containers=%d/keys=%d/bare", n, len(keys)), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					dropDentries(b)
					b.StartTimer()
					bareScan(b, paths, keys)
				}
			})
			b.Run(fmt.Sprintf("containers=%d/keys=%d/nfsync", n, len(keys)), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					b.StopTimer()
					dropDentries(b)
					b.StartTimer()
					m := New(Config{FS: realFS, NetnsDir: dir})
					s, err := m.List(context.Background())
					if err == nil {
						_, err = m.Observe(context.Background(), s, benchAsk(&s, keys))
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func bareScan(b *testing.B, paths []string, keys []nf.Key) {
	var all sync.WaitGroup
	for first := range workers {
		all.Go(func() {
			netns.OnThread(func(t *netns.Thread) {
				proc := netns.NewProc(kernel.FS{Proc: "/proc"})
				defer proc.Close()
				for i := first; i < len(paths); i += workers {
					fs := proc.FS()
					err := t.Enter(paths[i], func() error { return bareRead(fs.SysNet, keys) })
					if err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
	all.Wait()
}

func bareRead(sysNet int, keys []nf.Key) error {
	dir, err := unix.Openat(sysNet, "netfilter", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	var buf [64]byte
	for _, k := range keys {
		name, _ := k.Sysctl()
		fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		n, err := unix.Read(fd, buf[:])
		if err == nil {
			_, err = strconv.Atoi(string(buf[:n-1]))
		}
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkRecheck reads keys of each container again, whose files are open. Beside it, bare is a
// loop of pread(2) over the same number of open files.
func BenchmarkRecheck(b *testing.B) {
	for _, n := range []int{100, 1000} {
		dir, _ := benchNode(b, n)
		open := NewCache()
		m := New(Config{FS: realFS, NetnsDir: dir, Cache: open})
		s, err := m.List(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		ask := benchAsk(&s, benchKeys)
		if _, err := m.Observe(context.Background(), s, ask); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("containers=%d/keys=%d/bare", n, len(benchKeys)), func(b *testing.B) { bareRecheck(b, open) })
		b.Run(fmt.Sprintf("containers=%d/keys=%d/nfsync", n, len(benchKeys)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				now := s.Clone()
				m.ObserveContainers(context.Background(), &now, ask)
				if now.Containers[0].Unobservable != "" {
					b.Fatal(now.Containers[0].Unobservable)
				}
			}
		})
		b.Run(fmt.Sprintf("containers=%d/keys=%d/lap", n, len(benchKeys)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s, err := m.List(context.Background())
				if err == nil {
					_, err = m.Observe(context.Background(), s, ask)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
		open.Close()
	}
}

// bareRecheck reads the files that are open, and nothing else.
func bareRecheck(b *testing.B, open *Cache) {
	var files []int
	for _, f := range open.of {
		files = append(files, f.Descriptors()...)
	}
	var buf [64]byte
	for b.Loop() {
		for _, fd := range files {
			if _, err := unix.Pread(fd, buf[:], 0); err != nil {
				b.Fatal(err)
			}
		}
	}
	runtime.KeepAlive(open)
}

// BenchmarkChange sets one key in each container as a run does: it reads it, sets it and reads it
// back. Beside it, bare enters each namespace for that.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{100, 1000} {
		dir, paths := benchNode(b, n)
		key := benchKeys[0]
		b.Run(fmt.Sprintf("containers=%d/bare", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				netns.OnThread(func(t *netns.Thread) {
					for _, path := range paths {
						if err := t.Enter(path, func() error { return bareChange(key, 60+i%60) }); err != nil {
							b.Error(err)
						}
					}
				})
			}
		})
		open := NewCache()
		m := New(Config{FS: realFS, NetnsDir: dir, Cache: open})
		s := observe(b, m, nf.Ask{})
		s, err := m.Observe(context.Background(), s, benchAsk(&s, []nf.Key{key}))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("containers=%d/nfsync", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				for j := range s.Containers {
					c := nf.Change{Target: s.Containers[j].Target(), Key: key, Layer: nf.LayerLive, To: nf.Number(int64(60 + i%60))}
					for _, step := range []func(context.Context, *nf.Snapshot, nf.Change) error{m.Refresh, m.Set, m.Refresh} {
						if err := step(context.Background(), &s, c); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
		})
		open.Close()
	}
}

func bareChange(k nf.Key, n int) error {
	name, _ := k.Sysctl()
	fd, err := unix.Open("/proc/sys/net/netfilter/"+name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var buf [64]byte
	if _, err := unix.Pread(fd, buf[:], 0); err != nil {
		return err
	}
	if _, err := unix.Pwrite(fd, []byte(strconv.Itoa(n)), 0); err != nil {
		return err
	}
	_, err = unix.Pread(fd, buf[:], 0)
	return err
}
