package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/spec"
)

const someCommit = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

func someConfig() spec.AgentConfig {
	c := spec.DefaultAgentConfig()
	c.Source.URLs, c.Source.Branch, c.Source.Path = []string{"https://git.example.org/a.git", "/srv/b.git/"}, "main", "policies"
	c.Source.Auth = spec.GitAuth{SSHKeyFile: "/ssh", KnownHostsFile: "/hosts", User: "ada", PasswordFile: "/p", CAFile: "/ca", ClientCertFile: "/cert", ClientKeyFile: "/key", Proxy: "http://proxy:3128"}
	c.Verify = spec.Verification{Mode: spec.VerifyAll, Keyrings: []string{"/ring"}, AllowedSigners: []string{"/signers"}}
	return c
}

// What a flag says replaces what the configuration says, and with it what is
// another spelling of the same setting. All else stays.
func TestFlagsOverConfiguration(t *testing.T) {
	timeout := 5 * time.Second
	for name, test := range map[string]struct {
		flags Flags
		want  func(*source.Config)
	}{
		"none":        {Flags{}, func(*source.Config) {}},
		"git":         {Flags{URLs: []string{"ssh://git@x/y.git", "z"}}, func(c *source.Config) { c.URLs = []string{"ssh://git@x/y.git", "/here/z"} }},
		"branch":      {Flags{Branch: "next"}, func(c *source.Config) { c.Branch = "next" }},
		"tag":         {Flags{Tag: "v1"}, func(c *source.Config) { c.Branch, c.Tag = "", "v1" }},
		"commit":      {Flags{Commit: someCommit}, func(c *source.Config) { c.Branch, c.Commit = "", someCommit }},
		"path":        {Flags{Path: "/a/b/"}, func(c *source.Config) { c.Path = "a/b" }},
		"root":        {Flags{Path: "."}, func(c *source.Config) { c.Path = "" }},
		"accept":      {Flags{Accept: someCommit}, func(*source.Config) {}},
		"timeout":     {Flags{Timeout: &timeout}, func(c *source.Config) { c.Timeout = timeout }},
		"pack size":   {Flags{MaxPackSize: nf.GiB}, func(c *source.Config) { c.MaxPack = nf.GiB }},
		"ssh key":     {Flags{Auth: source.Auth{SSHKeyFile: "/k"}}, func(c *source.Config) { c.Auth.SSHKeyFile = "/k" }},
		"known hosts": {Flags{Auth: source.Auth{KnownHostsFile: "/k"}}, func(c *source.Config) { c.Auth.KnownHostsFile = "/k" }},
		"ca file":     {Flags{Auth: source.Auth{CAFile: "/k"}}, func(c *source.Config) { c.Auth.CAFile = "/k" }},
		"token":       {Flags{Auth: source.Auth{TokenFile: "/t"}}, func(c *source.Config) { c.Auth.User, c.Auth.PasswordFile, c.Auth.TokenFile = "", "", "/t" }},
		"user":        {Flags{Auth: source.Auth{User: "eve", PasswordFile: "/q"}}, func(c *source.Config) { c.Auth.User, c.Auth.PasswordFile = "eve", "/q" }},
		"mode":        {Flags{Verify: source.Verify{Mode: source.VerifyAll}}, func(*source.Config) {}},
	} {
		c := someConfig()
		want := ConfiguredSource(c)
		want.URLs[1] = "/srv/b.git"
		test.want(&want)
		got, err := test.flags.Source(c, "/here")
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
		if diff := cmp.Diff(someConfig(), c); diff != "" {
			t.Errorf("%s changed the configuration:\n%s", name, diff)
		}
	}
}

// Flags make verification stricter, and never weaker.
func TestFlagsAndTrust(t *testing.T) {
	for _, test := range []struct {
		configured, flag source.Mode
		keys             bool
		weaker           bool
	}{
		{source.VerifyTip, source.VerifyAll, false, false},
		{source.VerifyTip, source.VerifyTip, false, false},
		{source.VerifyTip, "", false, false},
		{source.VerifyTip, source.VerifyNone, false, true},
		{source.VerifyAll, source.VerifyTip, false, true},
		{source.VerifyAll, source.VerifyNone, false, true},
		{source.VerifyTip, "", true, true},
		{source.VerifyTip, source.VerifyAll, true, true},
		{source.VerifyNone, source.VerifyTip, true, false},
		{"", source.VerifyTip, true, false},
		{"", source.VerifyNone, false, false},
	} {
		c := someConfig()
		c.Verify.Mode = string(test.configured)
		if test.configured == source.VerifyNone || test.configured == "" {
			c.Verify.Keyrings, c.Verify.AllowedSigners = nil, nil
		}
		f := Flags{Verify: source.Verify{Mode: test.flag}}
		if test.keys {
			f.Verify.AllowedSigners = []string{"/mine"}
		}
		_, err := f.Source(c, "/here")
		if (err != nil) != test.weaker || err != nil && !strings.Contains(err.Error(), "--config none") {
			t.Errorf("%q over %q, keys %v: %v", test.flag, test.configured, test.keys, err)
		}
	}
}

// What no server need be asked about is an error.
func TestFlagsThatCannotBe(t *testing.T) {
	var zero time.Duration
	for want, f := range map[string]Flags{
		"branch, tag and commit exclude each other": {Branch: "a", Commit: someCommit},
		`the commit "abc" is not a full hash`:       {Commit: "abc"},
		"is not a full hash of 40":                  {Accept: strings.ToUpper(someCommit)},
		"--timeout 0s: there must be some time":     {Timeout: &zero},
		"--max-pack-size 1 KiB: it must be 1 MiB":   {MaxPackSize: nf.KiB},
		"--max-pack-size 32 GiB: it must be 1 MiB":  {MaxPackSize: 32 * nf.GiB},
		"a/../../b: the policy path leaves":         {Path: "a/../../b"},
		"a password does not belong in a URL":       {URLs: []string{"https://x/y", "https://ada:secret@x/y"}},
		"of no use without --verify":                {Verify: source.Verify{Keyrings: []string{"/a"}}},
		"the keys whose signatures are good":        {Verify: source.Verify{Mode: source.VerifyTip}},
		`"maybe" must be none, tip or all`:          {Verify: source.Verify{Mode: "maybe"}},
	} {
		c := spec.DefaultAgentConfig()
		c.Source.URLs = []string{"https://x/y"}
		_, err := f.Source(c, "/")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestAbsolute(t *testing.T) {
	const here = "/some/where"
	for given, want := range map[string]string{
		"":                        "",
		"policies.git":            here + "/policies.git",
		"./a/../policies.git/":    here + "/policies.git",
		"/srv/policies.git":       "/srv/policies.git",
		"/srv/odd:name.git":       "/srv/odd:name.git",
		"https://h.example/p.git": "https://h.example/p.git",
		"file:///srv/p.git":       "file:///srv/p.git",
		"git@h.example:p.git":     "git@h.example:p.git",
		"h.example:a/p.git":       "h.example:a/p.git",
	} {
		if got := absolute(given, here); got != want {
			t.Errorf("%q is %q; want %q", given, got, want)
		}
	}
}
