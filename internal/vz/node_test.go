package vz

import (
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// If nfsync runs in a container that has the node mounted on a directory, the mount points
// begin with that directory.
func TestFindCgroup(t *testing.T) {
	root := t.TempDir()
	write(t, root, "sys/fs/cgroup/ve/101/ve.iptables_mask", "0\n")
	for point, ok := range map[string]bool{"/sys/fs/cgroup/ve": true, root + "/sys/fs/cgroup/ve": true, "/elsewhere": false} {
		write(t, root, "proc/mounts", "cgroup "+point+" cgroup rw,ve 0 0\n")
		n := Runtime{Root: root}.node()
		if got := n.liveMask("101"); (got == nf.LevelDisabled.Value()) != ok || got.IsUnknown() == ok {
			t.Errorf("%s: %v %s", point, got, got.Why())
		}
	}
	if got := (Runtime{Root: t.TempDir()}).node().liveMask("101"); !strings.Contains(got.Why(), "cannot read the mounts") {
		t.Errorf("%v %s", got, got.Why())
	}
}

// A path out of a directory, or an option, is not a CTID.
func TestUsableIDs(t *testing.T) {
	for id, want := range map[string]bool{
		"132694": true, "0c1e4c3b-6d8c-4c5b-9a6b-3f2d1e0a9b8c": true, "ct_1.x": true,
		"": false, "0": false, "..": false, ".": false, "-a": false, "a/b": false, "a b": false, "a\n": false, "a\x00": false, "é": false,
		strings.Repeat("1", 65): false,
	} {
		if got := usableCTID(id); got != want {
			t.Errorf("%q: %v", id, got)
		}
	}
	for uuid, want := range map[string]string{
		"{0c1e4c3b-6d8c-4c5b-9a6b-3f2d1e0a9b8c}": "0c1e4c3b-6d8c-4c5b-9a6b-3f2d1e0a9b8c",
		"0C1E4C3B-6d8c-4c5b-9a6b-3f2d1e0a9b8c":   "0C1E4C3B-6d8c-4c5b-9a6b-3f2d1e0a9b8c",
		"132694":                                 "", "": "", "-": "", "--help": "",
	} {
		if got := bareUUID(uuid); got != want {
			t.Errorf("%q: %q", uuid, got)
		}
	}
}
