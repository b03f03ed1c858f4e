package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
)

// The fleet of TestFleetScale. Its snapshots are that of a real node, under other names.
const (
	fleetNodes      = 1000
	fleetContainers = 50
)

// TestFleetScale plans for a large fleet, and prints what that takes. The nodes are in
// the order of their names, whatever the order in which they were planned.
func TestFleetScale(t *testing.T) {
	n := newNode(t)
	for i := range fleetContainers {
		name := n.path(fmt.Sprintf("netns/web-%d", i+1))
		if err := netns.Create(name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(name, unix.MNT_DETACH) })
	}
	snapshot, err := exec.Command("nfsync", append([]string{"snapshot", "-o", "json", "--node", "hn-NUMBER"}, n.flags()...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	// In memory: writing all that to a disk would hold up what other tests write.
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	for i := range fleetNodes {
		text := strings.ReplaceAll(string(snapshot), "hn-NUMBER", fmt.Sprintf("hn-%d", i+1))
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.json", i)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const policy = `{apiVersion: nfsync.dev/v1alpha1, kind: ContainerPolicy, metadata: {name: web}, spec: {containers: {names: ["web-*"]},
  conntrack: {timeouts: {udp: 45s, udpStream: 3m, tcpEstablished: 2h, generic: 5m}}}}`
	policies := filepath.Join(t.TempDir(), "policies.yaml")
	if err := os.WriteFile(policies, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nfsync", "plan", policies, "--snapshot", dir, "-o", "json")
	start := time.Now()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	t.Logf("%d nodes of %d containers, %d MiB of snapshots: %.1fs, %d MiB", fleetNodes, fleetContainers,
		fleetNodes*len(snapshot)>>20, time.Since(start).Seconds(), usage.Maxrss>>10)
	var fleet nf.FleetPlan
	if err := json.Unmarshal(out, &fleet); err != nil {
		t.Fatal(err)
	}
	if want := 4 * fleetNodes * fleetContainers; len(fleet.Nodes) != fleetNodes || fleet.Summary.Changes != want {
		t.Fatalf("%d nodes and %d changes, want %d and %d", len(fleet.Nodes), fleet.Summary.Changes, fleetNodes, want)
	}
	for i, node := range fleet.Nodes {
		if want := fmt.Sprintf("hn-%d", i+1); node.Node != want {
			t.Fatalf("node %d is %s, want %s", i+1, node.Node, want)
		}
	}
}
