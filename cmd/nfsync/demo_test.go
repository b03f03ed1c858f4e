package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/netns"
)

// TestDemoTouchesNothing compares what the demo could have reached before and
// after: every conntrack value, the tables and the namespaces of this machine
// and of the namespace in which the demo was started.
func TestDemoTouchesNothing(t *testing.T) {
	before := machine(t)
	out, err := exec.Command("nfsync", "demo").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if diff := cmp.Diff(before, machine(t)); diff != "" {
		t.Errorf("the demo changed this machine:\n%s", diff)
	}
	for _, want := range []string{"$ nfsync validate", "$ nfsync plan --git", "$ nfsync agent --once", "drift", "last good revision stays in force", "refused", "level-in-use", "read-only",
		"$ nfsync agent --config agent.yaml &", "web-3: net.netfilter.nf_conntrack_tcp_timeout_established = 7200, after", "_established = 3600, after", "by root: maintenance"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the demo does not show %q", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// TestDemoInterrupted stops the demo half-way and looks for what is left.
func TestDemoInterrupted(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			before := machine(t)
			cmd := exec.Command("nfsync", "demo")
			out := smallPipe(t, cmd)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			cmd.Stdout.(*os.File).Close()
			readUntil(t, out, "nfsync plan")
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			finished := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
			if err := cmd.Wait(); err == nil {
				t.Error("an interrupted demo ended well")
			}
			// The pipe ends when the last process of the demo has let go of it.
			rest, err := io.ReadAll(out)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(rest, []byte("drift")) {
				t.Error("the demo went on after it was interrupted")
			}
			if !finished.Stop() {
				t.Error("the demo did not end by itself")
			}
			if diff := cmp.Diff(before, machine(t)); diff != "" {
				t.Errorf("something is left:\n%s", diff)
			}
		})
	}
}

// smallPipe is the output of a command that goes no further than it is read.
func smallPipe(t *testing.T, cmd *exec.Cmd) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize()); err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	return r
}

func readUntil(t *testing.T, r io.Reader, text string) {
	t.Helper()
	var seen bytes.Buffer
	buf := make([]byte, 4096)
	for !strings.Contains(seen.String(), text) {
		n, err := r.Read(buf)
		seen.Write(buf[:n])
		if err != nil {
			t.Fatalf("%v before %q:\n%s", err, text, seen.String())
		}
	}
}

// machine returns the contents of the files that the demo must not change.
func machine(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	// The process that made this one's namespaces is outside of them.
	outside := fmt.Sprintf("/proc/%d/ns/net", os.Getppid())
	for where, path := range map[string]string{"here": "/proc/self/ns/net", "outside": outside} {
		err := netns.Enter(path, func() error { return describe(where, all) })
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"/run/netns", "/run/nfsync", "/run/demo", "/var/lib/nfsync"} {
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		all[dir] = strings.Join(names, " ")
	}
	for _, file := range []string{"/proc/modules", "/proc/self/mountinfo", "/sys/module/nf_conntrack/parameters/hashsize"} {
		all[file] = read(file)
	}
	return all
}

// describe notes the values and tables of the calling thread's namespace.
func describe(where string, all map[string]string) error {
	values, err := filepath.Glob("/proc/sys/net/netfilter/*")
	if err != nil {
		return err
	}
	for _, file := range append(values, "/proc/sys/net/nf_conntrack_max") {
		if !strings.HasSuffix(file, "_count") { // other tests' connections
			all[where+" "+file] = read(file)
		}
	}
	for _, file := range []string{"ip_tables_names", "ip6_tables_names", "arp_tables_names", "ip_tables_matches", "ip_tables_targets"} {
		all[where+" "+file] = read("/proc/thread-self/net/" + file)
	}
	rules, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
	all[where+" nft"] = string(rules)
	return err
}

// read is a file's content, or why there is none.
func read(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
