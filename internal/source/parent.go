package source

import (
	"bytes"
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
)

// childVerb is the only argument of a child.
const childVerb = "fetch-child"

// watchInterval is short, since inflating can take some hundred MiB a second.
const watchInterval = 10 * time.Millisecond

// maxAnswer bounds the output of a child, far above what it needs.
const maxAnswer = 2 * maxPolicies

// fetchOne fetches from one URL within its time.
func fetchOne(ctx context.Context, cfg Config, u string, last []Position, accept string) (Revision, error) {
	limited, cancel := context.WithTimeoutCause(ctx, cfg.Timeout, errTimeout)
	defer cancel()
	cfg.URLs = []string{u}
	req := request{Config: cfg, Last: positionsAt(last, u), Accept: accept}
	_, err := os.Lstat(cacheDir(cfg.Dir, u))
	cached := err == nil

	c, err := runChild(limited, req)
	if died := (*deathError)(nil); errors.As(err, &died) && cached && limited.Err() == nil {
		// The clone may have killed it.
		req.Fresh = true
		c, err = runChild(limited, req)
		c.revision.Warnings = append(c.revision.Warnings, recreated+died.why)
	}
	if limited.Err() != nil && !c.ended {
		err = fmt.Errorf("%w: nothing final within %s (while %s)", errTimeout, cfg.Timeout, c.phase)
	}
	switch {
	case err != nil:
		return Revision{}, &FetchError{URL: u, Err: err}
	case c.failure != nil:
		return Revision{}, c.failure.err(u)
	}
	slices.SortFunc(c.revision.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return c.revision, nil
}

// recreated begins the warning about a clone that could not be used.
const recreated = "the clone was recreated: "

// deathError is the error for a child that ended without an answer.
type deathError struct{ why string }

func (e *deathError) Error() string { return e.why }

// answer collects the messages of a child.
type answer struct {
	phase    string
	revision Revision
	failure  *failure
	ended    bool // the answer is complete
}

// childEnded is called with the peak memory, in bytes, of a child that has ended. Tests
// set it.
var childEnded = func(int64) {}

// runChild starts a child for a request and kills it when ctx ends or when it takes too
// much memory.
func runChild(ctx context.Context, req request) (answer, error) {
	a := answer{phase: "starting"}
	// /proc/self/exe stays this program when its file is replaced by an update.
	cmd := exec.CommandContext(ctx, "/proc/self/exe", childVerb)
	cmd.Args[0] = os.Args[0]
	// In its own process group, so that the parent handles an interrupt of the terminal.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	var said noise
	cmd.Stderr = &said
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
	w := watch(cmd.Process)
	// The pipe stays open while this process lives; the child ends when it closes.
	sent := json.NewEncoder(stdin).Encode(req)
	heard := a.listen(stdout)
	if heard != nil {
		_ = cmd.Process.Kill()
	}
	w.stop()
	_ = stdin.Close()
	ended := cmd.Wait()
	childEnded(w.peak.Load())
	switch {
	case a.ended:
		return a, nil
	case w.exceeded.Load() || said.outOfMemory():
		return a, &deathError{fmt.Sprintf("it takes more than %d MiB of memory to hold what the server sends, and was stopped (while %s)", maxResident>>20, a.phase)}
	case ended == nil || heard != nil:
		return a, &deathError{fmt.Sprintf("the process that fetches ended without an answer (while %s): %v", a.phase, errors.Join(sent, heard))}
	}
	return a, &deathError{clean(fmt.Sprintf("the process that fetches ended (while %s): %v: %s", a.phase, ended, said.first()))}
}

// listen reads the messages of the child until the answer is complete.
func (a *answer) listen(r io.Reader) error {
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
		case m.Revision != nil: // the first one, or one more after a damaged cache
			a.revision = *m.Revision
		case m.File != nil:
			a.revision.Files = append(a.revision.Files, *m.File)
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

// watcher kills a process whose resident memory grows too large.
type watcher struct {
	peak       atomic.Int64 // bytes
	exceeded   atomic.Bool
	done, over chan struct{}
}

func watch(p *os.Process) *watcher {
	w := &watcher{done: make(chan struct{}), over: make(chan struct{})}
	go func() {
		defer close(w.over)
		tick := time.NewTicker(watchInterval)
		defer tick.Stop()
		for {
			select {
			case <-w.done:
				return
			case <-tick.C:
			}
			if w.readPeak(p.Pid); w.peak.Load() > maxResident {
				w.exceeded.Store(true)
				_ = p.Kill()
				return
			}
		}
	}()
	return w
}

// stop must be called before the process is waited for: until then nothing else has its
// number.
func (w *watcher) stop() {
	close(w.done)
	<-w.over
}

// readPeak reads the peak resident memory of a process: VmHWM of its status, proc(5).
// (The maximum that wait4 returns includes that of the process that forked it.)
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

// noise stores the beginning of the standard error of a child: Go writes there why a
// process dies.
type noise struct{ b bytes.Buffer }

func (n *noise) Write(p []byte) (int, error) {
	n.b.Write(p[:min(len(p), 4096-min(n.b.Len(), 4096))])
	return len(p), nil
}

func (n *noise) first() string {
	line, _, _ := strings.Cut(strings.TrimSpace(n.b.String()), "\n")
	return line
}

// outOfMemory matches the message of the Go runtime when the kernel refuses it memory.
func (n *noise) outOfMemory() bool {
	said := n.b.String()
	return slices.ContainsFunc([]string{"out of memory", "cannot allocate memory", "failed to create new OS thread", "pthread_create failed"},
		func(s string) bool { return strings.Contains(said, s) })
}
