package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/netns"
)

const fightPolicy = `{apiVersion: nfsync.dev/v1alpha1, kind: ContainerPolicy, metadata: {name: all}, spec: {conntrack: {timeouts: {udp: 45s, icmp: 20s}}}}`

// TestFight applies a policy to a container that scribbles over a value for 200 ms
// whenever that is changed. Whoever wins, nothing is stuck, and the other container gets
// its values. Once the fighter has gone, so does it.
func TestFight(t *testing.T) {
	const rounds = 20
	n := newNode(t)
	if err := os.MkdirAll(n.path("netns"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fighter", "web"} {
		if err := netns.Create(n.path("netns/" + name)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(n.path("netns/"+name), unix.MNT_DETACH) })
	}
	if err := os.WriteFile(n.path("policy.yaml"), []byte(fightPolicy), 0o644); err != nil {
		t.Fatal(err)
	}
	stop := scribble(t, n.path("netns/fighter"))
	codes := map[int]int{}
	for range rounds {
		n.sh(t, "nsenter --net="+n.path("netns/web")+" sh -c 'echo 30 > "+udpTimeout+"'")
		code, out := n.apply(t)
		codes[code]++
		if code != exitOK && code != exitUndone {
			t.Fatalf("exit code %d:\n%s", code, out)
		}
		if v := n.sh(t, "nsenter --net="+n.path("netns/web")+" cat "+udpTimeout); v != "45" {
			t.Fatalf("the other container reads %s:\n%s", v, out)
		}
	}
	t.Logf("%d applies against a fighter ended with these exit codes: %v", rounds, codes)
	stop()
	if code, out := n.apply(t); code != exitOK {
		t.Errorf("without the fighter: exit code %d\n%s", code, out)
	}
}

const udpTimeout = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout"

func (n node) apply(t *testing.T) (int, string) {
	t.Helper()
	cmd := exec.Command("nfsync", "apply", n.path("policy.yaml"), "--yes", "--node", "hn-1", "--node-netns", n.path("node"),
		"--netns-dir", n.path("netns"), "--state-dir", n.path("state"), "--run-dir", n.path("run"))
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), string(out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, string(out)
}

// scribble writes other values to a timeout of a network namespace for 200 ms each time
// that it has changed, until stop is called.
func scribble(t *testing.T, path string) (stop func()) {
	t.Helper()
	quit, ended := make(chan struct{}), make(chan error)
	go func() {
		ended <- netns.Enter(path, func() error {
			mine := "77"
			for {
				select {
				case <-quit:
					return nil
				default:
				}
				text, err := os.ReadFile(udpTimeout)
				if err != nil {
					return err
				}
				if strings.TrimSpace(string(text)) == mine {
					continue
				}
				for i, end := 0, time.Now().Add(200*time.Millisecond); time.Now().Before(end); i++ {
					mine = fmt.Sprint(1000 + i%1000)
					if err := os.WriteFile(udpTimeout, []byte(mine), 0o644); err != nil {
						return err
					}
				}
			}
		})
	}()
	return func() {
		close(quit)
		if err := <-ended; err != nil {
			t.Errorf("the fighter: %v", err)
		}
	}
}
