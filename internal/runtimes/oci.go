package runtimes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"nfsync.dev/nfsync/internal/openfile"
)

// ociProcess returns the first process of a container and its start time, as its OCI runtime keeps
// them in a directory of the container's own: runc in state.json (State of libcontainer/container_linux.go),
// crun in status (libcrun_write_container_status in src/libcrun/status.c). It returns fs.ErrNotExist
// if there is neither: the container is being made or removed, or another runtime made it.
func (n Node) ociProcess(dir string) (pid int, start uint64, err error) {
	for _, file := range []struct{ name, pid, start string }{
		{"state.json", "init_process_pid", "init_process_start"},
		{"status", "pid", "process-start-time"},
	} {
		path := filepath.Join(dir, file.name)
		f, err := openfile.Own(path, os.O_RDONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		err = decodeStart(f, map[string]any{file.pid: &pid, file.start: &start})
		_ = f.Close()
		if err == nil && (pid <= 0 || start == 0) {
			err = fmt.Errorf("it has no %s or no %s", file.pid, file.start)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return pid, start, err
	}
	return 0, 0, fs.ErrNotExist
}
