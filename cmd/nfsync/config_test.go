package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
)

const ourConfig = `apiVersion: nfsync.dev/v1alpha1
kind: AgentConfig
node: {name: hn-7, labels: {role: edge, zone: a}}
source:
  urls: ["https://git.example.org/a.git", "ssh://git@git.example.org/b.git"]
  branch: main
  path: policies
  timeout: 90s
  maxPackSize: 2GiB
  http: {user: ada, passwordFile: /p, caFile: /ca, certFile: /cert, keyFile: /key, proxy: "http://proxy:3128"}
  ssh: {keyFile: /ssh, knownHostsFile: /hosts}
verify: {mode: all, keyrings: [/ring], allowedSigners: [/signers]}
`

// parseFlags gives the app the flags of a command line.
func parseFlags(t *testing.T, a *app, line ...string) {
	t.Helper()
	root := a.command()
	verb, rest, err := root.Find(line)
	if err == nil {
		err = verb.ParseFlags(rest)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// The default file is for the verbs that look at this node; the others read one only where
// it is named.
func TestDefaultConfig(t *testing.T) {
	a := testApp(nil)
	parseFlags(t, a, "agent", "--once")
	if a.configFile != "/etc/nfsync/agent.yaml" {
		t.Errorf("the default is %s", a.configFile)
	}
	a.configFile = write(t, ourConfig)
	if err := a.configure(false); err != nil || a.node != "" {
		t.Errorf("it was read by any verb: %q, %v", a.node, err)
	}
	if err := a.configure(true); err != nil || a.node != "hn-7" {
		t.Errorf("it was not read: %q, %v", a.node, err)
	}
	for line, want := range map[string]bool{"plan": true, "apply": true, "agent": true, "snapshot": true, "recover": true,
		"plan --snapshot x": false, "validate": false, "explain": false, "version": false} {
		verb, rest, err := a.command().Find(strings.Fields(line))
		if err == nil {
			err = verb.ParseFlags(rest)
		}
		if got := looksAtNode(verb); err != nil || got != want {
			t.Errorf("%s looks at this node: %v, %v", line, got, err)
		}
	}
	a.configFile = filepath.Join(t.TempDir(), "missing")
	if err := a.configure(true); err != nil {
		t.Errorf("it need not be there: %v", err)
	}
	a.configFile = write(t, "kind: Nonsense")
	if err := a.configure(true); err == nil || !strings.Contains(hintFor(err, ""), "--config none") {
		t.Errorf("it need not be valid: %v", err)
	}
	a.configFile = t.TempDir()
	if err := a.configure(true); err == nil {
		t.Error("it need not be a file")
	}
}

func TestNodeOfConfig(t *testing.T) {
	a := testApp(nil)
	parseFlags(t, a, "snapshot", "--config", write(t, ourConfig+"runtimes: [netns]\n"), "--label", "zone=b", "--label", "rack=1")
	if err := a.configure(true); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"role": "edge", "zone": "b", "rack": "1"}, a.labels); diff != "" || a.node != "hn-7" {
		t.Errorf("node %q, labels:\n%s", a.node, diff)
	}
}

