package web

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const member, stranger = 4711, 4712 // user ids, and those of their groups

// as calls f on a thread of another user, which ends with it. The thread has one group.
func as(t *testing.T, uid int, f func() error) error {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		for _, call := range [][4]uintptr{{unix.SYS_SETGROUPS}, {unix.SYS_SETRESGID, uintptr(uid), uintptr(uid), uintptr(uid)}, {unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)}} {
			if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				done <- errno
				return
			}
		}
		done <- f()
	}()
	return <-done
}

// connectAs connects as another user and sends a text.
func connectAs(t *testing.T, uid int, path, text string) (*os.File, error) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	t.Cleanup(func() { f.Close() })
	err = as(t, uid, func() error { return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) })
	if err == nil {
		_, err = io.WriteString(f, text)
	}
	return f, err
}

// sharedSocket serves a socket that the group of the member may use.
func sharedSocket(t *testing.T, a Talker) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this needs root: it connects as other users")
	}
	path := serveTalker(t, a, requestTimeout)
	for dir := filepath.Dir(path); dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chown(path, 0, member), os.Chmod(path, 0o660)); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestUsers: the kernel says who has connected. A member of the group may look and wake, root may
// suspend, and others cannot connect.
func TestUsers(t *testing.T) {
	for _, test := range []struct {
		uid        int
		path, body string
		want       string
	}{
		{member, "sync", "{}", "200"}, {member, "suspend", `{"reason":"x"}`, "403"}, {member, "resume", "{}", "403"},
		{member, "sync", `{"accept":"4b825dc642cb6eb9a060e54bf8d69288fbee4904"}`, "403"},
		{0, "sync", "{}", "200"}, {0, "suspend", `{"reason":"x"}`, "200"}, {0, "resume", "{}", "200"},
	} {
		path := sharedSocket(t, &talker{})
		f, err := connectAs(t, test.uid, path, fmt.Sprintf("POST /v1/%s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", test.path, len(test.body), test.body))
		answer, readErr := io.ReadAll(f)
		if err := errors.Join(err, readErr); err != nil || statuses(string(answer)) != test.want {
			t.Errorf("user %d, %s: %s, %v, want %s", test.uid, test.path, answer, err, test.want)
		}
	}
	if _, err := connectAs(t, stranger, sharedSocket(t, &talker{}), ""); !errors.Is(err, unix.EACCES) {
		t.Errorf("a stranger: %v", err)
	}
}

// TestMemberKeepsNobodyOut: a member of the group who opens hundreds of connections has a few of
// them, and root is answered.
func TestMemberKeepsNobodyOut(t *testing.T) {
	path := sharedSocket(t, &talker{})
	events := "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n"
	var conns []*os.File
	for range 300 {
		f, err := connectAs(t, member, path, events)
		if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
			t.Fatal(err)
		}
		conns = append(conns, f)
	}
	began := time.Now()
	if _, err := NewClient(filepath.Dir(path)).Status(t.Context()); err != nil || time.Since(began) > requestTimeout {
		t.Errorf("root after %s: %v", time.Since(began), err)
	}
	served := 0
	for _, f := range conns {
		if n, _ := f.Read(make([]byte, 1)); n == 1 {
			served++
		}
	}
	if served == 0 || served > maxOfMember {
		t.Errorf("%d of %d connections are served", served, len(conns))
	}
}
