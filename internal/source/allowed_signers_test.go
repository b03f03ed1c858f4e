package source

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSSHSignatures(t *testing.T) {
	s := newSigning(t)
	now := time.Now()
	alice := s.sshKey("alice", "-t", "ed25519")
	plain := s.commit("commit.gpgSign=false")
	good := s.commit(s.ssh("alice")...)
	fingerprint := strings.Fields(s.run("ssh-keygen", "-l", "-f", s.path("alice.pub")))[1]
	list := func(lines ...string) Verify {
		return Verify{Mode: VerifyAll, AllowedSigners: []string{s.write("allowed", strings.Join(lines, "\n")+"\n")}}
	}

	t.Run("kinds of keys", func(t *testing.T) {
		for name, options := range map[string][]string{
			"ed25519": {"-t", "ed25519"}, "rsa": {"-t", "rsa", "-b", "2048"},
			"p256": {"-t", "ecdsa", "-b", "256"}, "p384": {"-t", "ecdsa", "-b", "384"}, "p521": {"-t", "ecdsa", "-b", "521"},
		} {
			key := s.sshKey(name, options...)
			verified(t, list("alice@example.com "+key), now, "SSH key SHA256:", s.commit(s.ssh(name)...))
		}
	})
	t.Run("lines", func(t *testing.T) {
		other := s.sshKey("other", "-t", "ed25519")
		for _, lines := range [][]string{
			{"alice@example.com " + alice},
			{"# people", "", "  \t", "\talice@example.com\t " + alice + " alice's laptop # the new one\r"},
			{`"alice@example.com" ` + alice},
			{"*@example.com " + alice},
			{"bob@example.com,ali??@* " + alice},
			{"* " + alice},
			{"!bob@*,* " + alice},
			{`alice@example.com namespaces="git" ` + alice},
			{`alice@example.com namespaces="file,g?t" ` + alice},
			{`alice@example.com NameSpaces="*",valid-after="20200101",valid-before="21000101Z" ` + alice},
			{`alice@example.com valid-after="202001010000",valid-before="21000101000000Z" ` + alice + " c"},
			{"bob@example.com " + alice, "alice@example.com " + other, "alice@example.com " + alice},
		} {
			verified(t, list(lines...), now, "SSH key "+fingerprint+" of alice@example.com", good)
		}
	})
	t.Run("several files", func(t *testing.T) {
		first := s.write("first", "bob@example.com "+s.sshKey("bob", "-t", "ed25519"))
		second := s.write("second", "alice@example.com "+alice)
		verified(t, Verify{AllowedSigners: []string{first, second}}, now, fingerprint, good)
	})
	t.Run("unsigned", func(t *testing.T) {
		v := list("alice@example.com " + alice)
		refused(t, v, now, plain, only(plain), "not signed")
		refused(t, v, now, plain, []*commit{good, plain}, "not signed", "each commit since")
	})
	t.Run("key in no list", func(t *testing.T) {
		stranger := s.sshKey("stranger", "-t", "ed25519")
		c := s.commit(s.ssh("stranger")...)
		v := list("alice@example.com " + alice)
		refused(t, v, now, c, only(c), "in none of "+v.AllowedSigners[0], "add the line: EMAIL "+stranger)
		s.sshKey("large", "-t", "rsa", "-b", "4096")
		c = s.commit(s.ssh("large")...)
		refused(t, v, now, c, only(c), "EMAIL ssh-rsa AAAA…")
		key := s.pgpKey("pgp", "ed25519", "sign", "", "")
		refused(t, Verify{Keyrings: []string{s.export("pgp.asc", key)}}, now, good, only(good), "no file of allowed signers", "EMAIL "+alice)
	})
	t.Run("tampered", func(t *testing.T) {
		v := list("alice@example.com " + alice)
		for _, change := range []func(string) string{
			replace("commit\n", "commit!\n"), replace("author@", "bob@"), replace("tree 4b", "tree 5b"), replace("gpgsig ", "extra header\ngpgsig "),
		} {
			bad := s.rewrite(good, change)
			refused(t, v, now, bad, only(bad), "wrong", fingerprint, "ask who pushed it")
		}
		for _, at := range []int{60, 150, 200, 260} { // in the block
			bad := s.rewrite(good, func(text string) string {
				i := strings.Index(text, "gpgsig -----BEGIN") + at
				return text[:i] + flip(text[i]) + text[i+1:]
			})
			refused(t, v, now, bad, only(bad), "SSH")
		}
	})
	t.Run("namespace", func(t *testing.T) {
		bad := s.sshSigned(plain, "file", "alice")
		refused(t, list("alice@example.com "+alice), now, bad, only(bad), `made for "file", not for git`, fingerprint)
		verified(t, list("alice@example.com "+alice), now, fingerprint, s.sshSigned(plain, "git", "alice"))
		refused(t, list(`alice@example.com namespaces="file,g" `+alice), now, good, only(good), "allowed:1", `"file,g", not for git`)
		refused(t, list(`alice@example.com namespaces="!git,*" `+alice), now, good, only(good), "not for git")
		refused(t, list(`alice@example.com namespaces="" `+alice), now, good, only(good), "not for git")
	})
	t.Run("principal", func(t *testing.T) {
		for _, principals := range []string{"bob@example.com", "alice", "alice@example.co", "*@example.com.org", "*,!alice@*", "Alice@example.com", "alic?e@example.com", "!bob@*", ","} {
			refused(t, list(principals+" "+alice), now, good, only(good), `not for the committer, "alice@example.com"`, "allowed:1", fingerprint)
		}
		bad := s.commit(append([]string{"GIT_COMMITTER_EMAIL=mallory@example.com", "GIT_AUTHOR_EMAIL=alice@example.com"}, s.ssh("alice")...)...)
		refused(t, list("alice@example.com "+alice), now, bad, only(bad), "mallory@example.com")
	})
	t.Run("validity", func(t *testing.T) {
		old := s.commit(append([]string{"GIT_COMMITTER_DATE=2020-06-01T12:00:00Z"}, s.ssh("alice")...)...)
		v := list(`alice@example.com valid-before="20210101Z" ` + alice)
		verified(t, v, now, fingerprint, old)
		refused(t, v, now, good, only(good), "until 2021-01-01T00:00:00Z", "allowed:1")
		v = list(`alice@example.com valid-after="20210101000000Z" ` + alice)
		verified(t, v, now, fingerprint, good)
		refused(t, v, now, old, only(old), "from 2021-01-01T00:00:00Z on", "2020-06-01T12:00:00Z")
		for limit, want := range map[string]bool{
			`valid-after="20200601120000Z"`: true, `valid-after="20200601120001Z"`: false, `valid-after="202006011201Z"`: false,
			`valid-before="20200601120000Z"`: true, `valid-before="20200601115959Z"`: false, `valid-before="20200601Z"`: false,
		} {
			if _, _, err := verifyAt(list("* "+limit+" "+alice), only(old), now); (err == nil) != want {
				t.Errorf("%s: %v", limit, err)
			}
		}
		refused(t, list(`* valid-before="20210101Z" `+alice, `* valid-after="20400101Z" `+alice), now, good, only(good), "allowed:1", "allowed:2")
	})
	t.Run("short key", func(t *testing.T) {
		key := s.sshKey("short", "-t", "rsa", "-b", "1024")
		c := s.commit(s.ssh("short")...)
		refused(t, list("* "+key), now, c, only(c), "1024 bits")
	})
	t.Run("certificate", func(t *testing.T) {
		ca := s.sshKey("ca", "-t", "ed25519")
		s.sshKey("holder", "-t", "ed25519")
		s.run("ssh-keygen", "-q", "-s", s.path("ca"), "-I", "alice's key", "-n", "alice@example.com", s.path("holder.pub"))
		c := s.commit("commit.gpgSign=true", "gpg.format=ssh", "user.signingKey="+s.path("holder-cert.pub"))
		v := list("alice@example.com cert-authority "+ca, "bob@example.com "+alice)
		_, warnings, _ := verifyAt(v, only(c), now)
		if len(warnings) != 1 || !strings.Contains(warnings[0], "allowed:1: cert-authority is not supported") {
			t.Errorf("warnings %q", warnings)
		}
		refused(t, v, now, c, only(c), "signed with a certificate", "alice's key", "not support")
		if _, _, err := verifyAt(list("* cert-authority "+ca), only(c), now); err == nil || !strings.Contains(err.Error(), "cert-authority is not supported") {
			t.Errorf("a list of nothing but authorities: %v", err)
		}
		// the authority's key itself is not a signer
		byCA := s.commit(s.ssh("ca")...)
		if _, _, err := verifyAt(v, only(byCA), now); err == nil {
			t.Error("an authority signs commits")
		}
	})
	t.Run("text after the block", func(t *testing.T) {
		bad := s.rewrite(good, replace("-----END SSH SIGNATURE-----\n", "-----END SSH SIGNATURE-----\n more\n"))
		refused(t, list("* "+alice), now, bad, only(bad), "text follows it")
		broken := s.rewrite(good, replace("-----END SSH SIGNATURE-----", "-----END SSH-----"))
		refused(t, list("* "+alice), now, broken, only(broken), "cannot be read")
	})
	t.Run("dates", func(t *testing.T) {
		// With these dates ssh-keygen does not get the date of the commit.
		for _, date := range []string{"0", "253402300800", "1700000000000"} {
			bad := s.rewrite(plain, func(text string) string {
				before, after, _ := strings.Cut(text, "\ncommitter ")
				who, after, _ := strings.Cut(after, "> ")
				_, after, _ = strings.Cut(after, " ")
				return before + "\ncommitter " + who + "> " + date + " " + after
			})
			bad = s.sshSigned(bad, "git", "alice")
			v := list(`alice@example.com valid-before="20200101Z" ` + alice)
			refused(t, v, now, bad, only(bad), "does not compare")
			if s.gitAccepts(bad, v.AllowedSigners[0]) {
				t.Errorf("git accepts a commit of %s", date)
			}
		}
	})
	t.Run("as git", func(t *testing.T) {
		// For a commit by the principal git and nfsync agree about these lines.
		for lines, want := range map[string]bool{
			"alice@example.com " + alice:                                       true,
			`alice@example.com namespaces="file" ` + alice:                     false,
			`alice@example.com valid-before="20200101" ` + alice:               false,
			`alice@example.com valid-after="20200101" ` + alice:                true,
			`"alice@example.com" namespaces="git",valid-after="2020" ` + alice: false,
			`alice@example.com unknown="x" ` + alice:                           false,
		} {
			v := list(lines)
			_, _, err := verifyAt(v, only(good), now)
			if (err == nil) != want || s.gitAccepts(good, v.AllowedSigners[0]) != want {
				t.Errorf("%s: want %t, nfsync says %v, git %t", lines, want, err, !want)
			}
		}
	})
}

