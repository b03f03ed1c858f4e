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

func orDefault(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

const (
	// maxOutput is more than a thousand containers need, in bytes.
	maxOutput = 8 << 20
	maxStderr = 64 << 10
	// lingering is how long to wait for the output of a program that has ended while a
	// child holds the output open.
	lingering = time.Second
)

// The names of the programs.
const (
	prlctl = "prlctl"
	vzctl  = "vzctl"
	vzlist = "vzlist"
)

var programDirs = []string{"bin", "sbin", "usr/bin", "usr/sbin"}

// program returns the path by which to run a program below the root; empty if it does not
// exist. A link is followed as on the node. A link that leads nowhere there is run as it
// is: it may be a wrapper for an nfsync that sees the node from outside.
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

// lacks returns the error that none of these programs exists, with where they were
// searched.
func (t tree) lacks(names ...string) error {
	return fmt.Errorf("cannot find %s in %s below %s: install what is missing, or name where it is with --vz-root",
		strings.Join(names, " or "), strings.Join(programDirs, ", "), string(t))
}

// errTooMuch ends a program that prints more than maxOutput.
var errTooMuch = errors.New("it printed too much")

// run runs a program of the node and returns its output. The program has its own process
// group, which is killed, with all that the program has started, at the timeout or the end
// of the context. Its standard error counts only if it fails: prlctl warns on every
// success.
func run(ctx context.Context, timeout time.Duration, path string, args ...string) ([]byte, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	late := fmt.Errorf("no answer within %s", timeout)
	timed, cancel := context.WithTimeoutCause(ctx, timeout, late)
	defer cancel()
	cmd := exec.CommandContext(timed, path, args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), isLocale), "LC_ALL=C")
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = lingering
	stdout := &bounded{left: maxOutput, full: func() { stop(errTooMuch) }}
	stderr := &bounded{left: maxStderr}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it exited with 0, and everything that it wrote was read
	}
	cause := context.Cause(timed)
	switch {
	case err == nil && !errors.Is(cause, errTooMuch):
		return stdout.kept.Bytes(), nil
	case cause != nil:
		err = cause
	}
	return nil, &runError{program: filepath.Base(path), args: args, err: err, said: firstLine(stderr.kept.Bytes())}
}

// isLocale reports whether a variable sets the language of messages.
func isLocale(env string) bool {
	return strings.HasPrefix(env, "LC_") || strings.HasPrefix(env, "LANG")
}

// bounded stores the first bytes that are written to it. It has no ReadFrom, which would
// have no bound.
type bounded struct {
	kept bytes.Buffer
	left int
	full func() // called when there is more; nil: the rest is discarded
}

func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.left -= n
	b.kept.Write(p[:n])
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
	said    string // one line of its standard error
}

// Error returns the program with its verb, the reason with the meaning of its exit status,
// and its message.
func (e *runError) Error() string {
	s := e.program
	if len(e.args) > 0 && !strings.HasPrefix(e.args[0], "-") {
		s += " " + e.args[0]
	}
	s += ": " + e.reason()
	if e.said != "" {
		s += ": " + e.said
	}
	return s
}

func (e *runError) Unwrap() error { return e.err }

// code returns the exit status; -1 if there is none.
func (e *runError) code() int {
	var exit *exec.ExitError
	if errors.As(e.err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

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

// firstLine returns the first line of a program's messages after the notice that a verb is
// deprecated.
func firstLine(said []byte) string {
	first := ""
	for line := range strings.Lines(string(said)) {
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
	const most = 300
	if r := []rune(line); len(r) > most {
		return string(r[:most]) + "…"
	}
	return line
}
