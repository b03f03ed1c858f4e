package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/web"
)

// freeAddress returns an address of the tests' own namespace on which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// configure replaces the configuration of the agent of a node.
func (n node) configure(t *testing.T, format string, args ...any) {
	t.Helper()
	text := "apiVersion: nfsync.dev/v1alpha1\nkind: AgentConfig\n" + fmt.Sprintf(format, args...) + "\n"
	next := n.path("next.yaml")
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, n.path("agent.yaml")); err != nil {
		t.Fatal(err)
	}
}

// get returns the status code of a path; 0 if nobody answers.
func get(address, path string) int {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := c.Get("http://" + address + path)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// eventuallyTrue polls until something holds.
func eventuallyTrue(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// status returns the status of the agent of a node; an empty one without an agent.
func (n node) status(t *testing.T) nf.NodeStatus {
	t.Helper()
	s, _ := web.NewClient(n.path("run")).Status(t.Context())
	return s
}

// TestListen: a changed address takes effect with the next lap. One that cannot be listened on is
// reported, and the one before stays.
func TestListen(t *testing.T) {
	loopback(t)
	n := newNode(t)
	first, second := freeAddress(t), freeAddress(t)
	_, port, _ := net.SplitHostPort(second)
	n.configure(t, "listen: %s", first)
	n.agent(t, nil, "--config", n.path("agent.yaml"), n.path("policy.yaml"))
	answers := func(address string) func() bool { return func() bool { return get(address, "/readyz") == 200 } }
	eventuallyTrue(t, "the first address answers", answers(first))
	if code := get(first, "/metrics"); code != 200 {
		t.Errorf("metrics: %d", code)
	}
	n.configure(t, "listen: %s", second)
	eventuallyTrue(t, "the second address answers", answers(second))
	eventuallyTrue(t, "the first address is closed", func() bool { return get(first, "/readyz") == 0 })

	// The same port, of all addresses, and back.
	n.configure(t, "listen: 0.0.0.0:%s", port)
	eventuallyTrue(t, "all addresses answer", answers("127.0.0.2:"+port))
	n.configure(t, "listen: %s", second)
	eventuallyTrue(t, "only one address answers", func() bool { return get("127.0.0.2:"+port, "/readyz") == 0 && answers(second)() })

	// An address that somebody else has.
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, bad := range []string{busy.Addr().String(), "192.0.2.1:" + port} {
		n.configure(t, "listen: %s", bad)
		eventuallyTrue(t, bad+" is reported", func() bool {
			s := n.status(t)
			stalled := s.Condition(nf.Stalled)
			return stalled.Status == nf.ConditionTrue && stalled.Reason == "InvalidConfiguration" && strings.Contains(stalled.Message, "cannot listen on "+bad)
		})
		if ready := n.status(t); ready.Condition(nf.Ready).Status != nf.ConditionFalse || get(second, "/healthz") != 200 {
			t.Errorf("ready: %+v; the address before answers %d", ready.Condition(nf.Ready), get(second, "/healthz"))
		}
	}
	n.configure(t, "listen: none")
	eventuallyTrue(t, "nothing answers", func() bool { return get(second, "/readyz") == 0 })
	eventuallyTrue(t, "it is ready", func() bool { s := n.status(t); return s.Condition(nf.Ready).Status == nf.ConditionTrue })
	n.configure(t, "listen: %s", first)
	eventuallyTrue(t, "the first address answers again", answers(first))
}

// TestWebhookSecret: a secret that the configuration has gained, lost or changed, and one whose file
// is replaced, count from then on.
func TestWebhookSecret(t *testing.T) {
	loopback(t)
	n := newNode(t)
	address := freeAddress(t)
	hook := func(token string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/webhook", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Gitlab-Token", token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode
	}
	for file, text := range map[string]string{"one": "s3cret-1\n", "two": "s3cret-2\n"} {
		if err := os.WriteFile(n.path(file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := func(token string, code int) {
		t.Helper()
		eventuallyTrue(t, fmt.Sprintf("%s is answered with %d", token, code), func() bool {
			is := hook(token) == code
			if !is {
				<-time.After(400 * time.Millisecond) // events that come closer delay the lap
			}
			return is
		})
	}
	n.configure(t, "listen: %s", address)
	n.agent(t, nil, "--config", n.path("agent.yaml"), n.path("policy.yaml"))
	want("s3cret-1", 404)
	n.configure(t, "listen: %s\nwebhookSecretFile: %s", address, n.path("one"))
	want("s3cret-1", 202)
	n.configure(t, "listen: %s\nwebhookSecretFile: %s", address, n.path("two"))
	want("s3cret-1", 403)
	want("s3cret-2", 202)
	if err := os.Rename(n.path("one"), n.path("two")); err != nil {
		t.Fatal(err)
	}
	want("s3cret-2", 403)
	want("s3cret-1", 202)
	n.configure(t, "listen: %s", address)
	want("s3cret-1", 404)
}

// TestRuntimesAtOnce: the containers of a runtime that the configuration has gained are watched.
func TestRuntimesAtOnce(t *testing.T) {
	n := newNode(t)
	const policy = `{apiVersion: nfsync.dev/v1alpha1, kind: ContainerPolicy, metadata: {name: all}, spec: {conntrack: {timeouts: {udp: 45s}}}}`
	if err := os.WriteFile(n.path("policy.yaml"), []byte(policy), 0o644); err != nil {
		t.Fatal(err)
	}
	n.configure(t, "listen: none\nruntimes: [vz]")
	n.agent(t, nil, "--config", n.path("agent.yaml"), n.path("policy.yaml"))
	eventuallyTrue(t, "it is ready", func() bool { s := n.status(t); return s.Condition(nf.Ready).Status == nf.ConditionTrue })
	n.configure(t, "listen: none\nruntimes: [netns]")
	eventuallyTrue(t, "the configuration is read", func() bool { s := n.status(t); return s.LastLap != nil && s.LastLap.Causes[0] == "config" })
	path := n.path("netns/web")
	if err := netns.Create(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(path, unix.MNT_DETACH) })
	eventuallyTrue(t, "the container has its value", func() bool {
		out, _ := exec.Command("nsenter", "--net="+path, "cat", udpTimeout).Output()
		return strings.TrimSpace(string(out)) == "45"
	})
}

// TestHangUpWithoutConfiguration: SIGHUP makes a lap, and is no error, where no configuration was
// read.
func TestHangUpWithoutConfiguration(t *testing.T) {
	n := newNode(t)
	r := n.agent(t, nil, "--config", "none", n.path("policy.yaml"))
	eventuallyTrue(t, "it is ready", func() bool { s := n.status(t); return s.Condition(nf.Ready).Status == nf.ConditionTrue })
	if err := r.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventuallyTrue(t, "a lap is made", func() bool { s := n.status(t); return s.LastLap.Causes[0] == "config" })
	if s := n.status(t); s.Condition(nf.Ready).Status != nf.ConditionTrue || s.Condition(nf.Stalled).Status != nf.ConditionFalse {
		t.Errorf("%+v", s.Conditions)
	}
}
