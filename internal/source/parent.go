package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/policytree"
)

// childVerb is the only argument of a child.
const childVerb = "fetch-child"

// watchInterval is short, because inflating can allocate hundreds of MiB in a second.
const watchInterval = 10 * time.Millisecond

// maxAnswer bounds the output of a child, far above what it needs.
const maxAnswer = 2 * policytree.MaxPolicies

// fetchOne fetches from one URL within cfg.Timeout.
func fetchOne(ctx context.Context, cfg Config, u string, last []Position, accept string) (Revision, error) {
	limited, cancel := context.WithTimeoutCause(ctx, cfg.Timeout, errTimeout)
	defer cancel()
	cfg.URLs = []string{u}
	req := request{Config: cfg, Last: positionsAt(last, u), Accept: accept}
	_, err := os.Lstat(cacheDir(cfg.Dir, u))
	cached := err == nil

	c, err := runChild(limited, req)
	if died, ok := errors.AsType[*deathError](err); ok && cached && limited.Err() == nil {
		// Reading the clone may have killed it.
		req.IgnoreClone = true
		c, err = runChild(limited, req)
		c.revision.Warnings = append(c.revision.Warnings, recreated+died.why)
	}
	if limited.Err() != nil && !c.ended {
		err = fmt.Errorf("%w: stopped after %s (while %s); --timeout and source.timeout set the time", errTimeout, cfg.Timeout, c.phase)
	}
	switch {
	case err != nil:
		return Revision{}, &FetchError{URL: nf.PublicURL(u), Err: err}
	case c.failure != nil:
		return Revision{}, c.failure.err(nf.PublicURL(u))
	}
	slices.SortFunc(c.revision.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return c.revision, nil
}

// recreated begins the warning about a clone that could not be used.
const recreated = "the clone was recreated: "

// deathError is the error for a child that ended without an answer.
type deathError struct{ why string }

func (e *deathError) Error() string { return e.why }

// answer holds what a child has written.
type answer struct {
	phase    string
	revision Revision
	nodes    []nodeFile
	failure  *failure
	ended    bool // the answer is complete
}

// childEnded is called with the peak memory of each child, in bytes, when it has ended.
// Tests set it.
var childEnded = func(int64) {}

// runChild runs a child for a request. It kills the child when ctx ends or when the child
// takes too much memory.
func runChild(ctx context.Context, req request) (answer, error) {
	a := answer{phase: "starting"}
	// /proc/self/exe stays this program when its file is replaced by an update.
	cmd := exec.CommandContext(ctx, "/proc/self/exe", childVerb)
	cmd.Args[0] = os.Args[0]
	// An interrupt from the terminal must reach only the parent.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	stderr := stderrHead{prefixWriter{most: 4096}}
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return a, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return a, err
	}
	if err := cmd.Start(); err != nil {
		return a, fmt.Errorf("cannot start the process that fetches: %w", err)
	}
	most := req.memory() * maxResident
	w := watch(cmd.Process, most)
	// stdin stays open until the answer is read: the child exits when it closes.
	writeErr := json.NewEncoder(stdin).Encode(req)
	readErr := a.read(stdout)
	if readErr != nil {
		_ = cmd.Process.Kill()
	}
	w.stop()
	_ = stdin.Close()
	waitErr := cmd.Wait()
	childEnded(w.peak.Load())
	switch {
	case a.ended:
		return a, nil
	case w.exceeded.Load() || stderr.outOfMemory() || hadNoStack(cmd.ProcessState):
		return a, &deathError{fmt.Sprintf("the fetch takes more than %d MiB of memory and was stopped (while %s)", most>>20, a.phase)}
	case waitErr == nil || readErr != nil:
		return a, &deathError{fmt.Sprintf("the process that fetches ended without an answer (while %s): %v", a.phase, errors.Join(writeErr, readErr))}
	}
	return a, &deathError{clean(fmt.Sprintf("the process that fetches ended (while %s): %v: %s", a.phase, waitErr, stderr.firstLine()))}
}

// hadNoStack reports whether the kernel ended a process with SIGSEGV: under a limit of its
// memory that is what comes of a stack that it was refused. The faults of Go code are panics.
func hadNoStack(s *os.ProcessState) bool {
	status, ok := s.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGSEGV
}

// read reads the messages of the child until the answer is complete.
func (a *answer) read(r io.Reader) error {
	d := json.NewDecoder(io.LimitReader(r, maxAnswer))
	for !a.ended {
		var m message
		err := d.Decode(&m)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case m.Revision != nil: // once more if the clone was found to be damaged
			a.revision = *m.Revision
		case m.File != nil:
			a.revision.Files = append(a.revision.Files, *m.File)
		case m.Node != nil:
			a.nodes = append(a.nodes, *m.Node)
		case len(m.Unread) > 0:
			a.revision.Unread = m.Unread
		case m.Error != nil:
			a.failure, a.ended = m.Error, true
		case m.End:
			a.ended = true
		default:
			a.phase = m.Phase
		}
	}
	return nil
}

// watcher kills a process whose resident memory exceeds a bound.
type watcher struct {
	peak          atomic.Int64 // bytes
	exceeded      atomic.Bool
	done, stopped chan struct{}
}

// watch bounds the resident memory of a process, in bytes.
func watch(p *os.Process, most int64) *watcher {
	w := &watcher{done: make(chan struct{}), stopped: make(chan struct{})}
	go func() {
		defer close(w.stopped)
		tick := time.NewTicker(watchInterval)
		defer tick.Stop()
		for {
			select {
			case <-w.done:
				return
			case <-tick.C:
			}
			if w.readPeak(p.Pid); w.peak.Load() > most {
				w.exceeded.Store(true)
				_ = p.Kill()
				return
			}
		}
	}()
	return w
}

// stop stops the watcher. It must be called before the process is waited for: after that
// another process may have its number.
func (w *watcher) stop() {
	close(w.done)
	<-w.stopped
}

// readPeak updates peak from VmHWM in the status of the process (proc(5)). The maximum that
// wait4 returns is not used: it includes the memory of the process that forked it.
func (w *watcher) readPeak(pid int) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return
	}
	_, after, ok := strings.Cut(string(b), "\nVmHWM:")
	if !ok {
		return // it has ended
	}
	fields := strings.Fields(after)
	if len(fields) < 2 || fields[1] != "kB" {
		return
	}
	if kib, err := strconv.ParseInt(fields[0], 10, 64); err == nil {
		w.peak.Store(max(w.peak.Load(), kib<<10))
	}
}

// stderrHead stores the first bytes of a child's standard error, to which the Go runtime
// writes why it ends the process.
type stderrHead struct{ prefixWriter }

func (h *stderrHead) firstLine() string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(h.b)), "\n")
	return line
}

// outOfMemory reports whether the Go runtime ended because the kernel refused it memory.
func (h *stderrHead) outOfMemory() bool {
	return slices.ContainsFunc([]string{"out of memory", "cannot allocate memory", "failed to create new OS thread", "pthread_create failed"},
		func(s string) bool { return strings.Contains(string(h.b), s) })
}
