package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"nfsync.dev/nfsync/bench/bare"
)

// runner is what is measured for a row.
type runner struct {
	row *row
	// own is the row of what the program has measured itself, without its start; it may be nil.
	own *row
	// most is the most runs, of what is slow; 0: as many as the others.
	most   int
	before func() error // not measured; may be nil
	run    func() (result, error)
	after  func() error // checks what was done; not measured; may be nil
}

// result is a run, with what a program that measures itself has said.
type result struct {
	whole sample
	own   sample
}

// measure runs the runners in turn, round after round: what disturbs the machine meanwhile
// disturbs all alike.
func (b *bench) measure(rounds int, runners ...runner) error {
	for round := range rounds {
		for _, r := range runners {
			if r.most > 0 && round >= r.most {
				continue
			}
			if err := b.measureOnce(r); err != nil {
				return fmt.Errorf("%s, %s: %w", r.row.what, r.row.scene, err)
			}
		}
	}
	for _, r := range runners {
		b.say("  %-58s %-44s %s", r.row.what, r.row.scene, duration(time.Duration(r.row.wall())))
	}
	return nil
}

func (b *bench) measureOnce(r runner) error {
	if err := b.ctx.Err(); err != nil {
		return err
	}
	if r.before != nil {
		if err := r.before(); err != nil {
			return err
		}
	}
	got, err := r.run()
	if err != nil {
		return err
	}
	r.row.samples = append(r.row.samples, got.whole)
	if r.own != nil {
		r.own.samples = append(r.own.samples, got.own)
	}
	if r.after != nil {
		return r.after()
	}
	return nil
}

// command is a program to be run.
type command struct {
	args  []string
	env   []string
	dir   string
	codes []int // exit codes that are expected; none: 0
	own   bool  // it prints what it has measured of itself
}

// program returns a function that runs a command and measures it.
func (b *bench) program(c command) func() (result, error) {
	return func() (result, error) { return b.start(c) }
}

// start runs a command to its end.
func (b *bench) start(c command) (result, error) {
	stdout, err := os.Create(filepath.Join(scenes, "stdout"))
	if err != nil {
		return result{}, err
	}
	defer stdout.Close()
	stderr, err := os.Create(filepath.Join(scenes, "stderr"))
	if err != nil {
		return result{}, err
	}
	defer stderr.Close()
	cmd := b.command(c)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	bound, err := ownMemory()
	if err != nil {
		return result{}, err
	}
	began := time.Now()
	err = runLocked(cmd)
	wall := time.Since(began)
	switch {
	case b.ctx.Err() != nil:
		return result{}, b.ctx.Err()
	case cmd.ProcessState == nil || !slices.Contains(append(c.codes, 0), cmd.ProcessState.ExitCode()):
		said, _ := os.ReadFile(stderr.Name())
		return result{}, fmt.Errorf("%s: %w: %s", strings.Join(c.args, " "), err, tail(said))
	}
	r := result{whole: sampleOf(wall, cmd.ProcessState, bound)}
	if c.own {
		r.own, err = readOwn(stdout.Name())
	}
	return r, err
}

// command returns a command that ends with the thread that starts it. Its output is dropped.
func (b *bench) command(c command) *exec.Cmd {
	cmd := exec.CommandContext(b.ctx, c.args[0], c.args[1:]...)
	cmd.Dir, cmd.Env = c.dir, append(slices.Clone(b.env), c.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// runLocked runs a command on a thread that lives until the command has ended.
func runLocked(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}

// tail returns the end of what a program has said.
func tail(said []byte) string {
	const most = 2000
	return strings.TrimSpace(string(said[max(0, len(said)-most):]))
}

// ownMemory forgets the most memory that this process has had, and returns what it has now, in
// bytes. The kernel begins the peak of a child with that of its parent (exec_mmap in fs/exec.c).
func ownMemory() (int64, error) {
	const forgetPeak = "5" // proc_pid_clear_refs(5)
	if err := os.WriteFile("/proc/self/clear_refs", []byte(forgetPeak), 0); err != nil {
		return 0, err
	}
	return peakMemory("self")
}

// peakMemory returns the most memory that a running process has had, in bytes (VmHWM in
// proc_pid_status(5)).
func peakMemory(pid string) (int64, error) {
	status, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(after, &kib); err != nil {
		return 0, fmt.Errorf("cannot read the peak of memory of process %s: %w", pid, err)
	}
	return kib << 10, nil
}

// slack is how much more this process may have when it starts a program than it had before.
const slack = 256 << 10

// sampleOf returns what the kernel says of a process that has ended, and of its children.
func sampleOf(wall time.Duration, ended *os.ProcessState, bound int64) sample {
	s := sample{wall: wall, cpu: ended.UserTime() + ended.SystemTime()}
	if usage, ok := ended.SysUsage().(*syscall.Rusage); ok {
		s.peak = usage.Maxrss << 10
		s.atMost = s.peak <= bound+slack
	}
	return s
}

// readOwn reads what a process has measured of itself.
func readOwn(file string) (sample, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return sample{}, err
	}
	var o bare.Own
	if err := json.Unmarshal(text, &o); err != nil {
		return sample{}, fmt.Errorf("cannot read what a process has measured of itself: %w: %s", err, text)
	}
	return sample{wall: o.Wall, cpu: o.CPU}, nil
}
