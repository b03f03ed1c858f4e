package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// soon is a context for what takes moments, on a machine that is busy.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(stop)
	return ctx
}

// newDirectory makes a directory.
func newDirectory(t *testing.T) *Directory {
	t.Helper()
	d, made, err := Init(filepath.Join(t.TempDir(), "coordinator"))
	must(t, err)
	if !made {
		t.Fatal("the keys are not new")
	}
	return d
}

// started starts a server in a directory, on a free port.
func started(t *testing.T, d *Directory) *Server {
	t.Helper()
	s, err := Start(soon(t), d, Options{Listen: Listen{Address: "127.0.0.1:0"}, Nodes: 1})
	must(t, err)
	t.Cleanup(s.Shutdown)
	return s
}

// enrolled writes the credentials of a name to a file, and returns its path.
func enrolled(t *testing.T, d *Directory, kind nf.CredentialKind, name string) string {
	t.Helper()
	text, err := d.Enroll(kind, name, 0, false)
	must(t, err)
	path := filepath.Join(t.TempDir(), name+".creds")
	must(t, os.WriteFile(path, text, 0o600))
	return path
}

// files returns the files of a directory with their modes and contents, but for locks.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		data, _ := os.ReadFile(filepath.Join(dir, e.Name()))
		all[e.Name()] = fmt.Sprint(info.Mode(), string(data))
	}
	return all
}

// A second Init changes nothing, and nobody else can read what the first has made.
func TestInitTwice(t *testing.T) {
	d := newDirectory(t)
	before := files(t, d.path)
	if len(before) < 5 {
		t.Fatalf("made %d files", len(before))
	}
	for name, f := range before {
		if !strings.HasPrefix(f, "-rw-------") {
			t.Errorf("%s has mode %s", name, f[:10])
		}
	}
	again, made, err := Init(d.path)
	must(t, err)
	if made || again.CoordinatorPublicKey() != d.CoordinatorPublicKey() {
		t.Error("the second Init has made other keys")
	}
	for name, f := range files(t, d.path) {
		if before[name] != f {
			t.Errorf("%s has changed", name)
		}
	}
}

// An Init that was killed after any of its files is completed by the next one. Keys that were used are never made anew, and a
// ledger that is lost is not replaced: what was revoked would be valid again.
func TestInitCompletes(t *testing.T) {
	order := []string{fileLedger, fileKeys, fileCoordinator, fileSystem}
	for n := range order {
		d := newDirectory(t)
		for _, name := range order[n:] {
			must(t, os.Remove(d.inside(name)))
		}
		again, made, err := Init(d.path)
		must(t, err)
		if kept := again.CoordinatorPublicKey() == d.CoordinatorPublicKey(); kept != (n > 1) || made == kept {
			t.Errorf("killed before %s: made %v, kept %v", order[n], made, kept)
		}
		started(t, again)
	}
	d := newDirectory(t)
	must(t, os.Remove(d.inside(fileLedger)))
	if _, _, err := Init(d.path); err == nil || !strings.Contains(err.Error(), "restore it from a backup") {
		t.Errorf("without a ledger: %v", err)
	}
}

// What others can change or read is not used, nor what is damaged.
func TestOpenRefuses(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, ErrNotMade) {
		t.Errorf("no directory: %v", err)
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrNotMade) {
		t.Errorf("an empty directory: %v", err)
	}
	for what, c := range map[string]struct {
		spoil func(dir string) error
		want  string
	}{
		"keys that others read":   {func(dir string) error { return os.Chmod(filepath.Join(dir, fileKeys), 0o640) }, "chmod 600"},
		"keys that others change": {func(dir string) error { return os.Chmod(filepath.Join(dir, fileKeys), 0o620) }, "can be changed by other users"},
		"half of the keys":        {func(dir string) error { return os.Truncate(filepath.Join(dir, fileKeys), 100) }, "damaged"},
		"keys behind a link": {func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, fileKeys), filepath.Join(dir, "x")), os.Symlink("x", filepath.Join(dir, fileKeys)))
		}, "symbolic link"},
		"other keys": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, fileKeys), []byte(`{"version":1,"seeds":{"operator":"SX"}}`), 0o600)
		}, "cannot be used"},
		"a later version": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, fileKeys), []byte(`{"version":2}`), 0o600)
		}, "version 2"},
	} {
		d := newDirectory(t)
		must(t, c.spoil(d.path))
		for verb, err := range map[string]error{"Open": second(Open(d.path)), "Init": third(Init(d.path))} {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %s: %v", what, verb, err)
			}
		}
	}
}

