package source

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

const policy = "kind: NodePolicy\n"

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestHTTP(t *testing.T) {
	r := newRepo(t)
	r.write("README.md", "no policy")
	head := r.commit("policies/a.yaml", policy)
	u := serve(t, r)
	got := mustFetch(t, config(t, u))
	if got.Commit != head || got.Branch != "main" || got.URL != u {
		t.Errorf("got commit %s of branch %q at %s", got.Commit, got.Branch, got.URL)
	}
	wantFiles(t, got, "policies/a.yaml", policy)
	wantWarnings(t, got)
}

func TestHTTPCredentials(t *testing.T) {
	r := newRepo(t)
	head := r.commit("a.yaml", policy)
	const password = "s3cret:pässword"
	for name, c := range map[string]struct {
		want string
		auth func() Auth
		user string // in the URL
	}{
		"basic":       {want: basic("deploy", password), auth: func() Auth { return Auth{User: "deploy", PasswordFile: secret(t, password+"\n")} }},
		"user in URL": {want: basic("deploy", password), auth: func() Auth { return Auth{PasswordFile: secret(t, password+"\r\n")} }, user: "deploy@"},
		"bearer":      {want: "Bearer " + password, auth: func() Auth { return Auth{TokenFile: secret(t, password)} }},
	} {
		t.Run(name, func(t *testing.T) {
			s := &authServer{next: backend(t, r), want: c.want}
			u := strings.Replace(start(t, s), "http://", "http://"+c.user, 1) + "/policies"
			cfg := config(t, u)
			cfg.Auth = c.auth()
			if got := mustFetch(t, cfg); got.Commit != head {
				t.Errorf("commit %s", got.Commit)
			}
			cfg.Auth = Auth{}
			fails(t, cfg, nil, "authentication required: use --user and --password-file, or --token-file")
			cfg.Auth = Auth{User: "deploy", PasswordFile: secret(t, "wr0ng-passw0rd")}
			err := fails(t, cfg, nil, "does not accept the credentials", "who are you?")
			noSecret(t, err.Error(), "wr0ng-passw0rd", basic("deploy", "wr0ng-passw0rd"))
		})
	}
}

func noSecret(t *testing.T, text string, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if strings.Contains(text, s) {
			t.Errorf("the secret %q is in %q", s, text)
		}
	}
}