// All of the file's source arrives, and flags override it: one by one, but for
// those that are several ways to say one thing.
func TestSourceOfConfig(t *testing.T) {
	file := write(t, ourConfig)
	const commit = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
	whole := func() source.Config {
		return source.Config{
			URLs: []string{"https://git.example.org/a.git", "ssh://git@git.example.org/b.git"}, Branch: "main", Path: "policies", Timeout: 90 * time.Second, MaxPack: 2 * nf.GiB,
			Auth: source.Auth{SSHKeyFile: "/ssh", KnownHostsFile: "/hosts", User: "ada", PasswordFile: "/p", CAFile: "/ca", ClientCertFile: "/cert", ClientKeyFile: "/key",
				Proxy: "http://proxy:3128"},
			Verify: source.Verify{Mode: source.VerifyAll, Keyrings: []string{"/ring"}, AllowedSigners: []string{"/signers"}},
		}
	}
	for line, change := range map[string]func(*source.Config){
		"":                                   func(*source.Config) {},
		"--git https://x.example/y.git":      func(c *source.Config) { c.URLs = []string{"https://x.example/y.git"} },
		"--branch next":                      func(c *source.Config) { c.Branch = "next" },
		"--tag v1":                           func(c *source.Config) { c.Branch, c.Tag = "", "v1" },
		"--commit " + commit:                 func(c *source.Config) { c.Branch, c.Commit = "", commit },
		"--path .":                           func(c *source.Config) { c.Path = "" },
		"--path /a/b/":                       func(c *source.Config) { c.Path = "a/b" },
		"--timeout 5s":                       func(c *source.Config) { c.Timeout = 5 * time.Second },
		"--max-pack-size 3MiB":               func(c *source.Config) { c.MaxPack = 3 * nf.MiB },
		"--ssh-key /k --known-hosts /h":      func(c *source.Config) { c.Auth.SSHKeyFile, c.Auth.KnownHostsFile = "/k", "/h" },
		"--ssh-legacy-algorithms=true":       func(c *source.Config) { c.Auth.SSHLegacyAlgorithms = true },
		"--token-file /t":                    func(c *source.Config) { c.Auth.User, c.Auth.PasswordFile, c.Auth.TokenFile = "", "", "/t" },
		"--user eve --password-file /q":      func(c *source.Config) { c.Auth.User, c.Auth.PasswordFile = "eve", "/q" },
		"--ca-file /other":                   func(c *source.Config) { c.Auth.CAFile = "/other" },
		"--verify all":                       func(*source.Config) {},
		"--verify tip":                       nil,
		"--verify none":                      nil,
		"--keyring /a --keyring /b":          nil,
		"--allowed-signers /a":               nil,
		"--accept " + commit:                 func(*source.Config) {},
		"--git /srv/a.git --git /srv/../b/.": func(c *source.Config) { c.URLs = []string{"/srv/a.git", "/b"} },
	} {
		a := testApp(nil)
		var o gitOptions
		cmd := &cobra.Command{Use: "x"}
		a.register(cmd.Flags(), a.getenv)
		o.register(cmd.Flags())
		if err := cmd.ParseFlags(append(strings.Fields(line), "--config", file)); err != nil {
			t.Fatal(err)
		}
		if err := a.configure(true); err != nil {
			t.Fatal(err)
		}
		want := whole()
		got, err := a.source(&o)
		if change == nil { // it would trust more than the configuration does
			if err == nil || !strings.Contains(err.Error(), "--config none") {
				t.Errorf("%q: %v", line, err)
			}
			continue
		}
		change(&want)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v\n%s", line, err, diff)
		}
		if words := strings.Join(o.words(), " "); len(words) != len(line) {
			t.Errorf("%q is typed again as %q", line, words)
		}
	}
}

// Without a file the defaults hold, and the flags choose what is trusted.
func TestSourceOfFlags(t *testing.T) {
	a := testApp(nil)
	var o gitOptions
	cmd := &cobra.Command{Use: "x"}
	a.register(cmd.Flags(), a.getenv)
	o.register(cmd.Flags())
	if err := cmd.ParseFlags([]string{"--git", "https://x.example/y.git", "--verify", "tip", "--keyring", "/a", "--keyring", "/b", "--allowed-signers", "/c", "--config", "none"}); err != nil {
		t.Fatal(err)
	}
	if err := a.configure(true); err != nil {
		t.Fatal(err)
	}
	got, err := a.source(&o)
	want := source.Config{URLs: []string{"https://x.example/y.git"}, Timeout: time.Minute, MaxPack: source.DefaultMaxPack,
		Verify: source.Verify{Mode: source.VerifyTip, Keyrings: []string{"/a", "/b"}, AllowedSigners: []string{"/c"}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

// The words of a command line that is printed hold no secrets of a URL.
func TestWordsWithoutSecrets(t *testing.T) {
	var o gitOptions
	cmd := &cobra.Command{Use: "x"}
	o.register(cmd.Flags())
	if err := cmd.ParseFlags([]string{"--git", "https://s3cret@x.example/y.git?token=s3cret"}); err != nil {
		t.Fatal(err)
	}
	if words := strings.Join(o.words(), " "); words != "--git https://x.example/y.git" {
		t.Errorf("the words are %s", words)
	}
}

// A size is printed in a form that is read again.
func TestWordsWithSize(t *testing.T) {
	for given, want := range map[string]string{"2048KiB": "2MiB", "1 GiB": "1GiB", "1500000": "1500000"} {
		var o gitOptions
		cmd := &cobra.Command{Use: "x"}
		o.register(cmd.Flags())
		if err := cmd.ParseFlags([]string{"--max-pack-size", given}); err != nil {
			t.Fatal(err)
		}
		if words := strings.Join(o.words(), " "); words != "--max-pack-size "+want {
			t.Errorf("%s: the words are %s", given, words)
		}
	}
}
