package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"nfsync.dev/nfsync/internal/engine"
	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// natsServer is a nats-server of the operator's own: a process.
type natsServer struct {
	*testing.T
	program, config, log string
	cmd                  *exec.Cmd
}

// newServer builds a nats-server, with the configuration that init has written and the paths of this test in it.
func newServer(t *testing.T, text, address, cert, key string) *natsServer {
	t.Helper()
	dir := t.TempDir()
	s := &natsServer{T: t, program: filepath.Join(dir, "nats-server"), config: filepath.Join(dir, "nats-server.conf"), log: filepath.Join(dir, "log")}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-p", "1", "-o", s.program, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text = strings.NewReplacer("0.0.0.0:4222", address, "/var/lib/nats", filepath.Join(dir, "data"), "/etc/nats/server.crt", cert, "/etc/nats/server.key", key).Replace(text)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if log, err := os.ReadFile(s.log); err == nil && t.Failed() {
			t.Logf("%s", log)
		}
	})
	return s
}

func (s *natsServer) start() {
	s.Helper()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	s.cmd = exec.CommandContext(s.Context(), s.program, "-c", s.config)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.Fatal(err)
	}
}

// kill ends the server with SIGKILL.
func (s *natsServer) kill() {
	s.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.Fatal(err)
	}
	_ = s.cmd.Wait() // it was killed
}

// coordinate runs a verb to its end.
func coordinate(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	var b bytes.Buffer
	code = run(context.Background(), app{args: args, stdout: &b, stderr: &b})
	return b.String(), code
}

// TestServeOwnServers moves a fleet from the coordinator's own server to a nats-server that runs with the configuration that init
// writes: the roll-out goes on, a node that was enrolled before takes part with its credentials, one can be enrolled and
// retired, and all come back when the server was killed.
func TestServeOwnServers(t *testing.T) {
	t.Parallel()
	repo, commit := repository(t)
	dir := filepath.Join(t.TempDir(), "coordinator")
	own := freeAddress(t)
	stderr, stop := serving(t, "--dir", dir, "--git", repo, "--branch", "main", "--listen", "none", "--engine-listen", own, "--name", "c-1")
	until(t, "a roll-out", func() bool { return strings.Contains(stderr.String(), "roll-out of "+commit) }, stderr.String)
	d, err := engine.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	file := credentials(t, d, "hn-1")
	doc := document(t, joined(t, d, file, "hn-1", "nats://"+own, ""), stderr)
	if code := stop(); code != exitOK {
		t.Fatalf("serve ended with %d: %s", code, stderr.String())
	}

	address := freeAddress(t)
	cert, key := certificate(t, "127.0.0.1")
	config := filepath.Join(t.TempDir(), "coordinator.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `apiVersion: nfsync.dev/v1alpha1
kind: CoordinatorConfig
name: c-1
listen: none
directory: %s
source: {urls: [%q], branch: main}
engine:
  servers: [tls://%s]
  credentialsFile: %s
  caFile: %s
`, dir, repo, address, d.CredentialsFile(), cert), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := coordinate(t, "init", "--config", config); code != exitError || !strings.Contains(out, "no server of the fleet answers") {
		t.Fatalf("init without servers: %d, %s", code, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, serverFile))
	if err != nil {
		t.Fatal(err)
	}
	server := newServer(t, string(text), address, cert, key)
	server.start()
	var out string
	until(t, "init", func() bool {
		var code int
		out, code = coordinate(t, "init", "--config", config, "--from", engine.OwnStore)
		return code == exitOK
	}, func() string { return out })
	if !strings.Contains(out, "1 server has the accounts. The streams are made, with 1 copy.") || !strings.Contains(out, "values are copied from store") {
		t.Errorf("init says %s", out)
	}

	stderr, stop = serving(t, "--config", config)
	until(t, "the lease", func() bool { return strings.Contains(stderr.String(), "has the lease") }, stderr.String)
	m := joined(t, d, file, "hn-1", "tls://"+address, cert)
	put := func(m *fleet.Member, node string) {
		t.Helper()
		until(t, "a put of "+node, func() bool {
			_, err = m.PutNode(t.Context(), nf.FleetNode{Node: node, Channel: fleet.DefaultChannel})
			return err == nil
		}, func() string { return err.Error() + stderr.String() })
	}
	if moved := document(t, m, stderr); moved.Seed != doc.Seed || moved.Began != doc.Began || moved.Revision != commit || moved.Generation < doc.Generation {
		t.Errorf("the document was %+v and is %+v", doc, moved)
	}
	put(m, "hn-1")
	if out, code := coordinate(t, "enroll", "hn-2", "--config", config, "--out", filepath.Join(dir, "hn-2.creds")); code != exitOK || !strings.Contains(out, "tls://"+address) {
		t.Fatalf("enroll: %d, %s", code, out)
	}
	other := joined(t, d, filepath.Join(dir, "hn-2.creds"), "hn-2", "tls://"+address, cert)
	put(other, "hn-2")

	server.kill()
	server.start()
	put(m, "hn-1")
	put(other, "hn-2")
	if again := document(t, m, stderr); again.Seed != doc.Seed {
		t.Errorf("after a kill the document is %+v", again)
	}
	until(t, "retire", func() bool {
		var code int
		out, code = coordinate(t, "retire", "hn-2", "--config", config)
		return code == exitOK
	}, func() string { return out })
	until(t, "the revocation", func() bool { return !other.Link().Connected && fleet.IsNotPermitted(other.Link().Err) }, func() string { return fmt.Sprint(other.Link().Err) })
	if code := stop(); code != exitOK {
		t.Errorf("serve ended with %d: %s", code, stderr.String())
	}
}

// document waits for the roll-out document.
func document(t *testing.T, m *fleet.Member, stderr *lines) (doc nf.RolloutDocument) {
	t.Helper()
	var err error
	until(t, "the document", func() bool {
		doc, err = m.Rollout(t.Context())
		return err == nil
	}, func() string { return err.Error() + stderr.String() })
	return doc
}
