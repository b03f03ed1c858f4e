package runtimes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/openfile"
)

// maxFile bounds a file that is read here, in bytes.
const maxFile = 4 << 20

// path returns where a file of the node is.
func (n Node) path(names ...string) string {
	return filepath.Join(append([]string{n.Root, "/"}, names...)...)
}

// read reads a file that belongs to root and that nobody else can write.
func (n Node) read(path string) ([]byte, error) {
	f, err := openOwn(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return openfile.ReadAll(f, maxFile)
}

// directories returns the names in a directory that are directories; none if it does not exist.
func directories(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// decodeStart decodes members of the JSON object that r has, into the places given by name. It reads
// no further than it must: what comes first is a small part of a large file.
func decodeStart(r io.Reader, places map[string]any) error {
	d := json.NewDecoder(io.LimitReader(r, maxFile))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("it is no JSON object: %w", err)
	}
	for left := len(places); left > 0 && d.More(); {
		name, err := d.Token()
		if err != nil {
			return err
		}
		place, wanted := places[fmt.Sprint(name)]
		if !wanted {
			place = new(json.RawMessage)
		} else {
			left--
		}
		if err := d.Decode(place); err != nil {
			return fmt.Errorf("%v: %w", name, err)
		}
	}
	return nil
}

// Files keeps what was read of files, until they change. Several goroutines may use it.
type Files struct {
	mu   sync.Mutex
	kept map[string]kept
	lap  int // counts the listings
	// waits are the directories that within still waits for.
	waits map[string]bool
}

// kept is what was read of one file.
type kept struct {
	stamp stamp
	value any
	lap   int // of the last listing that has asked for it
}

// stamp tells two states of a file apart.
type stamp struct {
	dev, ino       uint64
	size           int64
	changed, wrote unix.Timespec
}

// racy is how long a file must have been left alone for its stamp to tell: the clock of a file system
// may stand still for so long (current_time in fs/inode.c ticks with the kernel).
const racy = 20 * time.Millisecond

// parsed returns what parse makes of a file of root, which is kept in n.Files as long as the file stays
// as it is.
func parsed[T any](n Node, path string, parse func([]byte) (T, error)) (T, error) {
	key := keyOf[T](path)
	var st unix.Stat_t
	if n.Files != nil && unix.Lstat(path, &st) == nil {
		if value, ok := found[T](n.Files, key, stampOf(&st)); ok {
			return value, nil
		}
	}
	return parsedBy(n, path, openOwn, parse)
}

// keyOf names what is made of a file: several may read the same one.
func keyOf[T any](path string) string { return reflect.TypeFor[T]().String() + " of " + path }

// found returns what was kept of a file in that state.
func found[T any](files *Files, key string, now stamp) (T, bool) {
	value, kept := files.find(key, now)
	of, ok := value.(T)
	return of, kept && ok
}

// parsedBy is parsed for a file that open opens.
func parsedBy[T any](n Node, path string, open func(path string) (*os.File, error), parse func([]byte) (T, error)) (T, error) {
	var none T
	key := keyOf[T](path)
	f, err := open(path)
	if err != nil {
		return none, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return none, err
	}
	now := stampOf(&st)
	if n.Files != nil {
		if value, ok := found[T](n.Files, key, now); ok {
			return value, nil
		}
	}
	data, err := openfile.ReadAll(f, maxFile)
	if err != nil {
		return none, err
	}
	value, err := parse(data)
	if err == nil && n.Files != nil && time.Since(time.Unix(st.Ctim.Unix())) > racy {
		n.Files.keep(key, now, value)
	}
	return value, err
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{uint64(st.Dev), st.Ino, st.Size, st.Ctim, st.Mtim}
}

func (f *Files) find(path string, now stamp) (any, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k, ok := f.kept[path]
	if !ok || k.stamp != now {
		return nil, false
	}
	k.lap = f.lap
	f.kept[path] = k
	return k.value, true
}

func (f *Files) keep(path string, now stamp, value any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kept == nil {
		f.kept = map[string]kept{}
	}
	f.kept[path] = kept{now, value, f.lap}
}

// forget drops what the listing that ends has not asked for.
func (f *Files) forget() {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for path, k := range f.kept {
		if k.lap != f.lap {
			delete(f.kept, path)
		}
	}
	f.lap++
}

// within returns the result of f, which reads below a directory, unless that takes longer. Then f goes on,
// and until it ends each further call fails at once.
func within[T any](files *Files, dir string, longest time.Duration, f func() T) (T, error) {
	var none T
	failed := fmt.Errorf("%s does not answer", dir)
	if !files.startWait(dir) {
		return none, failed
	}
	done := make(chan T, 1)
	go func() {
		result := f()
		files.endWait(dir) // before the result is there, and the next call
		done <- result
	}()
	select {
	case result := <-done:
		return result, nil
	case <-time.After(longest):
		return none, failed
	}
}

// startWait reports whether nothing waits for a directory. From now on something does.
func (f *Files) startWait(dir string) bool {
	if f == nil {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waits[dir] {
		return false
	}
	if f.waits == nil {
		f.waits = map[string]bool{}
	}
	f.waits[dir] = true
	return true
}

func (f *Files) endWait(dir string) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.waits, dir)
}

// first returns the first of some paths that exists; empty if none does.
func first(paths ...string) string {
	i := slices.IndexFunc(paths, func(path string) bool {
		_, err := os.Lstat(path)
		return err == nil
	})
	if i < 0 {
		return ""
	}
	return paths[i]
}
