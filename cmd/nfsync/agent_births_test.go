package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/runtimes/runtimestest"
)

// udpTimeoutOf reads a timeout in the network namespace of a process.
func udpTimeoutOf(t testing.TB, p *runtimestest.Process) string {
	t.Helper()
	var text []byte
	err := netns.Enter(p.Path(), func() (err error) {
		text, err = os.ReadFile(udpTimeout)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// TestAgentBirth: a container of Docker has its values before it runs its program, on a node on which no
// container has run before. One that has begun is late for them.
func TestAgentBirth(t *testing.T) {
	n := newAgentNode(t)
	docker := runtimestest.Docker{T: t, Root: n.path("root")}
	n.check(os.Mkdir(docker.Root, 0o755))
	n.flags = []string{"--root", docker.Root}
	n.commit(udpPolicy(77))
	n.start()
	n.awaitReady(n.tip)

	late := func(receipt string) int { return strings.Count(receipt, `"late": true`) }
	for i, test := range []struct {
		name    string
		process *runtimestest.Process
		late    int
	}{
		{"first", runtimestest.StartRunc(t), 0},
		{"second", runtimestest.StartRunc(t), 0},
		{"begun", runtimestest.Start(t), 1},
	} {
		id := docker.Create(runtimestest.Container{Name: test.name})
		docker.Make(id, runtimestest.StartAt(t, n.path("node"))) // runc, before it has made the namespace
		docker.Make(id, runtimestest.StartAt(t, n.path("node")), test.process)
		n.await(test.name+" has its value", func() bool { return udpTimeoutOf(t, test.process) == "77" })
		docker.State(id, test.process)
		var receipts []string
		n.await("its receipt", func() bool {
			receipts, _ = filepath.Glob(n.path("state/receipts/0*.json"))
			return len(receipts) == i+1
		})
		text, err := os.ReadFile(receipts[i])
		n.check(err)
		if !strings.Contains(string(text), fmt.Sprintf("%q", test.name)) || late(string(text)) != test.late {
			t.Errorf("%s: %d late changes, want %d: %s", test.name, late(string(text)), test.late, text)
		}
	}
	n.await("all in sync", func() bool { s := n.status(); return s.Summary != nil && s.Summary.InSync == 3 })
	n.await("a lap for the whole node", func() bool { return len(n.status().Warnings) == 0 })
}
