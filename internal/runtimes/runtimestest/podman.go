package runtimestest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// Podman has the files of a Podman with crun below a root: that of the node's root, or of a user.
type Podman struct {
	T    testing.TB
	Root string // of the files
	UID  int    // of the user; 0: root
	Home string // of the user, such as /home/alice
	// Storage is the directory of the storage; empty: the default.
	Storage string
	// State is the name of the directory of the OCI runtime; empty: crun.
	State string
}

// PodmanContainer is a container of Podman. What is empty is as in the recorded files.
type PodmanContainer struct {
	ID       string // empty: ID(Name)
	Name     string
	Hostname string
	Joined   bool   // it has joined the network namespace of another container
	Sandbox  string // the id of the infra container of its pod
	Cgroup   string // cgroupsPath
	Manager  string // the program that has made it
	Volatile bool   // it was started with --rm
	Process  *Process
}

// The recorded files of a container.
const (
	podmanID     = "948e985238f8fcec783ad69ffb1d6e43c55984d2ba0dfda69252a5cd448e1e8c"
	podmanStatus = "trixie/podman/run/crun/" + podmanID + "/status"
	podmanConfig = "trixie/podman/var/lib/containers/storage/overlay-containers/" + podmanID + "/userdata/config.json"
)

// Run writes the files of a running container, and returns its id.
func (p Podman) Run(c PodmanContainer) string {
	p.T.Helper()
	id := c.ID
	if id == "" {
		id = ID(c.Name)
	}
	bundle := filepath.Join(p.storage(), id, "userdata")
	edit(p.T, recorded(p.T, podmanStatus), p.StateFile(id), func(file map[string]any) {
		file["pid"], file["process-start-time"], file["bundle"] = c.Process.PID, c.Process.Start, bundle
	})
	edit(p.T, recorded(p.T, podmanConfig), filepath.Join(p.Root, bundle, "config.json"), func(file map[string]any) { c.configure(file, id) })
	names := "containers.json"
	if c.Volatile {
		names = "volatile-containers.json"
	}
	p.addName(filepath.Join(p.Root, p.storage(), names), id, c.Name)
	if p.UID != 0 {
		Give(p.T, p.UID, filepath.Join(p.Root, "run/user", strconv.Itoa(p.UID)), filepath.Join(p.Root, p.Home))
	}
	return id
}

// configure changes the recorded configuration.
func (c PodmanContainer) configure(file map[string]any, id string) {
	annotations, linux := object(file["annotations"]), object(file["linux"])
	linux["cgroupsPath"] = "machine.slice:libpod:" + id
	for _, set := range []struct {
		to         map[string]any
		key, value string
	}{
		{file, "hostname", c.Hostname}, {linux, "cgroupsPath", c.Cgroup},
		{annotations, "io.container.manager", c.Manager}, {annotations, "io.kubernetes.cri-o.SandboxID", c.Sandbox},
	} {
		if set.value != "" {
			set.to[set.key] = set.value
		}
	}
	namespaces := array(linux["namespaces"])
	for _, entry := range namespaces {
		if ns := object(entry); ns["type"] == "network" && c.Joined {
			ns["path"] = "/proc/1/ns/net"
		}
	}
}

// object returns a JSON object of a recorded file.
func object(value any) map[string]any {
	o, _ := value.(map[string]any)
	return o
}

// addName adds a container to a file with names, or gives it another one.
func (p Podman) addName(path, id, name string) {
	p.T.Helper()
	var list []map[string]any
	if data, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(data, &list); err != nil {
			p.T.Fatal(err)
		}
	}
	known := false
	for _, c := range list {
		if c["id"] == id {
			c["names"], known = []string{name}, true
		}
	}
	if !known {
		list = append(list, map[string]any{"id": id, "names": []string{name}})
	}
	data, err := json.Marshal(list)
	if err == nil {
		err = os.WriteFile(path+".new", data, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		p.T.Fatal(err)
	}
}

// StateFile returns where crun has the state of a container.
func (p Podman) StateFile(id string) string {
	state := p.State
	if state == "" {
		state = "crun"
	}
	if p.UID == 0 {
		return filepath.Join(p.Root, "run", state, id, "status")
	}
	return filepath.Join(p.Root, "run/user", strconv.Itoa(p.UID), state, id, "status")
}

// File returns where the storage has a file; id is empty for a file of all containers.
func (p Podman) File(id, name string) string {
	if id == "" {
		return filepath.Join(p.Root, p.storage(), name)
	}
	return filepath.Join(p.Root, p.storage(), id, "userdata", name)
}

func (p Podman) storage() string {
	switch {
	case p.Storage != "":
		return filepath.Join(p.Storage, "overlay-containers")
	case p.UID == 0:
		return "/var/lib/containers/storage/overlay-containers"
	}
	return filepath.Join(p.Home, ".local/share/containers/storage/overlay-containers")
}

// Give makes directories, if they do not exist, and gives them to a user with all that is in them.
func Give(t testing.TB, uid int, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		err := os.MkdirAll(dir, 0o755)
		if err == nil {
			err = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
				if err != nil {
					return err
				}
				return os.Lchown(path, uid, uid)
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// array returns a JSON array; nil if the value is none.
func array(value any) []any {
	a, _ := value.([]any)
	return a
}
