package watch

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// Path is a file or a directory to watch. It need not exist.
type Path struct {
	Name string
	// Deep is set for a directory whose subdirectories are watched too.
	Deep bool
	// Born is set for a directory of network namespaces: it is called with the name of a file
	// that appears there, once a namespace is mounted on it. Mounting is no event of its own.
	Born func(name string)
	// Made is set for a directory whose new entries are looked at one by one: it is called for each with
	// its name, in a goroutine of its own, and with a function that reports a change. A directory that
	// appears is reported with all that is in it.
	Made func(ctx context.Context, name string, changed func())
	// Only is set with Made for a directory where nothing else is of interest.
	Only bool
}

// Same reports whether two paths are the same.
func (p Path) Same(o Path) bool { return p.Name == o.Name && p.Deep == o.Deep }

// Files watches paths. inotify watches inodes: a file that an editor replaces, a symbolic link
// that changes (as Kubernetes swaps ..data), and a directory that is removed and made again are
// found because each directory on the way to a path is watched for the next name.
type Files struct {
	notify *fsnotify.Watcher
	paths  []Path
	// watched are the directories that are watched, each with the names in it that matter;
	// nil: all.
	watched map[string]map[string]bool
	// found are the entries of directories with Made that have appeared since, and are not reported yet.
	found []string
}

// NewFiles starts to watch paths. What is changed from now on is reported by Run.
func NewFiles(paths ...Path) (*Files, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("cannot watch files: %w", err)
	}
	f := &Files{notify: notify, paths: paths}
	for i := range f.paths {
		if f.paths[i].Name, err = filepath.Abs(f.paths[i].Name); err != nil {
			return nil, fmt.Errorf("cannot watch %s: %w", paths[i].Name, err)
		}
	}
	f.update()
	return f, nil
}

// Run calls changed when a path may have changed, come or gone, until ctx ends. It closes f.
func (f *Files) Run(ctx context.Context, changed func()) {
	defer func() { _ = f.notify.Close() }()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-f.notify.Events:
			if !f.matters(e) {
				continue
			}
			// What is born does not wait. A change is reported after the update: what comes later in a
			// directory that has appeared is an event of its own.
			more := f.reportBirth(ctx, e, changed)
			f.update()
			f.reportFound(ctx, changed)
			if more {
				changed()
			}
		case _, open := <-f.notify.Errors: // events were lost: the queue was full
			if !open {
				return
			}
			f.update()
			changed()
		}
	}
}

// reportFound reports the entries of directories that have appeared.
func (f *Files) reportFound(ctx context.Context, changed func()) {
	for _, path := range f.found {
		go f.pathOf(path).Made(ctx, filepath.Base(path), changed)
	}
	f.found = nil
}

// reportBirth calls Born or Made for an event that asks for it. It reports whether the event is a change.
func (f *Files) reportBirth(ctx context.Context, e fsnotify.Event, changed func()) bool {
	p, made := f.pathOf(e.Name), e.Has(fsnotify.Create)
	switch {
	case made && p.Born != nil:
		go awaitNamespace(ctx, e.Name, p.Born, changed)
	case p.Born != nil && !e.Has(fsnotify.Remove) && !e.Has(fsnotify.Rename):
	case made && p.Made != nil:
		go p.Made(ctx, filepath.Base(e.Name), changed)
	default:
		return !p.Only
	}
	return false
}

// pathOf returns the path of the directory that an entry is in; the zero Path if it is none.
func (f *Files) pathOf(entry string) Path {
	i := slices.IndexFunc(f.paths, func(p Path) bool { return p.Name == filepath.Dir(entry) })
	if i < 0 {
		return Path{}
	}
	return f.paths[i]
}

// ip-netns(8) mounts a namespace about a millisecond after it has made the file. On a node that makes
// or removes many at a time the kernel may take seconds to make one.
const (
	soonMount = time.Second
	lateMount = time.Minute
	lateTick  = 100 * time.Millisecond
)

