package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// DefaultDir is the directory of ip-netns(8) for named network namespaces.
const DefaultDir = "/run/netns"

// Runtime lists and enters the containers that the files of one directory name.
type Runtime struct {
	Dir    string
	BootID string // of this start of the kernel: part of every instance
	// Claimed are the namespaces of another runtime, and ClaimedLinks the names of its
	// symbolic links in the directory, whatever they lead to. Files that name them are
	// neither containers of this runtime nor aliases.
	Claimed      []Identity
	ClaimedLinks []string
	// Others reports whether another runtime makes files with that name. One that is younger than two
	// seconds is left out: that runtime may not have claimed it yet. nil: none does.
	Others func(name string) bool
	// Names, if set, are the only files that are listed.
	Names []string
	// Thread enters the namespaces; nil: a new thread for each.
	Thread *Thread
	// Alive returns the instance with that Inode if it is known not to have ended; nil: none is
	// known. It saves List to open its file.
	Alive func(inode string) (instance string, ok bool)
}

// List returns the containers in the order of their names, without facts. A directory that
// does not exist has none.
//
// Several names of one namespace are one container: the first in order is its id and name,
// the others are its aliases. The excluded namespaces are the node's. List warns of files that
// name them, and of files that are not network namespaces. It skips a file that vanishes
// meanwhile.
func (r Runtime) List(ctx context.Context, exclude []Identity) ([]nf.Container, []nf.Warning, error) {
	entries, err := r.files()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("cannot list network namespaces: %w", err)
	}
	entries = slices.DeleteFunc(entries, r.isClaimed)
	found, err := r.identifyAll(ctx, entries)
	if err != nil {
		return nil, nil, err
	}
	found = slices.DeleteFunc(found, r.isBeingMade)
	containers, warnings := r.toContainers(found, exclude)
	return containers, warnings, nil
}

