package runtimes

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
)

// The directories in which CRI-O has its containers by storage driver, and those in which its OCI
// runtimes have theirs. They are Podman's too.
const (
	crioRoot   = "var/lib/containers/storage"
	crioRun    = "run/containers/storage"
	crioSocket = "run/crio/crio.sock"
)

var crioStates = []string{"run/crun", "run/runc"}

// storageDrivers returns the names of the directories that storage drivers have for containers:
// overlay-containers, vfs-containers.
func (n Node) storageDrivers() []string {
	paths, _ := filepath.Glob(n.path(crioRoot, "*-containers")) // the pattern is well formed
	var names []string
	for _, path := range paths {
		names = append(names, filepath.Base(path))
	}
	return names
}

// crioContainers returns the sandboxes and containers of CRI-O, of which some have ended.
func (n Node) crioContainers() ([]criContainer, error) {
	var list []criContainer
	var errs error
	for _, driver := range n.storageDrivers() {
		for _, file := range []string{
			n.path(crioRoot, driver, "containers.json"), n.path(crioRoot, driver, "volatile-containers.json"),
			n.path(crioRun, driver, "volatile-containers.json"),
		} {
			containers, err := parsed(n, file, parseCRIOContainers)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = errors.Join(errs, err)
			}
			for _, c := range containers {
				c.config = n.path(crioRun, driver, c.id, "userdata/config.json")
				for _, dir := range crioStates {
					c.states = append(c.states, n.path(dir, c.id))
				}
				list = append(list, c)
			}
		}
	}
	return list, errs
}

// crioSandbox returns the sandbox of CRI-O with that id, if there is one.
func (n Node) crioSandbox(id string) (criContainer, bool) {
	list, _ := n.crioContainers() // what cannot be read has no sandbox
	for _, c := range list {
		if c.id == id && c.sandbox == id {
			return c, true
		}
	}
	return criContainer{}, false
}

// parseCRIOContainers returns the sandboxes and containers of CRI-O that containers.json has (container
// in storage/containers.go of containers/storage; metadata is RuntimeContainerMetadata in
// internal/storage/runtime.go of CRI-O). Those of Podman have no pod. The annotations of config.json are
// not asked: CRI-O adds those of a pod to its own, and they may have the same names.
func parseCRIOContainers(data []byte) ([]criContainer, error) {
	var entries []struct {
		ID       string `json:"id"`
		Metadata string `json:"metadata"`
	}
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, err
	}
	var list []criContainer
	for _, e := range entries {
		var m struct {
			Sandbox   string `json:"pod-id"`
			Name      string `json:"metadata-name"`
			Namespace string `json:"namespace"`
			UID       string `json:"uid"`
		}
		if json.Unmarshal([]byte(e.Metadata), &m) != nil || m.Sandbox == "" || !isHex(e.ID) {
			continue
		}
		c := criContainer{id: e.ID, sandbox: m.Sandbox}
		if e.ID == m.Sandbox {
			c.criPod = criPod{m.Namespace, m.Name, m.UID}
		}
		list = append(list, c)
	}
	return list, nil
}
