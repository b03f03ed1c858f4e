//go:build !race

package source

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMemory takes as much as a server can make nfsync take that keeps to every
// single bound: the process that fetches is ended, this one does not grow.
func TestMemory(t *testing.T) {
	l := newLiar()
	l.pack = packOf(func(p *packer) {
		// go-git keeps up to 96 MiB of the objects that deltas are made from.
		for i := range 12 {
			content := append(bytes.Repeat([]byte{byte(i)}, 16<<20-1), 0)
			p.object(blobObject, int64(len(content)), bytes.NewReader(content))
			sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(content)), content...))
			p.deltaOf(sum[:], int64(len(content)))
		}
	}, 24)
	cfg := config(t, l.start(t))
	used := childPeak(func() { timed(t, cfg, "MiB of memory", "was stopped") })
	if used > 150 {
		t.Errorf("it took %d MiB", used)
	}
}

// TestDeadlyClone finds an object in the clone that no process of its bounds can read.
func TestDeadlyClone(t *testing.T) {
	r := newRepo(t)
	last := r.commit("a.yaml", policy)
	u := serve(t, r)
	cfg := config(t, u)
	mustFetch(t, cfg)
	dir := cacheDir(cfg.Dir, u)
	remove(t, one(t, dir, "*.pack"))
	var bomb bytes.Buffer
	z := zlib.NewWriter(&bomb)
	if _, err := io.Copy(z, io.MultiReader(strings.NewReader("commit 100\x00"), zeros(512<<20))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	mkdir(t, filepath.Join(dir, "objects", last[:2]))
	put(t, filepath.Join(dir, "objects", last[:2], last[2:]), bomb.String())
	got := mustFetch(t, cfg, at(u, "main", last))
	if got.Commit != last {
		t.Errorf("commit %s", got.Commit)
	}
	wantWarnings(t, got, "the clone was recreated: it takes more than")
	wantWarnings(t, mustFetch(t, cfg, at(u, "main", last)))
	tidy(t, cfg.Dir, u)
}

// TestWatch watches a process that has no other bound.
func TestWatch(t *testing.T) {
	// The shell keeps the text in memory and goes on for ever.
	cmd := exec.Command("sh", "-c", "x=$(head -c 300000000 /dev/zero | tr '\\0' x); while :; do sleep 1; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := watch(cmd.Process)
	err := cmd.Wait()
	w.stop()
	if err == nil || !w.exceeded.Load() || w.peak.Load() < maxResident {
		t.Errorf("the process ended with %v, having taken %d MiB", err, w.peak.Load()>>20)
	}
}
