package engine

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// copied returns another directory with the keys and the ledger of one, as they are now.
func copied(t *testing.T, d *Directory) *Directory {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	must(t, os.Mkdir(dir, 0o700))
	for _, name := range []string{fileKeys, fileLedger} {
		text, err := os.ReadFile(d.inside(name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	other, made, err := Init(dir)
	must(t, err)
	if made {
		t.Fatal("the copy has keys of its own")
	}
	return other
}

// revokedIn returns the names whose credentials a ledger has as revoked.
func revokedIn(t *testing.T, d *Directory) (names []string) {
	t.Helper()
	list, err := d.Credentials()
	must(t, err)
	for _, c := range list {
		if c.RevokedAt != nil {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Two directories hand out and revoke with ledgers of their own: the servers lose no revocation of either, whichever is older,
// and each ledger learns those of the other.
func TestSeveralLedgers(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	a, b := enrolled(t, d, nf.CredentialNode, "hn-a"), enrolled(t, d, nf.CredentialNode, "hn-b")
	older := copied(t, d)
	c := enrolled(t, d, nf.CredentialReader, "ci") // the older ledger does not know it
	s := started(t, d)
	servers := Servers{URLs: []string{s.URL()}}
	push := func(d *Directory) {
		t.Helper()
		_, err := d.Push(soon(t), servers)
		must(t, err)
	}
	must(t, d.Revoke("hn-a"))
	must(t, d.Revoke("ci"))
	push(d)
	must(t, older.Revoke("hn-b"))
	push(older)
	for name, file := range map[string]string{"hn-a": a, "hn-b": b, "ci": c} {
		if can(t, s.URL(), file) {
			t.Errorf("%s can connect: its revocation is lost", name)
		}
	}
	if names := revokedIn(t, older); !slices.Equal(names, []string{unknownName, "hn-a", "hn-b"}) {
		t.Errorf("the older ledger has revoked %q", names)
	}
	push(d)
	if names := revokedIn(t, d); !slices.Equal(names, []string{"ci", "hn-a", "hn-b"}) {
		t.Errorf("the first ledger has revoked %q", names)
	}
}

// A ledger that is restored from an older copy, and then used, loses no revocation that the server of its directory has.
func TestRestoredLedger(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	a, b := enrolled(t, d, nf.CredentialNode, "hn-a"), enrolled(t, d, nf.CredentialNode, "hn-b")
	before, err := os.ReadFile(d.inside(fileLedger))
	must(t, err)
	s, err := Start(soon(t), d, Options{Listen: Listen{Address: "127.0.0.1:0"}, Nodes: 1})
	must(t, err)
	must(t, d.Revoke("hn-a"))
	_, err = d.Push(soon(t), Servers{URLs: []string{s.URL()}})
	must(t, err)
	s.Shutdown()
	l, err := d.readLedger()
	must(t, err)
	must(t, os.WriteFile(d.inside(fileLedger), before, 0o600))
	must(t, afterSecond(l.Accounts[accountNodes]))
	must(t, d.Revoke("hn-b")) // signs an account that is newer than the server's
	s = started(t, d)
	if can(t, s.URL(), a) || can(t, s.URL(), b) {
		t.Error("a revoked node can connect")
	}
	if names := revokedIn(t, d); !slices.Equal(names, []string{"hn-a", "hn-b"}) {
		t.Errorf("the ledger has revoked %q", names)
	}
}
