package runtimes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// cri is the pods of Kubernetes, as containerd and CRI-O run them. A pod is one container: its sandbox
// holds the network namespace that all its containers are in. Its id is the uid of the pod, its name
// NAMESPACE/POD.
var cri = runtime{name: nf.RuntimeCRI, list: listCRI, labels: labelsCRI, watch: birthsCRI, births: birthsCRI, born: bornCRI}

// criContainer is a sandbox, or a container of a pod, as the files of its runtime have it.
type criContainer struct {
	id      string
	sandbox string // the id of its sandbox: of a sandbox its own
	criPod
	unnamed string   // why the pod is not known
	states  []string // the directories in one of which its OCI runtime has its state
	config  string   // the configuration that its OCI runtime was given
}

// criPod identifies a pod.
type criPod struct{ namespace, name, uid string }

func listCRI(ctx context.Context, n Node) ([]record, error) {
	containers, err := n.criContainers(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	sandboxes := map[string][]criContainer{}
	var order []string
	for _, c := range containers {
		if sandboxes[c.sandbox] == nil {
			order = append(order, c.sandbox)
		}
		sandboxes[c.sandbox] = append(sandboxes[c.sandbox], c)
	}
	var pods []podRecord
	for _, id := range order {
		if p, ok := n.podOf(id, sandboxes[id]); ok {
			pods = append(pods, p)
		}
	}
	return uniquePods(pods), err
}

// criContainers returns the sandboxes and containers of all that implement CRI.
func (n Node) criContainers(ctx context.Context) ([]criContainer, error) {
	list, err := n.containerdContainers(ctx)
	more, moreErr := n.crioContainers()
	return append(list, more...), errors.Join(err, moreErr)
}

// podRecord is the record of a pod that runs.
type podRecord struct {
	record
	sandbox string
	made    unix.Timespec // when the configuration of its sandbox, or of its container, was written
}

// podOf returns the pod of a sandbox, whose containers are given, if its network namespace is found: that
// of the process of the sandbox, else the file on which the sandbox has mounted it, else that of the
// oldest process of a container. CRI-O has no process for most sandboxes. The process of a sandbox may
// have been killed: its containers go on until kubelet makes another sandbox.
func (n Node) podOf(sandbox string, containers []criContainer) (podRecord, bool) {
	slices.SortStableFunc(containers, func(a, b criContainer) int { // the sandbox is the first
		return cmp.Compare(isOther(a, sandbox), isOther(b, sandbox))
	})
	p := podRecord{record: containers[0].record(), sandbox: sandbox, made: writtenAt(containers[0].config)}
	var why error
	for i := range containers {
		c := &containers[i]
		pid, start, err := n.runningProcess(c.states)
		switch {
		case err == nil && (p.pid == 0 || start < p.start):
			p.pid, p.start = pid, start
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			why = cmp.Or(why, err)
		}
		if c.id != sandbox {
			continue
		}
		if p.pid == 0 {
			p.file = n.namespaceFile(c.config)
		}
		if p.pid != 0 || p.file != "" {
			break
		}
	}
	if p.pid == 0 && p.file == "" {
		p.err = why
	}
	return p, p.pid != 0 || p.file != "" || p.err != nil
}

func isOther(c criContainer, sandbox string) int {
	if c.id == sandbox {
		return 0
	}
	return 1
}

// record returns the record of the pod of a container, without a process.
func (c criContainer) record() record {
	r := record{id: c.uid, name: c.namespace + "/" + c.name, unnamed: c.unnamed}
	switch {
	case r.unnamed != "":
	case c.namespace == "" || c.name == "":
		r.unnamed = "its name is not known"
	case strings.Contains(c.namespace+c.name, "/"):
		r.unnamed = "the name of its pod has a slash"
	default:
		r.unnamed = checkName(r.name)
	}
	if r.unnamed != "" {
		r.name = ""
	}
	if checkName(r.id) != "" {
		r.id = c.sandbox
	}
	if r.id != c.sandbox {
		r.aliases = []string{c.sandbox}
	}
	r.pod = r.unnamed == ""
	return r
}

// uniquePods gives each pod an id of its own. While the old sandbox of a pod ends, a new one may run with
// the same uid: the uid is then the id of the newer one, and the older one has the id of its sandbox.
func uniquePods(pods []podRecord) []record {
	newest := func(a, b podRecord) int {
		return -cmp.Or(cmp.Compare(a.made.Sec, b.made.Sec), cmp.Compare(a.made.Nsec, b.made.Nsec), cmp.Compare(a.sandbox, b.sandbox))
	}
	slices.SortStableFunc(pods, newest)
	taken := map[string]bool{}
	var list []record
	for _, p := range pods {
		if taken[p.id] {
			p.id, p.aliases = p.sandbox, nil
		}
		taken[p.id] = true
		list = append(list, p.record)
	}
	return list
}

// runningProcess returns the first process of a container, of which an OCI runtime has the state in one
// of some directories. It returns fs.ErrNotExist if it does not run.
func (n Node) runningProcess(states []string) (pid int, start uint64, err error) {
	for _, dir := range states {
		pid, start, err = n.ociProcess(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		p, err := n.openProcess(pid, start)
		if err != nil {
			return 0, 0, err
		}
		p.Close()
		return pid, start, nil
	}
	return 0, 0, fs.ErrNotExist
}

// namespaceFile returns the file on which the network namespace of a sandbox is mounted, as the
// configuration of its OCI runtime names it; empty if there is none. A path with the number of a process
// may be that of another process by now, and is none.
func (n Node) namespaceFile(config string) string {
	path, _, err := n.networkPath(config)
	if err != nil || filepath.Base(filepath.Dir(path)) != "netns" || strings.HasPrefix(path, "/proc/") {
		return ""
	}
	if under, ok := strings.CutPrefix(path, "/var/run/"); ok {
		path = "/run/" + under // the former is a link, which may lead out of n.Root
	}
	path = n.path(path)
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil || st.Type != unix.NSFS_MAGIC {
		return ""
	}
	return path
}

// writtenAt returns when a file was written; zero if that is not known.
func writtenAt(path string) unix.Timespec {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return unix.Timespec{}
	}
	return st.Mtim
}

// birthsCRI returns the directories in which a directory appears for each sandbox, before a container of
// the pod is made. Those of CRI-O are also Podman's.
func birthsCRI(n Node) []string {
	dirs := n.containerdTasks()
	drivers := n.storageDrivers()
	if len(drivers) == 0 {
		drivers = []string{"overlay-containers"}
	}
	for _, driver := range drivers {
		dirs = append(dirs, n.path(crioRun, driver))
	}
	return dirs
}

// bornCRI finds the pod of a sandbox: by the file on which its network namespace is mounted until its
// process runs. That is long before a container of the pod is made. A sandbox with the node's network has
// no namespace to wait for.
func bornCRI(n Node, id string) (record, bool) {
	c, ok := n.containerdSandbox(id)
	if !ok {
		c, ok = n.crioSandbox(id)
	}
	if !ok {
		return record{}, false
	}
	if p, ok := n.podOf(id, []criContainer{c}); ok && p.err == nil {
		return p.record, true
	}
	_, hasNetwork, err := n.networkPath(c.config)
	if err == nil && !hasNetwork {
		return record{}, false
	}
	return record{id: id}, false
}

// ociConfig is what is read of config.json (the OCI runtime specification).
type ociConfig struct {
	Linux struct {
		Namespaces []struct{ Type, Path string } `json:"namespaces"`
	} `json:"linux"`
}

// networkPath returns the path of the network namespace that a configuration has, and whether it has one
// at all: without one the network is the node's. The path is empty if the OCI runtime makes the namespace.
func (n Node) networkPath(config string) (path string, ok bool, err error) {
	data, err := n.read(config)
	if err != nil {
		return "", false, err
	}
	var c ociConfig
	err = json.Unmarshal(data, &c)
	for _, ns := range c.Linux.Namespaces {
		if ns.Type == "network" {
			return ns.Path, true, err
		}
	}
	return "", false, err
}
