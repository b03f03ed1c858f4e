package runtimestest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Docker has the files of a dockerd below a root.
type Docker struct {
	T        testing.TB
	Root     string // of the files
	DataRoot string // of dockerd; empty: /var/lib/docker
	// Namespace is containerd's for the containers; empty: moby.
	Namespace string
}

// Container is a container of Docker. What is empty is as in the recorded files.
type Container struct {
	Name    string
	Labels  map[string]string
	Network string // bridge, none, host, container:ID
	Paused  bool
	Process *Process
}

// The recorded files of a container.
const (
	dockerID    = "5f58ad168e95d84e326dff1b049a61a316c1fdbba9339734aad331ee04670cde"
	dockerWeb   = "docker/var/lib/docker/containers/" + dockerID + "/"
	dockerState = "docker/run/docker/runtime-runc/moby/" + dockerID + "/"
)

// Run writes the files of a running container, and returns its id, which is the same for the same name.
func (d Docker) Run(c Container) string {
	d.T.Helper()
	id := d.Create(c)
	d.State(id, c.Process)
	return id
}

// Create writes what dockerd knows of a container before it is started, and returns its id.
func (d Docker) Create(c Container) string {
	d.T.Helper()
	id := ID(c.Name)
	edit(d.T, recorded(d.T, dockerWeb+"config.v2.json"), d.File(id, "config.v2.json"), func(file map[string]any) {
		file["ID"], file["Name"] = id, "/"+c.Name
		object(file["Config"])["Labels"] = c.Labels
		object(file["State"])["Paused"] = c.Paused
	})
	edit(d.T, recorded(d.T, dockerWeb+"hostconfig.json"), d.File(id, "hostconfig.json"), func(file map[string]any) { file["NetworkMode"] = c.Network })
	return id
}

// Make makes what is there of a container that is being started: the directory of runc's state, which is
// empty, and a cgroup with its processes.
func (d Docker) Make(id string, processes ...*Process) {
	d.T.Helper()
	cgroup := filepath.Join(d.Root, "sys/fs/cgroup/system.slice/docker-"+id+".scope")
	var pids []byte
	for _, p := range processes {
		pids = fmt.Appendln(pids, p.PID)
	}
	for _, dir := range []string{d.StateDir(id), cgroup} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			d.T.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), pids, 0o644); err != nil {
		d.T.Fatal(err)
	}
}

// State writes the state that runc has of a container.
func (d Docker) State(id string, p *Process) {
	d.T.Helper()
	state := bytes.ReplaceAll(recorded(d.T, dockerState+"state.json"), []byte(dockerID), []byte(id))
	state = bytes.ReplaceAll(state, []byte("/var/lib/docker/"), []byte(d.dataRoot()+"/"))
	at := filepath.Join(d.StateDir(id), "state.json")
	err := os.MkdirAll(filepath.Dir(at), 0o755)
	if err == nil {
		err = os.WriteFile(at+".new", withThis(state, p), 0o600)
	}
	if err == nil {
		err = os.Rename(at+".new", at)
	}
	if err != nil {
		d.T.Fatal(err)
	}
}

// StateDir returns the directory of runc's state of a container.
func (d Docker) StateDir(id string) string {
	namespace := d.Namespace
	if namespace == "" {
		namespace = "moby"
	}
	return filepath.Join(d.Root, "run/docker/runtime-runc", namespace, id)
}

// File returns where dockerd has a file of a container.
func (d Docker) File(id, name string) string {
	return filepath.Join(d.Root, d.dataRoot(), "containers", id, name)
}

func (d Docker) dataRoot() string {
	if d.DataRoot == "" {
		return "/var/lib/docker"
	}
	return d.DataRoot
}

// Remove removes the files of a container, as a stop and a removal do.
func (d Docker) Remove(id string) {
	d.T.Helper()
	for _, dir := range []string{d.StateDir(id), filepath.Dir(d.File(id, ""))} {
		if err := os.RemoveAll(dir); err != nil {
			d.T.Fatal(err)
		}
	}
}

// ID returns an id for a name, as Docker and Podman have them: 64 hexadecimal digits.
func ID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}
