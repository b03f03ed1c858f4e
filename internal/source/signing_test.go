package source

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

// signing makes keys, commits and signatures with the programs that people use:
// git, gpg and ssh-keygen.
type signing struct {
	t    testing.TB
	dir  string
	repo string
}

// newSigning makes a repository and a home for gpg. The directory has a short name, because
// the path of the socket of gpg's agent is limited.
func newSigning(t testing.TB) *signing {
	t.Helper()
	dir, err := os.MkdirTemp("", "nfs")
	if err != nil {
		t.Fatal(err)
	}
	s := &signing{t: t, dir: dir, repo: filepath.Join(dir, "repo")}
	t.Cleanup(func() {
		s.run("gpgconf", "--kill", "all")
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Mkdir(s.path("gnupg"), 0o700); err != nil {
		t.Fatal(err)
	}
	// git runs this script, which sets the time of gpg.
	s.write("gpg.sh", "#!/bin/sh\nexec gpg ${GPG_TIME:+--faked-system-time $GPG_TIME!} ${GPG_OPTIONS} \"$@\"\n")
	if err := os.Chmod(s.path("gpg.sh"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.run("git", "init", "-q", "-b", "main", s.repo)
	return s
}

func (s *signing) path(name string) string { return filepath.Join(s.dir, name) }

func (s *signing) write(name, text string) string {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return s.path(name)
}

// run runs a program and returns its output. Variables of the environment, as K=V, come
// before its name.
func (s *signing) run(words ...string) string {
	s.t.Helper()
	return s.pipe("", words...)
}

func (s *signing) pipe(stdin string, words ...string) string {
	s.t.Helper()
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "GNUPGHOME=" + s.path("gnupg"), "TZ=UTC", "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=author@example.com", "GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=alice@example.com"}
	for strings.Contains(words[0], "=") {
		env, words = append(env, words[0]), words[1:]
	}
	command := exec.Command(words[0], words[1:]...)
	command.Dir, command.Env, command.Stdin = s.dir, env, strings.NewReader(stdin)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, stderr.String())
	}
	return string(out)
}

// pgpKey makes a key and returns its fingerprint. An empty made is now, an empty expires is
// never.
func (s *signing) pgpKey(name, algorithm, usage, made, expires string) string {
	s.t.Helper()
	args := []string{"GPG_TIME=" + made, s.path("gpg.sh"), "--batch", "--passphrase", "", "--pinentry-mode", "loopback", "--status-fd", "1",
		"--quick-gen-key", name + " <" + name + "@example.com>", algorithm, usage, expires}
	if expires == "" {
		args[len(args)-1] = "never"
	}
	out := s.run(args...)
	_, created, ok := strings.Cut(out, "KEY_CREATED P ")
	if !ok {
		s.t.Fatalf("no key in %q", out)
	}
	return strings.TrimSpace(strings.SplitN(created, "\n", 2)[0])
}

// export writes keys to a file, armored unless its name ends in .gpg.
func (s *signing) export(file string, keys ...string) string {
	s.t.Helper()
	args := []string{"gpg", "--batch", "--armor", "--export"}
	if strings.HasSuffix(file, ".gpg") {
		args = []string{"gpg", "--batch", "--export"}
	}
	return s.write(file, s.run(append(args, keys...)...))
}

// sshKey makes a key and returns the public key as "type base64".
func (s *signing) sshKey(name string, options ...string) string {
	s.t.Helper()
	s.run(append([]string{"ssh-keygen", "-q", "-N", "", "-C", name, "-f", s.path(name)}, options...)...)
	data, err := os.ReadFile(s.path(name + ".pub"))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(data))[:2], " ")
}

// commit makes a commit with these settings of git and reads it. Variables of the
// environment come before the settings.
func (s *signing) commit(settings ...string) *commit {
	s.t.Helper()
	words := []string{}
	for len(settings) > 0 && isUpper(settings[0][0]) {
		words, settings = append(words, settings[0]), settings[1:]
	}
	words = append(words, "git", "-C", s.repo, "-c", "gpg.program="+s.path("gpg.sh"))
	for _, setting := range settings {
		words = append(words, "-c", setting)
	}
	s.run(append(words, "commit", "-q", "--allow-empty", "-m", fmt.Sprintf("commit\n\nsettings: %q", settings))...)
	return s.read("HEAD")
}

func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }

func pgp(key string) []string {
	return []string{"commit.gpgSign=true", "user.signingKey=" + key + "!"}
}

func (s *signing) ssh(name string) []string {
	return []string{"commit.gpgSign=true", "gpg.format=ssh", "user.signingKey=" + s.path(name)}
}

func (s *signing) read(revision string) *commit {
	s.t.Helper()
	hash := plumbing.NewHash(strings.TrimSpace(s.run("git", "-C", s.repo, "rev-parse", revision)))
	c, err := parseCommit(hash, s.run("git", "-C", s.repo, "cat-file", "commit", hash.String()))
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// rewrite stores a changed copy of a commit, including its signature, and reads it.
func (s *signing) rewrite(c *commit, change func(text string) string) *commit {
	s.t.Helper()
	before := s.run("git", "-C", s.repo, "cat-file", "commit", c.hash.String())
	after := change(before)
	if after == before {
		s.t.Fatal("nothing was changed")
	}
	return s.read(strings.TrimSpace(s.pipe(after, "git", "-C", s.repo, "hash-object", "-t", "commit", "-w", "--stdin", "--literally")))
}

// replace returns a change for rewrite.
func replace(old, new string) func(string) string {
	return func(text string) string { return strings.Replace(text, old, new, 1) }
}

// withSignature returns a change for rewrite: the commit with only this signature.
func withSignature(armored string) func(string) string {
	header := "\ngpgsig " + strings.ReplaceAll(strings.TrimSpace(armored), "\n", "\n ")
	return func(text string) string {
		headers, message, _ := strings.Cut(text, "\n\n")
		headers, _, _ = strings.Cut(headers, "\ngpgsig ")
		return headers + header + "\n\n" + message
	}
}
