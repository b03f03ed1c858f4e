package runtimes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"

	"nfsync.dev/nfsync/internal/nf"
)

// podman is Podman, of root and of users. A container's process is in the state of crun or runc, which
// others use too: Podman's are those that its storage has. A pod is one container, that of its infra
// container, which holds the network namespace of the pod.
var podman = runtime{name: nf.RuntimePodman, list: listPodman, labels: podmanLabels, watch: watchPodman, births: podmanBirths, born: bornPodman}

// podmanStates are where an OCI runtime of root has a directory for each container. Below the runtime
// directory of a user they have the same names.
var podmanStates = []string{"crun", "runc"}

func listPodman(ctx context.Context, n Node) ([]record, error) {
	list, errs := n.listRootPodman(ctx)
	taken := map[string]bool{}
	for _, r := range list {
		taken[r.id] = true
	}
	for _, u := range n.podmanUsers() {
		records, err := u.list(ctx)
		if err != nil {
			errs = errors.Join(errs, fmt.Errorf("those of user %s: %w", u.name, err))
		}
		for _, r := range records {
			if taken[r.id] {
				errs = errors.Join(errs, fmt.Errorf("those of user %s: %s has the id of a container of another user", u.name, r.aliases[0]))
				continue
			}
			taken[r.id] = true
			list = append(list, r)
		}
	}
	return list, errs
}

// listRootPodman returns the containers of root.
func (n Node) listRootPodman(ctx context.Context) ([]record, error) {
	var found []podmanContainer
	var errs error
	storage := n.rootStorage()
	for _, dir := range n.rootPodmanStates() {
		ids, err := directories(dir)
		errs = errors.Join(errs, err)
		for _, id := range ids {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if !isDockerID(id) {
				continue
			}
			at := filepath.Join(dir, id)
			r := record{id: id, freezes: true}
			if r.pid, r.start, r.err = n.ociProcess(at); errors.Is(r.err, fs.ErrNotExist) {
				continue
			}
			if s := storage.find(id, func() string { return ociBundle(n, at, openOwn) }); s.isPodmans() {
				found = append(found, podmanContainer{r, s})
			}
		}
	}
	return n.podmanRecords(found, 0), errs
}

func (n Node) rootPodmanStates() []string {
	var dirs []string
	for _, name := range podmanStates {
		dirs = append(dirs, n.path("run", name))
	}
	return dirs
}

// rootStorage returns the storage of root's containers: where it is by default or by the configuration,
// and for those of a transient store, whose names are only in memory.
func (n Node) rootStorage() *podmanStorage {
	s := &podmanStorage{node: n, open: openOwn}
	roots := []string{"var/lib/containers/storage", "run/containers/storage"}
	if root, err := parsed(n, n.path("etc/containers/storage.conf"), parseGraphRoot); err == nil && root != "" {
		roots = append(roots, root)
	}
	for _, root := range roots {
		dirs, _ := filepath.Glob(n.path(root, "*-containers")) // the pattern is well formed
		s.dirs = append(s.dirs, dirs...)
	}
	return s
}

// podmanContainer is a container of which an OCI runtime has state.
type podmanContainer struct {
	record
	stored stored
}

// podmanRecords returns the records of the containers of one user, with their names and pods.
func (n Node) podmanRecords(found []podmanContainer, uid int) []record {
	holders := map[string]bool{} // of the namespaces of pods
	for _, c := range found {
		holders[c.stored.config.sandbox] = true
	}
	list := make([]record, 0, len(found))
	for _, c := range found {
		list = append(list, n.describePodman(c, uid, holders[c.id]))
	}
	return list
}

// describePodman returns the record of a container, with its name. holds reports whether another
// container says that it holds the namespace of their pod.
func (n Node) describePodman(c podmanContainer, uid int, holds bool) record {
	r, config := c.record, c.stored.config
	r.name = c.stored.name
	if r.name == "" && r.err == nil {
		r.name = n.conmonName(r, uid)
	}
	if r.unnamed = checkPodmanName(r.name); r.unnamed != "" {
		if r.name == "" && c.stored.err != nil {
			r.unnamed += ": " + c.stored.err.Error()
		}
		r.name = ""
	}
	r.joined = func() bool { return config.joined }
	if config.sandbox == "" && (holds || config.pod != "" && r.name == shortID(config.pod)+"-infra") {
		r.pod = true
		if checkPodmanName(config.hostname) == "" {
			r.name, r.aliases = config.hostname, []string{r.name}
			r.unnamed = ""
		}
	}
	return r
}

// podmanName is what a name may be (NameRegex of libpod/define/config.go). A user's file may have
// anything.
var podmanName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// checkPodmanName returns why a name cannot be one; empty if it can.
func checkPodmanName(name string) string {
	if why := checkName(name); why != "" {
		return why
	}
	if !podmanName.MatchString(name) {
		return "its name has characters that Podman does not allow"
	}
	return ""
}

func watchPodman(n Node) []string {
	dirs := append(n.rootPodmanStates(), n.path(userRuns))
	for _, u := range n.podmanUsers() {
		dirs = append(dirs, u.states()...)
	}
	return dirs
}

// podmanBirths returns the directories of the state of root's containers, and the cgroups in which that
// of a container appears some milliseconds earlier. Those of a pod are one level deeper.
func podmanBirths(n Node) []string {
	dirs := n.rootPodmanStates()
	for _, root := range n.birthRoots() {
		dirs = append(dirs, filepath.Join(root, "machine.slice"), filepath.Join(root, "libpod_parent"))
	}
	return dirs
}

// podmanEntry is a directory of the state of an OCI runtime, or a cgroup of a container or its conmon.
var podmanEntry = regexp.MustCompile(`^(?:libpod-(?:conmon-)?)?([0-9a-f]{64})(?:\.scope)?$`)

// bornPodman finds the process of a container of root that is being made by its cgroup, which Podman has
// written in the configuration of the container: the OCI runtime has not written its state yet.
func bornPodman(n Node, entry string) (record, bool) {
	m := podmanEntry.FindStringSubmatch(entry)
	if m == nil || !n.isBeingMade(entry) {
		return record{}, false
	}
	r := record{id: m[1], freezes: true}
	bundle := func() string { return "" }
	for _, dir := range n.rootPodmanStates() {
		at := filepath.Join(dir, r.id)
		if pid, start, err := n.ociProcess(at); err == nil {
			r.pid, r.start = pid, start
			bundle = func() string { return ociBundle(n, at, openOwn) }
		}
	}
	s := n.rootStorage().find(r.id, bundle)
	if !s.isPodmans() {
		return record{}, false
	}
	if r.pid == 0 && s.config.cgroup != "" {
		r.pid, r.start = n.newest(n.cgroupProcesses(filepath.Join(s.config.cgroup, "container"), s.config.cgroup))
	}
	if r.pid == 0 {
		return r, false
	}
	r = n.describePodman(podmanContainer{r, s}, 0, false)
	return r, r.unnamed == ""
}

// isBeingMade reports whether an entry of the directories of births is still there.
func (n Node) isBeingMade(entry string) bool {
	var paths []string
	for _, dir := range podmanBirths(n) {
		paths = append(paths, filepath.Join(dir, entry))
	}
	return first(paths...) != ""
}
