package source

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

// damages are ways to damage a clone. Each takes the directory of the clone.
var damages = map[string]func(t *testing.T, dir string){
	"pack truncated":      func(t *testing.T, dir string) { truncate(t, packFile(t, dir, "*.pack")) },
	"pack gone":           func(t *testing.T, dir string) { remove(t, packFile(t, dir, "*.pack")) },
	"pack of zeros":       func(t *testing.T, dir string) { zero(t, packFile(t, dir, "*.pack")) },
	"index gone":          func(t *testing.T, dir string) { remove(t, packFile(t, dir, "*.idx")) },
	"index truncated":     func(t *testing.T, dir string) { truncate(t, packFile(t, dir, "*.idx")) },
	"index of zeros":      func(t *testing.T, dir string) { zero(t, packFile(t, dir, "*.idx")) },
	"shallow garbage":     func(t *testing.T, dir string) { writeFile(t, dir+"/shallow", "garbage\nmore\n") },
	"shallow unknown":     func(t *testing.T, dir string) { writeFile(t, dir+"/shallow", strings.Repeat("1", 40)+"\n") },
	"reference empty":     func(t *testing.T, dir string) { writeFile(t, dir+"/refs/heads/main", "") },
	"reference garbage":   func(t *testing.T, dir string) { writeFile(t, dir+"/refs/heads/main", "\x00\xff garbage") },
	"reference unknown":   func(t *testing.T, dir string) { writeFile(t, dir+"/refs/heads/main", strings.Repeat("1", 40)+"\n") },
	"packed refs garbage": func(t *testing.T, dir string) { writeFile(t, dir+"/packed-refs", "garbage\n") },
	"objects gone":        func(t *testing.T, dir string) { remove(t, dir+"/objects") },
	"objects a file":      func(t *testing.T, dir string) { remove(t, dir+"/objects"); writeFile(t, dir+"/objects", "") },
	"all gone inside":     func(t *testing.T, dir string) { remove(t, dir); mkdir(t, dir) },
	"a file":              func(t *testing.T, dir string) { remove(t, dir); writeFile(t, dir, "") },
	"a link to itself":    func(t *testing.T, dir string) { remove(t, dir); link(t, filepath.Base(dir), dir) },
	"another file":        forge,
	"HEAD garbage":        func(t *testing.T, dir string) { writeFile(t, dir+"/HEAD", "\x00garbage") },
	"config garbage":      func(t *testing.T, dir string) { writeFile(t, dir+"/config", "[\x00") },
}

// harmless are damages to files that no fetch depends on.
var harmless = map[string]bool{"HEAD garbage": true, "config garbage": true}

func TestDamagedClone(t *testing.T) {
	for name, damage := range damages {
		for _, news := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", something new"}[news], func(t *testing.T) {
				t.Parallel()
				r := newRepo(t)
				last := r.commit("a.yaml", policy)
				u := serve(t, r)
				cfg := config(t, u)
				mustFetch(t, cfg)
				damage(t, cacheDir(cfg.Dir, u))
				want := last
				if news {
					want = r.commit("b.yaml", policy)
				}
				got := mustFetch(t, cfg, position(u, "main", last))
				if got.Commit != want || string(got.Files[0].Data) != policy {
					t.Errorf("commit %s, want %s; %q", got.Commit, want, got.Files)
				}
				if !harmless[name] {
					wantWarnings(t, got, "the clone was recreated")
				}
				wantWarnings(t, mustFetch(t, cfg, position(u, "main", want)))
				wantNoLeftovers(t, cfg.Dir, u)
			})
		}
	}
}

