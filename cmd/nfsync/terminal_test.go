package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/vz/vztest"
)

// TestQuestion answers the question that apply asks on a terminal.
func TestQuestion(t *testing.T) {
	for _, test := range []struct {
		answer string
		code   int
		value  string
		said   string
	}{
		{"y\n", exitOK, "45", "1 applied"},
		{"yes\n", exitOK, "45", "1 applied"},
		{"\n", exitError, "30", "not confirmed: nothing was applied"},
		{"no\n", exitError, "30", "not confirmed: nothing was applied"},
		{"\x04", exitError, "30", "not confirmed: nothing was applied"}, // end of file
		{"\x03", exitError, "30", ""},                                   // Ctrl-C, which makes the terminal drop its buffers
	} {
		t.Run(fmt.Sprintf("%q", test.answer), func(t *testing.T) {
			n := newNode(t)
			said, code := n.answer(t, test.answer)
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			for _, want := range []string{"conntrack.timeouts.udp", "Make this change now? [y/N]", test.said} {
				if !strings.Contains(said, want) {
					t.Errorf("%q is not said", want)
				}
			}
			if value := n.read(t, "nf_conntrack_udp_timeout"); value != test.value {
				t.Errorf("the value is %s, want %s", value, test.value)
			}
			if t.Failed() {
				t.Log(said)
			}
		})
	}
}

// TestQuestionNotNeeded: where nothing is to be done nobody is asked.
func TestQuestionNotNeeded(t *testing.T) {
	n := newNode(t)
	n.write(t, "nf_conntrack_udp_timeout", "45")
	said, code := n.answer(t, "")
	if code != exitOK || strings.Contains(said, "[y/N]") || strings.Count(said, "in sync") != 1 {
		t.Errorf("exit code %d\n%s", code, said)
	}
}

// TestQuestionStale: what is applied is what was shown, or nothing.
func TestQuestionStale(t *testing.T) {
	n := newNode(t)
	said, code := n.answerWith(t, n.path("policy.yaml"), func() string {
		n.write(t, "nf_conntrack_udp_timeout", "77")
		return "y\n"
	})
	if value := n.read(t, "nf_conntrack_udp_timeout"); code != exitStale || value != "77" {
		t.Errorf("exit code %d, the value is %s\n%s", code, value, said)
	}
}

// TestQuestionSaved: a saved plan that is stale is not even asked about.
func TestQuestionSaved(t *testing.T) {
	n := newNode(t)
	if out, err := exec.Command("nfsync", append(n.flags(), "plan", n.path("policy.yaml"), "--out", n.path("plan"))...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	n.write(t, "nf_conntrack_udp_timeout", "77")
	said, code := n.answerWith(t, n.path("plan"), func() string { return "y\n" })
	if code != exitStale || strings.Contains(said, "[y/N]") {
		t.Errorf("exit code %d\n%s", code, said)
	}
}

// TestQuestionRestart checks that the question names the containers that are restarted.
func TestQuestionRestart(t *testing.T) {
	v := vztest.New(t)
	v.Add(vztest.Container{ID: "101", Name: "web-1", Saved: "full", State: nf.StateRunning})
	n := newNode(t)
	n.more = []string{"--vz-root", v.Root()}
	const policy = `{apiVersion: nfsync.dev/v1alpha1, kind: ContainerPolicy, metadata: {name: web}, spec: {level: stateful, restart: allow}}`
	if err := os.WriteFile(n.path("policy.yaml"), []byte(policy), 0o644); err != nil {
		t.Fatal(err)
	}
	said, code := n.answer(t, "no\n")
	if code != exitError || !strings.Contains(said, "This restarts container vz/101 (web-1): its services stop and start again.") || !strings.Contains(said, "Make these 2 changes (1 restart) now?") {
		t.Errorf("exit code %d\n%s", code, said)
	}
	if v.Saved("101") != "full" {
		t.Errorf("saved is %s", v.Saved("101"))
	}
}

// node is a node of its own with one policy.
type node struct {
	dir  string
	more []string // flags
}

func newNode(t *testing.T) node {
	t.Helper()
	n := node{dir: t.TempDir()}
	if err := os.Mkdir(n.path("netns"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := netns.Create(n.path("node")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(n.path("node"), unix.MNT_DETACH) })
	const policy = `{apiVersion: nfsync.dev/v1alpha1, kind: NodePolicy, metadata: {name: node}, spec: {conntrack: {timeouts: {udp: 45s}}}}`
	if err := os.WriteFile(n.path("policy.yaml"), []byte(policy), 0o644); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n node) path(name string) string { return filepath.Join(n.dir, name) }

func (n node) sh(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.Command("nsenter", "--net="+n.path("node"), "sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func (n node) read(t *testing.T, file string) string {
	t.Helper()
	return n.sh(t, "cat /proc/sys/net/netfilter/"+file)
}

func (n node) write(t *testing.T, file, value string) {
	t.Helper()
	n.sh(t, "echo "+value+" > /proc/sys/net/netfilter/"+file)
}

func (n node) flags() []string {
	return append([]string{"--node-netns", n.path("node"), "--netns-dir", n.path("netns"),
		"--state-dir", n.path("state"), "--run-dir", n.path("run")}, n.more...)
}

func (n node) answer(t *testing.T, typed string) (string, int) {
	t.Helper()
	return n.answerWith(t, n.path("policy.yaml"), func() string { return typed })
}

// answerWith runs apply on a terminal, types the answer when it is asked for,
// and returns everything that the terminal showed.
func (n node) answerWith(t *testing.T, path string, answer func() string) (string, int) {
	t.Helper()
	return onTerminal(t, exec.Command("nfsync", append(n.flags(), "apply", path)...), answer)
}

// onTerminal runs a command on a terminal, types the answer when it is asked for, and returns everything
// that the terminal showed, and the exit code.
func onTerminal(t *testing.T, cmd *exec.Cmd, answer func() string) (string, int) {
	t.Helper()
	master, slave := terminalPair(t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := startBound(cmd); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	var said bytes.Buffer
	buf := make([]byte, 4096)
	for answered := false; ; {
		k, err := master.Read(buf)
		said.Write(buf[:k])
		if !answered && strings.Contains(said.String(), "[y/N]") {
			answered = true
			if _, err := io.WriteString(master, answer()); err != nil {
				t.Fatal(err)
			}
		}
		if errors.Is(err, syscall.EIO) { // the other side is closed
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	_ = cmd.Wait()
	return said.String(), cmd.ProcessState.ExitCode()
}

// terminalPair opens a pseudo-terminal, pty(7).
func terminalPair(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}
