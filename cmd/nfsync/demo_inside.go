package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/examples"
	"nfsync.dev/nfsync/internal/netns"
)

// Where the demo's things are: on a tmpfs over /run that only its own mount
// namespace has.
const (
	demoDir      = "/run/demo"
	demoPolicies = "policies"
	demoNode     = demoDir + "/node"
	demoState    = demoDir + "/state"
)

// demoContainers are the network namespaces that stand for containers.
var demoContainers = []string{"db-1", "vpn-1", "web-1", "web-2"}

// demoInside is the demo, in namespaces of its own.
func (a *app) demoInside(ctx context.Context) error {
	if err := privateMounts(); err != nil {
		return errNoNamespaces(err)
	}
	if err := harmless(); err != nil {
		return err
	}
	if err := furnish(); err != nil {
		return fmt.Errorf("cannot prepare the demo: %w", err)
	}
	return a.tell(ctx)
}

// privateMounts gives the demo a /run of its own and takes its hands off /sys,
// where module parameters are the whole machine's.
func privateMounts() error {
	const locked = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	steps := []struct {
		source, target, kind string
		flags                uintptr
		data                 string
	}{
		{"", "/", "", unix.MS_PRIVATE | unix.MS_REC, ""},
		{"/sys", "/sys", "", unix.MS_BIND | unix.MS_REC, ""},
		{"", "/sys", "", unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | locked, ""},
		{"nfsync-demo", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755,size=16m"},
	}
	for _, s := range steps {
		if err := unix.Mount(s.source, s.target, s.kind, s.flags, s.data); err != nil {
			return fmt.Errorf("mount on %s: %w", s.target, err)
		}
	}
	return nil
}

// harmless is an error where a network namespace is not enough to keep the
// node's own values out of reach: before Linux 5.13 root could change its
// nf_conntrack_max from any (net/netfilter/nf_conntrack_standalone.c).
func harmless() error {
	for _, name := range []string{"nf_conntrack_max", "nf_conntrack_expect_max", "nf_conntrack_buckets"} {
		info, err := os.Stat("/proc/sys/net/netfilter/" + name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case info.Mode().Perm()&0o222 != 0:
			return fmt.Errorf("%s of the whole machine can be changed from a namespace on this kernel: the demo does not run here", name)
		}
	}
	return nil
}

// furnish makes the containers and copies the example policies.
func furnish() error {
	for _, dir := range []string{defaultNetnsDir, defaultRunDir, demoDir, demoState} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// The node too is a namespace made here: the one that came with the user
	// namespace is older than its map of users, so that some of its files
	// belong to nobody who could read them (proc_net_ns_init in fs/proc/proc_net.c).
	spaces := []string{demoNode}
	for _, name := range demoContainers {
		spaces = append(spaces, filepath.Join(defaultNetnsDir, name))
	}
	for _, path := range spaces {
		if err := newNamespace(path); err != nil {
			return fmt.Errorf("cannot make the network namespace %s: %w", path, err)
		}
	}
	policies, err := fs.Sub(examples.Policies, demoPolicies)
	if err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(demoDir, demoPolicies), policies); err != nil {
		return err
	}
	return os.Chdir(demoDir)
}

// newNamespace makes a network namespace and gives it a name, as ip-netns(8)
// does. The thread that made it is not used for anything else.
func newNamespace(path string) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- pin("/proc/thread-self/ns/net", path)
	}()
	return <-done
}

// pin keeps a namespace alive under a name.
func pin(namespace, path string) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return unix.Mount(namespace, path, "", unix.MS_BIND, "")
}

// inContainer runs f in the network namespace of one of the demo's containers.
func inContainer(name string, f func() error) error {
	return netns.Enter(filepath.Join(defaultNetnsDir, name), f)
}