// TestFlippedBits flips some bits of the pack and of its index, one at a time. Each fetch
// delivers what was committed.
func TestFlippedBits(t *testing.T) {
	r := newRepo(t)
	last := r.commit("a.yaml", policy)
	u := serve(t, r)
	cfg := config(t, u)
	mustFetch(t, cfg)
	dir := cacheDir(cfg.Dir, u)
	for _, kind := range []string{"*.pack", "*.idx"} {
		name := packFile(t, dir, kind)
		good, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(good); i += 1 + len(good)/12 {
			bad := append([]byte(nil), good...)
			bad[i] ^= 1 << (i % 8)
			if err := os.Chmod(name, 0o600); err != nil {
				t.Fatal(err)
			}
			writeFile(t, name, string(bad))
			got := mustFetch(t, cfg, position(u, "main", last))
			if got.Commit != last {
				t.Fatalf("commit %s", got.Commit)
			}
			wantFiles(t, got, "a.yaml", policy)
		}
	}
}

// TestDamageWithoutServer: a fetch that cannot recreate a damaged clone leaves it to a later
// one.
func TestDamageWithoutServer(t *testing.T) {
	r := newRepo(t)
	last := r.commit("a.yaml", policy)
	server := &switchable{next: backend(t, r)}
	u := start(t, server) + "/policies"
	cfg := config(t, u)
	mustFetch(t, cfg)
	truncate(t, packFile(t, cacheDir(cfg.Dir, u), "*.pack"))
	server.off = true
	fails(t, cfg, nil, "status code: 503")
	server.off = false
	if got := mustFetch(t, cfg); got.Commit != last {
		t.Errorf("commit %s", got.Commit)
	}
	wantNoLeftovers(t, cfg.Dir, u)
}

// TestTwoAtOnce runs several fetches of one URL into one directory.
func TestTwoAtOnce(t *testing.T) {
	r := newRepo(t)
	last := r.commit("a.yaml", policy)
	u := serve(t, r)
	cfg := config(t, u)
	for range 3 {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				got, err := Fetch(context.Background(), cfg, []Position{position(u, "main", last)}, "")
				if err != nil || got.Commit != r.git("rev-parse", "main") || len(got.Warnings) > 0 {
					t.Errorf("commit %s, warnings %q, %v", got.Commit, got.Warnings, err)
				}
			})
		}
		all.Wait()
		last = r.commit("a.yaml", policy+"# "+last)
	}
	wantNoLeftovers(t, cfg.Dir, u)
}

