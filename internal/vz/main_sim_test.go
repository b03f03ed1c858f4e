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

// TestMain makes this test binary run as a program of a simulated node too.
func TestMain(m *testing.M) {
	vztest.Main()
	os.Exit(m.Run())
}

// Every listing makes the first two calls. callFields follows if no container runs.
const (
	callVzlist = "vzlist -a -j -o ctid,uuid,status"
	callPrlctl = "prlctl list -a -j -o uuid,envid,type,name,status"
	callFields = "vzlist -L"
)

const (
	uuid1 = "ccefa40c-5c72-4e17-94c7-d68034a1c1a5"
	uuid2 = "0c1e4c3b-6d8c-4c5b-9a6b-3f2d1e0a9b8c"
)

// generousTimeout returns a timeout that only a program that hangs exceeds: many times the
// time that a call takes on this machine now.
func generousTimeout(t testing.TB, n *vztest.Node) time.Duration {
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
	return vz.Runtime{Root: n.Root(), BootID: "boot-1", NodeNamespaces: []netns.Identity{own}}
}

// list lists the containers. The test fails on an error.
func list(t testing.TB, r vz.Runtime) vz.Node {
	t.Helper()
	found, err := r.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// listed returns one container of a new listing. The test fails if the listing lacks it.
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

// levels returns the live and the saved level of a container.
func levels(c nf.Container) (live, saved nf.Value) {
	f := c.Fact(nf.KeyLevel)
	if f.Boot == nil {
		return f.Live, nf.Absent()
	}
	return f.Live, *f.Boot
}

// wantCalls compares the calls of programs since the last ForgetCalls with those wanted, in
// any order, and forgets them.
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

// codes returns the codes of warnings, in order.
func codes(warnings []nf.Warning) string {
	var list []string
	for _, w := range warnings {
		list = append(list, w.Code)
	}
	return strings.Join(list, " ")
}

// wantEnded fails the test if a program that hangs, or its child, still runs.
func wantEnded(t testing.TB, n *vztest.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if !n.AwaitNoHang(ctx) {
		t.Error("a program that hung, or its child, still runs")
	}
}