// sshSigned returns an unsigned commit with a signature made by ssh-keygen.
func (s *signing) sshSigned(c *commit, namespace, key string) *commit {
	s.t.Helper()
	file := s.write("signed", s.commitText(c))
	os.Remove(file + ".sig")
	s.run("ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", s.path(key), file)
	return s.rewrite(c, withSignature(string(readFile(s.t, file+".sig"))))
}

// gitAccepts reports whether git accepts the signature of a commit, with gpg or with a list
// of allowed signers.
func (s *signing) gitAccepts(c *commit, list string) bool {
	s.t.Helper()
	out := s.run("sh", "-c", fmt.Sprintf("git -C %s -c gpg.ssh.allowedSignersFile=%s verify-commit %s 2>/dev/null && echo good || echo bad", s.repo, list, c.hash))
	return strings.TrimSpace(out) == "good"
}

func TestAllowedSignersErrors(t *testing.T) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINNwMHM8lLcve+HMdKmjaanRnkdOE0Sm3ZUxkjv5LTgg"
	blob := strings.Fields(key)[1]
	short := base64.StdEncoding.EncodeToString([]byte("\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20tooshort"))
	for name, test := range map[string]struct{ text, want string }{
		"empty":                   {"", "f lists no key"},
		"comments":                {"# no key\n\n", "f lists no key"},
		"no key":                  {"\n\nalice@example.com\n", "f:3: the line has no key"},
		"no key after options":    {`alice@example.com namespaces="git"`, "f:1: the line has no key"},
		"no key after type":       {"alice@example.com ssh-ed25519", "f:1: the key is damaged"},
		"no principals":           {key, `f:1: "aaaac3nz`},
		"quote":                   {`"alice@example.com ` + key, "f:1: a quote is not closed"},
		"quote within":            {`ali"ce@example.com" ` + key, "f:1: the line must begin with the owner of the key"},
		"empty principals":        {`"" ` + key, "f:1: the line must begin with the owner of the key"},
		"damaged key":             {"a@b ssh-ed25519 " + blob[:len(blob)-6], "f:1: the key is damaged"},
		"not base64":              {"a@b ssh-ed25519 !" + blob, "f:1: the key is damaged: illegal base64"},
		"short key":               {"a@b ssh-ed25519 " + short, "f:1: the key is damaged"},
		"other type":              {"a@b ssh-rsa " + blob, "f:1: the key is of type ssh-ed25519, not ssh-rsa"},
		"unknown type":            {`a@b namespaces="git" ssh-foo ` + blob, `f:1: "ssh-foo" is not a type of keys that can be trusted`},
		"DSA":                     {`a@b valid-after="20200101" ssh-dss ` + blob, `f:1: "ssh-dss" is not a type of keys that can be trusted`},
		"certificate":             {`a@b cert-authority ssh-ed25519-cert-v01@openssh.com ` + blob, "is not a type of keys that can be trusted"},
		"unknown option":          {"a@b nonsense " + key, `f:1: "nonsense" is neither a type of SSH keys nor an option; the options are cert-authority, namespaces`},
		"second option unknown":   {`a@b namespaces="git",touch-required ` + key, `f:1: "touch-required" is neither`},
		"no option after a comma": {`a@b namespaces="git", ` + key, `f:1: "" is neither`},
		"no quotes":               {"a@b namespaces=git " + key, `f:1: the value of namespaces must be quoted`},
		"no value":                {"a@b namespaces " + key, `f:1: the value of namespaces must be quoted`},
		"open quotes":             {`a@b namespaces="git ` + key, `f:1: `},
		"quotes within quotes":    {`a@b namespaces="g"i"t" ` + key, `f:1: the value of namespaces must be quoted`},
		"escaped end":             {`a@b namespaces="git\" ` + key, `f:1: `},
		"twice":                   {`a@b namespaces="git",namespaces="file" ` + key, "f:1: the option namespaces is given twice"},
		"time":                    {`a@b valid-after="tomorrow" ` + key, `f:1: valid-after: "tomorrow" is not a time`},
		"time with a dash":        {`a@b valid-before="2020-01-01" ` + key, `f:1: valid-before: "2020-01-01" is not a time`},
		"no such day":             {`a@b valid-before="20210230" ` + key, `is not a time`},
		"time twice":              {`a@b valid-before="20210101",valid-before="20220101" ` + key, "is given twice"},
		"inverted":                {`a@b valid-after="20210101",valid-before="20210101" ` + key, "the key is never valid"},
		"no line":                 {"b@c " + key[:20] + "\na@b touch-required " + key, `f:2: "touch-required" is neither`},
		"control characters":      {"a@b \x1b[31m " + key, `f:1: "`},
	} {
		t.Run(name, func(t *testing.T) {
			list, _, err := parseAllowedSigners("f", []byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("got %v and %v, want %q", list, err, test.want)
			}
		})
	}
	if _, _, err := readAllowedSigners([]string{"/nonexistent/signers"}); !os.IsNotExist(errors.Unwrap(err)) {
		t.Errorf("a missing file: %v", err)
	}
	if _, _, err := readAllowedSigners([]string{"/dev/zero"}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("an endless file: %v", err)
	}
	large := filepath.Join(t.TempDir(), "large")
	if err := errors.Join(os.WriteFile(large, nil, 0o600), os.Truncate(large, 17<<20)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readAllowedSigners([]string{large}); err == nil || !strings.Contains(err.Error(), "larger than 16 MiB") {
		t.Errorf("a large file: %v", err)
	}
}

