package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/engine"
	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// served is how long a test waits for what serve must do. A loaded machine takes its time.
const served = 2 * time.Minute

// lines is a stream that may be read while it is written to.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// until waits for a condition.
func until(t *testing.T, what string, is func() bool, now func() string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(served); !is(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited for %s; it is %s", what, now())
		}
	}
}

// freeAddress returns an address of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// repository makes a repository with one policy, and returns its path and its commit.
func repository(t *testing.T) (path, commit string) {
	t.Helper()
	path = t.TempDir()
	policy := "apiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata: {name: one}\nspec:\n  level: stateful\n"
	if err := os.WriteFile(filepath.Join(path, "policy.yaml"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "-A"}, {"-c", "user.name=ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false", "commit", "-q", "-m", "one"}, {"rev-parse", "HEAD"}} {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", path}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
		}
		commit = strings.TrimSpace(string(out))
	}
	return path, commit
}

// serving runs serve until stop is called, which returns the exit code.
func serving(t *testing.T, args ...string) (stderr *lines, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stderr = &lines{}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, app{args: append([]string{"serve"}, args...), stdout: io.Discard, stderr: stderr})
	}()
	stop = sync.OnceValue(func() int {
		cancel()
		return <-code
	})
	t.Cleanup(func() { stop() })
	return stderr, stop
}

// TestServe runs the coordinator with a server of its own: a node that is enrolled reads the roll-out and takes part, the page
// is there, and the next process goes on where this one has stopped.
func TestServe(t *testing.T) {
	t.Parallel()
	repo, commit := repository(t)
	dir := filepath.Join(t.TempDir(), "coordinator")
	page, nats := freeAddress(t), freeAddress(t)
	args := []string{"--dir", dir, "--git", repo, "--branch", "main", "--listen", page, "--engine-listen", nats, "--name", "c-1"}
	stderr, stop := serving(t, args...)
	until(t, "a roll-out", func() bool { return strings.Contains(stderr.String(), "roll-out of "+commit) }, stderr.String)

	d, err := engine.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := joined(t, d, credentials(t, d, "hn-1"), "hn-1", "nats://"+nats, "")
	var doc nf.RolloutDocument
	until(t, "the document", func() bool {
		doc, err = m.Rollout(t.Context())
		return err == nil
	}, func() string { return stderr.String() })
	if doc.Revision != commit || doc.Coordinator != "c-1" || doc.Plan.Canaries != nf.DefaultRolloutPlan().Canaries {
		t.Errorf("the document is %+v", doc)
	}
	if _, err := m.PutNode(t.Context(), nf.FleetNode{Node: "hn-1", Channel: fleet.DefaultChannel}); err != nil {
		t.Fatal(err)
	}
	until(t, "the node on the page", func() bool { return strings.Contains(fetched(t, "http://"+page+"/"), "hn-1") }, stderr.String)
	if !strings.Contains(fetched(t, "http://"+page+"/metrics"), "nfsync_coordinator_lease_held 1") {
		t.Error("no metrics")
	}
	if code := stop(); code != exitOK {
		t.Errorf("serve ended with %d: %s", code, stderr.String())
	}

	if gone, err := m.Rollout(t.Context()); err == nil {
		t.Errorf("the server is gone, and answers %+v", gone)
	}
	stderr, stop = serving(t, args...)
	var again nf.RolloutDocument
	until(t, "the document again", func() bool {
		again, err = m.Rollout(t.Context())
		return err == nil
	}, func() string { return stderr.String() })
	until(t, "the lease", func() bool { return strings.Contains(stderr.String(), "has the lease") }, stderr.String)
	if again.Began != doc.Began || again.Seed != doc.Seed || again.Revision != commit || again.Term != 1 {
		t.Errorf("the document was %+v and is %+v", doc, again)
	}
	if code := stop(); code != exitOK {
		t.Errorf("serve ended with %d: %s", code, stderr.String())
	}
}

// credentials enrolls a node, and returns the file of its credentials.
func credentials(t *testing.T, d *engine.Directory, node string) string {
	t.Helper()
	text, err := d.Enroll(nf.CredentialNode, node, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), node+".creds")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// joined joins the fleet as a node.
func joined(t *testing.T, d *engine.Directory, file, node, url, ca string) *fleet.Member {
	t.Helper()
	m, err := fleet.Join(fleet.Config{
		Servers: []string{url}, CAFile: ca, CredentialsFile: file, Channel: fleet.DefaultChannel, CoordinatorKey: d.CoordinatorPublicKey(), Name: node,
		Intervals: fleet.Intervals{Reconnect: 50 * time.Millisecond, Jitter: 50 * time.Millisecond},
	}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func fetched(t *testing.T, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// certificate makes a certificate that signs itself, for a name, and its key.
func certificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	if ip := net.ParseIP(name); ip != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pair.Public(), pair)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(pair)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(file, kind string, data []byte) string {
		file = filepath.Join(dir, file)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("fleet.crt", "CERTIFICATE", der), write("fleet.key", "PRIVATE KEY", secret)
}

// TestServeTLS: the certificate of the server is for the name by which nodes reach it. The coordinator does not ask for it.
func TestServeTLS(t *testing.T) {
	t.Parallel()
	repo, commit := repository(t)
	cert, key := certificate(t, "fleet.example.com")
	dir := t.TempDir()
	config := filepath.Join(dir, "coordinator.yaml")
	text := fmt.Sprintf("apiVersion: nfsync.dev/v1alpha1\nkind: CoordinatorConfig\nsource: {urls: [%s], branch: main}\ndirectory: %s\nlisten: none\nengine:\n  listen: %s\n  tls: {certFile: %s, keyFile: %s}\n",
		repo, filepath.Join(dir, "coordinator"), freeAddress(t), cert, key)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	stderr, stop := serving(t, "--config", config)
	until(t, "a roll-out", func() bool { return strings.Contains(stderr.String(), "roll-out of "+commit) }, stderr.String)
	if code := stop(); code != exitOK {
		t.Errorf("serve ended with %d: %s", code, stderr.String())
	}
}

// TestServeRefuses names what is missing.
func TestServeRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []struct{ args, want string }{
		{"", "name it with --git URL"},
		{"--git https://git.example.com/p.git --engine-listen 127.0.0.1:0", "the branch to roll out is not named"},
		{"--git https://git.example.com/p.git --branch main --engine-listen 0.0.0.0:4222", "engine.tls"},
		{"--config " + dir + "/none.yaml", "cannot read the configuration"},
		{"extra", "unexpected argument"},
		{"--log-format yaml", "unknown format of messages"},
		{"--log-format json", `"level":"ERROR","msg":"no repository is named","hint":"name it with`},
	} {
		stderr := &lines{}
		args := append([]string{"serve", "--dir", filepath.Join(dir, "coordinator")}, strings.Fields(c.args)...)
		if code := run(t.Context(), app{args: args, stdout: io.Discard, stderr: stderr}); code != exitError || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("serve %s: exit code %d, %s", c.args, code, stderr.String())
		}
	}
}
