package runtimes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"nfsync.dev/nfsync/internal/openfile"
)

// ociProcess returns the first process of a container and its start time, as its OCI runtime keeps
// them in a directory of the container's own: runc in state.json (State of libcontainer/container_linux.go),
// crun in status (libcrun_write_container_status in src/libcrun/status.c). It returns fs.ErrNotExist
// if there is neither: the container is being made or removed, or another runtime made it.
func (n Node) ociProcess(dir string) (pid int, start uint64, err error) {
	return ociProcessBy(dir, func(path string, parse func([]byte) (ociInit, error)) (ociInit, error) { return parsed(n, path, parse) })
}

// openOwn opens a file that belongs to root and that nobody else can write.
func openOwn(path string) (*os.File, error) { return openfile.Own(path, os.O_RDONLY, 0) }

// ociProcessBy is ociProcess for files that read reads and parses.
func ociProcessBy(dir string, read func(path string, parse func([]byte) (ociInit, error)) (ociInit, error)) (pid int, start uint64, err error) {
	for _, file := range []struct{ name, pid, start string }{
		{"state.json", "init_process_pid", "init_process_start"},
		{"status", "pid", "process-start-time"},
	} {
		path := filepath.Join(dir, file.name)
		p, err := read(path, func(data []byte) (p ociInit, err error) {
			err = decodeStart(bytes.NewReader(data), map[string]any{file.pid: &p.pid, file.start: &p.start})
			if err == nil && (p.pid <= 0 || p.start == 0) {
				err = fmt.Errorf("it has no %s or no %s", file.pid, file.start)
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", path, err)
			}
			return p, err
		})
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return p.pid, p.start, err
	}
	return 0, 0, fs.ErrNotExist
}

// ociInit is the first process of a container.
type ociInit struct {
	pid   int
	start uint64
}

// ociBundle returns the bundle of a container as its OCI runtime keeps it, in a directory of the container's
// own; empty if it is not known.
func ociBundle(n Node, dir string, open func(path string) (*os.File, error)) string {
	for _, name := range []string{"status", "state.json"} {
		bundle, err := parsedBy(n, filepath.Join(dir, name), open, parseBundle)
		if err == nil {
			return bundle
		}
	}
	return ""
}

// parseBundle reads the bundle of status of crun (libcrun_write_container_status in
// src/libcrun/status.c), or of state.json of runc, where it is a label (createContainer in
// utils_linux.go).
func parseBundle(data []byte) (string, error) {
	var s struct {
		Bundle string `json:"bundle"`
		Config struct {
			Labels []string `json:"labels"`
		} `json:"config"`
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return "", err
	}
	for _, label := range s.Config.Labels {
		if bundle, ok := strings.CutPrefix(label, "bundle="); ok {
			return bundle, nil
		}
	}
	return s.Bundle, nil
}
