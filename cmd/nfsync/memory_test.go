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

// maxPeak is the most memory, in MiB, that a document may take that others have made.
const maxPeak = 200

// fileWriter returns a function that writes a file into a directory, and returns its path.
func fileWriter(t *testing.T, dir string) func(name, text string) string {
	return func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
}

// No snapshot and no policy takes more than 200 MiB, whatever is in it.
func TestMemory(t *testing.T) {
	dir := t.TempDir()
	policy := filepath.Join(dir, "policy.yaml")
	write := fileWriter(t, dir)
	write("policy.yaml", `{apiVersion: nfsync.dev/v1alpha1, kind: ContainerPolicy, metadata: {name: a}, spec: {conntrack: {timeouts: {udp: 45s}}}}`)
	const head = `{"apiVersion":"nfsync.dev/v1alpha1","kind":"NodeSnapshot",`
	for name, args := range map[string][]string{
		"10,000 containers": {"plan", policy, "--snapshot", write("large.json", largeSnapshot(10_000))},
		"as YAML":           {"plan", policy, "-o", "yaml", "--snapshot", filepath.Join(dir, "large.json")},
		"as other formats": {"plan", policy, "-o", "text", "-o", "markdown=" + filepath.Join(dir, "plan.md"), "-o", "html=" + filepath.Join(dir, "plan.html"),
			"-o", "junit=" + filepath.Join(dir, "plan.xml"), "-o", "sarif=" + filepath.Join(dir, "plan.sarif"), "--snapshot", filepath.Join(dir, "large.json")},
		"numbers":    {"plan", policy, "--snapshot", write("numbers.json", head+`"x":[`+strings.Repeat("0,", 2<<20)+`0]}`)},
		"mappings":   {"plan", policy, "--snapshot", write("mappings.json", head+`"modules":{"list":[`+strings.Repeat(`{"a":0},`, 1<<20)+`0]}}`)},
		"containers": {"plan", policy, "--snapshot", write("containers.json", head+`"containers":[`+strings.Repeat(`{"facts":[{}]},`, 1<<19)+`{}]}`)},
		"a text":     {"plan", policy, "--snapshot", write("text.json", head+`"x":"`+strings.Repeat("a", 60<<20)+`"}`)},
		"YAML":       {"plan", policy, "--snapshot", write("numbers.yaml", "apiVersion: nfsync.dev/v1alpha1\nkind: NodeSnapshot\nx: ["+strings.Repeat("0,", 4<<20)+"0]\n")},
		"a policy":   {"validate", write("hostile.yaml", "spec: {"+strings.Repeat("a,", 500_000)+"}")},
	} {
		cmd := exec.Command("nfsync", args...)
		cmd.Env = append(os.Environ(), "STATE_DIRECTORY="+filepath.Join(dir, "state"), "GOMEMLIMIT=150MiB")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		peak := runPeak(t, cmd)
		t.Logf("%s: %d MiB, exit code %d", name, peak, cmd.ProcessState.ExitCode())
		if peak > maxPeak || peak == 0 || out.Len() == 0 {
			t.Errorf("%s takes %d MiB, more than %d: %.200s", name, peak, maxPeak, out.String())
		}
	}
}

// runPeak runs a command and returns the most memory that it had, in MiB (VmHWM in proc(5)).
// The rusage of a child begins with the memory of its parent.
func runPeak(t *testing.T, cmd *exec.Cmd) (peak int) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	status := fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the exit code is the caller's matter
		close(ended)
	}()
	for {
		text, _ := os.ReadFile(status)
		if _, after, ok := strings.Cut(string(text), "VmHWM:"); ok {
			var kib int
			if _, err := fmt.Sscan(after, &kib); err == nil {
				peak = max(peak, kib>>10)
			}
		}
		select {
		case <-ended:
			return peak
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// largeSnapshot returns the snapshot of a node with many containers, as JSON.
func largeSnapshot(containers int) string {
	var b strings.Builder
	b.WriteString(`{"apiVersion":"nfsync.dev/v1alpha1","kind":"NodeSnapshot","node":{"name":"hn-1"},"takenAt":"2026-01-31T12:00:00Z","bootID":"b","kernel":{"release":"6.18","machine":"x86_64"},
"capabilities":{"latches":"no","masks":false,"bucketStep":512,"legacyTables":false},"modules":{"support":"none","complete":true,"list":[]},"host":{"facts":[]},"containers":[`)
	for i := range containers {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `{"runtime":"netns","id":"c%06d","name":"c%06d","state":"running","instance":"i%06d","facts":[`, i, i, i)
		for f := range 40 {
			fmt.Fprintf(&b, `{"key":"conntrack.timeouts.key%d","live":%d},`, f, f+30)
		}
		b.WriteString(`{"key":"conntrack.timeouts.udp","live":30}],"rules":{"tables":[]},"tracking":{"state":"off"},"count":0}`)
	}
	return b.String() + "]}"
}