func second[A any](_ A, err error) error        { return err }
func third[A, B any](_ A, _ B, err error) error { return err }

// Names that mean something in a subject get no credentials.
func TestEnrollRefusesNames(t *testing.T) {
	d := newDirectory(t)
	for _, name := range []string{"", "*", ">", "a.>", "a.*", "*.a", "a b", "a..b", ".a", "a.", "hn=1", "$KV", "ä", "a\nb", "{{name()}}", strings.Repeat("a", nf.MaxFleetName+1)} {
		for _, kind := range []nf.CredentialKind{nf.CredentialNode, nf.CredentialReader, nf.CredentialOperator} {
			var wrong *NameError
			if text, err := d.Enroll(kind, name, 0, false); !errors.As(err, &wrong) || text != nil {
				t.Errorf("%s %q: %v", kind, name, err)
			}
		}
	}
	if list, err := d.Credentials(); err != nil || len(list) != 0 {
		t.Errorf("the ledger has %v, %v", list, err)
	}
}

// A name has one set of valid credentials, whatever they are for.
func TestEnrollTwice(t *testing.T) {
	d := newDirectory(t)
	enrolled(t, d, nf.CredentialNode, "hn-1")
	var enrolledError *EnrolledError
	for _, kind := range []nf.CredentialKind{nf.CredentialNode, nf.CredentialOperator} {
		if _, err := d.Enroll(kind, "hn-1", 0, false); !errors.As(err, &enrolledError) {
			t.Errorf("again as %s: %v", kind, err)
		}
	}
	_, err := d.Enroll(nf.CredentialNode, "hn-1", time.Hour, true)
	must(t, err)
	list, err := d.Credentials()
	must(t, err)
	if len(list) != 2 || list[0].RevokedAt == nil || list[1].RevokedAt != nil || list[1].ExpiresAt == nil || list[1].ExpiresAt.Sub(list[1].IssuedAt) != time.Hour {
		t.Errorf("the ledger has %+v", list)
	}
	must(t, d.Revoke("hn-1"))
	if err := d.Revoke("hn-1"); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("revoked twice: %v", err)
	}
	enrolled(t, d, nf.CredentialReader, "hn-1")
}

// Several processes may enroll at the same time.
func TestEnrollAtOnce(t *testing.T) {
	d := newDirectory(t)
	done := make(chan error)
	const n = 20
	for i := range n {
		go func() {
			other, err := Open(d.path)
			if err == nil {
				_, err = other.Enroll(nf.CredentialNode, fmt.Sprintf("hn-%d", i), 0, false)
			}
			done <- err
		}()
	}
	for range n {
		must(t, <-done)
	}
	if list, err := d.Credentials(); err != nil || len(list) != n {
		t.Errorf("%d credentials, %v", len(list), err)
	}
}

// can reports whether a server takes credentials.
func can(t *testing.T, url, credentials string) bool {
	t.Helper()
	c, err := nats.Connect(url, nats.UserCredentials(credentials), nats.Timeout(time.Minute), nats.NoReconnect())
	switch {
	case err == nil:
		c.Close()
		return true
	case errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || strings.Contains(strings.ToLower(err.Error()), "authorization violation"):
		return false
	}
	t.Fatal(err)
	return false
}