// A URL that cannot be fetched leaves nothing behind.
func TestNothingOfAMistypedURL(t *testing.T) {
	cfg := config(t, "http://127.0.0.1:1/policis.git")
	if _, err := Fetch(t.Context(), cfg, nil, ""); err == nil {
		t.Fatal("it was fetched")
	}
	if left, err := os.ReadDir(cfg.Dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestLockedOut: a fetch that waits for another process ends by its timeout and says so.
func TestLockedOut(t *testing.T) {
	r := newRepo(t)
	r.commit("a.yaml", policy)
	u := serve(t, r)
	cfg := config(t, u)
	mkdir(t, cfg.Dir)
	lock, err := (&job{}).lock(cacheDir(cfg.Dir, u) + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Timeout = shortTimeout
	fails(t, cfg, nil, "no complete answer in time", "waiting for another nfsync")
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Timeout = fetchTimeout
	mustFetch(t, cfg)
}

// TestLeftovers: a fetch removes what a killed one has left.
func TestLeftovers(t *testing.T) {
	r := newRepo(t)
	r.commit("a.yaml", policy)
	u := serve(t, r)
	cfg := config(t, u)
	mustFetch(t, cfg)
	dir := cacheDir(cfg.Dir, u)
	mkdir(t, dir+".new-1")
	writeFile(t, dir+".new-1/x", "")
	mkdir(t, dir+".new-2.old")
	writeFile(t, dir+"/objects/pack/"+receivingPrefix+"1", "")
	wantWarnings(t, mustFetch(t, cfg))
	wantNoLeftovers(t, cfg.Dir, u)
}

// TestLargeClone: a clone that is too large is recreated when there is something new.
func TestLargeClone(t *testing.T) {
	r := newRepo(t)
	last := r.commit("a.yaml", policy)
	u := serve(t, r)
	cfg := config(t, u)
	mustFetch(t, cfg)
	packs := filepath.Join(cacheDir(cfg.Dir, u), "objects", "pack")
	for i := range maxClonePacks {
		writeFile(t, filepath.Join(packs, "x"+strings.Repeat("x", i)+".pack"), "")
	}
	wantWarnings(t, mustFetch(t, cfg, position(u, "main", last))) // nothing new: it is used
	next := r.commit("b.yaml", policy)
	got := mustFetch(t, cfg, position(u, "main", last))
	if got.Commit != next {
		t.Errorf("commit %s", got.Commit)
	}
	wantWarnings(t, got)
	if left, err := filepath.Glob(packs + "/*.pack"); err != nil || len(left) > 2 {
		t.Errorf("%d packs are left, %v", len(left), err)
	}
}

func TestSetShallow(t *testing.T) {
	c, err := createClone(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	a, b := plumbing.NewHash(strings.Repeat("a", 40)), plumbing.NewHash(strings.Repeat("b", 40))
	for _, step := range []struct{ add, remove, want []plumbing.Hash }{
		{[]plumbing.Hash{a}, nil, []plumbing.Hash{a}},
		{[]plumbing.Hash{b}, []plumbing.Hash{a}, []plumbing.Hash{b}},
		{nil, []plumbing.Hash{b}, nil},
	} {
		if err := c.setShallow(step.add, step.remove); err != nil {
			t.Fatal(err)
		}
		got, err := c.shallow()
		if err != nil || len(got) != len(step.want) {
			t.Fatalf("shallow %v, %v", got, err)
		}
		for _, h := range step.want {
			if !got[h] {
				t.Errorf("%s is missing in %v", h, got)
			}
		}
	}
}

// forge stores another text under the hash of the policy.
func forge(t *testing.T, dir string) {
	t.Helper()
	r := &repo{t, dir}
	pack := packFile(t, dir, "*.pack")
	content, err := os.ReadFile(pack)
	if err != nil {
		t.Fatal(err)
	}
	remove(t, pack)
	remove(t, packFile(t, dir, "*.idx"))
	r.gitInput(string(content), "unpack-objects", "-q")
	path := func(text string) string {
		h := r.gitInput(text, "hash-object", "-w", "--stdin")
		return filepath.Join(dir, "objects", h[:2], h[2:])
	}
	if err := os.Rename(path("kind: Forgery\n"), path(policy)); err != nil {
		t.Fatal(err)
	}
}

// wantNoLeftovers checks that the directory has nothing but the clone of u and its lock.
func wantNoLeftovers(t *testing.T, dir, u string) {
	t.Helper()
	base := filepath.Base(cacheDir(dir, u))
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != base && e.Name() != base+".lock" {
			t.Errorf("%s is left", e.Name())
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, base, "objects", "pack", receivingPrefix+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%q are left, %v", left, err)
	}
}

// packFile returns a file in the clone's directory of packs.
func packFile(t *testing.T, dir, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "objects", "pack", pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s in %s: %v", pattern, dir, err)
	}
	return names[0]
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, name string) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, info.Size()/2); err != nil {
		t.Fatal(err)
	}
}

func zero(t *testing.T, name string) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, name, strings.Repeat("\x00", int(info.Size())))
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, name string) {
	t.Helper()
	if err := os.MkdirAll(name, 0o700); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// TestMovedTagRecreated: the warning that a tag was moved is not lost with the clone.
func TestMovedTagRecreated(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string){
		"too large": func(t *testing.T, dir string) {
			for i := range maxClonePacks {
				writeFile(t, dir+"/objects/pack/x"+strings.Repeat("x", i)+".pack", "")
			}
		},
		"objects gone": func(t *testing.T, dir string) { remove(t, dir+"/objects") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			first := r.commit("a.yaml", policy)
			r.git("tag", "v1")
			u := serve(t, r)
			cfg := config(t, u)
			cfg.Tag = "v1"
			mustFetch(t, cfg)
			damage(t, cacheDir(cfg.Dir, u))
			second := r.commit("b.yaml", policy)
			r.git("tag", "-f", "v1")
			wantWarnings(t, mustFetch(t, cfg), "the tag v1 was moved: from "+first+" to "+second)
			wantWarnings(t, mustFetch(t, cfg))
		})
	}
}
