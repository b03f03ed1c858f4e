package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

var update = flag.Bool("update", false, "write the plans that the tests compare with")

// atRoot runs nfsync where a reader of the documents would: at the root of the
// repository. It returns what it prints, and its exit code.
func atRoot(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command("nfsync", args...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil && len(exit.Stderr) > 0 {
		t.Errorf("nfsync %s: %s", strings.Join(args, " "), exit.Stderr)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// TestExamplePolicies: all of them together are valid, and no two of them
// contradict each other.
func TestExamplePolicies(t *testing.T) {
	if out, code := atRoot(t, "validate", "examples/policies"); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

// TestExampleSnapshots holds the plans of the example policies for the example
// nodes to those that were reviewed, line by line, against the rules.
func TestExampleSnapshots(t *testing.T) {
	for _, file := range exampleSnapshots(t) {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			got, code := atRoot(t, "plan", "examples/policies", "--snapshot", "examples/snapshots/"+name+".yaml")
			if code != exitRefused {
				t.Errorf("exit code %d, want %d", code, exitRefused)
			}
			golden := filepath.Join("testdata", "examples", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func exampleSnapshots(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../examples/snapshots/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d example snapshots: %v", len(files), err)
	}
	return files
}

func exampleSnapshot(t *testing.T, file string) nf.Snapshot {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, found := spec.ParseSnapshot(spec.File{Name: file, Data: data})
	if len(found) > 0 {
		t.Fatalf("%s: %v", file, found)
	}
	return s
}

// TestExampleNodeIsTelling: the Virtuozzo 7 node has a container in each state,
// at each level, and the plan for it each refusal that such a node can have.
func TestExampleNodeIsTelling(t *testing.T) {
	s := exampleSnapshot(t, "../../examples/snapshots/hn-7.yaml")
	if len(s.Containers) != 20 {
		t.Errorf("%d containers, want 20", len(s.Containers))
	}
	states, levels, tracking := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i := range s.Containers {
		c := &s.Containers[i]
		states[c.State] = true
		if c.State == nf.StateRunning {
			levels[c.Fact(nf.KeyLevel).Live.String()] = true
		}
		if c.Tracking != nil {
			tracking[c.Tracking.State] = true
		}
	}
	hasAll(t, "state", states, nf.StateRunning, nf.StatePaused, nf.StateStopped, nf.StateMounted, nf.StateSuspended, "migrating")
	hasAll(t, "level", levels, append(slices.Clone(nf.LevelNames()), "custom(0xc000003)")...)
	hasAll(t, "tracking", tracking, nf.TrackingOn, nf.TrackingOff, nf.TrackingUnknown)

	out, _ := atRoot(t, "plan", "examples/policies", "--snapshot", "examples/snapshots/hn-7.yaml", "-o", "json")
	var plan nf.Plan
	if err := json.Unmarshal([]byte(out), &plan); err != nil {
		t.Fatal(err)
	}
	codes, keys := map[string]bool{}, map[string]bool{}
	for _, r := range plan.Refusals {
		codes[string(r.Code)] = true
	}
	for _, c := range plan.Changes {
		keys[string(c.Key)] = true
	}
	hasAll(t, "refusal", codes, "unobservable", "restore-keeps-level", "conntrack-latched", "restart-required", "above-node", "below-count")
	hasAll(t, "change", keys, "level", "restart", "conntrack.max", "conntrack.timeouts.tcpEstablished", "module/ip6table_nat")
}

func hasAll(t *testing.T, what string, have map[string]bool, want ...string) {
	t.Helper()
	for _, w := range want {
		if !have[w] {
			t.Errorf("there is no %s %s", what, w)
		}
	}
}

// elided matches any number of lines in a document.
const elided = "…"

// TestDocumentedOutputs runs the commands of docs/virtuozzo.md whose output
// stands below them.
func TestDocumentedOutputs(t *testing.T) {
	text, err := os.ReadFile("../../docs/virtuozzo.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```text\n\\$ nfsync (.*?)\n(.*?)```").FindAllSubmatch(text, -1)
	if len(blocks) < 5 {
		t.Fatalf("%d commands with their output", len(blocks))
	}
	for _, block := range blocks {
		out, _ := atRoot(t, strings.Fields(string(block[1]))...)
		if missing := firstMissing(strings.Split(out, "\n"), strings.Split(string(block[2]), "\n")); missing != "" {
			t.Errorf("nfsync %s does not print, at that place, %q", block[1], missing)
		}
	}
}

// firstMissing is the first line of a document's output that is not where the
// real output has it.
func firstMissing(out, shown []string) string {
	free := false // lines may have been left out before this one
	for _, line := range shown[:len(shown)-1] {
		if line == elided {
			free = true
			continue
		}
		i := slices.Index(out, line)
		if i < 0 || i > 0 && !free {
			return line
		}
		out, free = out[i+1:], false
	}
	return ""
}

// TestExampleTests: the tests of the example policies pass.
func TestExampleTests(t *testing.T) {
	for _, dir := range []string{"examples/policies", "examples/repository/policies"} {
		if out, code := atRoot(t, "test", dir); code != exitOK || !strings.HasPrefix(out, "3 tests: 3 passed") {
			t.Errorf("%s: exit code %d:\n%s", dir, code, out)
		}
		if out, code := atRoot(t, "fmt", "--check", dir); code != exitOK {
			t.Errorf("%s: exit code %d:\n%s", dir, code, out)
		}
	}
}

// TestDocumentedTest runs the test of docs/testing.md: it fails as shown there.
func TestDocumentedTest(t *testing.T) {
	const document = "../../docs/testing.md"
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../examples")); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{"policies/web_test.yaml": block(t, text, "yaml"), ".git": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("nfsync", "test", "policies/")
	cmd.Dir = dir
	out, _ := cmd.Output() // it fails
	got := "$ nfsync test policies/\n" + string(out)
	if *update {
		text = bytes.Replace(text, []byte(block(t, text, "text")), []byte(got), 1)
		if err := os.WriteFile(document, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(block(t, text, "text"), got); diff != "" {
		t.Error(diff)
	}
}
