package runtimestest

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"testing"
)

// testdata is the directory of the recorded trees.
func testdata() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "../testdata")
}

// Replay copies a recorded tree to a new root, with other processes in the state of OCI runtimes: each
// stands for the recorded process with that PID. Those that are not given keep their PIDs and start
// times, which are of no process here.
func Replay(t testing.TB, tree string, processes map[int]*Process) (root string) {
	t.Helper()
	root = t.TempDir()
	from := filepath.Join(testdata(), tree)
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		to := filepath.Join(root, name)
		switch {
		case d.IsDir():
			return os.MkdirAll(to, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, to)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if d.Name() == "state.json" || d.Name() == "status" {
			data = withProcess(data, processes)
		}
		return os.WriteFile(to, data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// The members of state.json of runc, and of status of crun.
var (
	pidMember   = regexp.MustCompile(`"(?:init_process_pid|pid)" ?: ?(\d+)`)
	startMember = regexp.MustCompile(`("(?:init_process_start|process-start-time)" ?: ?)\d+`)
)

// withProcess replaces the process in the state of an OCI runtime.
func withProcess(state []byte, processes map[int]*Process) []byte {
	found := pidMember.FindSubmatchIndex(state)
	if found == nil {
		return state
	}
	pid, _ := strconv.Atoi(string(state[found[2]:found[3]]))
	if p := processes[pid]; p != nil {
		return withThis(state, p)
	}
	return state
}

// withThis replaces the process in the state of an OCI runtime by another one.
func withThis(state []byte, p *Process) []byte {
	if found := pidMember.FindSubmatchIndex(state); found != nil {
		state = append(append(state[:found[2]:found[2]], strconv.Itoa(p.PID)...), state[found[3]:]...)
	}
	return startMember.ReplaceAll(state, fmt.Appendf(nil, "${1}%d", p.Start))
}

// recorded returns a recorded file.
func recorded(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testdata(), name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// edit writes a JSON file that is another one with some members changed. It replaces the file at once,
// as runtimes do.
func edit(t testing.TB, from []byte, to string, change func(map[string]any)) {
	t.Helper()
	var file map[string]any
	err := json.Unmarshal(from, &file)
	if err == nil {
		change(file)
		from, err = json.Marshal(file)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to+".new", from, 0o600)
	}
	if err == nil {
		err = os.Rename(to+".new", to)
	}
	if err != nil {
		t.Fatal(err)
	}
}
