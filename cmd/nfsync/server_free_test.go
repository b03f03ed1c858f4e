package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestNoServer: nodes talk to a NATS server, and do not carry one. It would add 10 MB to nfsync.
func TestNoServer(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	parts := 0
	for part := range strings.Lines(string(out)) {
		part = strings.TrimSpace(part)
		if strings.HasPrefix(part, "github.com/nats-io/nats-server") || strings.HasPrefix(part, "nfsync.dev/nfsync/internal/engine") {
			t.Errorf("nfsync imports %s", part)
		}
		if strings.HasPrefix(part, "nfsync.dev/nfsync/internal/") {
			parts++
		}
	}
	if parts < 10 {
		t.Errorf("nfsync has %d parts of its own: is this the list of its parts?", parts)
	}
}
