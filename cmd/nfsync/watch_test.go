package main

import (
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// TestWatchTerminal: on a terminal status --watch shows each new status in place of the one before,
// and Ctrl-C ends it.
func TestWatchTerminal(t *testing.T) {
	n := newNode(t)
	n.agent(t, nil, "--config", "none", n.path("policy.yaml"))
	eventuallyTrue(t, "it is ready", func() bool { s := n.status(t); return s.Condition(nf.Ready).Status == nf.ConditionTrue })
	master, slave := terminalPair(t)
	cmd := exec.Command("nfsync", "--run-dir", n.path("run"), "status", "--watch")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := startBound(cmd); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	shown := make(chan string, 1000)
	go func() {
		defer close(shown)
		buf := make([]byte, 4096)
		for {
			k, err := master.Read(buf)
			if err != nil { // the other side is closed
				return
			}
			shown <- string(buf[:k])
		}
	}()
	const page = "\x1b[H\x1b[2J" // to the first column of the first line, and clear
	all := ""
	await := func(want string, pages int) {
		t.Helper()
		for end := time.After(patience); !strings.Contains(all, want) || strings.Count(all, page) < pages; {
			select {
			case text, ok := <-shown:
				if all += text; !ok {
					t.Fatalf("it has ended: %q", all)
				}
			case <-end:
				t.Fatalf("it shows %q", all)
			}
		}
	}
	await("is \x1b[", 1)
	if out, code := n.client(t, "suspend", "--reason", "maintenance"); code != 0 {
		t.Fatal(out)
	}
	await("by root: maintenance", 2)
	if !strings.HasPrefix(all, page) {
		t.Errorf("it begins with %q", all[:20])
	}
	if _, err := io.WriteString(master, "\x03"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("Ctrl-C ends it with %v", err)
	}
}
