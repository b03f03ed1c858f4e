package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// verified checks that the commits are trusted, and that the signer of the first contains
// a text.
func verified(t *testing.T, v Verify, now time.Time, signer string, commits ...*commit) {
	t.Helper()
	who, warnings, err := verifyAt(v, commits, now)
	if err != nil || len(warnings) > 0 {
		t.Errorf("not trusted: %v, warnings %q", err, warnings)
	}
	if !strings.Contains(who, signer) || signer == "" {
		t.Errorf("signed by %q, not by %q", who, signer)
	}
}

// refused checks that bad is the first of the commits that is not trusted, and that the
// error contains the texts.
func refused(t *testing.T, v Verify, now time.Time, bad *commit, commits []*commit, texts ...string) {
	t.Helper()
	who, _, err := verifyAt(v, commits, now)
	untrusted, ok := errors.AsType[*VerifyError](err)
	if !ok {
		t.Errorf("signed by %q, and the error is %v", who, err)
		return
	}
	if untrusted.Commit != bad.hash.String() || who != "" {
		t.Errorf("the error is about %s, not %s; signer %q", untrusted.Commit, bad.hash, who)
	}
	for _, text := range append(texts, bad.hash.String()) {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("no %q in: %v", text, err)
		}
	}
	if strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("more than one line: %q", err)
	}
}

func only(c *commit) []*commit { return []*commit{c} }

