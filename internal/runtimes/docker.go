package runtimes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// docker is Docker Engine, of root. A container's process is in the state of runc or crun, which
// containerd keeps for Docker below /run/docker. Its name and its labels are in the files of dockerd.
var docker = runtime{name: nf.RuntimeDocker, list: listDocker, watch: watchDocker, births: dockerStates, born: bornDocker}

const (
	dockerRun    = "run/docker"
	dockerConfig = "etc/docker/daemon.json"
	dockerRoot   = "/var/lib/docker" // the default of dockerd's --data-root
)

func listDocker(ctx context.Context, n Node) ([]record, error) {
	var list []record
	var errs error
	roots := n.dockerRoots()
	for _, dir := range dockerStates(n) {
		ids, err := directories(dir)
		errs = errors.Join(errs, err)
		for _, id := range ids {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if !isDockerID(id) {
				continue
			}
			r := record{id: id}
			r.pid, r.start, r.err = n.ociProcess(filepath.Join(dir, id))
			if !errors.Is(r.err, fs.ErrNotExist) {
				n.describeDocker(&r, filepath.Join(dir, id), roots)
				list = append(list, r)
			}
		}
	}
	return list, errs
}

// dockerStates returns the directories in which an OCI runtime has a directory for each container of
// Docker.
func dockerStates(n Node) []string {
	dirs, _ := filepath.Glob(n.path(dockerRun, "runtime-*", "moby*")) // the pattern is well formed
	usual := n.path(dockerRun, "runtime-runc", "moby")
	if !slices.Contains(dirs, usual) {
		dirs = append(dirs, usual)
	}
	return dirs
}

// watchDocker returns the directories of the containers, and those in which another one of these appears: of
// another OCI runtime, or of another namespace of containerd.
func watchDocker(n Node) []string {
	states := dockerStates(n)
	dirs := append(slices.Clone(states), n.path(dockerRun))
	for _, state := range states {
		dirs = append(dirs, filepath.Dir(state))
	}
	return dirs
}

// bornDocker finds the process of a container that is being made by its cgroup: the OCI runtime has not
// written its state yet. The cgroup is that of the driver systemd or cgroupfs, below the default parent. A
// container with another parent is found when its state is written.
func bornDocker(n Node, id string) (record, bool) {
	if !isDockerID(id) {
		return record{}, false
	}
	for _, dir := range dockerStates(n) {
		at := filepath.Join(dir, id)
		if _, err := os.Lstat(at); err != nil {
			continue
		}
		r := record{id: id}
		if r.pid, r.start, r.err = n.ociProcess(at); r.err != nil {
			r.pid, r.start = n.newest(n.cgroupProcesses("system.slice/docker-"+id+".scope", "docker/"+id))
			r.err = nil
		}
		if r.pid == 0 {
			return r, false
		}
		n.describeDocker(&r, at, n.dockerRoots())
		return r, r.unnamed == ""
	}
	return record{}, false
}

// isDockerID reports whether a name is the id of a container.
func isDockerID(name string) bool { return len(name) == 64 && isHex(name) }

// describeDocker adds what dockerd knows of the container whose OCI runtime has that directory.
func (n Node) describeDocker(r *record, dir string, roots []string) {
	files := n.dockerFiles(dir, roots)
	if files == "" {
		r.unnamed = "its name is not known: it is in no directory of dockerd's containers"
		return
	}
	c, err := parsed(n, filepath.Join(files, "config.v2.json"), parseDockerConfig)
	if err != nil {
		r.unnamed = fmt.Sprintf("its name is not known: %v", err)
		return
	}
	r.name, r.labels = strings.TrimPrefix(c.Name, "/"), c.Config.Labels
	r.unnamed = checkName(r.name)
	if c.State.Paused {
		r.state = nf.StatePaused
	}
	r.joined = func() bool {
		mode, err := parsed(n, filepath.Join(files, "hostconfig.json"), parseNetworkMode)
		return err == nil && strings.HasPrefix(mode, "container:")
	}
}

// dockerRoots returns where dockerd may keep its containers.
func (n Node) dockerRoots() []string {
	roots := []string{dockerRoot}
	root, err := parsed(n, n.path(dockerConfig), parseDockerRoot)
	if err == nil && root != "" {
		roots = append([]string{root}, roots...)
	}
	return roots
}

// dockerFiles returns the directory in which dockerd keeps a container; empty if it is not found. A
// data root that only a flag of dockerd names is found by the files of it that the container has mounted.
func (n Node) dockerFiles(dir string, roots []string) string {
	id := filepath.Base(dir)
	// With userns-remap the namespace of containerd and the data root have the same suffix.
	_, suffix, _ := strings.Cut(filepath.Base(filepath.Dir(dir)), "moby-")
	var paths []string
	for _, root := range roots {
		paths = append(paths, n.path(root, suffix, "containers", id))
	}
	if found := first(paths...); found != "" {
		return found
	}
	mounts, _ := parsed(n, filepath.Join(dir, "state.json"), parseMounts) // none, with an error
	for _, source := range mounts {
		if at := filepath.Dir(source); filepath.Base(at) == id && filepath.Base(filepath.Dir(at)) == "containers" {
			return first(n.path(at))
		}
	}
	return ""
}

// dockerContainerConfig is what is read of config.v2.json (Container in daemon/container/container.go
// of moby).
type dockerContainerConfig struct {
	Name   string
	State  struct{ Paused bool }
	Config struct{ Labels map[string]string }
}

func parseDockerConfig(data []byte) (c dockerContainerConfig, err error) {
	err = json.Unmarshal(data, &c)
	return c, err
}

// parseNetworkMode reads NetworkMode of hostconfig.json (HostConfig in api/types/container/hostconfig.go
// of moby): bridge, none, host, container:ID, or the name of a network.
func parseNetworkMode(data []byte) (string, error) {
	var c struct{ NetworkMode string }
	err := json.Unmarshal(data, &c)
	return c.NetworkMode, err
}

// parseDockerRoot reads the data root of daemon.json; graph is its former name. Empty: the default.
func parseDockerRoot(data []byte) (string, error) {
	var c struct {
		DataRoot string `json:"data-root"`
		Graph    string `json:"graph"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return "", err
	}
	if c.DataRoot != "" {
		return c.DataRoot, nil
	}
	return c.Graph, nil
}

// parseMounts returns the sources of the mounts that state.json of runc has.
func parseMounts(data []byte) (sources []string, err error) {
	var s struct {
		Config struct {
			Mounts []struct {
				Source string `json:"source"`
			} `json:"mounts"`
		} `json:"config"`
	}
	err = json.Unmarshal(data, &s)
	for _, m := range s.Config.Mounts {
		sources = append(sources, m.Source)
	}
	return sources, err
}