// files returns the files of the directory, or those of r.Names that exist.
func (r Runtime) files() ([]fs.DirEntry, error) {
	if r.Names == nil {
		return os.ReadDir(r.Dir)
	}
	var list []fs.DirEntry
	for _, name := range slices.Sorted(slices.Values(r.Names)) {
		info, err := os.Lstat(filepath.Join(r.Dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil {
			list = append(list, fs.FileInfoToDirEntry(info))
		}
	}
	return list, nil
}

// isClaimed reports whether a file is a link of another runtime.
func (r Runtime) isClaimed(file fs.DirEntry) bool {
	return file.Type() == fs.ModeSymlink && slices.Contains(r.ClaimedLinks, file.Name())
}

// isBeingMade reports whether another runtime may still be making the container of an entry.
func (r Runtime) isBeingMade(e entry) bool {
	return r.Others != nil && r.Others(e.name) && !slices.Contains(r.Claimed, e.id) && r.isFresh(e.name)
}

// entry is one file of the directory, with the namespace that it names.
type entry struct {
	name string
	id   Identity
	err  error // why the namespace cannot be identified; notANamespace if the file is none
}

// notANamespace is the error for a file that is not a network namespace. A plain file, which
// is not on a file system of namespaces, may become one.
type notANamespace struct {
	why   string
	plain bool
}

func (e notANamespace) Error() string { return e.why }

// ip-netns(8) creates a plain file and mounts the namespace on it about a millisecond later. So
// plain files younger than fresh are identified again, after each pause, until patience is
// over for all of them together.
const (
	fresh    = 2 * time.Second
	patience = 50 * time.Millisecond
	pause    = time.Millisecond
)

// workers is the number of files that are identified at the same time.
const workers = 2

// identifyAll identifies the namespaces that files of the directory name.
func (r Runtime) identifyAll(ctx context.Context, files []fs.DirEntry) ([]entry, error) {
	found := make([]entry, len(files))
	var all sync.WaitGroup
	for first := range workers {
		all.Go(func() {
			OnThread(func(t *Thread) {
				for i := first; i < len(files) && ctx.Err() == nil; i += workers {
					found[i] = r.identify(t, files[i].Name())
				}
			})
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var again []int
	for i, e := range found {
		if e.isPlain() && r.isFresh(e.name) {
			again = append(again, i)
		}
	}
	for start := time.Now(); len(again) > 0 && time.Since(start) < patience; {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
		again = slices.DeleteFunc(again, func(i int) bool {
			found[i] = r.identify(r.Thread, found[i].name)
			return !found[i].isPlain()
		})
	}
	return found, nil
}

// none returns why the file is not a network namespace, and whether it is none.
func (e entry) none() (notANamespace, bool) { return errors.AsType[notANamespace](e.err) }

func (e entry) isPlain() bool {
	none, _ := e.none()
	return none.plain
}

// isFresh reports whether a file was created or changed less than fresh ago.
func (r Runtime) isFresh(name string) bool {
	info, err := os.Lstat(filepath.Join(r.Dir, name))
	return err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()).Abs() < fresh
}

// identify identifies the namespace that a file of the directory names.
func (r Runtime) identify(t *Thread, name string) entry {
	path := r.Dir + "/" + name
	if id, ok := r.known(path); ok {
		return entry{name: name, id: id}
	}
	fd, err := openNamespace(path)
	if err != nil {
		return entry{name: name, err: err}
	}
	defer unix.Close(fd)
	id, err := t.identifyFD(fd)
	return entry{name, id, err}
}

// known identifies the namespace that a file names, if it is known to be alive: as long as it is,
// no other one has its inode.
func (r Runtime) known(path string) (Identity, bool) {
	var st unix.Stat_t
	if r.Alive == nil || unix.Stat(path, &st) != nil {
		return Identity{}, false
	}
	id := Identity{Device: uint64(st.Dev), Inode: st.Ino}
	instance, ok := r.Alive(r.inode(st))
	return id.Of(instance), ok
}

// openNamespace opens the file of a network namespace.
func openNamespace(path string) (int, error) {
	fd, err := openOnNSFS(path)
	if err != nil {
		return -1, err
	}
	if err := checkType(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// openOnNSFS opens the file of a namespace of any type. It opens no other kind of file, such as a
// device.
func openOnNSFS(path string) (int, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return -1, statError(path, err)
	}
	if !isOfNamespaces(st) {
		return -1, notANamespace{why: "is not a network namespace", plain: true}
	}
	fd, err := openFile(path)
	if err != nil {
		return -1, err
	}
	// The namespace may have been unmounted since: then the file below it was opened.
	if err := unix.Fstatfs(fd, &st); err != nil || !isOfNamespaces(st) {
		unix.Close(fd)
		return -1, notANamespace{why: "is not a network namespace", plain: true}
	}
	return fd, nil
}

// isOfNamespaces reports whether a file system has the files of namespaces. Before Linux 3.19 they were
// on procfs.
func isOfNamespaces(st unix.Statfs_t) bool {
	return st.Type == unix.NSFS_MAGIC || st.Type == unix.PROC_SUPER_MAGIC
}

// statError returns notANamespace for a dangling link. For any other file, such as one that
// has vanished, it returns the error as it is.
func statError(path string, err error) error {
	_, lstatErr := os.Lstat(path)
	dangles := errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR)
	if lstatErr != nil || !dangles {
		return &os.PathError{Op: "cannot open", Path: path, Err: err}
	}
	return notANamespace{why: "is a dangling symbolic link"}
}

// checkType returns notANamespace if an open file is not a network namespace. Linux 4.11 has
// an ioctl for the type. Before that only setns(2) checks it: the type first, then the
// privileges.
func checkType(fd int) error {
	kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err == nil && kind != unix.CLONE_NEWNET {
		return notANamespace{why: "is a namespace of another type"}
	}
	if err != nil && errors.Is((*Thread)(nil).enterFD(fd, func() error { return nil }), unix.EINVAL) {
		return notANamespace{why: "is not a network namespace"}
	}
	return nil
}

// toContainers returns the containers of the entries, and warnings for entries that are none.
// A name that is not UTF-8 cannot be written in a document, and so does not identify its file.
// A namespace that only has such names is unobservable.
func (r Runtime) toContainers(found []entry, exclude []Identity) ([]nf.Container, []nf.Warning) {
	containers := make([]nf.Container, 0, len(found))
	var warnings []nf.Warning
	first := map[Identity]int{}
	warn := func(code string, e entry, what string) {
		warnings = append(warnings, nf.Warning{Code: code, Target: nf.Node, Message: filepath.Join(r.Dir, e.name) + " " + what})
	}
	invalid := slices.DeleteFunc(slices.Clone(found), entry.hasValidName)
	valid := slices.DeleteFunc(found, func(e entry) bool { return !e.hasValidName() })
	for _, e := range slices.Concat(valid, invalid) {
		i, known := first[e.id]
		none, isNone := e.none()
		switch {
		case errors.Is(e.err, fs.ErrNotExist):
		case isNone:
			warn(nf.WarnNotANamespace, e, none.why+": it is left alone")
		case e.err != nil && e.hasValidName():
			containers = append(containers, r.container(e))
		case slices.Contains(exclude, e.id):
			warn(nf.WarnNodeNamespace, e, "names the node's own network namespace: it is not a container")
		case slices.Contains(r.Claimed, e.id), known && !e.hasValidName():
		case !e.hasValidName():
			e.err = errors.New("its name is not UTF-8")
			e.name = strings.Trim(strconv.Quote(e.name), `"`)
			containers = append(containers, r.container(e))
		case known:
			containers[i].Aliases = append(containers[i].Aliases, e.name)
		default:
			first[e.id] = len(containers)
			containers = append(containers, r.container(e))
		}
	}
	return containers, warnings
}

func (e entry) hasValidName() bool { return utf8.ValidString(e.name) }

// container returns the container of an entry.
func (r Runtime) container(e entry) nf.Container {
	c := nf.Container{Runtime: nf.RuntimeNetns, ID: e.name, Name: e.name, State: nf.StateRunning, Namespace: nf.Namespace{Facts: []nf.Fact{}}}
	if e.err != nil {
		c.Unobservable = e.err.Error()
		return c
	}
	c.Instance = r.instance(e.id)
	return c
}

func (r Runtime) instance(id Identity) string { return id.Instance(r.BootID) }

// inode returns Inode of the instances with this inode.
func (r Runtime) inode(st unix.Stat_t) string {
	return Identity{Device: uint64(st.Dev), Inode: st.Ino}.InodeInstance(r.BootID)
}

// Check returns nf.ErrGone if the file of a container does not name the namespace of the instance
// any more, and also fs.ErrNotExist if it names none at all. It compares the inode only, which no
// other namespace has as long as the instance lives: the caller knows that it does if a file of
// it still answers.
func (r Runtime) Check(id, instance string) error {
	path, err := r.path(id)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return fmt.Errorf("cannot enter %s: %w: %w", path, nf.ErrGone, fs.ErrNotExist)
	}
	if Inode(instance) != r.inode(st) {
		return r.otherInstance(path)
	}
	return nil
}

// path returns the file of a container.
func (r Runtime) path(id string) (string, error) {
	if id != filepath.Base(id) {
		return "", fmt.Errorf("cannot enter %q: not a file name: %w", id, nf.ErrGone)
	}
	return r.Dir + "/" + id, nil
}

func (r Runtime) otherInstance(path string) error {
	return fmt.Errorf("cannot enter %s: it now names another network namespace: %w", path, nf.ErrGone)
}

// Enter runs f in the network namespace of a container, as Thread.Enter does. It returns
// nf.ErrGone if the file no longer names the namespace of the instance, and also
// fs.ErrNotExist if it names none at all.
func (r Runtime) Enter(id, instance string, f func() error) error {
	path, err := r.path(id)
	if err != nil {
		return err
	}
	fd, err := openOnNSFS(path)
	if _, none := errors.AsType[notANamespace](err); none || errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot enter %s: %w: %w", path, nf.ErrGone, fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return r.Thread.enterIf(fd, func(now Identity) error {
		if r.instance(now) != instance {
			return r.otherInstance(path)
		}
		return nil
	}, f)
}
