package netns

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The command in parentheses may have any byte; the start time is field 22, the state field 3
// (proc_pid_stat(5)).
func TestParseStat(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987654 20 21"
	for stat, want := range map[string]uint64{
		"42 (init)" + rest:              987654,
		"42 (a b) (c))" + rest:          987654,
		"42 (x) S 1 2 3) Z (y)" + rest:  987654,
		"42 (init) S 1 2":               0,
		"42 (init)":                     0,
		"":                              0,
		"42 (init)" + rest[:48] + "x y": 0,
	} {
		got, state, err := parseStat([]byte(stat))
		if got != want || (err == nil) != (want != 0) || err == nil && state != 'S' {
			t.Errorf("%q: %d, %c, %v, want %d", stat, got, state, err, want)
		}
	}
}

// A process that has ended does not answer, whether its parent has waited for it or not.
func TestOpenProcess(t *testing.T) {
	sleep := exec.CommandContext(t.Context(), "sleep", "60")
	must(t, sleep.Start())
	p, err := OpenProcess("/proc", sleep.Process.Pid)
	must(t, err)
	defer p.Close()
	if start, err := StartTime(filepath.Join("/proc", "self")); err != nil || start == 0 || p.Start < start {
		t.Errorf("it started at %d, the test at %d, %v", p.Start, start, err)
	}
	own, err := Own()
	must(t, err)
	if id, err := p.Inode(); err != nil || id.Inode != own.Inode || id.Device != own.Device {
		t.Errorf("inode %v, %v, want %v", id, err, own)
	}
	if id, err := Identify(p.Path("ns/net")); err != nil || id != own {
		t.Errorf("namespace %v, %v, want %v", id, err, own)
	}
	must(t, sleep.Process.Kill())
	for isRunning(p) { // a zombie
		<-time.After(time.Millisecond)
	}
	if z, err := OpenProcess("/proc", p.PID); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a zombie: %+v, %v", z, err)
	}
	_ = sleep.Wait()
	if _, err := p.Read("comm", 16); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its command, after its end: %v", err)
	}
	if _, err := p.Inode(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its namespace, after its end: %v", err)
	}
	if _, err := OpenProcess("/proc", p.PID); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after its end: %v", err)
	}
}

func isRunning(p *Process) bool {
	stat, err := p.Read("stat", 1024)
	if err != nil {
		return false
	}
	_, state, err := parseStat(stat)
	return err == nil && state != 'Z'
}

func TestStartTimeOfNoProcess(t *testing.T) {
	if _, err := StartTime(filepath.Join(t.TempDir(), "1")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
