package vz

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sh runs a shell script as a program.
func sh(ctx context.Context, timeout time.Duration, script string, args ...string) (string, error) {
	out, err := run(ctx, timeout, "/bin/sh", append([]string{"-c", script}, args...)...)
	return string(out), err
}

func TestRun(t *testing.T) {
	for _, test := range []struct{ name, script, out, err string }{
		{"an answer", "echo out", "out\n", ""},
		{"warnings are no failure", "echo 'prlctl set is deprecated' >&2; echo out", "out\n", ""},
		{"no input", "cat; echo end", "end\n", ""},
		{"nothing between systemd and the agent", `echo "${NOTIFY_SOCKET-none} ${WATCHDOG_USEC-none} ${WATCHDOG_PID-none} ${JOURNAL_STREAM-none}"`, "none none none none\n", ""},
		{"one language", `echo "$LC_ALL ${LC_MESSAGES-none} ${LANG-none}"`, "C none none\n", ""},
		{"an error", "echo first >&2; echo second >&2; exit 3", "", "sh: exit 3 (a system call failed): first"},
		{"an error without words", "echo partial; exit 7", "", "sh: exit 7"},
		{"a notice before the error", "echo 'The verb set is deprecated.' >&2; echo >&2; echo why >&2; exit 21", "", "sh: exit 21 (a bad value): why"},
		{"only a notice", "echo 'The verb set is deprecated.' >&2; exit 20", "", "sh: exit 20 (a bad option): The verb set is deprecated."},
		{"control bytes", `printf 'a\033[1mb\377\n' >&2; exit 7`, "", "sh: exit 7: a [1mb\uFFFD"},
		{"a signal", "kill -9 $$", "", "sh: signal: killed"},
		{"endless output", "exec yes", "", "sh: it printed too much"},
		{"endless complaints", "yes why | head -c 1000000 >&2; exit 7", "", "sh: exit 7: why"},
		{"a hang", "echo out; trap '' TERM; exec sleep 1000", "", "sh: no answer within 300ms"},
	} {
		t.Setenv("LANG", "de_DE.UTF-8")
		t.Setenv("LC_MESSAGES", "de_DE.UTF-8")
		for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM"} {
			t.Setenv(name, "x")
		}
		timeout := time.Minute
		if test.name == "a hang" {
			timeout = 300 * time.Millisecond
		}
		out, err := sh(context.Background(), timeout, test.script)
		if out != test.out || (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
			t.Errorf("%s: %q, %v, want %q, %s", test.name, out, err, test.out, test.err)
		}
	}
}

// The children of a program end with it, even if they ignore SIGTERM.
func TestRunEndsTheWholeGroup(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	alive, err := os.OpenFile(pipe, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		_, err := sh(ctx, time.Minute, `trap '' TERM; sh -c 'exec >"$1"; echo; exec sleep 1000' sh "$0" & wait`, pipe)
		ended <- err
	}()
	if err := alive.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	read := func() (int, error) {
		for { // before the child opens the pipe, a read returns io.EOF
			n, err := alive.Read(make([]byte, 1))
			if n > 0 || !errors.Is(err, io.EOF) || ctx.Err() != nil {
				return n, err
			}
		}
	}
	if n, err := read(); n != 1 {
		t.Fatal(n, err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if n, err := read(); !errors.Is(err, io.EOF) {
		t.Errorf("the program's child still runs: %d, %v", n, err)
	}
}

// nfsync does not wait for a child that holds the output open. The result is the output of
// the program itself.
func TestRunDoesNotWaitForTheOutput(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	out, err := sh(context.Background(), time.Minute, `echo out; sleep 1000 & echo $! >"$0"`, pid)
	if out != "out\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	data, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || child <= 1 {
		t.Fatal(child, err)
	}
	if err := unix.Kill(child, unix.SIGKILL); err != nil {
		t.Error(err)
	}
}

func TestRunErrors(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "plain", "")
	for _, path := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "plain")} {
		if _, err := run(context.Background(), time.Minute, path, "list"); err == nil || !strings.HasPrefix(err.Error(), filepath.Base(path)+" list: ") {
			t.Errorf("%s: %v", path, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := sh(ctx, time.Minute, "echo"); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}

// The meanings are those of lib/vzerror.h of libvzctl, and of prlerr2exitcode in
// src/Utils.cpp of prlctl. prlctl passes the statuses of vzctl on.
func TestExitMeanings(t *testing.T) {
	for _, test := range []struct {
		program string
		code    int
		want    string
	}{
		{vzctl, 9, "locked: another operation on the container is under way; the next lap tries again"},
		{prlctl, 9, "locked: another operation on the container is under way; the next lap tries again"},
		{prlctl, 253, "the dispatcher is not running: see prl-disp.service"},
		{prlctl, 1, "a bad option or value"},
		{vzctl, 14, "the container has no configuration file"},
		{vzctl, 21, "a bad value"},
		{vzctl, 253, ""},
		{vzlist, 1, ""},
		{vzlist, 9, ""},
	} {
		if got := exitMeaning(test.program, test.code); got != test.want {
			t.Errorf("%s %d: %q, want %q", test.program, test.code, got, test.want)
		}
	}
	exit := exec.Command("/bin/sh", "-c", "exit 9").Run()
	err := &runError{program: vzctl, args: []string{"set", "101"}, err: exit, message: "Container is currently locked"}
	if got := err.Error(); !strings.HasPrefix(got, "vzctl set: exit 9 (locked: ") || !strings.HasSuffix(got, ": Container is currently locked") {
		t.Error(got)
	}
}

func TestProgramsAreBelowTheRoot(t *testing.T) {
	root := t.TempDir()
	write(t, root, "usr/bin/prlctl", "")
	write(t, root, "sbin/vzctl", "")
	write(t, root, "usr/sbin/vzctl", "")
	link(t, root, "bin", "/usr/bin")
	write(t, root, "usr/local/bin/vzlist", "")
	for name, want := range map[string]string{prlctl: "usr/bin/prlctl", vzctl: "sbin/vzctl", vzlist: ""} {
		if want != "" {
			want = filepath.Join(root, want)
		}
		if got := tree(root).program(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
