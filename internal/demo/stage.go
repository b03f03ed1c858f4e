package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/examples"
	"nfsync.dev/nfsync/internal/netns"
)

// The files of the demo, on a tmpfs over /run that only its own mount namespace
// has.
const (
	workDir    = "/run/demo"
	policyDir  = "policies" // below workDir
	repository = "policies.git"
	branch     = "main"
	nodeNetns  = workDir + "/node"
	stateDir   = workDir + "/state"
	runDir     = workDir + "/run"
)

// containers are the network namespaces that stand for containers.
var containers = []string{"db-1", "vpn-1", "web-1", "web-2"}

// privateMounts gives the demo a /run of its own and makes /sys read-only, where
// module parameters are the whole machine's.
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
			return fmt.Errorf("%w: mount on %s: %w", ErrNoNamespaces, s.target, err)
		}
	}
	return nil
}

// harmless is an error where a network namespace does not cover the node's own
// values: before Linux 5.13 root could change its nf_conntrack_max from any
// (net/netfilter/nf_conntrack_standalone.c).
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

// prepare makes the containers and copies the example policies.
func prepare() error {
	for _, dir := range []string{netns.DefaultDir, workDir, stateDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// The node too is a namespace made here: the one that came with the user
	// namespace is older than its map of users, so that some of its files
	// belong to nobody who could read them (proc_net_ns_init in fs/proc/proc_net.c).
	paths := []string{nodeNetns}
	for _, name := range containers {
		paths = append(paths, filepath.Join(netns.DefaultDir, name))
	}
	for _, path := range paths {
		if err := netns.Create(path); err != nil {
			return err
		}
	}
	policies, err := fs.Sub(examples.Policies, policyDir)
	if err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(workDir, policyDir), policies); err != nil {
		return err
	}
	return os.Chdir(workDir)
}
