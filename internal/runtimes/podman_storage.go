package runtimes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// podmanStorage is the storage of one user's containers.
type podmanStorage struct {
	node Node
	// dirs are the directories of storage drivers: overlay-containers, vfs-containers.
	dirs []string
	// open opens a regular file that belongs to the user.
	open func(path string) (*os.File, error)
	// read are the files with names that were read.
	read map[string]namesFile
}

type namesFile struct {
	names map[string]string // of containers, by id
	err   error
}

// maxNamesFiles bounds how many of these files are read: where they are may be a user's choice.
const maxNamesFiles = 64

// stored is what the storage has of a container.
type stored struct {
	name   string // empty: not found
	config podmanConfig
	err    error // why the name or the configuration is not known
	// elsewhere says that the container is in no storage at all: another program has made it.
	elsewhere bool
}

// isPodmans reports whether Podman has made a container. CRI-O uses the same storage and the same OCI
// runtimes.
func (s stored) isPodmans() bool {
	const libpod = "libpod" // ContainerManagerLibpod in pkg/annotations/annotations.go of podman
	return !s.elsewhere && (s.config.manager == "" || s.config.manager == libpod)
}

// find finds a container. bundle returns the directory of its configuration as the OCI runtime has it;
// empty: not known. It is asked only for a container that is not in the directories of s.
func (s *podmanStorage) find(id string, bundle func() string) stored {
	found := s.in(s.dirs, id)
	if found.name != "" && found.config.manager != "" {
		return found
	}
	at := bundle()
	dir := storageOf(at, id)
	switch {
	case dir != "" && !slices.Contains(s.dirs, s.node.path(dir)):
		return s.in(append([]string{s.node.path(dir)}, s.dirs...), id)
	case dir == "":
		found.elsewhere = at != ""
	}
	return found
}

// in finds a container in directories. One of a transient store has its name in one directory and its
// configuration in another.
func (s *podmanStorage) in(dirs []string, id string) stored {
	var found stored
	for _, dir := range dirs {
		if found.name == "" {
			found.name = s.name(dir, id, &found.err)
		}
		if found.config.manager == "" {
			config, err := parsedBy(s.node, filepath.Join(dir, id, "userdata/config.json"), s.open, parsePodmanConfig)
			keepError(&found.err, err)
			found.config = config
		}
	}
	return found
}

// name returns the name of a container from the files of a directory; empty if they do not have it.
func (s *podmanStorage) name(dir, id string, failed *error) string {
	for _, file := range []string{"containers.json", "volatile-containers.json"} {
		f := s.names(filepath.Join(dir, file))
		keepError(failed, f.err)
		if name := f.names[id]; name != "" {
			return name
		}
	}
	return ""
}

func (s *podmanStorage) names(path string) namesFile {
	if f, ok := s.read[path]; ok {
		return f
	}
	if len(s.read) == maxNamesFiles {
		return namesFile{err: fmt.Errorf("the storage is in more than %d directories", maxNamesFiles/2)}
	}
	if s.read == nil {
		s.read = map[string]namesFile{}
	}
	names, err := parsedBy(s.node, path, s.open, parsePodmanNames)
	s.read[path] = namesFile{names, err}
	return s.read[path]
}

// keepError keeps the first error that is not about a file that does not exist.
func keepError(to *error, err error) {
	if *to == nil && !errors.Is(err, fs.ErrNotExist) {
		*to = err
	}
}

// parseGraphRoot reads where storage.conf has the storage (containers-storage.conf(5)); empty: the default.
func parseGraphRoot(data []byte) (string, error) {
	if m := graphRoot.FindSubmatch(data); m != nil {
		return string(m[1]), nil
	}
	return "", nil
}

var graphRoot = regexp.MustCompile(`(?m)^\s*graphroot\s*=\s*["'](/[^"'\\]*)["']`)

// storageOf returns the directory of a storage driver from the bundle of a container in it,
// DIR/ID/userdata; empty if it is none.
func storageOf(bundle, id string) string {
	at, last := filepath.Split(filepath.Clean(bundle))
	dir := filepath.Dir(filepath.Clean(at))
	if last != "userdata" || filepath.Base(at) != id || !filepath.IsAbs(bundle) || !strings.HasSuffix(dir, "-containers") {
		return ""
	}
	return dir
}

// parsePodmanNames returns the names of the containers of containers.json or volatile-containers.json, by id
// (Container in containers.go of containers/storage). The first name of a container is Podman's.
func parsePodmanNames(data []byte) (map[string]string, error) {
	var list []struct {
		ID    string   `json:"id"`
		Names []string `json:"names"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("the names of the containers are not readable: %w", err)
	}
	names := make(map[string]string, len(list))
	for _, c := range list {
		if len(c.Names) > 0 {
			names[c.ID] = c.Names[0]
		}
	}
	return names, nil
}

// podmanConfig is what is read of the OCI configuration of a container.
type podmanConfig struct {
	manager  string // which program has made it
	sandbox  string // the id of the infra container of its pod; empty: it is none of a pod, or the infra container itself
	pod      string // the id of the pod in whose cgroup it is
	hostname string // of an infra container: by default the name of the pod
	joined   bool   // it has joined the network namespace of another container
	cgroup   string // its path, below the root of the hierarchy
}

// parsePodmanConfig reads config.json (libpod/container_internal_common.go and
// pkg/specgen/generate/oci_linux.go of podman; the format is that of the OCI runtime specification).
func parsePodmanConfig(data []byte) (podmanConfig, error) {
	var c struct {
		Hostname    string            `json:"hostname"`
		Annotations map[string]string `json:"annotations"`
		Linux       struct {
			CgroupsPath string `json:"cgroupsPath"`
			Namespaces  []struct {
				Type string `json:"type"`
				Path string `json:"path"`
			} `json:"namespaces"`
		} `json:"linux"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return podmanConfig{}, fmt.Errorf("the configuration of the container is not readable: %w", err)
	}
	config := podmanConfig{manager: c.Annotations["io.container.manager"], sandbox: c.Annotations["io.kubernetes.cri-o.SandboxID"],
		hostname: c.Hostname, cgroup: cgroupPath(c.Linux.CgroupsPath)}
	if m := podCgroup.FindStringSubmatch(config.cgroup); m != nil {
		config.pod = m[1] + m[2]
	}
	for _, ns := range c.Linux.Namespaces {
		config.joined = config.joined || ns.Type == "network" && ofProcess.MatchString(ns.Path)
	}
	return config, nil
}

var (
	// podCgroup is the cgroup of a container of a pod, of either driver.
	podCgroup = regexp.MustCompile(`libpod_pod_([0-9a-f]{64})\.slice/libpod-|/([0-9a-f]{64})/libpod-`)
	// ofProcess is the namespace of the first process of another container, as it was at the start.
	ofProcess = regexp.MustCompile(`^/proc/[0-9]+/ns/net$`)
)

// cgroupPath returns the path of a cgroup from cgroupsPath of an OCI configuration: a path, or for systemd
// SLICE:PREFIX:NAME, where a-b.slice is in a.slice (systemd.slice(5)).
func cgroupPath(path string) string {
	parts := strings.Split(path, ":")
	if len(parts) != 3 {
		return path
	}
	at := ""
	name := strings.TrimSuffix(parts[0], ".slice")
	for i, c := range name + "-" {
		if c == '-' {
			at += "/" + name[:i] + ".slice"
		}
	}
	return at + "/" + parts[1] + "-" + parts[2] + ".scope"
}
