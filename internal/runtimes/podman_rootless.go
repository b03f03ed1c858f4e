package runtimes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/openfile"
)

// userRuns is where each user who is logged in, or lingers, has a directory (pam_systemd(8)).
const userRuns = "run/user"

// Bounds on what one user's files bring.
const (
	maxUserContainers = 512
	maxUserStorages   = 8
	maxUserFile       = 1 << 20         // bytes
	maxUserWait       = 2 * time.Second // for the home directory, which may be on a server that does not answer
)

// podmanUser is a user whose containers are listed. The files are the user's: none is believed to
// say something of another user's containers.
type podmanUser struct {
	node Node
	uid  int
	name string // as in passwd(5), or the uid
	home string // empty: not known
	run  string // the runtime directory
}

// podmanUsers returns the users who have a runtime directory, in the order of their uids.
func (n Node) podmanUsers() []podmanUser {
	names, err := directories(n.path(userRuns))
	if err != nil {
		return nil
	}
	known, _ := parsed(n, n.path("etc/passwd"), parsePasswd) // none, with an error
	var users []podmanUser
	for _, name := range names {
		uid, err := strconv.Atoi(name)
		run := n.path(userRuns, name)
		if info, statErr := os.Lstat(run); err == nil && uid > 0 && statErr == nil && ownerOf(info) == uid {
			u := known[uid]
			users = append(users, podmanUser{n, uid, cmp.Or(u.name, name), n.home(u), run})
		}
	}
	slices.SortFunc(users, func(a, b podmanUser) int { return cmp.Compare(a.uid, b.uid) })
	return users
}

// home returns where the home directory of a user is; empty if it is not known.
func (n Node) home(u passwdEntry) string {
	if u.home == "" {
		return ""
	}
	return n.path(u.home)
}

type passwdEntry struct{ name, home string }

// parsePasswd reads the users of passwd(5) by their uids. The first of several with one uid counts.
func parsePasswd(data []byte) (map[int]passwdEntry, error) {
	users := map[int]passwdEntry{}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 6 || !podmanName.MatchString(f[0]) || !filepath.IsAbs(f[5]) {
			continue
		}
		uid, err := strconv.Atoi(f[2])
		if _, known := users[uid]; err == nil && !known {
			users[uid] = passwdEntry{f[0], f[5]}
		}
	}
	return users, nil
}

// states returns the directories in which an OCI runtime has a directory for each container.
func (u podmanUser) states() []string {
	var dirs []string
	for _, name := range podmanStates {
		dirs = append(dirs, filepath.Join(u.run, name))
	}
	return dirs
}

// list returns the containers of the user whose processes run, named as the user has named them. Their
// other names have that of the user before them.
func (u podmanUser) list(ctx context.Context) ([]record, error) {
	run, err := u.openTree(u.run)
	if err != nil {
		return nil, err
	}
	defer run.root.Close()
	running, errs := u.running(ctx, run)
	if len(running) == 0 {
		return nil, errs
	}
	storage, err := within(u.node.Files, u.home, maxUserWait, func() map[string]stored { return u.stored(running) })
	var found []podmanContainer
	for _, r := range running {
		s, ok := storage[r.id]
		if !ok {
			s.err = err
		}
		if s.isPodmans() {
			found = append(found, podmanContainer{r, s})
		}
	}
	records := u.node.podmanRecords(found, u.uid)
	for i := range records {
		u.mark(&records[i])
	}
	return records, errs
}

// mark adds the names with the user's before them, and says that the labels are not known.
func (u podmanUser) mark(r *record) {
	own := append([]string{cmp.Or(r.name, shortID(r.id))}, r.aliases...)
	for i, name := range own {
		own[i] = u.name + "/" + name
	}
	r.aliases = append(own, r.aliases...)
	r.labelsUnknown = "Podman is not asked for the labels of users' containers"
}

// running returns the containers of which an OCI runtime has state, and whose processes are the user's.
func (u podmanUser) running(ctx context.Context, run userTree) (list []record, errs error) {
	read := func(path string, parse func([]byte) (ociInit, error)) (ociInit, error) {
		return parsedBy(u.node, path, run.open, parse)
	}
	for _, dir := range u.states() {
		ids, err := run.entries(dir)
		if !errors.Is(err, fs.ErrNotExist) {
			errs = errors.Join(errs, err)
		}
		for _, id := range ids {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if !isDockerID(id) {
				continue
			}
			r := record{id: id, freezes: true}
			r.pid, r.start, r.err = ociProcessBy(filepath.Join(dir, id), read)
			if r.err == nil {
				r.err = u.check(r)
			}
			if !errors.Is(r.err, fs.ErrNotExist) {
				list = append(list, r)
			}
		}
	}
	return list, errs
}

// check returns fs.ErrNotExist unless the process of a container runs, and is the user's: a state file of
// a user may name any process. It is the user's if its network namespace is. One in the node's network
// namespace has to be in a user namespace that the user has made.
func (u podmanUser) check(r record) error {
	p, err := u.node.openProcess(r.pid, r.start)
	if err != nil {
		return err
	}
	defer p.Close()
	ns, err := u.node.identify(p)
	if err != nil {
		return permission(fmt.Errorf("cannot identify its network namespace: %w", err))
	}
	var owner int
	if u.node.isOwn(ns) {
		owner, err = userOf(p.Path("ns/user"))
	} else {
		owner, err = networkUser(p.Path("ns/net"))
	}
	if err != nil {
		return permission(fmt.Errorf("cannot find whose namespaces it is in: %w", err))
	}
	if owner != u.uid {
		return fmt.Errorf("process %d is not of user %s: %w", r.pid, u.name, fs.ErrNotExist)
	}
	return nil
}

