package source

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// TestVerifyFarBehind verifies many new commits: with NFSYNC_COMMITS=10000 as many as are verified at
// once, and it refuses one more. It prints the time and the memory, and checks neither.
func TestVerifyFarBehind(t *testing.T) {
	count := 300
	if n, err := strconv.Atoi(os.Getenv("NFSYNC_COMMITS")); err == nil {
		count = n
	}
	r := newRepo(t)
	base := r.commit("a.yaml", policy)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	u := serve(t, r)
	cfg := config(t, u)
	allowed := "c@example.org " + string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
	cfg.Verify = Verify{Mode: VerifyAll, AllowedSigners: []string{secret(t, allowed)}}
	r.signedChain(base, count, signer)
	for _, what := range []string{"without a clone", "with one"} {
		begin := time.Now()
		var got Revision
		used := childPeak(func() { got = mustFetch(t, cfg, position(u, "main", base)) })
		fmt.Printf("%d new commits verified, %s: %v, %d MiB\n", count, what, time.Since(begin).Round(time.Millisecond), used)
		if got.Signer == "" || got.Commit != r.head() {
			t.Errorf("%+v", got)
		}
	}
	if count < maxNewCommits {
		return
	}
	r.signedChain(r.head(), 1, signer)
	_, err = Fetch(context.Background(), cfg, []Position{position(u, "main", base)}, "")
	if err == nil || !strings.Contains(err.Error(), "too many to verify at once") {
		t.Errorf("%v", err)
	}
}

// signedChain adds signed commits of the tree of a commit after it, as one pack: git would take
// minutes to sign them.
func (r *repo) signedChain(parent string, count int, signer ssh.Signer) {
	r.t.Helper()
	tree := r.git("rev-parse", parent+"^{tree}")
	pack := new(bytes.Buffer)
	pack.WriteString("PACK")
	for _, n := range []int{2, count} { // the version, and the number of objects
		_ = binary.Write(pack, binary.BigEndian, uint32(n))
	}
	for i := range count {
		head := fmt.Sprintf("tree %s\nparent %s\nauthor a <a@example.org> %[3]d +0000\ncommitter c <c@example.org> %[3]d +0000\n", tree, parent, 1_700_000_000+i)
		const message = "\nx\n"
		signature, err := sshsig.Sign(strings.NewReader(head+message), signer, sshsig.HashSHA512, "git")
		if err != nil {
			r.t.Fatal(err)
		}
		armor := strings.ReplaceAll(strings.TrimSpace(string(sshsig.Armor(signature))), "\n", "\n ")
		text := head + "gpgsig " + armor + "\n" + message
		parent = fmt.Sprintf("%x", sha1.Sum(fmt.Appendf(nil, "commit %d\x00%s", len(text), text)))
		addCommit(pack, text)
	}
	sum := sha1.Sum(pack.Bytes())
	pack.Write(sum[:])
	r.gitInput(pack.String(), "index-pack", "--stdin")
	r.git("update-ref", "refs/heads/main", parent)
}

// addCommit adds a commit to a pack: its type and size, and its compressed text (gitformat-pack(5)).
func addCommit(pack *bytes.Buffer, text string) {
	const commit = 1
	size := len(text)
	b := byte(commit<<4 | size&15)
	for size >>= 4; size > 0; size >>= 7 {
		pack.WriteByte(b | 0x80)
		b = byte(size & 0x7f)
	}
	pack.WriteByte(b)
	z := zlib.NewWriter(pack)
	_, _ = z.Write([]byte(text)) // to memory
	_ = z.Close()
}
