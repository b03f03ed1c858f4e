package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// CheckFiles reads each file that is named, and returns one error if it cannot be used.
func TestCheckFiles(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue()
	keys := newSigning(t)
	private := keygen(t, filepath.Join(t.TempDir(), "key"), "ed25519")
	allowed := secret(t, "ada@example.org "+public(t, private))
	good := Config{
		Auth: Auth{SSHKeyFile: private, KnownHostsFile: secret(t, "git.example.org "+public(t, private)), User: "ada", PasswordFile: secret(t, "x\n"),
			CAFile: ca.file(), ClientCertFile: secret(t, cert), ClientKeyFile: secret(t, key), Proxy: "http://proxy.example.org:3128"},
		Verify: Verify{Mode: VerifyTip, AllowedSigners: []string{allowed}, Keyrings: []string{keys.export("ring.asc", keys.pgpKey("ada", "ed25519", "sign", "", ""))}},
	}
	if warnings, errs := CheckFiles(good); len(warnings)+len(errs) > 0 {
		t.Errorf("all is well: %v, %v", warnings, errs)
	}
	if warnings, errs := CheckFiles(Config{}); len(warnings)+len(errs) > 0 {
		t.Errorf("nothing is named: %v, %v", warnings, errs)
	}

	garbage, open := secret(t, "garbage\n"), secretMode(t, "x\n", 0o644)
	missing := filepath.Join(t.TempDir(), "missing")
	for _, test := range []struct {
		change func(*Config)
		words  []string
	}{
		{func(c *Config) { c.Auth.SSHKeyFile = open }, []string{"ssh key", open, "chmod 600"}},
		{func(c *Config) { c.Auth.SSHKeyFile = garbage }, []string{"ssh key", garbage}},
		{func(c *Config) { c.Auth.SSHKeyFile = missing }, []string{"ssh key", missing}},
		{func(c *Config) { c.Auth.KnownHostsFile = missing }, []string{"known_hosts", missing}},
		{func(c *Config) { c.Auth.KnownHostsFile = garbage }, []string{"known_hosts", garbage}},
		{func(c *Config) { c.Auth.PasswordFile = open }, []string{"password file", open, "chmod 600"}},
		{func(c *Config) { c.Auth.User, c.Auth.PasswordFile, c.Auth.TokenFile = "", "", open }, []string{"token file", open}},
		{func(c *Config) { c.Auth.PasswordFile = "" }, []string{"without a password file"}},
		{func(c *Config) { c.Auth.CAFile = garbage }, []string{"CA file", garbage}},
		{func(c *Config) { c.Auth.ClientKeyFile = open }, []string{"client key", open}},
		{func(c *Config) { c.Auth.Proxy = "nonsense://proxy" }, []string{"nonsense"}},
		{func(c *Config) { c.Verify.Keyrings = []string{missing} }, []string{"keyring", missing}},
		{func(c *Config) { c.Verify.AllowedSigners = []string{missing} }, []string{"allowed signers", missing}},
	} {
		bad := good
		test.change(&bad)
		_, errs := CheckFiles(bad)
		if len(errs) != 1 {
			t.Errorf("%q: %v", test.words, errs)
			continue
		}
		contains(t, errs[0].Error(), test.words...)
	}
}

func public(t *testing.T, private string) string {
	t.Helper()
	text, err := os.ReadFile(private + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestCheckSecret(t *testing.T) {
	if err := CheckSecret("webhook secret", secret(t, "x\n")); err != nil {
		t.Error(err)
	}
	for text, mode := range map[string]os.FileMode{"x\n": 0o640, "": 0o600, "a\nb\n": 0o600} {
		name := secretMode(t, text, mode)
		if err := CheckSecret("webhook secret", name); err == nil || !strings.Contains(err.Error(), "webhook secret") || !strings.Contains(err.Error(), name) {
			t.Errorf("%q, %o: %v", text, mode, err)
		}
	}
}
