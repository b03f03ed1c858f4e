package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/nf"
)

func list(t testing.TB, r Runtime) ([]nf.Container, []nf.Warning) {
	t.Helper()
	own, err := Own()
	if err != nil {
		t.Fatal(err)
	}
	containers, warnings, err := r.List(context.Background(), []Identity{own})
	if err != nil {
		t.Fatal(err)
	}
	return containers, warnings
}

// summary returns the result of a listing, one line for each container or warning.
func summary(r Runtime, containers []nf.Container, warnings []nf.Warning) string {
	var b strings.Builder
	for _, c := range containers {
		fmt.Fprintf(&b, "%s %s %v\n", c.ID, c.Name, c.Aliases)
	}
	for _, w := range warnings {
		fmt.Fprintf(&b, "%s %s\n", w.Code, strings.ReplaceAll(w.Message, r.Dir+"/", ""))
	}
	return b.String()
}

func TestListNamesAndSkips(t *testing.T) {
	r := Runtime{Dir: t.TempDir(), BootID: "boot"}
	b := addNamespace(t, r.Dir, "b", unix.CLONE_NEWNET)
	addNamespace(t, r.Dir, "c", unix.CLONE_NEWNET)
	addNamespace(t, r.Dir, "ipc", unix.CLONE_NEWIPC)
	addNamespace(t, r.Dir, "uts", unix.CLONE_NEWUTS)
	links := map[string]string{
		"a":        b,   // the first name in order is the container's
		"z":        "c", // relative, as ln -s makes them
		"dangling": filepath.Join(r.Dir, "none"),
		"loop":     "loop",
		"own":      "/proc/self/ns/net", // as Virtuozzo makes them
		"cpuinfo":  "/proc/cpuinfo",     // on procfs, as namespaces once were
		"null":     "/dev/null",         // must not be opened: it could be any device
	}
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(r.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(r.Dir, "plain"))
	if err := errors.Join(os.Mkdir(filepath.Join(r.Dir, "dir"), 0o700), unix.Mkfifo(filepath.Join(r.Dir, "fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(r.Dir, "mine"))
	if err := unix.Mount("/proc/self/ns/net", filepath.Join(r.Dir, "mine"), "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(filepath.Join(r.Dir, "mine"), unix.MNT_DETACH) })

	containers, warnings := list(t, r)
	want := `a a [b]
c c [z]
not-a-namespace cpuinfo is not a network namespace: it is left alone
not-a-namespace dangling is a dangling symbolic link: it is left alone
not-a-namespace dir is not a network namespace: it is left alone
not-a-namespace fifo is not a network namespace: it is left alone
not-a-namespace ipc is a namespace of another type: it is left alone
not-a-namespace loop is a dangling symbolic link: it is left alone
node-namespace mine names the node's own network namespace: it is not a container
not-a-namespace null is not a network namespace: it is left alone
node-namespace own names the node's own network namespace: it is not a container
not-a-namespace plain is not a network namespace: it is left alone
not-a-namespace uts is a namespace of another type: it is left alone
`
	if got := summary(r, containers, warnings); got != want {
		t.Errorf("listed\n%s\nwant\n%s", got, want)
	}
	for _, c := range containers {
		if c.Runtime != nf.RuntimeNetns || c.State != nf.StateRunning || !strings.HasPrefix(c.Instance, "boot/") || c.Unobservable != "" {
			t.Errorf("container %+v", c)
		}
	}
	noStrays(t)
}

// A namespace is unobservable if no name of it is UTF-8. A name that is not UTF-8 is ignored if
// the namespace has another one.
func TestListNamesThatAreNotUTF8(t *testing.T) {
	r := Runtime{Dir: t.TempDir(), BootID: "boot"}
	addNamespace(t, r.Dir, "a\xff", unix.CLONE_NEWNET)
	b := addNamespace(t, r.Dir, "b", unix.CLONE_NEWNET)
	if err := os.Symlink(b, filepath.Join(r.Dir, "a\xfe")); err != nil {
		t.Fatal(err)
	}
	containers, warnings := list(t, r)
	if got, want := summary(r, containers, warnings), "b b []\na\\xff a\\xff []\n"; got != want {
		t.Fatalf("listed\n%s\nwant\n%s", got, want)
	}
	if b, a := containers[0], containers[1]; b.Unobservable != "" || a.Unobservable != "its name is not UTF-8" || a.Instance != "" {
		t.Errorf("containers %+v", containers)
	}
}

func TestListWithoutDirectory(t *testing.T) {
	r := Runtime{Dir: filepath.Join(t.TempDir(), "none")}
	containers, warnings, err := r.List(context.Background(), nil)
	if len(containers) != 0 || len(warnings) != 0 || err != nil {
		t.Error(containers, warnings, err)
	}
	writeFile(t, r.Dir)
	if _, _, err := r.List(context.Background(), nil); err == nil {
		t.Error("a file was read as a directory")
	}
}

// ip-netns(8) creates the file first and then mounts the namespace on it. List waits for that.
func TestListWaitsForFreshNames(t *testing.T) {
	r := Runtime{Dir: t.TempDir()}
	made := addNamespace(t, t.TempDir(), "made", unix.CLONE_NEWNET)
	path := filepath.Join(r.Dir, "new")
	for range 20 {
		writeFile(t, path)
		mounted := make(chan error)
		go func() { mounted <- unix.Mount(made, path, "", unix.MS_BIND, "") }()
		containers, warnings := list(t, r)
		if err := <-mounted; err != nil {
			t.Fatal(err)
		}
		if len(containers) != 1 || len(warnings) != 0 {
			t.Fatalf("listed %s", summary(r, containers, warnings))
		}
		removeNamespace(t, path)
	}
}

func TestListStopsWithTheContext(t *testing.T) {
	r := Runtime{Dir: t.TempDir()}
	writeFile(t, filepath.Join(r.Dir, "plain"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := r.List(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A file that vanishes after the directory was read is neither a container nor a warning.
func TestListSkipsAVanishedFile(t *testing.T) {
	r := Runtime{Dir: t.TempDir()}
	containers, warnings := r.toContainers([]entry{r.identify(nil, "vanished")}, nil)
	if len(containers) != 0 || len(warnings) != 0 {
		t.Error(summary(r, containers, warnings))
	}
}

// List leaves no file open: an open file of a namespace keeps the namespace alive.
func TestListLeavesNoFileOpen(t *testing.T) {
	r := Runtime{Dir: t.TempDir()}
	for i := range 20 {
		addNamespace(t, r.Dir, fmt.Sprint(i), unix.CLONE_NEWNET)
	}
	list(t, r)
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		to, _ := os.Readlink(link)
		if strings.HasPrefix(to, "net:[") || strings.HasPrefix(to, r.Dir) {
			t.Errorf("%s is open: %s", link, to)
		}
	}
}

// No instance is reused, although the kernel reuses the inode number of a namespace that has
// ended.
func TestInstanceIsNeverReused(t *testing.T) {
	r := Runtime{Dir: t.TempDir(), BootID: "boot"}
	seen := map[string]bool{}
	for range 5 {
		path := addNamespace(t, r.Dir, "a", unix.CLONE_NEWNET)
		containers, _ := list(t, r)
		if len(containers) != 1 || seen[containers[0].Instance] {
			t.Fatalf("%+v was already seen: %v", containers, seen)
		}
		seen[containers[0].Instance] = true
		removeNamespace(t, path)
	}
}

// Each namespace has a cookie of its own. The previous test does not prove that: whether the
// kernel reuses an inode number depends on what else it does.
func TestIdentityHasMoreThanTheInode(t *testing.T) {
	dir := t.TempDir()
	seen := map[uint64]bool{0: true}
	for i := range 3 {
		path := addNamespace(t, dir, fmt.Sprint(i), unix.CLONE_NEWNET)
		first, err := Identify(path)
		second, again := Identify(path)
		if err != nil || again != nil || first != second || seen[first.Cookie] {
			t.Errorf("identified as %v and %v, %v, %v", first, second, err, again)
		}
		seen[first.Cookie] = true
	}
}

// Kernels without the ioctl have the cookie of a socket. It is the same each time the namespace
// is entered.
func TestCookie(t *testing.T) {
	dir := t.TempDir()
	cookies := map[uint64]bool{}
	for i := range 3 {
		path := addNamespace(t, dir, fmt.Sprint(i), unix.CLONE_NEWNET)
		var first, second uint64
		err := Enter(path, func() (err error) { first, err = kernel.NetnsCookie(); return err })
		err = errors.Join(err, Enter(path, func() (err error) { second, err = kernel.NetnsCookie(); return err }))
		if err != nil || first == 0 || first != second || cookies[first] {
			t.Errorf("cookies %d and %d, %v", first, second, err)
		}
		cookies[first] = true
	}
}

func TestRuntimeEnterVerifiesTheInstance(t *testing.T) {
	r := Runtime{Dir: t.TempDir(), BootID: "boot"}
	path := addNamespace(t, r.Dir, "a", unix.CLONE_NEWNET)
	containers, _ := list(t, r)
	instance := containers[0].Instance
	ran := 0
	enter := func() error {
		return r.Enter("a", instance, func() error { ran++; return nil })
	}
	if err := enter(); err != nil || ran != 1 {
		t.Fatal(err, ran)
	}
	removeNamespace(t, path)
	if err := enter(); !errors.Is(err, nf.ErrGone) {
		t.Errorf("removed: %v", err)
	}
	writeFile(t, path)
	if err := enter(); !errors.Is(err, nf.ErrGone) {
		t.Errorf("a plain file: %v", err)
	}
	mountNamespace(t, path, unix.CLONE_NEWNET)
	if err := enter(); !errors.Is(err, nf.ErrGone) {
		t.Errorf("recreated: %v", err)
	}
	if err := r.Enter("../a", instance, func() error { ran++; return nil }); !errors.Is(err, nf.ErrGone) {
		t.Errorf("a path: %v", err)
	}
	if ran != 1 {
		t.Errorf("ran %d times", ran)
	}
}

func TestIsInitial(t *testing.T) {
	path := addNamespace(t, t.TempDir(), "a", unix.CLONE_NEWNET)
	if !IsInitial("/proc") {
		t.Error("the tests must run in the initial network namespace")
	}
	err := Enter(path, func() error {
		if IsInitial("/proc") {
			t.Error("a new namespace is reported as the initial one")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func BenchmarkList1000(b *testing.B) {
	r := Runtime{Dir: b.TempDir()}
	for i := range 1000 {
		addNamespace(b, r.Dir, fmt.Sprint(i), unix.CLONE_NEWNET)
	}
	b.ResetTimer()
	for range b.N {
		list(b, r)
	}
}

// Namespaces and links of another runtime are neither containers nor aliases, and cause no
// warning: its namespaces under every name, and its links wherever they lead. A regular file
// with the name of such a link is not claimed.
func TestListSkipsClaimed(t *testing.T) {
	r := Runtime{Dir: t.TempDir(), BootID: "boot"}
	claimed := addNamespace(t, r.Dir, "a", unix.CLONE_NEWNET)
	addNamespace(t, r.Dir, "b", unix.CLONE_NEWNET)
	addNamespace(t, r.Dir, "101", unix.CLONE_NEWNET)
	for name, to := range map[string]string{"102": "a", "103": "b", "104": "/proc/0/ns/net", "z": "a", "y": "b"} {
		if err := os.Symlink(to, filepath.Join(r.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	id, err := Identify(claimed)
	if err != nil {
		t.Fatal(err)
	}
	r.Claimed, r.ClaimedLinks = []Identity{id}, []string{"101", "102", "103", "104"}
	containers, warnings := list(t, r)
	if got, want := summary(r, containers, warnings), "101 101 []\nb b [y]\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// A file that another runtime makes is left out while it is young, unless that runtime has claimed it.
func TestListLeavesTheFilesOfOthersAWhile(t *testing.T) {
	t.Parallel()
	r := Runtime{Dir: t.TempDir(), BootID: "boot", Others: func(name string) bool { return strings.HasPrefix(name, "netns-") }}
	addNamespace(t, r.Dir, "blue", unix.CLONE_NEWNET)
	began := time.Now()
	theirs := addNamespace(t, r.Dir, "netns-1", unix.CLONE_NEWNET)
	for was := ""; ; {
		containers, warnings := list(t, r)
		got := summary(r, containers, warnings)
		if got == "blue blue []\nnetns-1 netns-1 []\n" {
			if was == "" && time.Since(began) < fresh {
				t.Error("it is listed at once")
			}
			break
		}
		if was = got; got != "blue blue []\n" {
			t.Fatalf("listed:\n%s", got)
		}
		<-time.After(fresh / 20)
	}
	id, err := Identify(theirs)
	if err != nil {
		t.Fatal(err)
	}
	r.Claimed = []Identity{id}
	containers, warnings := list(t, r)
	if got := summary(r, containers, warnings); got != "blue blue []\n" {
		t.Errorf("claimed:\n%s", got)
	}
}