func TestPGPSignatures(t *testing.T) {
	s := newSigning(t)
	now := time.Now()
	alice := s.pgpKey("alice", "ed25519", "sign", "", "")
	bob := s.pgpKey("bob", "rsa3072", "sign", "", "")
	stranger := s.pgpKey("stranger", "ed25519", "sign", "", "")
	both := Verify{Mode: VerifyAll, Keyrings: []string{s.export("alice.asc", alice), s.export("bob.gpg", bob)}}
	plain := s.commit("commit.gpgSign=false")
	byAlice := s.commit(pgp(alice)...)
	byBob := s.commit(pgp(bob)...)
	byStranger := s.commit(pgp(stranger)...)

	t.Run("good", func(t *testing.T) {
		verified(t, both, now, "OpenPGP key "+alice+" of alice <alice@example.com>", byAlice)
		verified(t, both, now, bob, byBob)
		verified(t, both, now, bob, byBob, byAlice)
	})
	t.Run("one file of several keys", func(t *testing.T) {
		for _, name := range []string{"two.gpg", "two.asc"} {
			verified(t, Verify{Keyrings: []string{s.export(name, alice, bob)}}, now, bob, byBob, byAlice)
		}
		// the output of cat alice.asc bob.asc, with a line of text before it
		joined := "Our people:\n" + s.run("gpg", "--armor", "--export", alice) + s.run("gpg", "--armor", "--export", bob)
		verified(t, Verify{Keyrings: []string{s.write("joined.asc", joined)}}, now, bob, byBob, byAlice)
		crlf := strings.ReplaceAll(joined, "\n", "\r\n")
		verified(t, Verify{Keyrings: []string{s.write("crlf.asc", crlf)}}, now, bob, byBob, byAlice)
	})
	t.Run("unsigned", func(t *testing.T) {
		refused(t, both, now, plain, only(plain), "not signed", "git commit --amend --no-edit -S")
	})
	t.Run("unsigned among the new ones", func(t *testing.T) {
		refused(t, both, now, plain, []*commit{byBob, byAlice, plain}, "not signed", "each commit since")
	})
	t.Run("key in no keyring", func(t *testing.T) {
		refused(t, both, now, byStranger, only(byStranger), stranger, "alice.asc", "bob.gpg", "gpg --export --armor "+stranger)
		list := s.write("signers-of-others", "alice@example.com "+s.sshKey("elsewhere", "-t", "ed25519")+"\n")
		refused(t, Verify{AllowedSigners: []string{list}}, now, byStranger, only(byStranger), stranger, "no keyring is configured")
	})
	t.Run("tampered", func(t *testing.T) {
		for name, change := range map[string]func(string) string{
			"message": replace("commit\n", "commit!\n"),
			"tree":    replace("tree 4b825dc6", "tree 5b825dc6"),
			"author":  replace("author@example.com", "bob@example.com"),
			"date":    replace(" +0000", " +0100"),
			"header":  replace("gpgsig ", "extra header\ngpgsig "),
			"parent":  func(text string) string { return strings.Replace(text, strings.SplitAfter(text, "\n")[1], "", 1) },
			"signature": func(text string) string { // a character in the middle of the block
				i := strings.Index(text, "\n \n") + 80
				return text[:i] + flip(text[i]) + text[i+1:]
			},
		} {
			t.Run(name, func(t *testing.T) {
				bad := s.rewrite(byBob, change)
				refused(t, both, now, bad, only(bad), "OpenPGP")
			})
		}
		bad := s.rewrite(byAlice, replace("commit\n", "commit!\n"))
		refused(t, both, now, bad, only(bad), "wrong", alice, "ask who pushed it")
	})
	t.Run("signature of another commit", func(t *testing.T) {
		bad := s.rewrite(plain, withSignature(signatureOf(byAlice)))
		refused(t, both, now, bad, only(bad), "wrong")
	})
	t.Run("two signatures", func(t *testing.T) {
		bad := s.rewrite(byAlice, withSignature(signatureOf(byAlice)+signatureOf(byAlice)))
		refused(t, both, now, bad, only(bad), "several signatures")
		bad = s.rewrite(byAlice, withSignature(s.pipe(s.commitText(byAlice), "gpg", "--batch", "--armor", "--detach-sign", "-u", alice+"!", "-u", stranger+"!")))
		refused(t, both, now, bad, only(bad), "more than one signature")
	})
	t.Run("a text signature", func(t *testing.T) {
		bad := s.rewrite(byAlice, withSignature(s.pipe(s.commitText(byAlice), "gpg", "--batch", "--armor", "--detach-sign", "--textmode", "-u", alice+"!")))
		refused(t, both, now, bad, only(bad), "not a signature of a document")
	})
	t.Run("not a signature", func(t *testing.T) {
		key := strings.ReplaceAll(s.run("gpg", "--armor", "--export", alice), "PUBLIC KEY BLOCK", "SIGNATURE")
		bad := s.rewrite(byAlice, withSignature(key))
		refused(t, both, now, bad, only(bad), "cannot be read: not a signature")
	})
	t.Run("weak digest", func(t *testing.T) {
		bad := s.commit(append([]string{"GPG_OPTIONS=--digest-algo SHA1"}, pgp(bob)...)...)
		refused(t, both, now, bad, only(bad), "SHA-1", bob)
	})
	t.Run("short key", func(t *testing.T) {
		short := s.pgpKey("short", "rsa1024", "sign", "", "")
		bad := s.commit(pgp(short)...)
		refused(t, Verify{Keyrings: []string{s.export("short.asc", short)}}, now, bad, only(bad), "1024 bits", short)
	})
	t.Run("kinds that are not verified", func(t *testing.T) {
		x509 := s.rewrite(plain, replace("\n\n", "\ngpgsig -----BEGIN SIGNED MESSAGE-----\n MIIB\n -----END SIGNED MESSAGE-----\n\n"))
		refused(t, both, now, x509, only(x509), "X.509")
		odd := s.rewrite(plain, replace("\n\n", "\ngpgsig -----BEGIN NOTHING-----\n\n"))
		refused(t, both, now, odd, only(odd), "an unknown kind")
		junk := s.rewrite(plain, replace("\n\n", "\ngpgsig junk\n\n"))
		refused(t, both, now, junk, only(junk), "an unknown kind")
		long := s.rewrite(plain, replace("\n\n", "\ngpgsig "+beginPGP+strings.Repeat("\n QUJD", 20000)+"\n\n"))
		refused(t, both, now, long, only(long), "longer than 32768 bytes")
	})
	t.Run("clocks", func(t *testing.T) {
		verified(t, both, now.Add(-2*time.Minute), alice, byAlice)
		refused(t, both, now.Add(-time.Hour), byAlice, only(byAlice), "a date in the future", "clock")
	})
}

