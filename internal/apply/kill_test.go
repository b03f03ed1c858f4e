package apply_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
)

// fileMachine is a machine with its values in a file, so that they outlive the
// process as those of a kernel do. A change takes effect when the file is renamed.
type fileMachine struct {
	*hosttest.Machine
	path   string
	values map[string]int64 // by place
}

var killKeys = []nf.Key{generic, icmp, udp}

func newFileMachine(path string) (*fileMachine, []nf.Target, error) {
	m := &fileMachine{hosttest.New(), path, map[string]int64{}}
	targets := []nf.Target{nf.Node, m.AddContainer("a"), m.AddContainer("b"), m.AddContainer("c")}
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return m, targets, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &m.values)
	}
	for _, t := range targets {
		for _, k := range killKeys {
			if n, ok := m.values[placeName(t, k)]; ok {
				m.Put(t, k, n)
			}
		}
	}
	return m, targets, err
}

func placeName(t nf.Target, k nf.Key) string { return t.String() + " " + string(k) }

func (m *fileMachine) Set(ctx context.Context, s *nf.Snapshot, c nf.Change) error {
	if err := m.Machine.Set(ctx, s, c); err != nil {
		return err
	}
	m.values[placeName(c.Target, c.Key)], _ = c.To.Number()
	text, err := json.Marshal(m.values)
	if err == nil {
		err = os.WriteFile(m.path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(m.path+".new", m.path)
	}
	return err
}

// killRun makes one run on the machine in a directory. It wants n for every key; 0
// wants nothing.
func killRun(dir string, n int64, progress io.Writer) (apply.Receipt, error) {
	m, targets, err := newFileMachine(filepath.Join(dir, "machine"))
	if err != nil {
		return apply.Receipt{}, err
	}
	d, err := state.Open(filepath.Join(dir, "state"))
	if err != nil {
		return apply.Receipt{}, err
	}
	var wants nf.Wants
	for _, t := range targets {
		for _, k := range killKeys {
			if n != 0 {
				wants.List = append(wants.List, nf.Want{Target: t, Key: k, Wish: nf.Exactly(nf.Number(n))})
			}
		}
	}
	return apply.Run(context.Background(), apply.Input{Machine: m, State: d, Lock: apply.NewLock(filepath.Join(dir, "run")),
		Wants: func(*nf.Snapshot) nf.Wants { return wants }, Now: time.Now,
		Progress: func(e apply.Event) { _, _ = fmt.Fprintln(progress, e.Kind, e.Index, e.Outcome) }})
}

// TestKill kills a process during its run, after a number of events. The next run
// leaves each target as before or as wanted.
func TestKill(t *testing.T) {
	if dir := os.Getenv("NFSYNC_TEST_KILL"); dir != "" {
		var n int64
		if _, err := fmt.Sscan(os.Getenv("NFSYNC_TEST_WANT"), &n); err != nil {
			t.Fatal(err)
		}
		if r, err := killRun(dir, n, os.Stdout); err != nil || exitOf(r.Verdict()) != 0 {
			t.Fatalf("%v, %+v", err, r)
		}
		return
	}
	dir := t.TempDir()
	recovered := 0
	for round := range 50 {
		before := readAll(t, dir)
		want := int64(100 + round)
		killChild(t, dir, want, round%27)
		r, err := killRun(dir, 0, io.Discard)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		recovered += len(r.Recovered)
		for target, values := range readAll(t, dir) {
			for k, n := range values {
				if n != values[icmp] && !(n == before[target][k] && values[icmp] == before[target][icmp]) {
					t.Fatalf("round %d: %s is half done: %v, before %v", round, target, values, before[target])
				}
			}
		}
	}
	if recovered == 0 {
		t.Error("no run was killed half-way")
	}
	if r, err := killRun(dir, 77, io.Discard); err != nil || exitOf(r.Verdict()) != 0 {
		t.Errorf("the last run: %v, %+v", err, r)
	}
}

func readAll(t *testing.T, dir string) map[nf.Target]map[nf.Key]int64 {
	t.Helper()
	m, targets, err := newFileMachine(filepath.Join(dir, "machine"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[nf.Target]map[nf.Key]int64{}
	for _, target := range targets {
		all[target] = map[nf.Key]int64{}
		for _, k := range killKeys {
			all[target][k], _ = m.Value(target, k).Number()
		}
	}
	return all
}

// killChild starts a process that applies, and kills it after a number of events.
func killChild(t *testing.T, dir string, want int64, lines int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), "NFSYNC_TEST_KILL="+dir, fmt.Sprintf("NFSYNC_TEST_WANT=%d", want))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(out)
	for range lines {
		in.Scan()
	}
	_ = cmd.Process.Kill() // it may have ended by itself
	_ = cmd.Wait()
}