// A node that is revoked is cut off at once, and stays so when the server starts again. Others stay.
func TestRevoke(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	s, err := Start(soon(t), d, Options{Listen: Listen{Address: "127.0.0.1:0"}, Nodes: 1})
	must(t, err)
	a, b := enrolled(t, d, nf.CredentialNode, "hn-a"), enrolled(t, d, nf.CredentialNode, "hn-b")
	closed := make(chan struct{})
	_, err = nats.Connect(s.URL(), nats.UserCredentials(a), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	must(t, err)
	stays := dial(t, s.URL(), "hn-b", nats.UserCredentials(b))

	must(t, d.Revoke("hn-a"))
	if taken, err := d.Push(soon(t), Servers{URLs: []string{s.URL()}}); err != nil || taken != 1 {
		t.Fatalf("%d servers have taken it, %v", taken, err)
	}
	select {
	case <-closed:
	case <-soon(t).Done():
		t.Fatal("the revoked node is still connected")
	}
	if can(t, s.URL(), a) || !can(t, s.URL(), b) {
		t.Error("the revoked node can connect, or the other one cannot")
	}
	request(t, stays, fleet.SubjectStatus+"hn-b", []byte("x"))
	s.Shutdown()

	s = started(t, d)
	if can(t, s.URL(), a) || !can(t, s.URL(), b) {
		t.Error("after a restart the revoked node can connect, or the other one cannot")
	}
}

// What is revoked while no server runs is revoked when it starts, even over a server that has older accounts.
func TestRevokeWithoutServer(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	s, err := Start(soon(t), d, Options{Listen: Listen{Address: "127.0.0.1:0"}, Nodes: 1})
	must(t, err)
	a, b := enrolled(t, d, nf.CredentialNode, "hn-a"), enrolled(t, d, nf.CredentialNode, "hn-b")
	url := s.URL()
	s.Shutdown()
	must(t, d.Revoke("hn-a"))
	var none *NoServerError
	if _, err := d.Push(soon(t), Servers{URLs: []string{url}}); !errors.As(err, &none) {
		t.Errorf("no server: %v", err)
	}
	s = started(t, d)
	if can(t, s.URL(), a) || !can(t, s.URL(), b) {
		t.Error("the revoked node can connect, or the other one cannot")
	}
}

// Credentials that have expired are refused, and those that expire end a connection.
func TestExpired(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	s := started(t, d)
	text, err := d.Enroll(nf.CredentialNode, "hn-a", 2*time.Second, false)
	must(t, err)
	file := filepath.Join(t.TempDir(), "creds")
	must(t, os.WriteFile(file, text, 0o600))
	closed := make(chan struct{})
	if _, err := nats.Connect(s.URL(), nats.UserCredentials(file), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) })); err == nil {
		select {
		case <-closed:
		case <-soon(t).Done():
			t.Fatal("credentials that have expired are still connected")
		}
	}
	list, err := d.Credentials()
	must(t, err)
	<-time.After(time.Until(list[0].ExpiresAt.Add(2 * time.Second))) // the server counts whole seconds
	if can(t, s.URL(), file) {
		t.Error("expired credentials can connect")
	}
	enrolled(t, d, nf.CredentialNode, "hn-a") // the name is free again
}

// A revocation of what has expired is forgotten: the account stays small.
func TestRevocationsEnd(t *testing.T) {
	d := newDirectory(t)
	now := time.Now()
	past, future := now.Add(-time.Hour), now.Add(time.Hour)
	c := d.keys.claims(accountNodes, []nf.FleetCredential{
		{Kind: nf.CredentialNode, PublicKey: "U1", RevokedAt: &past},
		{Kind: nf.CredentialNode, PublicKey: "U2", RevokedAt: &past, ExpiresAt: &past},
		{Kind: nf.CredentialNode, PublicKey: "U3", RevokedAt: &past, ExpiresAt: &future},
		{Kind: nf.CredentialNode, PublicKey: "U4", ExpiresAt: &future},
		{Kind: nf.CredentialReader, PublicKey: "U5", RevokedAt: &past},
	}, now)
	var revoked []string
	for key := range c.Revocations {
		revoked = append(revoked, key)
	}
	if slices.Sort(revoked); strings.Join(revoked, " ") != "U1 U3" {
		t.Errorf("revoked %v", revoked)
	}
}

// A server takes the newer one of two accounts, by the second: each change is signed in a second of its own.
func TestAccountsGetNewer(t *testing.T) {
	d := newDirectory(t)
	var last int64
	for i := range 3 {
		name := fmt.Sprintf("hn-%d", i)
		enrolled(t, d, nf.CredentialNode, name)
		must(t, d.Revoke(name))
		l, err := d.readLedger()
		must(t, err)
		c, err := jwt.DecodeAccountClaims(l.Accounts[accountNodes])
		must(t, err)
		if c.IssuedAt <= last || len(c.Revocations) != i+1 {
			t.Errorf("signed at %d after %d, with %d revocations", c.IssuedAt, last, len(c.Revocations))
		}
		last = c.IssuedAt
	}
}
