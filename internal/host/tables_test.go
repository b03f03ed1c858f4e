package host

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/vz/vztest"
)

// TestTables: each table is that of its namespace. What has gone, what was recreated and what does
// not run is left out.
func TestTables(t *testing.T) {
	dir := t.TempDir()
	m := New(Config{FS: realFS, NetnsDir: dir, NodeNetns: addNamespace(t, t.TempDir(), "node")})
	for _, name := range []string{"busy", "gone", "idle", "recreated", "rests"} {
		addNamespace(t, dir, name)
	}
	listed, err := m.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range listed.Containers {
		if c := &listed.Containers[i]; c.Name == "rests" {
			c.State = nf.StateStopped
		}
	}
	removeNamespace(t, filepath.Join(dir, "gone"))
	removeNamespace(t, filepath.Join(dir, "recreated"))
	addNamespace(t, dir, "recreated")
	addNamespace(t, dir, "new")
	connect(t, filepath.Join(dir, "busy"))

	list := m.Tables(t.Context(), listed)
	var got []string
	for _, r := range list {
		got = append(got, r.Target.String())
		count := int64(0)
		if r.Target.ID == "busy" {
			count = 1
		}
		if r.Count != count || r.Max <= 0 || (r.Drops != nil) != (count > 0) || r.Instance == "" {
			t.Errorf("%+v", r)
		}
	}
	if got, want := strings.Join(got, ", "), "node, container netns/busy, container netns/idle"; got != want {
		t.Errorf("%s, want %s", got, want)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if list := m.Tables(ctx, listed); len(list) > 1 {
		t.Errorf("%d tables are read after the end", len(list))
	}
}

// connect makes one conntrack entry in a network namespace.
func connect(t *testing.T, path string) {
	t.Helper()
	err := netns.Enter(path, func() error {
		nft := exec.Command("nft", "add table inet t; add chain inet t c { type filter hook output priority 0; }; add rule inet t c ct state new accept")
		if out, err := nft.CombinedOutput(); err != nil {
			t.Errorf("nft: %v: %s", err, out)
		}
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Errorf("ip: %v: %s", err, out)
		}
		c, err := net.Dial("udp", "127.0.0.1:9")
		if err == nil {
			defer c.Close()
			_, err = c.Write([]byte("x"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestVZTables: the tables of containers of Virtuozzo that run are read. One that shares the node's
// namespace has none of its own.
func TestVZTables(t *testing.T) {
	n := vztest.New(t)
	n.Add(vztest.Container{ID: "101", Saved: "full", State: nf.StateRunning}, vztest.Container{ID: "102", Saved: "full", State: nf.StateStopped},
		vztest.Container{ID: "103", Saved: "full", State: nf.StateRunning, SharedNet: true})
	m := virtuozzo(n)
	listed, err := m.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	connect(t, fmt.Sprintf("/proc/%d/ns/net", n.Pid("101")))
	list := m.Tables(t.Context(), listed)
	if len(list) != 2 || !list[0].Target.IsNode() || list[1].Target.ID != "101" || list[1].Count != 1 || list[1].Max != list[0].Max {
		t.Errorf("%+v", list)
	}
}

// TestLimitInForce: nf_conntrack_alloc of vzkernel has ct_max = net->ct.max ? net->ct.max :
// init_net.ct.max; __nf_conntrack_alloc of mainline has one nf_conntrack_max, or the smaller one.
func TestLimitInForce(t *testing.T) {
	for name, test := range map[string]struct {
		own, node int64
		keeper    string
		want      int64
	}{
		"mainline":                 {262144, 262144, nf.KeeperNobody, 262144},
		"mainline, no limit":       {0, 0, nf.KeeperNobody, 0},
		"own limit":                {1000, 262144, nf.KeeperNobody, 1000},
		"above the node's":         {500000, 262144, nf.KeeperNobody, 262144},
		"the node has none":        {1000, 0, nf.KeeperNobody, 1000},
		"Virtuozzo":                {50000, 262144, nf.KeeperKernel, 50000},
		"Virtuozzo, node lowered":  {50000, 30000, nf.KeeperKernel, 50000},
		"Virtuozzo, 0 is the node": {0, 262144, nf.KeeperKernel, 262144},
		"Virtuozzo, no limit":      {0, 0, nf.KeeperKernel, 0},
	} {
		if got := limitInForce(test.own, test.node, test.keeper); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}
