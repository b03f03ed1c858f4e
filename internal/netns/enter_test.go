package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inode returns the link to the calling thread's network namespace, which has its inode
// number. The caller has locked the thread.
func inode(t testing.TB) string {
	link, err := os.Readlink(ownPath())
	if err != nil {
		t.Error(err)
	}
	return link
}

// noStrays checks that every thread of this process is in the network namespace of the process.
// A thread that cannot return to it ends soon after its goroutine; noStrays waits for that.
func noStrays(t testing.TB) {
	t.Helper()
	var left []string
	for start := time.Now(); time.Since(start) < 10*time.Second; runtime.Gosched() {
		if left = strays(t); len(left) == 0 {
			return
		}
	}
	t.Errorf("threads in other network namespaces: %s", strings.Join(left, ", "))
}

// strays returns the threads that are not in the network namespace of the process.
func strays(t testing.TB) []string {
	t.Helper()
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil || len(tasks) == 0 {
		t.Fatal(tasks, err)
	}
	var strays []string
	for _, task := range tasks {
		link, err := os.Readlink(task)
		if err == nil && link != home { // a thread may have ended
			strays = append(strays, task+" "+link)
		}
	}
	return strays
}

func TestEnterRunsInside(t *testing.T) {
	path := addNamespace(t, t.TempDir(), "a", unix.CLONE_NEWNET)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home := inode(t)
	want := errors.New("of f")
	var inside string
	err := Enter(path, func() error {
		inside = inode(t)
		if inode(t) == home {
			t.Error("f ran outside")
		}
		return want
	})
	var st unix.Stat_t
	if e := unix.Stat(path, &st); e != nil || inside != fmt.Sprintf("net:[%d]", st.Ino) {
		t.Errorf("f ran in %s, not in %d, %v", inside, st.Ino, e)
	}
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
	if inode(t) != home {
		t.Error("the caller's thread was moved")
	}
}

// No thread stays in a namespace that it entered, even if the function returns an error, panics,
// ends the goroutine or drops its privileges.
func TestEnterLeavesNoThreadBehind(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for i := range 8 {
		paths = append(paths, addNamespace(t, dir, fmt.Sprint(i), unix.CLONE_NEWNET))
	}
	endings := []func() error{
		func() error { return nil },
		func() error { return errors.New("an error") },
		func() error { panic("a panic") },
		func() error { runtime.Goexit(); return nil },
		func() error { return dropPrivileges() },
	}
	var all sync.WaitGroup
	for i := range 40 {
		all.Add(1)
		go func() {
			defer all.Done()
			for j := range 25 {
				hammer(t, paths[(i+j)%len(paths)], endings[(i+j)%len(endings)])
			}
		}()
	}
	all.Wait()
	noStrays(t)
}

// hammer enters a namespace once, in a new goroutine, which the ending may end.
func hammer(t *testing.T, path string, ending func() error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		_ = Enter(path, func() error {
			if strings.HasSuffix(inode(t), "[0]") {
				t.Error("no namespace")
			}
			return ending()
		})
	}()
	<-done
}

// dropPrivileges drops the thread's capabilities, so that it cannot return by setns(2).
func dropPrivileges() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&header, &none[0])
}

// A thread that cannot return to its namespace ends with its goroutine.
func TestEnterThreadThatCannotReturnEnds(t *testing.T) {
	path := addNamespace(t, t.TempDir(), "a", unix.CLONE_NEWNET)
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var thread int
	err = Enter(path, func() error {
		thread = unix.Gettid()
		return dropPrivileges()
	})
	if err != nil {
		t.Error(err)
	}
	for { // the thread ends soon after its goroutine
		link, err := os.Readlink(fmt.Sprintf("/proc/self/task/%d/ns/net", thread))
		if err != nil {
			return
		}
		if link == home {
			t.Fatal("the thread returned without the privilege for it")
		}
		runtime.Gosched()
	}
}

func TestEnterPassesPanicOn(t *testing.T) {
	path := addNamespace(t, t.TempDir(), "a", unix.CLONE_NEWNET)
	defer func() {
		if got := recover(); got != "a panic" {
			t.Errorf("recovered %v", got)
		}
		noStrays(t)
	}()
	_ = Enter(path, func() error { panic("a panic") })
	t.Error("the panic was lost")
}

func TestEnterPassesGoexitOn(t *testing.T) {
	path := addNamespace(t, t.TempDir(), "a", unix.CLONE_NEWNET)
	ended := make(chan bool)
	go func() {
		returned := false
		defer func() { ended <- !returned }()
		_ = Enter(path, func() error { runtime.Goexit(); return nil })
		returned = true
	}()
	if !<-ended {
		t.Error("the caller continued")
	}
}

func TestEnterErrors(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	writeFile(t, plain)
	for path, want := range map[string]error{
		filepath.Join(dir, "none"): os.ErrNotExist,
		plain:                      unix.EINVAL,
		addNamespace(t, dir, "u", unix.CLONE_NEWUTS): unix.EINVAL,
	} {
		err := Enter(path, func() error { t.Error("f was run"); return nil })
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

// f never runs on the main thread, which Go cannot end.
func TestEnterAvoidsTheMainThread(t *testing.T) {
	path := addNamespace(t, t.TempDir(), "a", unix.CLONE_NEWNET)
	for range 200 {
		err := Enter(path, func() error {
			if unix.Gettid() == unix.Getpid() {
				t.Error("f runs on the main thread")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// EnterIf enters the namespace that it has checked, even if the path names another by then. It
// does not enter a namespace that check refuses.
func TestEnterIf(t *testing.T) {
	dir := t.TempDir()
	path := addNamespace(t, dir, "a", unix.CLONE_NEWNET)
	want, err := Identify(path)
	if err != nil {
		t.Fatal(err)
	}
	entered := errors.New("of f")
	err = (*Thread)(nil).EnterIf(path, func(id Identity) error {
		if id != want {
			t.Errorf("checked %s, want %s", id, want)
		}
		// From now on the path names another namespace.
		removeNamespace(t, path)
		addNamespace(t, dir, "a", unix.CLONE_NEWNET)
		return nil
	}, func() error {
		if id, err := Identify(ownPath()); id != want {
			t.Errorf("entered %s, want %s, %v", id, want, err)
		}
		return entered
	})
	if !errors.Is(err, entered) {
		t.Error(err)
	}
	refused := errors.New("of check")
	never := func() error { t.Error("entered"); return nil }
	if err := (*Thread)(nil).EnterIf(path, func(Identity) error { return refused }, never); !errors.Is(err, refused) {
		t.Error(err)
	}
	if err := (*Thread)(nil).EnterIf(filepath.Join(dir, "none"), func(Identity) error { return nil }, never); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	noStrays(t)
}
