package fleet_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// userFile writes the seed of a new user, and returns its file and public key.
func userFile(t *testing.T) (file, public string) {
	t.Helper()
	key, public := newKey(t)
	seed, err := key.Seed()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(file, append(seed, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, public
}

// TestCredentials: a seed alone identifies a user. It is read again at each connection.
func TestCredentials(t *testing.T) {
	t.Parallel()
	file, public := userFile(t)
	other, _ := userFile(t)
	s := startServer(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })
	cfg := configOf(s, "hn-1")
	cfg.CredentialsFile = file
	join(t, cfg, func() {})

	cfg.CredentialsFile = other
	m, err := fleet.Join(cfg, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	eventually(t, "refused", func() bool {
		l := m.Link()
		return !l.Connected && l.Err != nil && strings.Contains(strings.ToLower(l.Err.Error()), "authorization")
	})
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, good, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "connected with the new seed", func() bool { return m.Link().Connected })
}

// TestDenied: what a user may not do ends at once, and the reason is known.
func TestDenied(t *testing.T) {
	t.Parallel()
	file, public := userFile(t)
	s := startServer(t, func(o *server.Options) {
		o.Nkeys = []*server.NkeyUser{{Nkey: public, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"nothing"}},
			Subscribe: &server.SubjectPermission{Allow: []string{fleet.Inbox("hn-1") + ".>"}},
		}}}
	})
	cfg := configOf(s, "hn-1")
	cfg.CredentialsFile = file
	m := join(t, cfg, func() {})
	eventually(t, "the wake-ups are denied", func() bool { l := m.Link(); return l.Connected && l.Err != nil })
	ctx := within(t)
	if _, err := m.PutNode(ctx, nf.FleetNode{Node: "hn-1"}); !isRefused(err) || !strings.Contains(err.Error(), "nfsync.v1.put.status.hn-1") {
		t.Errorf("a put: %v", err)
	}
	if _, err := m.Rollout(ctx); !isUnreachable(err) || !strings.Contains(err.Error(), "ermissions") {
		t.Errorf("a document: %v", err)
	}
	r, err := fleet.OpenReader(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, _, err := r.Nodes(ctx); !isUnreachable(err) || !strings.Contains(err.Error(), "ermissions") {
		t.Errorf("all nodes: %v", err)
	}
	if _, err := r.Ask(ctx, nf.FleetAsk{Verb: nf.AskHalt}); !isUnreachable(err) || !strings.Contains(err.Error(), "ermissions") {
		t.Errorf("an ask: %v", err)
	}
	if ctx.Err() != nil {
		t.Error("a denial was waited for until the deadline")
	}
}

// TestCheck: what cannot be a configuration.
func TestCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	seed, _ := userFile(t)
	text, err := os.ReadFile(seed)
	if err != nil {
		t.Fatal(err)
	}
	good := fleet.Config{Servers: []string{"tls://fleet.example:4222"}, Channel: "main", CoordinatorKey: anyKey, Name: "hn-1.example", CredentialsFile: seed}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*fleet.Config){
		`"hn:1" cannot be a name`:     func(c *fleet.Config) { c.Name = "hn:1" },
		`"*" cannot be a name`:        func(c *fleet.Config) { c.Name = "*" },
		`">" cannot be a name`:        func(c *fleet.Config) { c.Name = ">" },
		`"a..b" cannot be a name`:     func(c *fleet.Config) { c.Name = "a..b" },
		`"" cannot be a name`:         func(c *fleet.Config) { c.Name = "" },
		`"a b" cannot be a channel`:   func(c *fleet.Config) { c.Channel = "a b" },
		"no public nkey":              func(c *fleet.Config) { c.CoordinatorKey = string(text) },
		"no server":                   func(c *fleet.Config) { c.Servers = nil },
		`"https://a" is no address`:   func(c *fleet.Config) { c.Servers = []string{"https://a"} },
		`"fleet.example:1" is no`:     func(c *fleet.Config) { c.Servers = []string{"fleet.example:1"} },
		"is not encrypted":            func(c *fleet.Config) { c.Servers = []string{"ws://fleet.example"} },
		"cannot be used together":     func(c *fleet.Config) { c.Servers = []string{"wss://a", "tls://b"} },
		"has credentials in it":       func(c *fleet.Config) { c.Servers = []string{"tls://me:secret@a"} },
		"is no URL":                   func(c *fleet.Config) { c.Servers = []string{"tls://me:secret@a:x"} },
		"no such file":                func(c *fleet.Config) { c.CredentialsFile = filepath.Join(dir, "none") },
		"can be read by others":       func(c *fleet.Config) { c.CredentialsFile = write("open", string(text), 0o644) },
		"has no user's seed":          func(c *fleet.Config) { c.CredentialsFile = write("broken", "secret"+string(text), 0o600) },
		"no certificate":              func(c *fleet.Config) { c.CAFile = write("ca", "none", 0o644) },
		"the certificates of the fle": func(c *fleet.Config) { c.CAFile = filepath.Join(dir, "none") },
	} {
		c := good
		change(&c)
		err := c.Check()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("want %q: %v", want, err)
		}
		if _, err := fleet.Join(c, func() {}); err == nil {
			t.Errorf("%s: joined", want)
		}
	}
	unsigned := good
	unsigned.CoordinatorKey = ""
	if _, err := fleet.Join(unsigned, func() {}); err == nil || !strings.Contains(err.Error(), "coordinator's key") {
		t.Errorf("without a key: %v", err)
	}
}

// TestNameOf: the name is that of the JWT.
func TestNameOf(t *testing.T) {
	t.Parallel()
	seed, _ := userFile(t)
	text, err := os.ReadFile(seed)
	if err != nil {
		t.Fatal(err)
	}
	creds := func(jwt string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "user.creds")
		all := "-----BEGIN NATS USER JWT-----\n" + jwt + "\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n" + string(text) + "------END USER NKEY SEED------\n"
		if err := os.WriteFile(file, []byte(all), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	// {"name":"ann"}
	if name, err := fleet.NameOf(creds("e30.eyJuYW1lIjoiYW5uIn0.c2ln")); err != nil || name != "ann" {
		t.Errorf("%q, %v", name, err)
	}
	if name, err := fleet.NameOf(seed); err != nil || name != "" {
		t.Errorf("a seed alone: %q, %v", name, err)
	}
	if name, err := fleet.NameOf(creds("broken")); err == nil {
		t.Errorf("a broken JWT: %q", name)
	}
}
