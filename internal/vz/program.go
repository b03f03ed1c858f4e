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
	List    time.Duration // of what lists; 15 seconds
	Set     time.Duration // of what saves a level; 30 seconds
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
	// lingering is how long a program's output is waited for when it has ended
	// itself and a child of it holds the output open.
	lingering = time.Second
)

// The names of the programs.
const (
	prlctl = "prlctl"
	vzctl  = "vzctl"
	vzlist = "vzlist"
)

var programDirs = []string{"bin", "sbin", "usr/bin", "usr/sbin"}

// program is the path by which to run a program that is below the root; empty
// where it is not there. A link is followed as the node follows it. One that
// leads nowhere there is run as it is: a wrapper that was put in the program's
// place for whoever sees the node from outside.
func (t tree) program(name string) string {
	for _, dir := range programDirs {
		entry := filepath.Join(string(t), dir, name)
		if inside, err := t.resolve("/" + dir + "/" + name); err == nil && isProgram(inside) && !sameFile(inside, entry) {
			return inside
		}
		if isProgram(entry) {
			return entry // by its own name, which tells some programs what to be
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

// lacks says that none of these programs is there, and where they were looked
// for.
func (t tree) lacks(names ...string) error {
	return fmt.Errorf("cannot find %s in %s below %s: install what is missing, or name where it is with --vz-root",
		strings.Join(names, " or "), strings.Join(programDirs, ", "), string(t))
}

// errTooMuch ends a program that prints more than any answer is long.
var errTooMuch = errors.New("it printed too much")

// run runs a program of the node and returns what it printed. It has a process
// group of its own, which is killed, with all that the program has started,
// when the time is over or the context ends. What it says on standard error is
// an error only where it exits with one: prlctl warns on every success.
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

// isLocale tells whether a variable chooses the language of messages.
func isLocale(env string) bool {
	return strings.HasPrefix(env, "LC_") || strings.HasPrefix(env, "LANG")
}

// bounded keeps the first bytes of what is written to it. Write is all that it
// has: a buffer's ReadFrom would know no bound.
type bounded struct {
	kept bytes.Buffer
	left int
	full func() // called when there is more; nil: the rest is dropped
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

// runError is why a program did not do what it was run for.
type runError struct {
	program string
	args    []string
	err     error
	said    string // on standard error, one line of it
}

// Error names the program with its verb, the reason with the meaning of its
// exit status, and what it said.
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

// code is the program's exit status; -1 where it has none.
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

// firstLine is the first line of what a program said that is about what it did:
// the notice that a verb is deprecated comes first and is not.
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
