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
	f, err := openfile.Own(path, os.O_RDONLY, 0)
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
	fresh := func() (T, error) {
		data, err := n.read(path)
		if err != nil {
			var none T
			return none, err
		}
		return parse(data)
	}
	var st unix.Stat_t
	if n.Files == nil || unix.Lstat(path, &st) != nil {
		return fresh()
	}
	now := stamp{uint64(st.Dev), st.Ino, st.Size, st.Ctim, st.Mtim}
	key := reflect.TypeFor[T]().String() + " of " + path // several may read the same file
	if value, ok := n.Files.find(key, now); ok {
		return value.(T), nil
	}
	value, err := fresh()
	if err == nil && time.Since(time.Unix(st.Ctim.Unix())) > racy {
		n.Files.keep(key, now, value)
	}
	return value, err
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
