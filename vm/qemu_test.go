//go:build vm

package vm_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// bootTimeout bounds one boot with all its cases.
const bootTimeout = 20 * time.Minute

// The marks that the machine writes to its serial console for this test, each on
// its own line.
const (
	markBegin = "@@ begin "
	markEnd   = "@@ end "  // CASE STATUS
	markCut   = "@@ cut"   // cut the power now
	markCopy  = "@@ copy " // NAME: copy the disk as a power cut would leave it, then answer with a line
)

// outcome is the result of one case in one boot.
type outcome struct {
	output string
	ended  bool
	status string
	cut    bool
	took   time.Duration
}

// firstSlot is the PCI slot of the machine's first disk. A slot has eight disks.
const firstSlot = 4

// boot runs one machine to its end and returns the outcomes of its cases. It copies
// the machine's disk when the machine asks for that. The machine has the copies of
// the previous boot as further disks.
func boot(t *testing.T, kernel, initramfs string, disk *disk, words string) map[string]outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootTimeout)
	defer cancel()
	args := []string{
		"-accel", "tcg", "-cpu", "max", "-m", "1024", "-nographic", "-nodefaults", "-no-reboot", "-serial", "stdio",
		"-kernel", kernel, "-initrd", initramfs,
		"-append", "console=ttyS0 panic=-1 quiet loglevel=1 mitigations=off no_timer_check " + words,
	}
	// cache=unsafe: the power fails only in the machine, so the file need not be
	// synced on this one.
	for i, path := range append([]string{disk.path}, disk.take()...) {
		args = append(args, "-drive", fmt.Sprintf("file=%s,format=raw,cache=unsafe,if=none,id=d%d", path, i),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=d%d,serial=disk%d,addr=%#x.%d,multifunction=on", i, i, firstSlot+i/8, i%8))
	}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("cannot start the machine: %v", err)
	}
	on := requests{
		cut: func() { _ = cmd.Process.Kill() },
		copy: func(name string) {
			if err := disk.copy(cmd.Process, name); err != nil {
				t.Errorf("cannot copy the disk at %s: %v", name, err)
			}
			_, _ = io.WriteString(in, "\n") // a machine that has ended needs no answer
		},
	}
	results, tail := follow(out, on)
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || len(results) == 0 {
		t.Fatalf("the machine did not run: %v\n%s\n%s", err, stderr.String(), tail)
	}
	if ctx.Err() != nil {
		t.Errorf("the machine was not done after %v", bootTimeout)
	}
	return results
}

// requests are called when the machine asks for a power cut, or for a copy of its
// disk.
type requests struct {
	cut  func()
	copy func(name string)
}

// follow reads the machine's console until the machine ends. It returns the outcomes
// of the cases, and the output that belongs to no case.
func follow(r io.Reader, on requests) (results map[string]outcome, tail string) {
	results = map[string]outcome{}
	var name string
	var current outcome
	var began time.Time
	var rest strings.Builder
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		if at := strings.Index(line, "@@ "); at > 0 { // after the firmware's control sequences
			line = line[at:]
		}
		switch {
		case strings.HasPrefix(line, markBegin):
			name, current, began = strings.TrimPrefix(line, markBegin), outcome{}, time.Now()
		case strings.HasPrefix(line, markEnd):
			var ended string
			_, _ = fmt.Sscan(strings.TrimPrefix(line, markEnd), &ended, &current.status)
			current.ended, current.took = true, time.Since(began)
			results[ended], name = current, ""
		case line == markCut:
			current.cut = true
			results[name] = current
			on.cut()
		case strings.HasPrefix(line, markCopy):
			on.copy(strings.TrimPrefix(line, markCopy))
		case name != "":
			current.output += line + "\n"
			results[name] = current
		default:
			rest.WriteString(line + "\n")
		}
	}
	return results, rest.String()
}

// judge fails the test unless the case has passed or, before its last boot, has
// asked for a power cut.
func (o outcome) judge(t *testing.T, last bool) {
	t.Helper()
	switch {
	case o.cut && !last:
		return
	case !o.ended:
		t.Errorf("the machine ended before the case did\n%s", o.output)
	case o.status != "0":
		t.Errorf("it failed\n%s", o.output)
	case testing.Verbose():
		t.Logf("%v\n%s", o.took.Round(time.Second/10), o.output)
	}
}