// awaitNamespace calls born when a namespace is mounted on a file. It calls changed if none was
// soon, and goes on for a while.
func awaitNamespace(ctx context.Context, file string, born func(name string), changed func()) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	began, late := time.Now(), false
	for ctx.Err() == nil {
		var fs unix.Statfs_t
		err := unix.Statfs(file, &fs)
		switch waited := time.Since(began); {
		case err == nil && fs.Type == unix.NSFS_MAGIC:
			born(filepath.Base(file))
			return
		case waited > lateMount, late && err != nil: // it has gone
			return
		case waited > soonMount && !late:
			late = true
			tick.Reset(lateTick)
			changed()
		}
		<-tick.C
	}
}

// matters reports whether an event is about a path or a directory on the way to one.
func (f *Files) matters(e fsnotify.Event) bool {
	if names, ok := f.watched[filepath.Dir(e.Name)]; ok && (names == nil || names[filepath.Base(e.Name)]) {
		return true
	}
	_, itself := f.watched[e.Name]
	return itself && e.Op&(fsnotify.Remove|fsnotify.Rename) != 0
}

// update watches what the paths lead to now. A directory that appears while it is read is found
// by reading again.
func (f *Files) update() {
	for {
		want := f.directories()
		if maps.EqualFunc(want, f.watched, maps.Equal) && len(f.notify.WatchList()) == len(want) {
			return
		}
		for _, dir := range f.notify.WatchList() {
			if _, ok := want[dir]; !ok {
				_ = f.notify.Remove(dir) // it may have gone by itself
			}
		}
		was := f.watched
		f.watched = map[string]map[string]bool{}
		for dir, names := range want {
			if f.notify.Add(dir) != nil {
				continue
			}
			f.watched[dir] = names
			if _, before := was[dir]; was != nil && !before {
				f.find(dir)
			}
		}
		if len(f.watched) < len(want) {
			return // a directory that cannot be read, or the limit of inotify
		}
	}
}

// find finds the entries of a directory that has appeared.
func (f *Files) find(dir string) {
	if f.pathOf(filepath.Join(dir, "x")).Made == nil {
		return
	}
	entries, _ := os.ReadDir(dir) // those that could be read, if there is an error
	for _, e := range entries {
		f.found = append(f.found, filepath.Join(dir, e.Name()))
	}
}

// directories returns the directories to watch, as in Files.watched.
func (f *Files) directories() map[string]map[string]bool {
	set := directorySet{}
	for _, p := range f.paths {
		set.addPath(p)
	}
	return set
}

type directorySet map[string]map[string]bool

// maxLinks bounds a chain of symbolic links, as the kernel does (path_resolution(7)).
const maxLinks = 40

// addPath adds each directory on the way to a path, those that its symbolic links lead through,
// and the path itself if it is a directory.
func (s directorySet) addPath(p Path) {
	at, rest := "/", p.Name
	for links := 0; ; {
		name, after, _ := strings.Cut(strings.TrimLeft(rest, "/"), "/")
		if name == "" {
			s.addTree(at, p.Deep)
			return
		}
		s.addName(at, name)
		here := filepath.Join(at, name)
		info, err := os.Lstat(here)
		switch {
		case err != nil:
			return
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(here)
			if links++; err != nil || links > maxLinks {
				return
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(at, target)
			}
			at, rest = "/", filepath.Join(target, after)
		case !info.IsDir():
			return
		default:
			at, rest = here, after
		}
	}
}

func (s directorySet) addName(dir, name string) {
	names, seen := s[dir]
	if seen && names == nil {
		return // all names matter
	}
	if !seen {
		names = map[string]bool{}
		s[dir] = names
	}
	names[name] = true
}

// maxDirectories bounds the directories below one path: inotify has a limit for each user.
const maxDirectories = 4096

func (s directorySet) addTree(dir string, deep bool) {
	s[dir] = nil
	if !deep {
		return
	}
	left := maxDirectories
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil //nolint:nilerr // what cannot be read is not watched
		}
		if left--; left < 0 {
			return fs.SkipAll
		}
		s[path] = nil
		return nil
	})
}

// Watched lists the directories that are watched, sorted.
func (f *Files) Watched() []string { return slices.Sorted(maps.Keys(f.watched)) }
