package main

import (
	"os"
	"path/filepath"
	"testing"

	"nfsync.dev/nfsync/internal/durable"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/state/statetest"
)

// Whenever the power is cut, a saved plan is the old one or the new one; once
// savePlan has returned, the new one.
func TestSavedPlanOutlivesAPowerCut(t *testing.T) {
	first, second := nf.Plan{ID: "sha256:1", Node: "hn-1"}, nf.Plan{ID: "sha256:2", Node: "hn-1"}
	statetest.PowerCuts(func(disk *statetest.Disk, cut func(string, func()) bool) {
		dir := t.TempDir()
		file := filepath.Join(dir, "today.plan")
		saved := func(p nf.Plan) string {
			if err := savePlan(durable.Writer{Disk: disk}, file, p, []spec.File{{Name: "a.yaml", Data: []byte("{}")}}); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		older := saved(first)
		newer := saved(second)
		saved(first)
		finished := cut(dir, func() { saved(second) })
		text, err := os.ReadFile(file)
		if got := string(text); err != nil || got != newer && (finished || got != older) {
			t.Fatalf("finished %v: %q, %v", finished, got, err)
		}
		if info, err := os.Stat(file); err != nil || finished && info.Mode() != 0o644 {
			t.Fatalf("mode %v, %v", info.Mode(), err)
		}
	})
}
