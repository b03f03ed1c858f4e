package vz

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// Timeouts bound the runs of programs. A zero one is the default.
type Timeouts struct {
	List    time.Duration // of listing; 15 seconds
	Set     time.Duration // of saving a level; 30 seconds
	Restart time.Duration // of a restart; 10 minutes
}

const (
	listTimeout    = 15 * time.Second
	setTimeout     = 30 * time.Second
	restartTimeout = 10 * time.Minute
)

const (
	maxOutput = 8 << 20  // bytes; more than a list of a thousand containers has
	maxStderr = 64 << 10 // bytes
	// outputDelay bounds the wait for the output of a program that has ended, while a child
	// of it still has the output open.
	outputDelay = time.Second
)

// The names of the programs.
const (
	prlctl = "prlctl"
	vzctl  = "vzctl"
	vzlist = "vzlist"
)

var programs = []string{prlctl, vzctl, vzlist}

var programDirs = []string{"bin", "sbin", "usr/bin", "usr/sbin"}

// program returns the path by which to run a program below the root; empty if it does not
// exist. A link is followed as on the node. A link that dangles there is followed as nfsync
// sees it: it may name a wrapper for an nfsync that sees the node from outside.
func (t tree) program(name string) string {
	for _, dir := range programDirs {
		entry := filepath.Join(string(t), dir, name)
		if inside, err := t.resolve("/" + dir + "/" + name); err == nil && isProgram(inside) && !sameFile(inside, entry) {
			return inside
		}
		if isProgram(entry) {
			return entry // by its own name, on which the behaviour of some programs depends
		}
	}
	return ""
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// notFound returns the error that none of these programs exists.
func (t tree) notFound(names ...string) error {
	return fmt.Errorf("cannot find %s in %s below %s: install it, or set --vz-root to the root directory of the node",
		strings.Join(names, " or "), strings.Join(programDirs, ", "), string(t))
}

// errTooMuch ends a program that prints more than maxOutput.
var errTooMuch = errors.New("it printed too much")

// run runs a program of the node and returns its output. The program has its own process
// group, which is killed, with all that the program has started, at the timeout or the end
// of the context. Its standard error counts only if it fails: prlctl warns on every
// success.
func run(ctx context.Context, timeout time.Duration, path string, args ...string) ([]byte, error) {
	return runWith(ctx, nil, timeout, path, args...)
}

// runChange runs a program that changes a container. It and all that it starts inherit
// files, if there are any: if nfsync is killed, the next one can see that they still work.
func (r Runtime) runChange(ctx context.Context, timeout time.Duration, path string, args ...string) error {
	var files []*os.File
	if r.Inherit != nil {
		files = r.Inherit()
	}
	_, err := runWith(ctx, files, timeout, path, args...)
	return err
}

// runWith is run, with files that the program inherits.
func runWith(ctx context.Context, files []*os.File, timeout time.Duration, path string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s", timeout))
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), isNotInherited), "LC_ALL=C")
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = outputDelay
	stdout := &bounded{left: maxOutput, full: func() { stop(errTooMuch) }}
	stderr := &bounded{left: maxStderr}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.ExtraFiles = files
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it exited with 0, and everything that it wrote was read
	}
	cause := context.Cause(ctx)
	switch {
	case err == nil && !errors.Is(cause, errTooMuch):
		return stdout.data.Bytes(), nil
	case cause != nil:
		err = cause
	}
	return nil, &runError{program: filepath.Base(path), args: args, err: err, message: firstLine(stderr.data.Bytes())}
}

// isNotInherited reports whether a variable is not for programs: it sets the language of messages,
// or is between systemd and the agent (sd_notify(3), sd_watchdog_enabled(3)). What a container
// inherits of these would speak for the agent.
func isNotInherited(env string) bool {
	return slices.ContainsFunc([]string{"LC_", "LANG", "NOTIFY_SOCKET=", "WATCHDOG_", "INVOCATION_ID=", "JOURNAL_STREAM="},
		func(prefix string) bool { return strings.HasPrefix(env, prefix) })
}

// bounded stores the first bytes that are written to it. It does not embed the buffer, since
// io.Copy would call ReadFrom of the buffer, which has no bound.
type bounded struct {
	data bytes.Buffer
	left int
	full func() // called when there is more; nil: the rest is discarded
}

func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.left -= n
	b.data.Write(p[:n])
	if n < len(p) && b.full != nil {
		b.full()
	}
	return len(p), nil
}

// runError is the error of a program.
type runError struct {
	program string
	args    []string
	err     error
	message string // one line of its standard error
}

// Error returns the program and its verb, the exit status and its meaning, and the message.
func (e *runError) Error() string {
	s := e.program
	if len(e.args) > 0 && !strings.HasPrefix(e.args[0], "-") {
		s += " " + e.args[0]
	}
	s += ": " + e.reason()
	if e.message != "" {
		s += ": " + e.message
	}
	return s
}

func (e *runError) Unwrap() error { return e.err }

// Is reports whether the error is nf.ErrBusy: the container is locked, or frozen by another
// operation.
func (e *runError) Is(target error) bool {
	code := e.code()
	return target == nf.ErrBusy && (code == exitLocked || code == exitFrozen && e.program == prlctl)
}

// code returns the exit status; -1 if there is none.
func (e *runError) code() int {
	if exit, ok := errors.AsType[*exec.ExitError](e.err); ok {
		return exit.ExitCode()
	}
	return -1
}

// reason returns the exit status and its meaning, or why there is none.
func (e *runError) reason() string {
	code := e.code()
	if code < 0 {
		return e.err.Error()
	}
	if meaning := exitMeaning(e.program, code); meaning != "" {
		return fmt.Sprintf("exit %d (%s)", code, meaning)
	}
	return fmt.Sprintf("exit %d", code)
}

// firstLine returns the first line of a program's messages. A notice that a verb is
// deprecated counts only if there is no other line.
func firstLine(stderr []byte) string {
	first := ""
	for line := range strings.Lines(string(stderr)) {
		line = strings.TrimSpace(strings.Map(printable, strings.ToValidUTF8(line, "\uFFFD")))
		if line == "" {
			continue
		}
		if !strings.Contains(strings.ToLower(line), "deprecated") {
			return shorten(line)
		}
		if first == "" {
			first = line
		}
	}
	return shorten(first)
}

func printable(c rune) rune {
	if unicode.IsControl(c) {
		return ' '
	}
	return c
}

func shorten(line string) string {
	const maxRunes = 300
	if r := []rune(line); len(r) > maxRunes {
		return string(r[:maxRunes]) + "…"
	}
	return line
}
