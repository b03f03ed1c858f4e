package source

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// incompressible returns a text of n bytes that does not compress well.
func incompressible(n nf.Size) string {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte('!' + r.IntN(90))
	}
	return string(b)
}

// TestRefusedPack: a pack above the limit is received once for each commit and each limit.
func TestRefusedPack(t *testing.T) {
	r := newRepo(t)
	small := r.commit("a.yaml", policy)
	counted := &counter{next: backend(t, r)}
	u := start(t, counted) + "/policies"
	cfg := config(t, u)
	cfg.MaxPack = nf.MiB
	mustFetch(t, cfg)
	counted.taken()

	r.write("image", incompressible(2*nf.MiB))
	large := r.commit("a.yaml", policy+"# 1\n")
	last := position(u, "main", small)
	const why = "it sends a pack of more than 1 MiB. Raise the limit with --max-pack-size or source.maxPackSize"
	first := fails(t, cfg, []Position{last}, why)
	if strings.Contains(first.Error(), "again") || counted.taken() < int64(nf.MiB) {
		t.Errorf("%d bytes were received: %v", counted.before, first)
	}
	for range 2 {
		fails(t, cfg, []Position{last}, why, "It is not fetched again until that commit or the limit changes")
		if counted.taken() > int64(10*nf.KiB) {
			t.Errorf("%d bytes were received", counted.before)
		}
	}

	cfg.MaxPack = 4 * nf.MiB
	if got := mustFetch(t, cfg, last); got.Commit != large {
		t.Errorf("commit %s", got.Commit)
	}
	cfg.MaxPack = nf.MiB
	mustFetch(t, cfg, last) // it is in the clone

	cfg.Dir = t.TempDir()
	fails(t, cfg, nil, why)
	remove(t, r.dir+"/image")
	next := r.commitAll("smaller")
	if got := mustFetch(t, cfg); got.Commit != next {
		t.Errorf("commit %s", got.Commit)
	}
	wantNoLeftovers(t, cfg.Dir, u)
}

// TestRefusedHistory: of a history that is too large no part is received again.
func TestRefusedHistory(t *testing.T) {
	r := newRepo(t)
	small := r.commit("a.yaml", policy)
	r.commit("image", incompressible(2*nf.MiB))
	remove(t, r.dir+"/image")
	r.commitAll("smaller")
	counted := &counter{next: backend(t, r)}
	u := start(t, counted) + "/policies"
	cfg := config(t, u)
	cfg.MaxPack = nf.MiB
	mustFetch(t, cfg)
	counted.taken()
	last := position(u, "main", small)
	fails(t, cfg, []Position{last}, "cannot fetch the history of", "a pack of more than 1 MiB")
	counted.taken()
	fails(t, cfg, []Position{last}, "cannot fetch the history of", "not fetched again", "--accept "+r.head())
	if counted.taken() > int64(10*nf.KiB) {
		t.Errorf("%d bytes were received", counted.before)
	}
	if got, err := Fetch(t.Context(), cfg, []Position{last}, r.head()); err != nil || got.Commit != r.head() {
		t.Errorf("accepted: %v, %v", got.Commit, err)
	}
	cfg.MaxPack = 4 * nf.MiB
	mustFetch(t, cfg, last)
}

// TestRefusedGarbage: a file that is not what a fetch has stored does not keep it from fetching.
func TestRefusedGarbage(t *testing.T) {
	r := newRepo(t)
	head := r.commit("a.yaml", policy)
	u := serve(t, r)
	for _, text := range []string{"", "garbage", "{}", `{"Want":"` + head + `"}`, "null"} {
		cfg := config(t, u)
		mkdir(t, cfg.Dir)
		writeFile(t, cacheDir(cfg.Dir, u)+".refused", text)
		mustFetch(t, cfg)
		if _, err := os.Stat(cacheDir(cfg.Dir, u) + ".refused"); !os.IsNotExist(err) {
			t.Errorf("%q is left: %v", text, err)
		}
	}
}