// TestPasswordChanges: each fetch reads the password file again.
func TestPasswordChanges(t *testing.T) {
	r := newRepo(t)
	r.commit("a.yaml", policy)
	s := &authServer{next: backend(t, r), want: basic("deploy", "old")}
	cfg := config(t, start(t, s)+"/policies")
	cfg.Auth = Auth{User: "deploy", PasswordFile: secret(t, "old")}
	mustFetch(t, cfg)
	s.want = basic("deploy", "new")
	fails(t, cfg, nil, "does not accept the credentials")
	if err := os.WriteFile(cfg.Auth.PasswordFile, []byte("new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustFetch(t, cfg)
}

func TestTLS(t *testing.T) {
	r := newRepo(t)
	head := r.commit("a.yaml", policy)
	ca := newAuthority(t)
	u := ca.startTLS(backend(t, r), tls.NoClientCert) + "/policies"
	cfg := config(t, u)
	fails(t, cfg, nil, "certificate signed by unknown authority")
	cfg.Auth.CAFile = ca.file()
	if got := mustFetch(t, cfg); got.Commit != head {
		t.Errorf("commit %s", got.Commit)
	}
	cfg.Auth.CAFile = newAuthority(t).file()
	fails(t, cfg, nil, "certificate signed by unknown authority")
	cfg.Auth.CAFile = secret(t, "garbage")
	fails(t, cfg, nil, "holds no certificate in PEM")
	cfg.Auth.CAFile = "/nonexistent/ca.pem"
	fails(t, cfg, nil, "cannot read the CA file", "/nonexistent/ca.pem")
}

func TestClientCertificate(t *testing.T) {
	r := newRepo(t)
	head := r.commit("a.yaml", policy)
	ca := newAuthority(t)
	cert, key := ca.issue()
	cfg := config(t, ca.startTLS(backend(t, r), tls.RequireAndVerifyClientCert)+"/policies")
	cfg.Auth.CAFile = ca.file()
	fails(t, cfg, nil, "certificate required")
	cfg.Auth.ClientCertFile, cfg.Auth.ClientKeyFile = secretMode(t, cert, 0o644), secret(t, key)
	if got := mustFetch(t, cfg); got.Commit != head {
		t.Errorf("commit %s", got.Commit)
	}
	foreign, foreignKey := newAuthority(t).issue()
	cfg.Auth.ClientCertFile, cfg.Auth.ClientKeyFile = secret(t, foreign), secret(t, foreignKey)
	fails(t, cfg, nil, "tls: ")
	cfg.Auth.ClientKeyFile = secret(t, key)
	fails(t, cfg, nil, "cannot use the client certificate")
	cfg.Auth.ClientKeyFile = ""
	fails(t, cfg, nil, "needs both")
}

// TestHTTPProxy fetches through a proxy. Only the proxy can reach git.example.test.
func TestHTTPProxy(t *testing.T) {
	r := newRepo(t)
	head := r.commit("a.yaml", policy)
	ca := newAuthority(t)
	u := ca.startTLS(backend(t, r), tls.NoClientCert)
	p := &tunnelProxy{to: strings.TrimPrefix(u, "https://")}
	proxy := start(t, p)
	for name, set := range map[string]func(*testing.T, *Config){
		"configuration": func(_ *testing.T, c *Config) { c.Auth.Proxy = proxy },
		"environment":   func(t *testing.T, _ *Config) { t.Setenv("HTTPS_PROXY", proxy) },
		"environment with a password": func(t *testing.T, _ *Config) {
			p.want = basic("me", "pr0xy-secret")
			t.Setenv("HTTPS_PROXY", strings.Replace(proxy, "//", "//me:pr0xy-secret@", 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p.want, p.seen = "", nil
			cfg := config(t, "https://git.example.test/policies")
			cfg.Auth.CAFile = ca.file()
			set(t, &cfg)
			if got := mustFetch(t, cfg); got.Commit != head {
				t.Errorf("commit %s", got.Commit)
			}
			if seen := p.requests(); len(seen) == 0 || seen[0] != "CONNECT git.example.test:443" {
				t.Errorf("the proxy was asked for %q", seen)
			}
		})
	}
	t.Run("refuses", func(t *testing.T) {
		p.want = "something else"
		t.Setenv("HTTPS_PROXY", strings.Replace(proxy, "//", "//me:pr0xy-secret@", 1))
		err := fails(t, config(t, "https://git.example.test/policies"), nil, "Proxy Authentication Required")
		noSecret(t, err.Error(), "pr0xy-secret")
	})
	t.Run("password in the configuration", func(t *testing.T) {
		cfg := config(t, "https://git.example.test/policies")
		cfg.Auth.Proxy = "http://me:pr0xy-secret@127.0.0.1:1"
		err := fails(t, cfg, nil, "the proxy's URL holds a password", "HTTPS_PROXY")
		noSecret(t, err.Error(), "pr0xy-secret")
	})
}

func TestSSH(t *testing.T) {
	r := newRepo(t)
	head := r.commit("policies/a.yaml", policy)
	s, key := startSSH(t, "ed25519", "rsa", "ecdsa")
	cfg := config(t, s.url(r))
	cfg.Auth = Auth{SSHKeyFile: key}
	// One of the server's keys is enough, whichever the server prefers.
	for _, known := range [][]string{{"ed25519"}, {"rsa"}, {"ecdsa"}, {"rsa", "ed25519"}} {
		cfg.Auth.KnownHostsFile = s.known(known...)
		got := mustFetch(t, cfg)
		if got.Commit != head {
			t.Errorf("%q: commit %s", known, got.Commit)
		}
		wantFiles(t, got, "policies/a.yaml", policy)
	}
	second := r.commit("policies/b.yaml", policy)
	if got := mustFetch(t, cfg, position(s.url(r), "main", head)); got.Commit != second {
		t.Errorf("commit %s after another one", got.Commit)
	}
	t.Run("scp-like", func(t *testing.T) {
		// ssh's own syntax has no port; go-git reads one before the path.
		cfg := cfg
		cfg.URLs = []string{s.user + "@" + s.addr + ":" + r.dir}
		if got := mustFetch(t, cfg); got.Commit != second {
			t.Errorf("commit %s", got.Commit)
		}
	})
	t.Run("no such repository", func(t *testing.T) {
		cfg := cfg
		cfg.URLs = []string{s.url(r) + "-other"}
		fails(t, cfg, nil, "no such repository")
	})
}

func TestSSHKeys(t *testing.T) {
	r := newRepo(t)
	r.commit("a.yaml", policy)
	s, key := startSSH(t, "ed25519")
	cfg := config(t, s.url(r))
	cfg.Auth = Auth{KnownHostsFile: s.known("ed25519")}
	fails(t, cfg, nil, "ssh needs a private key: name its file")
	cfg.Auth.SSHKeyFile = keygen(t, t.TempDir()+"/other", "ed25519")
	fails(t, cfg, nil, "does not let", cfg.Auth.SSHKeyFile, fingerprint(t, cfg.Auth.SSHKeyFile))
	cfg.Auth.SSHKeyFile = keygen(t, t.TempDir()+"/locked", "ed25519", "-N", "passphrase")
	fails(t, cfg, nil, "has a passphrase")
	cfg.Auth.SSHKeyFile = secret(t, "garbage")
	fails(t, cfg, nil, "cannot use the ssh key")
	cfg.Auth.SSHKeyFile = key
	if err := os.Chmod(key, 0o640); err != nil {
		t.Fatal(err)
	}
	fails(t, cfg, nil, "chmod 600 "+key, "mode 0640")
}

// TestSSHUserKeys: a person who configures no key uses those that ssh would use.
func TestSSHUserKeys(t *testing.T) {
	r := newRepo(t)
	r.commit("a.yaml", policy)
	s, key := startSSH(t, "ed25519")
	home, socket := t.TempDir(), t.TempDir()+"/agent"
	if err := os.Mkdir(home+"/.ssh", 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	t.Setenv("SSH_AUTH_SOCK", "")
	keygen(t, home+"/.ssh/id_ed25519", "ed25519", "-N", "passphrase")
	cfg := config(t, s.url(r))
	cfg.Auth = Auth{KnownHostsFile: s.known("ed25519")}
	fails(t, cfg, nil, "ssh needs a private key: name its file")

	cfg.UserKeys = true
	fails(t, cfg, nil, "there is none", "SSH_AUTH_SOCK names no ssh-agent", home+"/.ssh/id_ed25519 has a passphrase", home+"/.ssh/id_rsa does not exist")
	t.Setenv("SSH_AUTH_SOCK", socket)
	fails(t, cfg, nil, "ssh-agent at "+socket, "connect: no such file")

	other := keygen(t, home+"/.ssh/id_rsa", "rsa")
	fails(t, cfg, nil, "does not let", other, fingerprint(t, other), "not used: ", "id_ed25519 has a passphrase")

	startAgent(t, socket)
	fails(t, cfg, nil, "ssh-agent at "+socket+": it has no key")
	for _, name := range []string{other, key} {
		if out, err := exec.Command("ssh-add", "-q", name).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	mustFetch(t, cfg)

	// A configured key is the only one.
	cfg.Auth.SSHKeyFile = other
	fails(t, cfg, nil, "does not let", other, fingerprint(t, other))

	cfg.Auth.SSHKeyFile = ""
	t.Setenv("SSH_AUTH_SOCK", "")
	if err := os.Rename(key, home+"/.ssh/id_ecdsa"); err != nil {
		t.Fatal(err)
	}
	mustFetch(t, cfg)
}

// startAgent starts an ssh-agent that listens at socket, and returns when it does.
func startAgent(t *testing.T, socket string) {
	t.Helper()
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	// It prints the name of the socket once it listens.
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestSSHHostKeys(t *testing.T) {
	r := newRepo(t)
	r.commit("a.yaml", policy)
	s, key := startSSH(t, "ed25519")
	other, _ := startSSH(t, "ed25519", "rsa")
	host := fingerprint(t, s.dir+"/host_ed25519.pub")
	line := func(t *testing.T, of *sshServer, kind string) string {
		t.Helper()
		b, err := os.ReadFile(of.dir + "/host_" + kind + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		return s.host() + " " + strings.Join(strings.Fields(string(b))[:2], " ")
	}
	cfg := config(t, s.url(r))
	cfg.Auth = Auth{SSHKeyFile: key}
	scan := "ssh-keyscan -p " + s.addr[strings.LastIndex(s.addr, ":")+1:] + " -t ed25519 127.0.0.1"

	// After adding the line that a message names, the next fetch succeeds.
	adding := func(t *testing.T, err error, name string) {
		t.Helper()
		contains(t, err.Error(), line(t, s, "ed25519"), "ssh-ed25519 "+host, scan)
		_, add, _ := strings.Cut(err.Error(), "prints it): ")
		if e := os.WriteFile(name, []byte(add+"\n"), 0o600); e != nil {
			t.Fatal(e)
		}
		mustFetch(t, cfg)
	}
	t.Run("no file", func(t *testing.T) {
		cfg.Auth.KnownHostsFile = t.TempDir() + "/known_hosts"
		adding(t, fails(t, cfg, nil, "is not known"), cfg.Auth.KnownHostsFile)
	})
	t.Run("unknown", func(t *testing.T) {
		cfg.Auth.KnownHostsFile = other.known("ed25519")
		adding(t, fails(t, cfg, nil, "is not known", "has no line for it"), cfg.Auth.KnownHostsFile)
	})
	t.Run("changed", func(t *testing.T) {
		cfg.Auth.KnownHostsFile = secret(t, "\n"+line(t, other, "ed25519")+"\n")
		old := fingerprint(t, other.dir+"/host_ed25519.pub")
		adding(t, fails(t, cfg, nil, "has changed", cfg.Auth.KnownHostsFile+":2", old, "ssh-keygen -f "+cfg.Auth.KnownHostsFile+` -R "`+s.host()+`"`), cfg.Auth.KnownHostsFile)
	})
	t.Run("other type", func(t *testing.T) {
		cfg.Auth.KnownHostsFile = secret(t, line(t, other, "rsa")+"\n")
		adding(t, fails(t, cfg, nil, "has one of type ssh-rsa, the server offers ssh-ed25519"), cfg.Auth.KnownHostsFile)
	})
	t.Run("revoked", func(t *testing.T) {
		cfg.Auth.KnownHostsFile = secret(t, line(t, s, "ed25519")+"\n@revoked "+line(t, s, "ed25519")+"\n")
		fails(t, cfg, nil, "is revoked by")
	})
	t.Run("hashed", func(t *testing.T) {
		cfg.Auth.KnownHostsFile = s.known("ed25519")
		if out, err := exec.Command("ssh-keygen", "-q", "-H", "-f", cfg.Auth.KnownHostsFile).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		mustFetch(t, cfg)
	})
	t.Run("garbage", func(t *testing.T) {
		cfg.Auth.KnownHostsFile = secret(t, "garbage\n")
		fails(t, cfg, nil, "no line of the known_hosts file can be read: "+cfg.Auth.KnownHostsFile+":1: ")
	})
	_, otherKey, _ := strings.Cut(line(t, other, "ed25519"), " ")
	// Lines of other programs and of other versions of ssh, which ssh skips.
	foreign := strings.Join([]string{
		"old.example.org 1024 35 1234567890",
		"new.example.org ssh-future AAAACnNzaC1mdXR1cmU=",
		"cut.example.org ssh-ed25519 AAAAC3NzaC1lZDI1",
		"|1|damaged|hash ssh-ed25519 AAAA",
		"|2|c2FsdA==|aGFzaA== " + otherKey,
		"@unknown " + line(t, other, "ed25519"),
		"long.example.org ssh-rsa " + strings.Repeat("A", 70_000),
		"getaddrinfo gone.example.org: Name or service not known",
		"# a comment with more words than a key has",
	}, "\n") + "\n"
	t.Run("foreign lines", func(t *testing.T) {
		cfg.Auth.KnownHostsFile = secret(t, foreign+line(t, s, "ed25519")+"\n"+foreign)
		mustFetch(t, cfg)
	})
	t.Run("unknown among foreign lines", func(t *testing.T) {
		cfg.Auth.KnownHostsFile = secret(t, foreign+"elsewhere.example.org "+otherKey+"\n")
		name := cfg.Auth.KnownHostsFile
		fails(t, cfg, nil, "is not known", "lines that cannot be read: "+name+":1: ", name+":2: ", name+":3: ", "; and 5 more)")
	})
	t.Run("changed among foreign lines", func(t *testing.T) {
		cfg.Auth.KnownHostsFile = secret(t, foreign+line(t, other, "ed25519")+"\n")
		fails(t, cfg, nil, "has changed", cfg.Auth.KnownHostsFile+":10 expects ")
	})
	t.Run("revoked among foreign lines", func(t *testing.T) {
		cfg.Auth.KnownHostsFile = secret(t, foreign+line(t, s, "ed25519")+"\n@revoked "+line(t, s, "ed25519")+"\n")
		fails(t, cfg, nil, "is revoked by "+cfg.Auth.KnownHostsFile+":11")
	})
}

func TestSSHProxy(t *testing.T) {
	r := newRepo(t)
	head := r.commit("a.yaml", policy)
	s, key := startSSH(t, "ed25519")
	p := &tunnelProxy{to: s.addr}
	proxy := start(t, p)
	public, err := os.ReadFile(s.dir + "/host_ed25519.pub")
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(t, "ssh://"+s.user+"@git.example.test"+r.dir)
	cfg.Auth = Auth{SSHKeyFile: key, KnownHostsFile: secret(t, "git.example.test "+string(public))}
	for name, set := range map[string]func(*testing.T, *Config){
		"configuration": func(_ *testing.T, c *Config) { c.Auth.Proxy = proxy },
		"environment":   func(t *testing.T, _ *Config) { t.Setenv("ALL_PROXY", proxy) },
	} {
		t.Run(name, func(t *testing.T) {
			p.seen = nil
			cfg := cfg
			cfg.Dir = t.TempDir()
			set(t, &cfg)
			if got := mustFetch(t, cfg); got.Commit != head {
				t.Errorf("commit %s", got.Commit)
			}
			if seen := p.requests(); len(seen) == 0 || seen[0] != "CONNECT git.example.test:22" {
				t.Errorf("the proxy was asked for %q", seen)
			}
		})
	}
	t.Run("refuses", func(t *testing.T) {
		p.want = "something"
		cfg := cfg
		cfg.Auth.Proxy = proxy
		fails(t, cfg, nil, "the proxy", "407 Proxy Authentication Required")
	})
}

func TestURLsInOrder(t *testing.T) {
	r := newRepo(t)
	head := r.commit("a.yaml", policy)
	missing := start(t, http.NotFoundHandler())
	good := serve(t, r)
	got := mustFetch(t, config(t, missing, "/nonexistent/x", good))
	if got.Commit != head || got.URL != good {
		t.Errorf("commit %s from %s", got.Commit, got.URL)
	}
	wantWarnings(t, got, "cannot fetch "+missing+":", "cannot fetch /nonexistent/x:")

	err := fails(t, config(t, missing, "/nonexistent/x"), nil, missing, "no such repository", "/nonexistent/x", "no such file")
	if e := asError[*FetchError](t, err); e.URL != missing {
		t.Errorf("the first error is of %s", e.URL)
	}
}

func TestBadConfig(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"no URL":             {Config{}, "no URL"},
		"password":           {Config{URLs: []string{"https://me:h0rse@example.org/x"}}, "holds a password"},
		"unreadable":         {Config{URLs: []string{"https://me:h0rse@example.org:port/x"}}, "the URL cannot be parsed"},
		"scheme":             {Config{URLs: []string{"git://example.org/x"}}, `the protocol "git" is not supported`},
		"control":            {Config{URLs: []string{"https://example.org/\nx"}}, "control characters"},
		"no host":            {Config{URLs: []string{"https:///x"}}, "names no host"},
		"two":                {Config{URLs: []string{"/x"}, Branch: "a", Tag: "b"}, "only one"},
		"short commit":       {Config{URLs: []string{"/x"}, Commit: "abc123"}, "not a full hash"},
		"branch name":        {Config{URLs: []string{"/x"}, Branch: "a..b"}, "not a valid name of a branch"},
		"path":               {Config{URLs: []string{"/x"}, Path: "a/../../b"}, "leaves the repository"},
		"user without file":  {Config{URLs: []string{"https://127.0.0.1:1/x"}, Auth: Auth{User: "a"}}, "without a password file"},
		"file without user":  {Config{URLs: []string{"https://127.0.0.1:1/x"}, Auth: Auth{PasswordFile: secret(t, "x")}}, "without a user"},
		"token and password": {Config{URLs: []string{"https://127.0.0.1:1/x"}, Auth: Auth{TokenFile: "a", PasswordFile: "b"}}, "only one of them"},
		"open password file": {Config{URLs: []string{"https://u@127.0.0.1:1/x"}, Auth: Auth{PasswordFile: secretMode(t, "x", 0o644)}}, "chmod 600"},
		"empty token":        {Config{URLs: []string{"https://127.0.0.1:1/x"}, Auth: Auth{TokenFile: secret(t, "\n")}}, "is empty"},
		"long token":         {Config{URLs: []string{"https://127.0.0.1:1/x"}, Auth: Auth{TokenFile: secret(t, "a\nb\n")}}, "more than one line"},
		"missing token":      {Config{URLs: []string{"https://127.0.0.1:1/x"}, Auth: Auth{TokenFile: "/nonexistent/t"}}, "/nonexistent/t"},
		"proxy":              {Config{URLs: []string{"https://127.0.0.1:1/x"}, Auth: Auth{Proxy: "ftp://x"}}, `proxies of the kind "ftp"`},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.Dir, c.cfg.Timeout = t.TempDir(), fetchTimeout
			err := fails(t, c.cfg, nil, c.want)
			noSecret(t, err.Error(), "h0rse")
		})
	}
	if _, err := Fetch(context.Background(), config(t, "/x"), nil, "main"); err == nil || !strings.Contains(err.Error(), "accepted commit") {
		t.Errorf("accept main: %v", err)
	}
}

// TestOldSSH: a server that knows only algorithms with SHA-1 is used if that is allowed.
func TestOldSSH(t *testing.T) {
	r := newRepo(t)
	commit := r.commit("a.yaml", policy)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	only, err := ssh.NewSignerWithAlgorithms(signer.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSA})
	if err != nil {
		t.Fatal(err)
	}
	clientKey := keygen(t, t.TempDir()+"/rsa", "rsa")
	uploadPack := func(ch ssh.Channel, _ <-chan struct{}) {
		cmd := exec.Command("git", "upload-pack", r.dir)
		cmd.Env, cmd.Stdin, cmd.Stdout = gitEnv(), ch, ch
		_ = cmd.Run()
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{}))
		_ = ch.Close()
	}
	for name, c := range map[string]struct {
		server ssh.ServerConfig
		signer ssh.Signer
		key    string // of the client; empty: ed25519
	}{
		"host key":     {ssh.ServerConfig{}, only, ""},
		"key exchange": {ssh.ServerConfig{Config: ssh.Config{KeyExchanges: []string{ssh.InsecureKeyExchangeDH14SHA1}}}, signer, ""},
		"MAC":          {ssh.ServerConfig{Config: ssh.Config{MACs: []string{ssh.HMACSHA1}, Ciphers: []string{ssh.CipherAES128CTR}}}, signer, ""},
		"client key":   {ssh.ServerConfig{PublicKeyAuthAlgorithms: []string{ssh.KeyAlgoRSA}}, signer, clientKey},
		"all": {ssh.ServerConfig{PublicKeyAuthAlgorithms: []string{ssh.KeyAlgoRSA}, Config: ssh.Config{KeyExchanges: []string{ssh.InsecureKeyExchangeDH14SHA1},
			MACs: []string{ssh.HMACSHA1}, Ciphers: []string{ssh.CipherAES128CTR}}}, only, clientKey},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := fakeSSHAs(t, &c.server, c.signer, uploadPack)
			if c.key != "" {
				cfg.Auth.SSHKeyFile = c.key
			}
			fails(t, cfg, nil, "SHA-1", "--ssh-legacy-algorithms")
			cfg.Auth.SSHLegacyAlgorithms = true
			if got := mustFetch(t, cfg); got.Commit != commit {
				t.Errorf("commit %s", got.Commit)
			}
		})
	}
	// A current server is used without.
	cfg := fakeSSHAs(t, &ssh.ServerConfig{}, signer, uploadPack)
	cfg.Auth.SSHKeyFile = clientKey
	mustFetch(t, cfg)
}

// TestObjectFormat: the other object format of a server is named, with the way out.
func TestObjectFormat(t *testing.T) {
	r := &repo{t, t.TempDir() + "/policies"}
	mkdir(t, r.dir)
	r.git("init", "-q", "-b", "main", "--object-format=sha256")
	head := r.commit("a.yaml", policy)
	s, key := startSSH(t, "ed25519")
	for _, u := range []string{serve(t, r), s.url(r)} {
		cfg := config(t, u)
		cfg.Auth = Auth{SSHKeyFile: key, KnownHostsFile: s.known("ed25519")}
		fails(t, cfg, nil, "its object format is sha256, and nfsync reads sha1", "nfsync plan DIR")
	}
	cfg := config(t, r.dir)
	cfg.Commit = head
	fails(t, cfg, nil, "is a SHA-256 hash", "40 lower-case hexadecimal digits")
}
