package systemd_test

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// doctor returns the statuses of doctor's checks by their names, and the exit code.
func (n node) doctor(args ...string) (map[string]string, int) {
	n.t.Helper()
	cmd := n.Command("nfsync", append([]string{"doctor", "-o", "json"}, args...)...)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		n.t.Fatal(err, exit)
	}
	var doc struct {
		Checks []struct{ Name, Status, Detail, Remedy string }
	}
	n.must(json.Unmarshal(out, &doc))
	statuses := map[string]string{}
	for _, c := range doc.Checks {
		statuses[c.Name] = c.Status
		n.t.Log(c)
	}
	return statuses, cmd.ProcessState.ExitCode()
}

func (n node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// TestDoctor: doctor finds the units and the agent as they are, and its remedies help.
func TestDoctor(t *testing.T) {
	n := newNode(t)
	expect := func(when string, code int, want map[string]string) {
		t.Helper()
		got, ended := n.doctor()
		for name, status := range want {
			if got[name] != status {
				t.Errorf("%s: %s is %q, not %q", when, name, got[name], status)
			}
		}
		if ended != code {
			t.Errorf("%s: it ends with %d, not %d", when, ended, code)
		}
	}
	expect("not configured", 0, map[string]string{"nfsync.service": "ok", "nfsync-boot.service": "ok", "agent": "ok"})
	n.configure()
	expect("configured", 0, map[string]string{"nfsync.service": "warn", "nfsync-boot.service": "warn", "agent": "warn"})
	n.Must("systemctl", "enable", "--now", "nfsync.service", "nfsync-boot.service")
	expect("running", 0, map[string]string{"nfsync.service": "ok", "nfsync-boot.service": "ok", "watchdog": "ok", "agent": "ok", "version": "ok", "last lap": "ok", "repository": "ok"})

	n.Must("sh", "-c", "cp /usr/bin/nfsync /usr/bin/nfsync.new && mv /usr/bin/nfsync.new /usr/bin/nfsync")
	expect("upgraded", 0, map[string]string{"version": "warn"})
	n.Must("systemctl", "restart", "nfsync.service")
	expect("restarted", 0, map[string]string{"version": "ok"})

	// For an ordinary user it names what root would see.
	out, err := n.Run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "nfsync", "doctor")
	if err != nil || !strings.Contains(out, "sudo nfsync doctor") || !strings.Contains(out, " not checked") {
		t.Errorf("%v\n%s", err, out)
	}

	n.Must("systemctl", "stop", "nfsync.service")
	n.Write("/var/lib/nfsync/lastgood", "damaged", 0o600)
	if _, err := n.Run("systemctl", "restart", "nfsync-boot.service"); err == nil {
		t.Error("the boot unit does not fail")
	}
	expect("failed", 1, map[string]string{"nfsync-boot.service": "fail", "nfsync.service": "warn", "last good revision": "fail"})
}

// TestPrograms: programs that the agent has started work on when it is stopped or killed.
func TestPrograms(t *testing.T) {
	n := newNode(t)
	n.configure()
	n.Write("/etc/systemd/system/nfsync.service.d/test.conf", "[Service]\nExecStart=\nExecStart=/bin/sh -c 'sleep 4711 & exec /usr/bin/nfsync agent'\nRestartSec=100ms\n", 0o644)
	n.Must("systemctl", "daemon-reload")
	n.Must("systemctl", "start", "nfsync.service")
	program := strings.TrimSpace(n.Must("pgrep", "-f", "^sleep 4711"))
	n.Must("kill", "-KILL", n.show("nfsync.service", "MainPID"))
	n.eventually("another agent runs", func() bool {
		return n.show("nfsync.service", "NRestarts") == "1" && n.show("nfsync.service", "ActiveState") == "active"
	})
	n.Must("systemctl", "stop", "nfsync.service")
	if running := n.Must("pgrep", "-f", "^sleep 4711"); !strings.Contains(running, program) {
		t.Errorf("process %s has ended", program)
	}
}
