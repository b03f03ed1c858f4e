package source

import (
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// TestBothKinds verifies a history with merges against a keyring and allowed signers together.
func TestBothKinds(t *testing.T) {
	s := newSigning(t)
	now := time.Now()
	alice := s.pgpKey("alice", "ed25519", "sign", "", "")
	bob := s.sshKey("bob", "-t", "ed25519")
	v := Verify{Mode: VerifyAll, Keyrings: []string{s.export("alice.asc", alice)},
		AllowedSigners: []string{s.write("signers", "*@example.com "+bob)}}
	base := s.commit(pgp(alice)...)
	s.run("git", "-C", s.repo, "switch", "-q", "-c", "side")
	side := s.commit(s.ssh("bob")...)
	s.run("git", "-C", s.repo, "switch", "-q", "main")
	other := s.commit(pgp(alice)...)
	s.run("git", "-C", s.repo, "-c", "gpg.program="+s.path("gpg.sh"), "-c", "user.signingKey="+alice, "merge", "-q", "-S", "--no-ff", "-m", "merge", "side")
	merge := s.read("HEAD")
	if len(merge.parents) != 2 {
		t.Fatal("not a merge")
	}
	verified(t, v, now, alice, merge, side, other, base)
	verified(t, v, now, "SSH key SHA256:", side, merge)

	s.run("git", "-C", s.repo, "reset", "-q", "--hard", other.hash.String())
	s.run("git", "-C", s.repo, "merge", "-q", "--no-ff", "-m", "merge", "side")
	unsigned := s.read("HEAD")
	refused(t, v, now, unsigned, []*commit{unsigned, side, other}, "not signed")
	refused(t, v, now, unsigned, []*commit{merge, side, unsigned}, "not signed", "each commit since")

	// A keyring that cannot be read is an error even for a commit signed with an SSH key.
	v.Keyrings = append(v.Keyrings, s.path("missing.asc"))
	if _, _, err := verifyAt(v, only(side), now); err == nil || !strings.Contains(err.Error(), "missing.asc") {
		t.Errorf("the error is %v", err)
	}
}

// FuzzAllowedSigners checks that the parser does not panic and that each signer is complete.
func FuzzAllowedSigners(f *testing.F) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINNwMHM8lLcve+HMdKmjaanRnkdOE0Sm3ZUxkjv5LTgg"
	for _, line := range []string{"a@b " + key, `"a@b,*" namespaces="git,\"x",valid-after="20200101Z",valid-before="203001011200" ` + key + " c\r\n# d\n",
		"a@b cert-authority " + key, "0 ssh-ed25519 AAAAC3NzaC1lZDI1NTEb000000000000", `a "`, `a \"`, `a ="`, `a namespaces="\`, "\x00 \x00 \x00"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, _, err := parseAllowedSigners("f", []byte(text))
		if (err == nil) != (len(list) > 0) {
			t.Errorf("%d signers and the error %v", len(list), err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("more than one line: %q", err)
		}
		for _, signer := range list {
			if signer.key == nil || signer.principals == "" || !strings.HasPrefix(signer.place, "f:") {
				t.Errorf("an incomplete signer: %+v", signer)
			}
			signer.refusal(identity{"a@b", time.Unix(1700000000, 0)})
		}
	})
}

// FuzzSignature checks that a signature of another commit, changed in any way, is refused
// without a panic.
func FuzzSignature(f *testing.F) {
	s := newSigning(f)
	alice := s.pgpKey("alice", "ed25519", "sign", "", "")
	bob := s.pgpKey("bob", "rsa3072", "sign", "", "")
	carol := s.sshKey("carol", "-t", "ecdsa")
	keys, _, err := readTrustedKeys(Verify{Keyrings: []string{s.export("keys.gpg", alice, bob)},
		AllowedSigners: []string{s.write("signers", "* "+carol)}})
	if err != nil {
		f.Fatal(err)
	}
	for _, settings := range [][]string{pgp(alice), pgp(bob), s.ssh("carol")} {
		f.Add(signatureOf(s.commit(settings...)))
	}
	f.Fuzz(func(t *testing.T, signature string) {
		text := "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a@example.com> 1 +0000\ncommitter C <c@example.com> 1 +0000\n\nnever signed\n"
		c, err := parseCommit(plumbing.ZeroHash, withSignature(signature)(text))
		if err != nil {
			return // it is no commit, and has no signature to check
		}
		if who, err := keys.check(c, time.Now()); err == nil {
			t.Errorf("signed by %s", who)
		}
	})
}

// FuzzKeyring checks that each file gives either keys or an error.
func FuzzKeyring(f *testing.F) {
	s := newSigning(f)
	alice := s.pgpKey("alice", "ed25519", "sign", "", "")
	f.Add(readFile(f, s.export("a.asc", alice)))
	f.Add(readFile(f, s.export("a.gpg", alice)))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, _, err := parseKeyring(data)
		if (err == nil) != (len(keys) > 0) {
			t.Errorf("%d keys and the error %v", len(keys), err)
		}
		for _, key := range keys {
			if key.primary == nil || len(key.names) == 0 {
				t.Error("an incomplete key")
			}
		}
	})
}
