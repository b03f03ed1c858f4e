package source

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestScale prints the time, the memory and the bytes of the first fetch of a repository of
// 10,000 files and of later ones, beside git's own. It checks no time.
func TestScale(t *testing.T) {
	const files = 10_000
	r := newRepo(t)
	r.many(files, 50)
	last := r.head()
	counted := &counter{next: backend(t, r)}
	u := start(t, counted) + "/policies"

	gitTime, gitPeak := r.clones(t, u)
	fmt.Printf("%d files, first fetch: git clone --bare --depth 1 %v, %d MiB, %d KiB received (the files are left packed)\n",
		files, gitTime.Round(time.Millisecond), gitPeak, counted.taken()>>10)
	cfg := config(t, u)
	fetch := func(what string) {
		t.Helper()
		begin := time.Now()
		var got Revision
		used := childPeak(func() { got = mustFetch(t, cfg, position(u, "main", last)) })
		fmt.Printf("%d files, %s: nfsync %v, %d MiB, %d KiB received\n", files, what, time.Since(begin).Round(time.Millisecond), used, counted.taken()>>10)
		if len(got.Files) != files || got.Commit != r.head() {
			t.Errorf("%d files of commit %s", len(got.Files), got.Commit)
		}
		last = got.Commit
	}
	fetch("first fetch with all files read")
	fetch("nothing new")
	r.git("reset", "-q", "--hard")
	r.commit("p/00/00000.yaml", policy)
	fetch("one new commit")
	if n := counted.before; n > 64<<10 {
		t.Errorf("one new commit took %d bytes: it was not fetched incrementally", n)
	}
	cfg = config(t, r.dir)
	begin := time.Now()
	used := childPeak(func() { mustFetch(t, cfg) })
	fmt.Printf("%d files, as a path: nfsync %v, %d MiB\n", files, time.Since(begin).Round(time.Millisecond), used)
}

// many adds commits: the first with all files, each other with one changed file.
func (r *repo) many(files, commits int) {
	r.t.Helper()
	var in strings.Builder
	for c := range commits {
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter c <c@example.org> %d +0000\ndata 1\nx\n", 1700000000+c)
		for f := range files {
			if c == 0 || f == c {
				text := fmt.Sprintf("apiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata: {name: p%d}\nspec:\n  containers: {names: [\"web-%d-*\"]}\n  conntrack: {max: %d}\n  level: stateful # %d\n", f, f, 1000+f*7919%100000, c)
				fmt.Fprintf(&in, "M 100644 inline p/%02d/%05d.yaml\ndata %d\n%s\n", f%100, f, len(text), text)
			}
		}
		in.WriteString("\n")
	}
	r.gitInput(in.String(), "fast-import", "--quiet")
	r.git("repack", "-adq")
}

// clones runs git's own clone, and returns its time and the memory of its largest process in
// MiB.
func (r *repo) clones(t *testing.T, u string) (time.Duration, int64) {
	t.Helper()
	cmd := exec.Command("git", "clone", "-q", "--bare", "--depth", "1", "--single-branch", u, t.TempDir()+"/clone")
	cmd.Env, cmd.Stderr = gitEnv(), os.Stderr
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var used watcher
	var all sync.WaitGroup
	all.Go(func() {
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-done:
				tick.Stop()
				return
			case <-tick.C:
				readTreePeak(&used, cmd.Process.Pid)
			}
		}
	})
	err := cmd.Wait()
	took := time.Since(begin)
	close(done)
	all.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return took, used.peak.Load() >> 20
}

// readTreePeak updates the watcher's peak from a process and all its descendants.
func readTreePeak(w *watcher, pid int) {
	w.readPeak(pid)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return
	}
	for _, child := range strings.Fields(string(b)) {
		if n, err := strconv.Atoi(child); err == nil {
			readTreePeak(w, n)
		}
	}
}

// counter counts the bytes that a server sends.
type counter struct {
	next   http.Handler
	serves sync.RWMutex // read-locked while a request is answered
	bytes  atomic.Int64
	before int64
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.serves.RLock()
	defer c.serves.RUnlock()
	c.next.ServeHTTP(&countingWriter{w, c}, r)
}

// taken returns the number of bytes sent since the last call. It waits for the end of answers
// whose client has hung up.
func (c *counter) taken() int64 {
	c.serves.Lock()
	defer c.serves.Unlock()
	c.before = c.bytes.Swap(0)
	return c.before
}

type countingWriter struct {
	http.ResponseWriter
	c *counter
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.c.bytes.Add(int64(len(p)))
	return w.ResponseWriter.Write(p)
}
