package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// running is an agent that runs as a process.
type running struct {
	*exec.Cmd
	stderr *bytes.Buffer // complete once it has ended
	ended  chan error
}

// agent starts an agent on the node. It is killed in the end, if it still runs.
func (n node) agent(t *testing.T, env []string, args ...string) *running {
	t.Helper()
	r := &running{Cmd: exec.Command("nfsync", append(append(n.flags(), "--node", "hn-1", "agent"), args...)...), stderr: &bytes.Buffer{}, ended: make(chan error, 1)}
	r.Env = append(os.Environ(), env...)
	r.Stderr = r.stderr
	if slices.Contains(args, noConfig) {
		r.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET} // it listens on the default address
	}
	if err := startBound(r.Cmd); err != nil {
		t.Fatal(err)
	}
	go func() { r.ended <- r.Wait() }()
	t.Cleanup(func() {
		if r.ended != nil {
			_ = r.Process.Kill()
			<-r.ended
		}
		if t.Failed() {
			t.Logf("the agent has said:\n%s", r.stderr)
		}
	})
	return r
}

// stop ends the agent with a signal and returns its exit code.
func (r *running) stop(t *testing.T, s syscall.Signal) int {
	t.Helper()
	if err := r.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-r.ended:
		r.ended = nil
		if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
			t.Fatal(err, exit)
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	return r.ProcessState.ExitCode()
}

// client runs a verb that talks to the agent of the node.
func (n node) client(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command("nfsync", append([]string{"--run-dir", n.path("run")}, args...)...)
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err, exit)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// loopback brings up the loopback device of the namespace that the tests have.
func loopback(t testing.TB) {
	t.Helper()
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// systemd is the socket on which a service notifies its manager.
type systemd struct {
	*net.UnixConn
	all []string
}

func newSystemd(t *testing.T, path string) *systemd {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &systemd{UnixConn: c}
}

// await returns the next message with a line that starts so.
func (s *systemd) await(t *testing.T, line string) string {
	t.Helper()
	buf := make([]byte, 4096)
	_ = s.SetReadDeadline(time.Now().Add(patience))
	for {
		n, err := s.Read(buf)
		if err != nil {
			t.Fatalf("no %s: %v, after %q", line, err, s.all)
		}
		message := string(buf[:n])
		s.all = append(s.all, message)
		if strings.HasPrefix(message, line) || strings.Contains(message, "\n"+line) {
			return message
		}
	}
}

// TestNotify is the service manager of an agent (sd_notify(3)): it receives the start, the
// state in words, a reload with the time that Type=notify-reload compares, signs of life, and the stop.
func TestNotify(t *testing.T) {
	for name, config := range map[string]string{"no configuration": "none", "a configuration": "agent.yaml"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			if config != "none" {
				config = n.path(config)
				const text = "{apiVersion: nfsync.dev/v1alpha1, kind: AgentConfig, listen: none}"
				if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			notifyCase(t, n, config)
		})
	}
}

func notifyCase(t *testing.T, n node, config string) {
	t.Helper()
	s := newSystemd(t, n.path("notify"))
	args := []string{"--config", config, n.path("policy.yaml")}
	r := n.agent(t, []string{"NOTIFY_SOCKET=" + n.path("notify"), "WATCHDOG_USEC=400000"}, args...)
	if status := s.await(t, "READY=1"); !strings.Contains(status, "\nSTATUS=the policies are in force") {
		t.Errorf("it says %q", status)
	}
	s.await(t, "WATCHDOG=1")
	before := monotonic(t)
	if err := r.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	reloading := s.await(t, "RELOADING=1")
	m := regexp.MustCompile(`\nMONOTONIC_USEC=(\d+)$`).FindStringSubmatch(reloading)
	if m == nil {
		t.Fatalf("it says %q", reloading)
	}
	if at, err := strconv.ParseInt(m[1], 10, 64); err != nil || at < before || at > monotonic(t) {
		t.Errorf("%d is not after %d, when the signal was sent: %v", at, before, err)
	}
	if ready := s.await(t, "READY=1"); !strings.Contains(ready, "\nSTATUS=the policies are in force") {
		t.Errorf("after the reload it says %q", ready)
	}
	if out, code := n.client(t, "suspend", "--reason", "maintenance"); code != 0 {
		t.Fatal(out)
	}
	s.await(t, "STATUS=the policies are in force; suspended until nfsync resume, by root: maintenance")
	s.await(t, "WATCHDOG=1")
	seen := len(s.all)
	if code := r.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.await(t, "STOPPING=1")
	for _, message := range s.all[seen:] {
		if strings.HasPrefix(message, "READY") || strings.HasPrefix(message, "RELOADING") {
			t.Errorf("it stops and says %q", message)
		}
	}
}

func monotonic(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() / 1000
}

// TestNotifyPatience: an agent whose first lap takes long asks for more time to start, and one that
// is stopped during a long lap for more time to stop.
func TestNotifyPatience(t *testing.T) {
	n := newNode(t)
	s := newSystemd(t, n.path("notify"))
	loopback(t)
	// A git server that never answers makes the lap long.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	config := n.path("agent.yaml")
	text := "{apiVersion: nfsync.dev/v1alpha1, kind: AgentConfig, listen: none, source: {urls: ['http://" + l.Addr().String() + "/x.git'], branch: main}}"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := n.agent(t, []string{"NOTIFY_SOCKET=" + n.path("notify")}, "--config", config)
	s.await(t, "EXTEND_TIMEOUT_USEC=30000000")
	if status := s.await(t, "STATUS="); !strings.Contains(status, "a lap runs since") || !strings.Contains(status, "(start)") {
		t.Errorf("it says %q", status)
	}
	if out, code := n.client(t, "status"); code != 0 || !strings.Contains(out, "Now         a lap, since") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if out, code := n.client(t, "suspend", "--reason", "maintenance"); code != 0 || !strings.Contains(out, "the agent makes no changes until nfsync resume") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if out, _ := n.client(t, "status"); !strings.Contains(out, "by root: maintenance") {
		t.Errorf("during the lap the suspension is not in the status: %s", out)
	}
	if out, _ := n.client(t, "sync"); !strings.Contains(out, "the agent fetches and plans after the lap that runs since") {
		t.Errorf("sync: %s", out)
	}
	if err := r.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.await(t, "STOPPING=1")
	s.await(t, "EXTEND_TIMEOUT_USEC=30000000")
}
