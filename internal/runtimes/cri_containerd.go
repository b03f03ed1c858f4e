package runtimes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// containerds are the state directories and the sockets of containerd: its own defaults, and those that
// distributions of Kubernetes start it with.
var containerds = []struct{ state, socket string }{
	{"run/containerd", "run/containerd/containerd.sock"},
	{"run/k3s/containerd", "run/k3s/containerd/containerd.sock"}, // k3s and RKE2
	{"run/k0s/containerd", "run/k0s/containerd.sock"},
	{"var/snap/microk8s/common/run/containerd", "var/snap/microk8s/common/run/containerd.sock"},
}

const (
	// containerdTask is where containerd has a directory for each container of Kubernetes, below its
	// state directory (core/runtime/v2/task_manager.go).
	containerdTask = "io.containerd.runtime.v2.task/k8s.io"
	// runcOfContainerd is where its OCI runtime has theirs, whatever the state directory
	// (cmd/containerd-shim-runc-v2/process/init.go).
	runcOfContainerd = "run/containerd/runc/k8s.io"
)

// containerdTasks returns the directories that have a directory for each container of Kubernetes.
func (n Node) containerdTasks() []string {
	var dirs []string
	for _, c := range containerds {
		dirs = append(dirs, n.path(c.state, containerdTask))
	}
	return dirs
}

// containerdContainers returns the sandboxes and containers of containerd.
func (n Node) containerdContainers(ctx context.Context) ([]criContainer, error) {
	var list []criContainer
	var errs error
	for _, tasks := range n.containerdTasks() {
		ids, err := directories(tasks)
		errs = errors.Join(errs, err)
		for _, id := range ids {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if c, ok := n.containerdContainer(filepath.Join(tasks, id)); ok {
				list = append(list, c)
			}
		}
	}
	return list, errs
}

// containerdSandbox returns the sandbox of containerd with that id, or what will perhaps be one: its
// directory has no configuration yet.
func (n Node) containerdSandbox(id string) (criContainer, bool) {
	for _, tasks := range n.containerdTasks() {
		dir := filepath.Join(tasks, id)
		if _, err := os.Lstat(dir); err != nil {
			continue
		}
		if c, ok := n.containerdContainer(dir); ok {
			return c, c.sandbox == id && c.unnamed == ""
		}
		_, err := os.Lstat(filepath.Join(dir, "config.json"))
		return criContainer{id: id, sandbox: id, config: filepath.Join(dir, "config.json")}, errors.Is(err, fs.ErrNotExist)
	}
	return criContainer{}, false
}

// containerdContainer returns the container with that directory. It is false for one that is being made
// or removed, and for one that is not of Kubernetes. One whose configuration cannot be read counts as a
// sandbox without a name: if it is a container of a pod, its network namespace is that of the pod.
func (n Node) containerdContainer(dir string) (criContainer, bool) {
	id := filepath.Base(dir)
	c := criContainer{id: id, sandbox: id, states: []string{n.path(runcOfContainerd, id)}, config: filepath.Join(dir, "config.json")}
	a, err := parsed(n, c.config, parseCRIAnnotations)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, false
	case err != nil:
		c.unnamed = fmt.Sprintf("its name is not known: %v", err)
		return c, true
	}
	c.criPod, c.sandbox = a.criPod, a.sandbox
	return c, a.kind != ""
}

// criAnnotations is what containerd writes of a container of Kubernetes.
type criAnnotations struct {
	kind    string // sandbox or container; empty: it is neither
	sandbox string // the id of its sandbox
	criPod
}

// parseCRIAnnotations reads the annotations of config.json that are containerd's
// (internal/cri/annotations/annotations.go). What a pod's own annotations say does not replace these.
// Versions without the uid have it as the end of the directory of the pod's logs, which kubelet names
// NAMESPACE_POD_UID (BuildPodLogsDirectory in pkg/kubelet/kuberuntime/helpers.go of Kubernetes).
func parseCRIAnnotations(data []byte) (criAnnotations, error) {
	all := map[string]string{}
	if err := decodeStart(bytes.NewReader(data), map[string]any{"annotations": &all}); err != nil {
		return criAnnotations{}, err
	}
	get := func(name string) string { return all["io.kubernetes.cri."+name] }
	a := criAnnotations{kind: get("container-type"), sandbox: get("sandbox-id"),
		criPod: criPod{namespace: get("sandbox-namespace"), name: get("sandbox-name"), uid: get("sandbox-uid")}}
	if a.uid == "" && a.namespace != "" && a.name != "" {
		logs := path.Base(get("sandbox-log-directory"))
		if uid, ok := strings.CutPrefix(logs, a.namespace+"_"+a.name+"_"); ok {
			a.uid = uid
		}
	}
	if a.sandbox == "" {
		a.kind = ""
	}
	return a, nil
}
