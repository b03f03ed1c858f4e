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

// TestMemory fetches from a server that stays within every bound of a pack but needs as much
// memory as it can. The child is killed.
func TestMemory(t *testing.T) {
	h := newHostileServer()
	h.pack = packOf(func(p *packer) {
		// go-git caches up to 96 MiB of the bases of deltas.
		for i := range 12 {
			content := append(bytes.Repeat([]byte{byte(i)}, 16<<20-1), 0)
			p.object(blobObject, int64(len(content)), bytes.NewReader(content))
			sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(content)), content...))
			p.deltaOf(sum[:], int64(len(content)))
		}
	}, 24)
	cfg := config(t, h.start(t))
	used := childPeak(func() { failsInTime(t, cfg, "MiB of memory", "was stopped") })
	if used > 150 {
		t.Errorf("it took %d MiB", used)
	}
}

// TestDeadlyClone: a clone with an object that the child cannot read within its memory is
// recreated.
func TestDeadlyClone(t *testing.T) {
	r := newRepo(t)
	last := r.commit("a.yaml", policy)
	u := serve(t, r)
	cfg := config(t, u)
	mustFetch(t, cfg)
	dir := cacheDir(cfg.Dir, u)
	remove(t, packFile(t, dir, "*.pack"))
	var bomb bytes.Buffer
	z := zlib.NewWriter(&bomb)
	if _, err := io.Copy(z, io.MultiReader(strings.NewReader("commit 100\x00"), zeros(512<<20))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	mkdir(t, filepath.Join(dir, "objects", last[:2]))
	writeFile(t, filepath.Join(dir, "objects", last[:2], last[2:]), bomb.String())
	got := mustFetch(t, cfg, position(u, "main", last))
	if got.Commit != last {
		t.Errorf("commit %s", got.Commit)
	}
	wantWarnings(t, got, "the clone was recreated: the fetch takes more than")
	wantWarnings(t, mustFetch(t, cfg, position(u, "main", last)))
	wantNoLeftovers(t, cfg.Dir, u)
}

// TestWatch: a process whose memory is not limited otherwise is killed.
func TestWatch(t *testing.T) {
	// The shell holds the text in memory and never ends.
	cmd := exec.Command("sh", "-c", "x=$(head -c 300000000 /dev/zero | tr '\\0' x); while :; do sleep 1; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := watch(cmd.Process, maxResident)
	err := cmd.Wait()
	w.stop()
	if err == nil || !w.exceeded.Load() || w.peak.Load() < maxResident {
		t.Errorf("the process ended with %v, having taken %d MiB", err, w.peak.Load()>>20)
	}
}
