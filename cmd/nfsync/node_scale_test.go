package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The bounds of TestNodeScale: MiB, how much longer twice as many may take (the best of some
// runs, so that a busy machine does not fail it), and the lines of a text in which all
// changes are alike.
const (
	maxNodePeak  = 105
	maxTwice     = 3
	maxNodeLines = 20
)

// TestNodeScale plans for a node with very many containers, and prints what that takes. What is
// alike for all of them is shown once, unless it is asked for in full.
func TestNodeScale(t *testing.T) {
	dir := t.TempDir()
	policy := filepath.Join(dir, "policy.yaml")
	write := fileWriter(t, dir)
	write("policy.yaml", `{apiVersion: nfsync.dev/v1alpha1, kind: ContainerPolicy, metadata: {name: a}, spec:
  {conntrack: {timeouts: {generic: 5m, tcpEstablished: 2h, udp: 45s, udpStream: 3m}}}}`)
	plan := func(args ...string) (out string, peak int, cpu time.Duration) {
		cmd := exec.Command("nfsync", append([]string{"plan", policy, "--snapshot"}, args...)...)
		cmd.Env = append(os.Environ(), "STATE_DIRECTORY="+filepath.Join(dir, "state"))
		var stdout bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, os.Stderr
		peak = runPeak(t, cmd)
		if code := cmd.ProcessState.ExitCode(); code != exitOK {
			t.Fatalf("exit code %d", code)
		}
		return stdout.String(), peak, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	best := map[int]time.Duration{}
	for _, n := range []int{10_000, 20_000} {
		snapshot := write(fmt.Sprintf("%d.json", n), fourTimeouts(n))
		best[n] = time.Hour
		for range 3 {
			out, peak, cpu := plan(snapshot)
			best[n] = min(best[n], cpu)
			if lines := strings.Count(out, "\n"); lines > maxNodeLines || !strings.Contains(out, fmt.Sprintf("%d changes", 4*n)) {
				t.Errorf("%d lines: %.500s", lines, out)
			}
			if n == 10_000 && peak > maxNodePeak {
				t.Errorf("%d containers take %d MiB, more than %d", n, peak, maxNodePeak)
			}
			t.Logf("%d containers: %.2fs of the processor, %d MiB", n, cpu.Seconds(), peak)
		}
	}
	if best[20_000] > maxTwice*best[10_000] {
		t.Errorf("10,000 containers take %s, 20,000 take %s", best[10_000], best[20_000])
	}
	out, peak, cpu := plan(filepath.Join(dir, "10000.json"), "--full")
	t.Logf("in full: %.2fs of the processor, %d MiB", cpu.Seconds(), peak)
	if lines := strings.Count(out, "conntrack.timeouts.udp "); lines != 10_000 {
		t.Errorf("%d of 10,000 containers are listed in full", lines)
	}
}

// fourTimeouts returns the snapshot of a node with many containers and four facts of each, as
// JSON.
func fourTimeouts(containers int) string {
	var b strings.Builder
	b.WriteString(`{"apiVersion":"nfsync.dev/v1alpha1","kind":"NodeSnapshot","node":{"name":"hn-1"},"takenAt":"2026-01-31T12:00:00Z","bootID":"b","kernel":{"release":"6.18","machine":"x86_64"},
"capabilities":{"latches":"no","masks":false,"bucketStep":512,"legacyTables":false},"modules":{"support":"none","complete":true,"list":[]},"host":{"facts":[]},"containers":[`)
	for i := range containers {
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, `{"runtime":"netns","id":"web-%[1]d","name":"web-%[1]d","state":"running","instance":"2f7c/4:%[1]d","maxScope":"node","facts":[
{"key":"conntrack.timeouts.generic","live":600},{"key":"conntrack.timeouts.tcpEstablished","live":432000},{"key":"conntrack.timeouts.udp","live":30},{"key":"conntrack.timeouts.udpStream","live":120}],
"rules":{"tables":[]},"tracking":{"state":"off","evidence":"no rule tracks"},"count":0,"keepers":{"level":"nobody","limit":"nobody"}}`, i+1)
	}
	return b.String() + "]}"
}