// commitText returns the text of a commit that its signature covers.
func (s *signing) commitText(c *commit) string {
	s.t.Helper()
	text, _, err := c.signed()
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// signatureOf returns the signature of a commit.
func signatureOf(c *commit) string {
	_, signature, _ := c.signed()
	return signature
}

// flip returns another letter.
func flip(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}

func TestPGPKeysThatEnded(t *testing.T) {
	s := newSigning(t)
	now := time.Now()
	t.Run("expired", func(t *testing.T) {
		key := s.pgpKey("old", "ed25519", "sign", "20200101T000000", "20210101T000000")
		c := s.commit(append([]string{"GPG_TIME=20200601T000000", "GIT_COMMITTER_DATE=2020-06-01T00:00:00Z"}, pgp(key)...)...)
		v := Verify{Keyrings: []string{s.export("old.asc", key)}}
		refused(t, v, now, c, only(c), "expired at 2021-01-01T", key, "old <old@example.com>", "extend it")
		verified(t, v, time.Date(2020, 7, 1, 0, 0, 0, 0, time.UTC), key, c)

		// A second file with the extended key makes it valid, in either order.
		before := s.path("old.asc")
		s.run("gpg", "--batch", "--quick-set-expire", key, "0")
		after := s.export("extended.gpg", key)
		for _, files := range [][]string{{before, after}, {after, before}} {
			verified(t, Verify{Keyrings: files}, now, key, c)
		}
	})
	t.Run("expired subkey", func(t *testing.T) {
		key := s.pgpKey("sub", "ed25519", "cert", "20200101T000000", "")
		s.run("GPG_TIME=20200101T000000", s.path("gpg.sh"), "--batch", "--passphrase", "", "--pinentry-mode", "loopback",
			"--quick-add-key", key, "ed25519", "sign", "20210101T000000")
		c := s.commit("GPG_TIME=20200601T000000", "commit.gpgSign=true", "user.signingKey="+key)
		v := Verify{Keyrings: []string{s.export("sub.asc", key)}}
		refused(t, v, now, c, only(c), "expired at 2021-01-01T", "sub <sub@example.com>")
		verified(t, v, time.Date(2020, 7, 1, 0, 0, 0, 0, time.UTC), "sub@example.com", c)
	})
	t.Run("revoked", func(t *testing.T) {
		key := s.pgpKey("gone", "ed25519", "sign", "20200101T000000", "")
		c := s.commit(append([]string{"GPG_TIME=20200601T000000", "GIT_COMMITTER_DATE=2020-06-01T00:00:00Z"}, pgp(key)...)...)
		good := s.export("gone-before.asc", key)
		verified(t, Verify{Keyrings: []string{good}}, now, key, c)
		s.revoke(key)
		revoked := s.export("gone.asc", key)
		refused(t, Verify{Keyrings: []string{revoked}}, now, c, only(c), "revoked at", key, "gone <gone@example.com>")
		for _, files := range [][]string{{good, revoked}, {revoked, good}} {
			refused(t, Verify{Keyrings: files}, now, c, only(c), "revoked at")
		}
	})
	t.Run("revoked subkey", func(t *testing.T) {
		key := s.pgpKey("subgone", "ed25519", "cert", "", "")
		s.run("gpg", "--batch", "--passphrase", "", "--pinentry-mode", "loopback", "--quick-add-key", key, "ed25519", "sign", "never")
		c := s.commit("commit.gpgSign=true", "user.signingKey="+key)
		good := s.export("subgone-before.asc", key)
		verified(t, Verify{Keyrings: []string{good}}, now, "subgone@example.com", c)
		s.pipe("key 1\nrevkey\ny\n0\n\ny\nsave\n", "gpg", "--no-tty", "--command-fd", "0", "--expert", "--edit-key", key)
		revoked := s.export("subgone.gpg", key)
		for _, files := range [][]string{{revoked}, {good, revoked}, {revoked, good}} {
			refused(t, Verify{Keyrings: files}, now, c, only(c), "revoked at", "subgone <subgone@example.com>")
		}
	})
	t.Run("expired primary key", func(t *testing.T) {
		key := s.pgpKey("primary", "ed25519", "cert", "20200101T000000", "20210101T000000")
		s.run("GPG_TIME=20200101T000000", s.path("gpg.sh"), "--batch", "--passphrase", "", "--pinentry-mode", "loopback",
			"--quick-add-key", key, "ed25519", "sign", "never")
		c := s.commit("GPG_TIME=20200601T000000", "commit.gpgSign=true", "user.signingKey="+key)
		v := Verify{Keyrings: []string{s.export("primary.asc", key)}}
		refused(t, v, now, c, only(c), "expired at 2021-01-01T", "primary <primary@example.com>")
		verified(t, v, time.Date(2020, 7, 1, 0, 0, 0, 0, time.UTC), "primary@example.com", c)
	})
	t.Run("signature older than its key", func(t *testing.T) {
		key := s.pgpKey("young", "ed25519", "sign", "20210101T000000", "")
		c := s.commit(append([]string{"GPG_TIME=20200601T000000", "GPG_OPTIONS=--ignore-time-conflict --ignore-valid-from"}, pgp(key)...)...)
		refused(t, Verify{Keyrings: []string{s.export("young.asc", key)}}, now, c, only(c), "before that key was made", key)
	})
	t.Run("revoked name", func(t *testing.T) {
		key := s.pgpKey("renamed", "ed25519", "sign", "", "")
		c := s.commit(pgp(key)...)
		before := s.export("renamed-before.asc", key)
		s.run("gpg", "--batch", "--passphrase", "", "--pinentry-mode", "loopback", "--quick-add-uid", key, "New Name <new@example.com>")
		s.run("gpg", "--batch", "--passphrase", "", "--pinentry-mode", "loopback", "--quick-revoke-uid", key, "renamed <renamed@example.com>")
		verified(t, Verify{Keyrings: []string{s.export("renamed.asc", key)}}, now, "New Name", c)
		alone := s.write("old-name.asc", s.run("gpg", "--armor", "--export-filter", "keep-uid=uid =~ renamed", "--export", key))
		for _, files := range [][]string{{alone}, {before, alone}, {alone, before}} {
			refused(t, Verify{Keyrings: files}, now, c, only(c), "revoked at", "renamed <renamed@example.com>")
		}
	})
	t.Run("not for signing", func(t *testing.T) {
		key := s.pgpKey("flags", "ed25519", "sign", "", "")
		c := s.commit(pgp(key)...)
		v := Verify{Keyrings: []string{s.export("flags.asc", key)}}
		verified(t, v, now, key, c)
		s.run("gpg", "--batch", "--passphrase", "", "--pinentry-mode", "loopback", "--quick-add-key", key, "ed25519", "sign", "never")
		s.pipe("change-usage\ns\nq\nsave\n", "gpg", "--no-tty", "--command-fd", "0", "--expert", "--edit-key", key)
		refused(t, Verify{Keyrings: []string{s.export("flags-off.asc", key)}}, now, c, only(c), "not meant for signing")
	})
	t.Run("signature that expires", func(t *testing.T) {
		key := s.pgpKey("short-lived", "ed25519", "sign", "20200101T000000", "")
		c := s.commit(append([]string{"GPG_TIME=20200601T000000", "GPG_OPTIONS=--default-sig-expire 10d"}, pgp(key)...)...)
		v := Verify{Keyrings: []string{s.export("short-lived.asc", key)}}
		refused(t, v, now, c, only(c), "that signature has expired")
		verified(t, v, time.Date(2020, 6, 5, 0, 0, 0, 0, time.UTC), key, c)
	})
	t.Run("condition", func(t *testing.T) {
		key := s.pgpKey("noted", "ed25519", "sign", "", "")
		v := Verify{Keyrings: []string{s.export("noted.asc", key)}}
		verified(t, v, now, key, s.commit(append([]string{"GPG_OPTIONS=--sig-notation for@example.com=staging"}, pgp(key)...)...))
		c := s.commit(append([]string{"GPG_OPTIONS=--sig-notation !for@example.com=staging"}, pgp(key)...)...)
		refused(t, v, now, c, only(c), "critical notation")
	})
}

// revoke revokes a key with the certificate that gpg made with it.
func (s *signing) revoke(key string) {
	s.t.Helper()
	name := filepath.Join(s.path("gnupg"), "openpgp-revocs.d", key+".rev")
	data, err := os.ReadFile(name)
	if err != nil {
		s.t.Fatal(err)
	}
	// gpg puts a colon before the block, so that it is not imported by mistake.
	s.pipe(strings.Replace(string(data), ":-----BEGIN", "-----BEGIN", 1), "gpg", "--batch", "--import")
}

func TestKeyrings(t *testing.T) {
	s := newSigning(t)
	alice := s.pgpKey("alice", "ed25519", "sign", "", "")
	bob := s.pgpKey("bob", "ed25519", "sign", "", "")
	armored := s.run("gpg", "--armor", "--export", alice)
	binary := s.run("gpg", "--export", alice, bob)
	c := s.commit(pgp(alice)...)

	for name, test := range map[string]struct{ text, want string }{
		"empty":               {"", "holds no key; export it again"},
		"text":                {"alice's key will be here\n", "neither an armored block nor binary"},
		"white space":         {"\n\n\n", "holds no key"},
		"binary, truncated":   {binary[:len(binary)-20], "damaged"},
		"binary, cut early":   {binary[:30], "damaged"},
		"binary, changed":     {binary[:20] + flip(binary[20]) + binary[21:len(binary)/2], ""},
		"armored, no end":     {armored[:len(armored)/2], "damaged: a block has no end"},
		"armored, no content": {"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----\n", "holds no key"},
		"armored, no headers": {"-----BEGIN PGP PUBLIC KEY BLOCK-----\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n", "damaged"},
		"armored, changed":    {armored[:120] + "!" + armored[121:], "damaged"},
		"second, no end":      {armored + armored[:len(armored)/2], "damaged: a block has no end"},
		"a signature":         {signatureOf(c), "PGP SIGNATURE, not a PGP PUBLIC KEY BLOCK"},
		"a private key":       {s.run("gpg", "--batch", "--passphrase", "", "--pinentry-mode", "loopback", "--armor", "--export-secret-keys", alice), "holds a private key"},
		"a keybox":            {string(readFile(t, filepath.Join(s.path("gnupg"), "pubring.kbx"))), "keybox"},
		"an ssh key":          {"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINNwMHM8lLcve+HMdKmjaanRnkdOE0Sm3ZUxkjv5LTgg a@b\n", "neither an armored block nor binary"},
	} {
		t.Run(name, func(t *testing.T) {
			file := s.write("keyring", test.text)
			_, _, err := verifyAt(Verify{Keyrings: []string{file}}, only(c), time.Now())
			_, untrusted := errors.AsType[*VerifyError](err)
			if err == nil || untrusted || !strings.Contains(err.Error(), test.want) ||
				!strings.HasPrefix(err.Error(), "cannot read keyring "+file+": ") {
				t.Errorf("the error is %v, want %q", err, test.want)
			}
		})
	}
	t.Run("missing", func(t *testing.T) {
		if _, _, err := verifyAt(Verify{Keyrings: []string{s.path("nowhere")}}, only(c), time.Now()); !os.IsNotExist(errors.Unwrap(err)) {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("none at all", func(t *testing.T) {
		if _, _, err := verifyAt(Verify{Mode: VerifyTip}, only(c), time.Now()); err == nil || !strings.HasPrefix(err.Error(), "cannot verify: neither") {
			t.Errorf("without any key: %v", err)
		}
		if _, _, err := verifyAt(Verify{Keyrings: []string{s.export("a.asc", alice)}}, nil, time.Now()); err == nil {
			t.Error("no commit is trusted")
		}
	})
	t.Run("one of two cannot be used", func(t *testing.T) {
		first := s.run("gpg", "--export", bob)
		broken := []byte(first)
		broken[len(broken)-10] ^= 1 // in the signature about the name
		file := s.write("half.gpg", string(broken)+s.run("gpg", "--export", alice))
		who, warnings, err := verifyAt(Verify{Keyrings: []string{file}}, only(c), time.Now())
		if err != nil || !strings.Contains(who, alice) || len(warnings) != 1 || !strings.Contains(warnings[0], file+": OpenPGP key "+bob+" is not used") {
			t.Errorf("signer %q, warnings %q, error %v", who, warnings, err)
		}
		byBob := s.commit(pgp(bob)...)
		refused(t, Verify{Keyrings: []string{file}}, time.Now(), byBob, only(byBob), bob, "in none of")
		// A good copy does not make the key valid: the broken one may contain its revocation.
		refused(t, Verify{Keyrings: []string{s.export("bob.asc", bob), file}}, time.Now(), byBob, only(byBob), bob, "a copy of it in "+file)
	})
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