// userOf returns who has made a user namespace (ioctl_nsfs(2), NS_GET_OWNER_UID).
func userOf(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	uid, err := unix.IoctlGetUint32(int(f.Fd()), unix.NS_GET_OWNER_UID)
	return int(uid), err
}

// networkUser returns who has made the user namespace to which a network namespace belongs (ioctl_nsfs(2),
// NS_GET_USERNS).
func networkUser(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	fd, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	uid, err := unix.IoctlGetUint32(fd, unix.NS_GET_OWNER_UID)
	return int(uid), err
}

// stored returns what the storage of the user has of containers, by their ids.
func (u podmanUser) stored(list []record) map[string]stored {
	var trees userTrees
	for _, dir := range []string{u.run, u.home} {
		if dir == "" {
			continue
		}
		if t, err := u.openTree(dir); err == nil {
			defer t.root.Close()
			trees = append(trees, t)
		}
	}
	s := &podmanStorage{node: u.node, open: trees.open}
	for _, dir := range []string{filepath.Join(u.home, ".local/share/containers/storage"), filepath.Join(u.run, "containers")} {
		names, _ := trees.entries(dir) // none, with an error
		for _, name := range names {
			if strings.HasSuffix(name, "-containers") && len(s.dirs) < maxUserStorages {
				s.dirs = append(s.dirs, filepath.Join(dir, name))
			}
		}
	}
	found := map[string]stored{}
	for _, r := range list {
		c := s.find(r.id, func() string { return u.bundle(r.id, trees) })
		c.elsewhere = false
		found[r.id] = c
	}
	return found
}

// bundle returns the bundle of a container; empty if it is not known.
func (u podmanUser) bundle(id string, trees userTrees) string {
	for _, dir := range u.states() {
		if bundle := ociBundle(u.node, filepath.Join(dir, id), trees.open); bundle != "" {
			return bundle
		}
	}
	return ""
}

// userTree is a directory of a user, of which nothing is opened but files and directories of the user
// that are below it, whatever its links say.
type userTree struct {
	root *os.Root
	path string
	uid  int
}

// openTree opens a directory that must belong to the user.
func (u podmanUser) openTree(path string) (userTree, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return userTree{}, err
	}
	t := userTree{root, path, u.uid}
	info, err := root.Stat(".")
	if err == nil {
		err = t.check(info)
	}
	if err != nil {
		root.Close()
		return userTree{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return t, nil
}

// check returns an error unless a file belongs to the user, and is not too large.
func (t userTree) check(info fs.FileInfo) error {
	if uid := ownerOf(info); uid != t.uid {
		return fmt.Errorf("it belongs to user %d, not to user %d", uid, t.uid)
	}
	if info.Mode().IsRegular() && info.Size() > maxUserFile {
		return openfile.TooLargeError(maxUserFile)
	}
	return nil
}

// open opens a regular file for reading, by its whole path.
func (t userTree) open(path string) (*os.File, error) {
	name, err := filepath.Rel(t.path, path)
	if err != nil {
		return nil, err
	}
	f, err := openfile.In(t.root, name)
	if err != nil {
		return nil, err
	}
	return t.checked(f, path)
}

// checked returns an open file that is the user's, or closes it.
func (t userTree) checked(f *os.File, path string) (*os.File, error) {
	info, err := f.Stat()
	if err == nil {
		err = t.check(info)
	}
	if err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return f, nil
}

// entries returns the names in a directory, by its whole path. With more than maxUserContainers it is an
// error, and returns so many.
func (t userTree) entries(path string) ([]string, error) {
	name, err := filepath.Rel(t.path, path)
	if err != nil {
		return nil, err
	}
	f, err := t.root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if f, err = t.checked(f, path); err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(maxUserContainers + 1)
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err == nil && len(names) > maxUserContainers:
		names, err = names[:maxUserContainers], fmt.Errorf("%s has more than %d entries: the others are not listed", path, maxUserContainers)
	}
	return names, err
}

// userTrees are the directories of a user. What is in none of them is not opened.
type userTrees []userTree

func (all userTrees) of(path string) (userTree, error) {
	for _, t := range all {
		if strings.HasPrefix(path, t.path+"/") {
			return t, nil
		}
	}
	return userTree{}, fmt.Errorf("%s is in no directory of the user: it is not read", path)
}

func (all userTrees) open(path string) (*os.File, error) {
	t, err := all.of(path)
	if err != nil {
		return nil, err
	}
	return t.open(path)
}

func (all userTrees) entries(path string) ([]string, error) {
	t, err := all.of(path)
	if err != nil {
		return nil, err
	}
	return t.entries(path)
}

// ownerOf returns the user to whom a file belongs; -1 if the file system does not say.
func ownerOf(info fs.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid)
	}
	return -1
}
