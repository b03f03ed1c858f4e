package runtimestest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// CRI has the files of containerd and of CRI-O for pods, below a root.
type CRI struct {
	T     testing.TB
	Root  string // of the files
	State string // of containerd; empty: /run/containerd
}

// Pod is a pod. What is empty is not written.
type Pod struct {
	Namespace, Name, UID string
	Network              string   // the path of its network namespace in the configuration of its sandbox
	Process              *Process // of its sandbox, or of a container
}

// The recorded files of a sandbox, and of one of its containers.
const (
	criTask    = "run/containerd/io.containerd.runtime.v2.task/k8s.io"
	criSandbox = "10a2cde48f61e22ef1842ea49dc00f641c3356d89bef33dbf6db8623230da6ad"
	recordedIn = "trixie/cri/"
)

// Sandbox writes the files that containerd has of a sandbox.
func (c CRI) Sandbox(id string, p Pod) {
	c.T.Helper()
	c.config(id, p, map[string]any{
		"container-type": "sandbox", "sandbox-id": id, "sandbox-namespace": p.Namespace, "sandbox-name": p.Name, "sandbox-uid": p.UID,
		"sandbox-log-directory": "/var/log/pods/" + p.Namespace + "_" + p.Name + "_" + ID(p.Name)[:32],
	})
}

// Container writes the files that containerd has of a container of a pod.
func (c CRI) Container(id, sandbox string, p Pod) {
	c.T.Helper()
	c.config(id, p, map[string]any{
		"container-type": "container", "sandbox-id": sandbox, "sandbox-namespace": p.Namespace, "sandbox-name": p.Name, "sandbox-uid": p.UID,
	})
}

func (c CRI) config(id string, p Pod, annotations map[string]any) {
	c.T.Helper()
	edit(c.T, recorded(c.T, recordedIn+criTask+"/"+criSandbox+"/config.json"), filepath.Join(c.Task(id), "config.json"), func(file map[string]any) {
		all := map[string]any{"sandbox-name": "a pod's own annotation"}
		for name, value := range annotations {
			if value != "" {
				all["io.kubernetes.cri."+name] = value
			}
		}
		file["annotations"] = all
		setNetwork(file, p.Network)
	})
	if p.Process != nil {
		c.state(filepath.Join(c.Root, "run/containerd/runc/k8s.io", id), p.Process)
	}
}

// Task returns the directory that containerd has of a container.
func (c CRI) Task(id string) string {
	if c.State == "" {
		return filepath.Join(c.Root, criTask, id)
	}
	return filepath.Join(c.Root, c.State, "io.containerd.runtime.v2.task/k8s.io", id)
}

// Remove removes what containerd has of a container.
func (c CRI) Remove(id string) {
	c.T.Helper()
	if err := os.RemoveAll(c.Task(id)); err != nil {
		c.T.Fatal(err)
	}
}

func (c CRI) state(dir string, p *Process) {
	c.T.Helper()
	edit(c.T, recorded(c.T, recordedIn+"run/containerd/runc/k8s.io/"+criSandbox+"/state.json"), filepath.Join(dir, "state.json"), func(file map[string]any) {
		file["init_process_pid"], file["init_process_start"] = p.PID, p.Start
	})
}

func setNetwork(file map[string]any, path string) {
	for _, ns := range array(object(file["linux"])["namespaces"]) {
		if ns := object(ns); ns["type"] == "network" {
			ns["path"] = path
		}
	}
}

// CRIO is a sandbox or a container of CRI-O.
type CRIO struct {
	ID, Sandbox string
	Pod
	// Annotations are those of the configuration, which nobody should believe.
	Annotations map[string]any
}

// CRIO writes the files that CRI-O has: its storage, the configurations of sandboxes, and the state of
// the OCI runtime where there is a process.
func (c CRI) CRIO(containers ...CRIO) {
	c.T.Helper()
	storage := []map[string]any{}
	for _, x := range containers {
		metadata := map[string]any{"pod-name": "k8s_" + x.Name, "pod-id": x.Sandbox, "image-name": "pause", "name": "k8s_POD_" + x.Name, "metadata-name": x.Name, "created-at": 1796156625}
		if x.ID == x.Sandbox {
			metadata["uid"], metadata["namespace"], metadata["pod"] = x.UID, x.Namespace, true
			edit(c.T, recorded(c.T, recordedIn+criTask+"/"+criSandbox+"/config.json"), filepath.Join(c.Root, "run/containers/storage/overlay-containers", x.ID, "userdata/config.json"), func(file map[string]any) {
				file["annotations"] = x.Annotations
				setNetwork(file, x.Network)
			})
		}
		text, err := json.Marshal(metadata)
		if err != nil {
			c.T.Fatal(err)
		}
		storage = append(storage, map[string]any{"id": x.ID, "names": []string{"k8s_" + x.Name}, "metadata": string(text), "flags": map[string]any{"Volatile": true}})
		if x.Process != nil {
			c.state(filepath.Join(c.Root, "run/runc", x.ID), x.Process)
		}
	}
	text, err := json.Marshal(storage)
	dir := filepath.Join(c.Root, "var/lib/containers/storage/overlay-containers")
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "volatile-containers.json"), text, 0o600)
	}
	if err != nil {
		c.T.Fatal(err)
	}
}

// Mount mounts the network namespace of a process on a file below the root, as CNI's users do for pods.
func (c CRI) Mount(path string, p *Process) {
	c.T.Helper()
	at := filepath.Join(c.Root, path)
	err := os.MkdirAll(filepath.Dir(at), 0o755)
	if err == nil {
		err = os.WriteFile(at, nil, 0o444)
	}
	if err == nil {
		err = unix.Mount(p.Path(), at, "", unix.MS_BIND, "")
	}
	if err != nil {
		c.T.Fatal(err)
	}
	c.T.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
}