// TestAllowedSignersSkipsLines: a line that cannot be parsed takes no other line down.
func TestAllowedSignersSkipsLines(t *testing.T) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINNwMHM8lLcve+HMdKmjaanRnkdOE0Sm3ZUxkjv5LTgg"
	list, warnings, err := parseAllowedSigners("f", []byte("b@c "+key[:20]+"\na@b "+key+"\nc@d touch-required "+key+"\n"))
	if err != nil || len(list) != 1 || list[0].place != "f:2" {
		t.Errorf("got %v and %v, want the key of f:2", list, err)
	}
	want := []string{"f:1: the key is damaged", `f:3: "touch-required" is neither`}
	if len(warnings) != len(want) {
		t.Fatalf("the warnings are %q, want %q", warnings, want)
	}
	for i := range want {
		if !strings.HasPrefix(warnings[i], want[i]) || !strings.HasSuffix(warnings[i], "; the line is skipped") {
			t.Errorf("the warning is %q, want %q", warnings[i], want[i])
		}
	}
}

// TestParseTime: a time without Z is in the local time zone, as with ssh-keygen.
func TestParseTime(t *testing.T) {
	local := time.Local
	t.Cleanup(func() { time.Local = local })
	time.Local = time.FixedZone("here", 3600)
	for text, want := range map[string]string{
		"20200601": "2020-05-31T23:00:00Z", "20200601Z": "2020-06-01T00:00:00Z", "20200601z": "2020-06-01T00:00:00Z",
		"202006011230": "2020-06-01T11:30:00Z", "20200601123045Z": "2020-06-01T12:30:45Z",
	} {
		got, err := parseTime(text)
		if err != nil || formatTime(got) != want {
			t.Errorf("%s is %s, want %s (%v)", text, formatTime(got), want, err)
		}
	}
}

// TestMatchPattern checks results, and that a hostile pattern takes no more than a second.
func TestMatchPattern(t *testing.T) {
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"**", "abc", true}, {"?", "", false}, {"a*b*c", "aXbXbXc", true},
		{"a*b", "ab!", false}, {"*@x", "a@x@x", true}, {"?*", "a", true}, {"[a]", "a", false}, {"a\\*", "a*", false},
	} {
		if got := matchPattern(test.pattern, test.text); got != test.want {
			t.Errorf("%q matches %q: %t", test.pattern, test.text, got)
		}
	}
	start := time.Now()
	if matchPattern(strings.Repeat("*a", 500)+"b", strings.Repeat("a", 5000)) {
		t.Error("a b is found where none is")
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %s", took)
	}
}
