package source

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

const (
	emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
	someHash  = "1111111111111111111111111111111111111111"
	someone   = "A <a@example.com> 1700000000 +0000"
)

// fsck is a repository in which git judges single objects.
type fsck struct{ dir string }

func newFsck(t testing.TB) *fsck {
	t.Helper()
	f := &fsck{t.TempDir()}
	for _, args := range [][]string{{"init", "-q", "--bare", "."},
		// These rules are about what git checks out. nfsync checks nothing out.
		{"config", "fsck.gitmodulesSymlink", "ignore"}, {"config", "fsck.gitmodulesMissing", "ignore"}, {"config", "fsck.gitattributesMissing", "ignore"}} {
		f.git(t, args...)
	}
	return f
}

func (f *fsck) git(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = f.dir, gitEnv()
	out, err := cmd.CombinedOutput()
	if err != nil && args[0] != "fsck" { // fsck also fails because what the object names is missing
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// refusal returns the first error that git fsck reports about an object, or "".
func (f *fsck) refusal(t testing.TB, kind string, raw []byte) string {
	t.Helper()
	object := append(fmt.Appendf(nil, "%s %d\x00", kind, len(raw)), raw...)
	sum := sha1.Sum(object)
	name := hex.EncodeToString(sum[:])
	file := filepath.Join(f.dir, "objects", name[:2], name[2:])
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	_, _ = w.Write(object)
	_ = w.Close()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, packed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(file)
	for line := range strings.SplitSeq(f.git(t, "fsck", "--no-dangling", "--no-progress"), "\n") {
		if strings.Contains(line, " is a ") && strings.Contains(line, ", not a ") {
			continue // the object names one hash as objects of two kinds
		}
		if strings.HasPrefix(line, "error") || strings.HasPrefix(line, "fatal") {
			return line
		}
	}
	return ""
}

// parseError returns the error of the parser of a kind of objects.
func parseError(kind string, raw []byte) (err error) {
	switch kind {
	case "commit":
		_, err = parseCommit(plumbing.ZeroHash, string(raw))
	case "tree":
		_, err = parseTree(raw)
	case "tag":
		_, err = parseTag(string(raw))
	}
	return err
}

// lines joins lines, with a newline after each.
func lines(l ...string) string { return strings.Join(l, "\n") + "\n" }

// treeOf returns a tree with entries "MODE NAME".
func treeOf(entries ...string) string {
	all := ""
	for i, e := range entries {
		all += e + "\x00" + strings.Repeat(string(rune('A'+i)), 20)
	}
	return all
}

// malformed holds objects that break a rule, with a word of the error of nfsync. git lets
// some of them pass, each for the reason that is written there.
var malformed = map[string]struct{ kind, raw, word, gitAccepts string }{
	"parent after the committer": {"commit", lines("tree "+emptyTree, "author "+someone, "committer "+someone, "parent "+someHash, "", "m"),
		"parent line", "git does not read this parent, but other programs do"},
	"parent after a header": {"commit", lines("tree "+emptyTree, "parent "+someHash, "gpgsig x", "parent "+someHash, "author "+someone, "committer "+someone, "", "m"), "missingAuthor", ""},
	"parent first":          {"commit", lines("parent "+someHash, "tree "+emptyTree, "author "+someone, "committer "+someone, "", "m"), "missingTree", ""},
	"parent after author":   {"commit", lines("tree "+emptyTree, "author "+someone, "parent "+someHash, "committer "+someone, "", "m"), "missingCommitter", ""},
	"parent cut off":        {"commit", lines("tree "+emptyTree, "parent "+someHash[:39], "author "+someone, "committer "+someone, "", "m"), "badParentSha1", ""},
	"parent with a comment": {"commit", lines("tree "+emptyTree, "parent "+someHash+" x", "author "+someone, "committer "+someone, "", "m"), "badParentSha1", ""},
	"parent continued":      {"commit", lines("tree "+emptyTree, "parent "+someHash, " x", "author "+someone, "committer "+someone, "", "m"), "several lines", ""},
	"parent CRLF":           {"commit", lines("tree "+emptyTree, "parent "+someHash+"\r", "author "+someone, "committer "+someone, "", "m"), "badParentSha1", ""},
	"no tree":               {"commit", lines("author "+someone, "committer "+someone, "", "m"), "missingTree", ""},
	"bad tree":              {"commit", lines("tree 12", "author "+someone, "committer "+someone, "", "m"), "badTreeSha1", ""},
	"two trees":             {"commit", lines("tree "+emptyTree, "tree "+emptyTree, "author "+someone, "committer "+someone, "", "m"), "missingAuthor", ""},
	"tree at the end": {"commit", lines("tree "+emptyTree, "author "+someone, "committer "+someone, "tree "+emptyTree, "", "m"),
		"tree line", "git does not read this tree, but other programs do"},
	"no author":        {"commit", lines("tree "+emptyTree, "committer "+someone, "", "m"), "missingAuthor", ""},
	"two authors":      {"commit", lines("tree "+emptyTree, "author "+someone, "author "+someone, "committer "+someone, "", "m"), "multipleAuthors", ""},
	"no committer":     {"commit", lines("tree "+emptyTree, "author "+someone, "", "m"), "missingCommitter", ""},
	"committer first":  {"commit", lines("tree "+emptyTree, "committer "+someone, "author "+someone, "", "m"), "missingAuthor", ""},
	"two committers":   {"commit", lines("tree "+emptyTree, "author "+someone, "committer "+someone, "committer "+someone, "", "m"), "committer line", "git reads the first, other programs the last"},
	"header before":    {"commit", lines("x y", "tree "+emptyTree, "author "+someone, "committer "+someone, "", "m"), "missingTree", ""},
	"begins continued": {"commit", lines(" tree "+emptyTree, "author "+someone, "committer "+someone, "", "m"), "missingTree", ""},
	"NUL in a header":  {"commit", lines("tree "+emptyTree, "author "+someone, "committer "+someone, "x \x00", "", "m"), "nulInHeader", ""},
	"no end":           {"commit", lines("tree "+emptyTree, "author "+someone) + "committer " + someone, "unterminatedHeader", ""},
	"empty":            {"commit", "", "missingTree", ""},
	"empty line first": {"commit", lines("", "tree "+emptyTree, "author "+someone, "committer "+someone, "", "m"), "missingTree", ""},
	"no e-mail":        {"commit", lines("tree "+emptyTree, "author A 1700000000 +0000", "committer "+someone, "", "m"), "missingEmail", ""},
	"no name":          {"commit", lines("tree "+emptyTree, "author <a@b> 1700000000 +0000", "committer "+someone, "", "m"), "missingSpaceBeforeEmail", ""},
	"two e-mails":      {"commit", lines("tree "+emptyTree, "author A <a@b> <c@d> 1700000000 +0000", "committer "+someone, "", "m"), "badDate", ""},
	"e-mail open":      {"commit", lines("tree "+emptyTree, "author A <a@b 1700000000 +0000", "committer "+someone, "", "m"), "badEmail", ""},
	"e-mail in e-mail": {"commit", lines("tree "+emptyTree, "author A <a<c@b> 1700000000 +0000", "committer "+someone, "", "m"), "badEmail", ""},
	"name closes":      {"commit", lines("tree "+emptyTree, "author A> <a@b> 1700000000 +0000", "committer "+someone, "", "m"), "badName", ""},
	"no space":         {"commit", lines("tree "+emptyTree, "author A<a@b> 1700000000 +0000", "committer "+someone, "", "m"), "missingSpaceBeforeEmail", ""},
	"no date":          {"commit", lines("tree "+emptyTree, "author "+someone, "committer A <a@b>", "", "m"), "badDate", ""},
	"date with zero":   {"commit", lines("tree "+emptyTree, "author "+someone, "committer A <a@b> 01700000000 +0000", "", "m"), "badDate", ""},
	"date negative":    {"commit", lines("tree "+emptyTree, "author "+someone, "committer A <a@b> -1 +0000", "", "m"), "badDate", ""},
	"date too large":   {"commit", lines("tree "+emptyTree, "author "+someone, "committer A <a@b> 99999999999999999999 +0000", "", "m"), "badDateOverflow", ""},
	"no zone":          {"commit", lines("tree "+emptyTree, "author "+someone, "committer A <a@b> 1700000000", "", "m"), "badTimezone", ""},
	"zone of letters":  {"commit", lines("tree "+emptyTree, "author "+someone, "committer A <a@b> 1700000000 UTC", "", "m"), "badTimezone", ""},

	"duplicate":           {"tree", treeOf("100644 a", "100644 a"), "duplicateEntries", ""},
	"file and directory":  {"tree", treeOf("100644 a", "40000 a"), "duplicateEntries", ""},
	"not adjacent":        {"tree", treeOf("100644 a", "100644 a.c", "40000 a"), "duplicateEntries", ""},
	"not sorted":          {"tree", treeOf("100644 b", "100644 a"), "treeNotSorted", ""},
	"directory as a file": {"tree", treeOf("40000 a", "100644 a.c"), "treeNotSorted", ""},
	"cut in the hash":     {"tree", treeOf("100644 a")[:20], "badTree", ""},
	"cut in the name":     {"tree", "100644 a", "badTree", ""},
	"no mode":             {"tree", " a\x00" + strings.Repeat("\x11", 20), "badFilemode", ""},
	"mode not octal":      {"tree", treeOf("100648 a"), "badFilemode", ""},
	"mode signed":         {"tree", treeOf("+100644 a"), "badFilemode", ""},
	"mode too large":      {"tree", treeOf("40000100644 a"), "badFilemode", "git only reports it; its type is not clear"},
	"mode of a device":    {"tree", treeOf("20644 a"), "badFilemode", "git only reports it, and takes it for a submodule"},
	"empty name":          {"tree", treeOf("100644 "), "emptyName", ""},
	"slash":               {"tree", treeOf("100644 a/b"), "fullPathname", "git only warns; no git writes it"},

	"tag: no object":     {"tag", lines("type commit", "tag v1", "tagger "+someone, "", "m"), "missingObject", ""},
	"tag: bad object":    {"tag", lines("object 12", "type commit", "tag v1", "tagger "+someone, "", "m"), "badObjectSha1", ""},
	"tag: two objects":   {"tag", lines("object "+someHash, "object "+someHash, "type commit", "tag v1", "tagger "+someone, "", "m"), "missingType", ""},
	"tag: type first":    {"tag", lines("type commit", "object "+someHash, "tag v1", "tagger "+someone, "", "m"), "missingObject", ""},
	"tag: unknown type":  {"tag", lines("object "+someHash, "type commits", "tag v1", "tagger "+someone, "", "m"), "badType", ""},
	"tag: no name":       {"tag", lines("object "+someHash, "type commit", "tagger "+someone, "", "m"), "missingTag", ""},
	"tag: bad tagger":    {"tag", lines("object "+someHash, "type commit", "tag v1", "tagger nobody", "", "m"), "missingEmail", ""},
	"tag: object at end": {"tag", lines("object "+someHash, "type commit", "tag v1", "tagger "+someone, "object "+emptyTree, "", "m"), "object line", "git does not read this object, but other programs do"},
}

func TestMalformedObjects(t *testing.T) {
	judge := newFsck(t)
	for name, c := range malformed {
		t.Run(name, func(t *testing.T) {
			err := parseError(c.kind, []byte(c.raw))
			if err == nil || !strings.Contains(err.Error(), c.word) {
				t.Errorf("the error is %v, not with %q", err, c.word)
			}
			if said := judge.refusal(t, c.kind, []byte(c.raw)); (said == "") != (c.gitAccepts != "") {
				t.Errorf("git says %q, and the table that git accepts it: %q", said, c.gitAccepts)
			}
		})
	}
}

// TestOldObjects: what git only warns about, or does not mention, is accepted.
func TestOldObjects(t *testing.T) {
	judge := newFsck(t)
	for name, c := range map[string]struct{ kind, raw string }{
		"root":               {"commit", lines("tree "+emptyTree, "author "+someone, "committer "+someone, "", "m")},
		"no message":         {"commit", lines("tree "+emptyTree, "author "+someone, "committer "+someone)},
		"NUL in the message": {"commit", lines("tree "+emptyTree, "author "+someone, "committer "+someone, "", "m\x00")},
		"other headers":      {"commit", lines("tree "+emptyTree, "parent "+someHash, "author "+someone, "committer "+someone, "encoding ISO-8859-1", "mergetag x", " y", "mergetag x", "HG:extra a", "", "m")},
		"no space in name":   {"commit", lines("tree "+emptyTree, "author  <> 0 -9999", "committer "+someone, "", "m")},
		"far in the future":  {"commit", lines("tree "+emptyTree, "author "+someone, "committer A <a@b> 1700000000000 +0000", "", "m")},
		"same parent twice":  {"commit", lines("tree "+emptyTree, "parent "+someHash, "parent "+someHash, "author "+someone, "committer "+someone, "", "m")},
		"no entries":         {"tree", ""},
		"order":              {"tree", treeOf("100644 a.c", "40000 a", "100644 a0", "100755 b", "120000 c", "160000 d")},
		"mode with a zero":   {"tree", treeOf("100644 a", "040000 b")},
		"old permissions":    {"tree", treeOf("100664 a", "100600 b")},
		"git's own names":    {"tree", treeOf("100644 .", "100644 ..", "40000 .git")},
		"tag":                {"tag", lines("object "+someHash, "type commit", "tag v1", "tagger "+someone, "", "m")},
		"tag: no tagger":     {"tag", lines("object "+someHash, "type commit", "tag v1", "", "m")},
		"tag: odd name":      {"tag", lines("object "+someHash, "type tag", "tag a..b", "tagger "+someone, "", "m")},
	} {
		t.Run(name, func(t *testing.T) {
			if err := parseError(c.kind, []byte(c.raw)); err != nil {
				t.Error(err)
			}
			if said := judge.refusal(t, c.kind, []byte(c.raw)); said != "" {
				t.Errorf("git says %q", said)
			}
		})
	}
}

// fuzzObjects checks that git accepts every object that nfsync accepts.
func fuzzObjects(f *testing.F, kind string) {
	for _, c := range malformed {
		if c.kind == kind {
			f.Add([]byte(c.raw))
		}
	}
	judge := newFsck(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if parseError(kind, raw) != nil {
			return
		}
		if said := judge.refusal(t, kind, raw); said != "" {
			t.Errorf("%q is accepted, and git says %q", raw, said)
		}
	})
}

func FuzzCommit(f *testing.F) {
	f.Add([]byte(lines("tree "+emptyTree, "parent "+someHash, "author "+someone, "committer "+someone, "gpgsig a", " b", "", "m")))
	fuzzObjects(f, "commit")
}

func FuzzTree(f *testing.F) {
	f.Add([]byte(treeOf("100644 a.c", "40000 a", "100664 b", "120000 c", "160000 d")))
	fuzzObjects(f, "tree")
}

// TestHiddenParent: a signed merge whose second parent stands behind the signature covers
// the same text as before, but git's parser does not see the parent, which is not signed.
func TestHiddenParent(t *testing.T) {
	s := newSigning(t)
	alice := s.pgpKey("alice", "ed25519", "sign", "", "")
	base := s.commit(pgp(alice)...).hash.String()
	s.run("git", "-C", s.repo, "switch", "-q", "-c", "side")
	s.commit("commit.gpgSign=false")
	s.run("git", "-C", s.repo, "switch", "-q", "main")
	s.commit(pgp(alice)...)
	s.run("git", "-C", s.repo, "-c", "gpg.program="+s.path("gpg.sh"), "-c", "user.signingKey="+alice, "merge", "-q", "-S", "--no-ff", "-m", "merge", "side")
	text := s.run("git", "-C", s.repo, "cat-file", "commit", "HEAD")
	cfg := config(t, s.repo)
	cfg.Branch = "main"
	cfg.Verify = Verify{Mode: VerifyAll, Keyrings: []string{s.export("alice.asc", alice)}}
	last := []Position{position(s.repo, "main", base)}
	asError[*VerifyError](t, fails(t, cfg, last, "it is not signed"))

	start, end := strings.Index(text, "gpgsig "), strings.Index(text, "\n\n")+1
	signature, second := text[start:end], strings.LastIndex(text[:start], "parent ")
	moved := text[:second] + signature + text[second:start] + text[end:]
	hash := strings.TrimSpace(s.pipe(moved, "git", "-C", s.repo, "hash-object", "-t", "commit", "-w", "--stdin", "--literally"))
	s.run("git", "-C", s.repo, "update-ref", "refs/heads/main", hash)
	err := asError[*VerifyError](t, fails(t, cfg, last, "malformed"))
	if err.Commit != hash {
		t.Errorf("the error is about %s, not %s", err.Commit, hash)
	}
	// Without verification its parents still decide about ancestry.
	cfg.Verify = Verify{}
	asError[*VerifyError](t, fails(t, cfg, last, "malformed"))
}

// TestMalformedTree: two entries of one name are not read, whichever git would take.
func TestMalformedTree(t *testing.T) {
	r := newRepo(t)
	r.commit("a.yaml", policy)
	blob := r.git("rev-parse", "HEAD:a.yaml")
	raw, err := hex.DecodeString(blob)
	if err != nil {
		t.Fatal(err)
	}
	entry := "100644 a.yaml\x00" + string(raw)
	tree := r.gitInput(entry+entry, "hash-object", "-t", "tree", "-w", "--stdin", "--literally")
	r.git("update-ref", "refs/heads/main", r.git("commit-tree", "-m", "m", tree))
	_, err = Fetch(context.Background(), config(t, r.dir), nil, "")
	if e := asError[*TreeError](t, err); e.Commit != r.head() || e.Problems[0].Path != "." {
		t.Errorf("the error is %+v", e)
	}
	contains(t, err.Error(), tree, "duplicateEntries")
}

// TestMalformedTag: a tag is followed only if it is as git writes it, and names an object of
// the kind that it says.
func TestMalformedTag(t *testing.T) {
	r := newRepo(t)
	commit := r.commit("a.yaml", policy)
	for name, c := range map[string]struct{ raw, word string }{
		"two objects": {lines("object "+commit, "object "+commit, "type commit", "tag v1", "tagger "+someone, "", "m"), "malformed"},
		"wrong type":  {lines("object "+commit, "type tag", "tag v1", "tagger "+someone, "", "m"), "as a tag, and it is a commit"},
	} {
		t.Run(name, func(t *testing.T) {
			hash := r.gitInput(c.raw, "hash-object", "-t", "tag", "-w", "--stdin", "--literally")
			r.write(".git/refs/tags/v1", hash+"\n")
			cfg := config(t, r.dir)
			cfg.Tag = "v1"
			fails(t, cfg, nil, c.word)
		})
	}
}
