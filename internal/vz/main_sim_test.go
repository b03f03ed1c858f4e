package vz_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/vz"
	"nfsync.dev/nfsync/internal/vz/vztest"
)

// TestMain lets this test binary be the programs of a simulated node too.
func TestMain(m *testing.M) {
	vztest.Main()
	os.Exit(m.Run())
}

// The two calls that every listing makes, and no other.
const (
	callVzlist = "vzlist -a -j -o ctid,uuid,status"
	callPrlctl = "prlctl list -a -j -o uuid,envid,type,name,status"
	callFields = "vzlist -L"
)

const (
	uuid1 = "ccefa40c-5c72-4e17-94c7-d68034a1c1a5"
	uuid2 = "0c1e4c3b-6d8c-4c5b-9a6b-3f2d1e0a9b8c"
)

// patience is a timeout that a program keeps that does not hang: many times as
// long as one takes on this machine at this time.
func patience(t testing.TB, n *vztest.Node) time.Duration {
	t.Helper()
	started := time.Now()
	if err := exec.CommandContext(t.Context(), filepath.Join(n.Root(), "usr/sbin/vzlist"), "-L").Run(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(started)
	n.ForgetCalls()
	return max(time.Second, 20*took)
}

func runtimeOn(t testing.TB, n *vztest.Node) vz.Runtime {
	t.Helper()
	own, err := netns.Own()
	if err != nil {
		t.Fatal(err)
	}
	return vz.Runtime{Root: n.Root(), BootID: "boot-1", Own: []netns.Identity{own}}
}

// list lists, and fails the test if that fails.
func list(t testing.TB, r vz.Runtime) vz.Node {
	t.Helper()
	found, err := r.List(t.Context(), r.Ask(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// listed is one container of a listing; the test fails if it is not there.
func listed(t testing.TB, r vz.Runtime, id string) nf.Container {
	t.Helper()
	found := list(t, r)
	i := slices.IndexFunc(found.Containers, func(c nf.Container) bool { return c.ID == id })
	if i < 0 {
		t.Fatalf("container %s is not listed; warnings %v", id, found.Warnings)
	}
	return found.Containers[i]
}

// levelValue is the level, or the mask, of that name.
func levelValue(name string) nf.Value { return nf.Text(name).As(nf.KeyLevel) }

// levels are the live and the saved level of a container.
func levels(c nf.Container) (live, saved nf.Value) {
	f := c.Fact(nf.KeyLevel)
	if f.Boot == nil {
		return f.Live, nf.Absent()
	}
	return f.Live, *f.Boot
}

// wantCalls holds the calls since the last look against those that were to be
// made, in any order, and forgets them.
func wantCalls(t testing.TB, n *vztest.Node, want ...string) {
	t.Helper()
	var got []string
	for _, call := range n.Calls() {
		got = append(got, strings.Join(call, " "))
	}
	n.ForgetCalls()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("calls\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// codes are those of warnings, in order.
func codes(warnings []nf.Warning) string {
	var list []string
	for _, w := range warnings {
		list = append(list, w.Code)
	}
	return strings.Join(list, " ")
}

// ended fails the test if a program that hangs, or what it started, goes on.
func ended(t testing.TB, n *vztest.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if !n.WaitHung(ctx) {
		t.Error("a program that hung goes on, or its child")
	}
}
