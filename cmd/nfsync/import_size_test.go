package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

// manyContainers writes the snapshot of a node whose containers all have another limit and many timeouts, and
// returns its path.
func manyContainers(t *testing.T, count int) string {
	t.Helper()
	text, err := os.ReadFile("../../examples/snapshots/hn-7.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for d := range spec.Documents(spec.File{Name: "hn-7.yaml", Data: text}) {
		s, wrong := d.Snapshot()
		if len(wrong) > 0 {
			t.Fatal(wrong)
		}
		var out bytes.Buffer
		if err := view.Snapshots.Write(&out, view.FormatJSON, s, view.Options{}); err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		first := doc["containers"].([]any)[0].(map[string]any)
		var list []any
		for i := range count {
			c := maps.Clone(first)
			c["name"], c["id"], c["uuid"] = fmt.Sprintf("c%d", i), fmt.Sprint(100+i), fmt.Sprintf("41c0a6de-0b6f-4b58-8a0d-%012d", i)
			facts := []any{map[string]any{"key": "conntrack.max", "live": 1000 + i}}
			for _, timeout := range nf.TimeoutNames()[:20] {
				facts = append(facts, map[string]any{"key": nf.TimeoutKey(timeout), "live": 100_001})
			}
			c["facts"] = facts
			list = append(list, c)
		}
		doc["containers"] = list
		data, err := json.Marshal(doc)
		file := filepath.Join(t.TempDir(), "many.json")
		if err == nil {
			err = os.WriteFile(file, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	t.Fatal("no snapshot")
	return ""
}

// TestImportSize: import writes no policies that are larger than validate takes.
func TestImportSize(t *testing.T) {
	snapshot := manyContainers(t, 1600)
	dir := t.TempDir()
	run := func(args ...string) (code, printed int, stderr string) {
		var out, err bytes.Buffer
		cmd := exec.Command("nfsync", args...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &err
		_ = cmd.Run() // the exit code tells
		return cmd.ProcessState.ExitCode(), out.Len(), err.String()
	}
	code, _, stderr := run("import", "--snapshot", snapshot, "--out", "one/one.yaml")
	if _, err := os.Stat(filepath.Join(dir, "one")); code != exitError || !strings.Contains(stderr, "larger than 1 MiB") || !strings.Contains(stderr, "--out DIR/") || err == nil {
		t.Errorf("to a file: %d, %v: %s", code, err, stderr)
	}
	code, printed, stderr := run("import", "--snapshot", snapshot)
	if code != exitOK || printed < 1<<20 || !strings.Contains(stderr, "larger than 1 MiB") || !strings.Contains(stderr, "--out DIR/") {
		t.Errorf("printed: %d, %d bytes: %s", code, printed, stderr)
	}
	if code, _, stderr = run("import", "--snapshot", snapshot, "--out", "many"); code != exitOK || stderr != "" {
		t.Errorf("to a directory: %d: %s", code, stderr)
	}
	if code, _, stderr = run("validate", "many"); code != exitOK {
		t.Errorf("the directory is not valid: %d: %s", code, stderr)
	}
}
