package vz_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"nfsync.dev/nfsync/internal/vz"
	"nfsync.dev/nfsync/internal/vz/vztest"
)

func TestFound(t *testing.T) {
	n := vztest.New(t)
	if err := os.Remove(filepath.Join(n.Root(), "usr/bin/prlctl")); err != nil {
		t.Fatal(err)
	}
	got := runtimeOn(t, n).Found()
	want := vz.Found{Any: true, Cgroup: filepath.Join(n.Root(), "sys/fs/cgroup/ve"), Missing: []string{"prlctl"},
		Programs: map[string]string{"vzctl": filepath.Join(n.Root(), "usr/sbin/vzctl"), "vzlist": filepath.Join(n.Root(), "usr/sbin/vzlist")}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := (vz.Runtime{Root: t.TempDir()}).Found(); got.Any || len(got.Missing) != 3 || got.NoCgroup == "" {
		t.Errorf("on a node without Virtuozzo: %+v", got)
	}
	if len(n.Calls()) != 0 {
		t.Errorf("it ran %v", n.Calls())
	}
}
