package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// publisher publishes for a node, and remembers as an agent does.
type publisher struct {
	t       *testing.T
	cfg     Config
	p       Publication
	pushed  []string
	commits int
}

func newPublisher(t *testing.T, cfg Config, node, machine string) *publisher {
	return &publisher{t: t, cfg: cfg, p: Publication{Node: node, Machine: machine, Branch: nf.NodeBranch(nf.DefaultNodeBranch, node)}}
}

// publish publishes a text as the snapshot.
func (p *publisher) publish(text string) error {
	p.commits++
	p.p.At = time.Unix(1_700_000_000+int64(p.commits), 0)
	p.p.Files = []File{{Name: "a/b/snapshot.json", Data: []byte(text)}, {Name: "a/b/status.json", Data: []byte("status")}}
	return Publish(context.Background(), p.cfg, p.p, p.pushed, func(commit string) error {
		p.pushed = append(p.pushed, commit)
		return nil
	})
}

func (p *publisher) must(text string) {
	p.t.Helper()
	if err := p.publish(text); err != nil {
		p.t.Fatal(err)
	}
}

// bareRepo is an empty repository that takes pushes over each protocol.
func bareRepo(t *testing.T) *repo {
	t.Helper()
	r := newRepo(t)
	r.git("config", "http.receivepack", "true")
	r.git("config", "receive.fsckObjects", "true")
	return r
}

// each runs a test with a repository over each protocol.
func each(t *testing.T, test func(t *testing.T, r *repo, cfg Config)) {
	t.Helper()
	t.Run("file", func(t *testing.T) {
		r := bareRepo(t)
		test(t, r, config(t, r.dir))
	})
	t.Run("http", func(t *testing.T) {
		r := bareRepo(t)
		test(t, r, config(t, serve(t, r)))
	})
	t.Run("ssh", func(t *testing.T) {
		r := bareRepo(t)
		s, key := startSSH(t, "ed25519")
		cfg := config(t, s.url(r))
		cfg.Auth = Auth{SSHKeyFile: key, KnownHostsFile: s.known("ed25519")}
		test(t, r, cfg)
	})
}

// TestPublish: the branch has one commit without a parent, with the last publication, after many pushes.
func TestPublish(t *testing.T) {
	each(t, func(t *testing.T, r *repo, cfg Config) {
		p := newPublisher(t, cfg, "hn-1", "m1")
		for _, text := range []string{"one", "two", "three"} {
			p.must(text)
			if got := r.git("show", "nodes/hn-1:a/b/snapshot.json"); got != text {
				t.Errorf("the branch has %q, want %q", got, text)
			}
		}
		if got := r.git("log", "--format=%s|%P|%an", "nodes/hn-1"); got != "Snapshot of node hn-1||nfsync" {
			t.Errorf("the history is %q", got)
		}
		r.git("fsck", "--strict")
		// Another agent knows nothing of it, and takes over what is its own.
		newPublisher(t, cfg, "hn-1", "m1").must("four")
		if got := r.git("show", "nodes/hn-1:a/b/snapshot.json"); got != "four" {
			t.Errorf("the branch has %q", got)
		}
		// The first one learns that it is not alone.
		err := p.publish("five")
		contains(t, asError[*NotOwnerError](t, err).Error(), "branch nodes/hn-1 is not this node's", "same machine id", "git push "+cfg.URLs[0]+" --delete nodes/hn-1")
		r.git("branch", "-D", "nodes/hn-1")
		p.must("six")
	})
}

// TestPublishNotOwner: the branch of another node, of another machine or of a person is left as it is.
func TestPublishNotOwner(t *testing.T) {
	each(t, func(t *testing.T, r *repo, cfg Config) {
		newPublisher(t, cfg, "hn-2", "m2").must("other")
		tip := r.git("rev-parse", "nodes/hn-2")
		p := newPublisher(t, cfg, "hn-1", "m1")
		p.p.Branch = "nodes/hn-2"
		contains(t, asError[*NotOwnerError](t, p.publish("x")).Error(), "node hn-2 publishes there, and this is node hn-1")
		q := newPublisher(t, cfg, "hn-2", "m1")
		contains(t, asError[*NotOwnerError](t, q.publish("x")).Error(), "another machine (m2) that calls itself hn-2", "this is machine m1", "node.name")
		if now := r.git("rev-parse", "nodes/hn-2"); now != tip {
			t.Errorf("the branch was moved from %s to %s", tip, now)
		}
		r.commit("README", "nodes")
		r.git("branch", "nodes/hn-1")
		contains(t, asError[*NotOwnerError](t, newPublisher(t, cfg, "hn-1", "m1").publish("x")).Error(), "no agent has published", "publish.branch")
	})
}

// TestPublishRefused: what the server and its hooks say is in the error.
func TestPublishRefused(t *testing.T) {
	each(t, func(t *testing.T, r *repo, cfg Config) {
		hook := filepath.Join(r.dir, ".git/hooks/pre-receive")
		if err := os.MkdirAll(filepath.Dir(hook), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(hook, []byte("#!/bin/sh\necho no room for nodes >&2\nexit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		p := newPublisher(t, cfg, "hn-1", "m1")
		contains(t, asError[*PublishError](t, p.publish("x")).Error(), "cannot publish to", "pre-receive hook declined", "no room for nodes")
		if err := os.Remove(hook); err != nil {
			t.Fatal(err)
		}
		p.must("x")
		r.git("config", "receive.denyNonFastForwards", "true")
		contains(t, asError[*PublishError](t, p.publish("y")).Error(), "receive.denyNonFastForwards")
	})
}

// TestPublishIsCompareAndSwap: a branch that somebody moves while the push is under way is left as it is.
func TestPublishIsCompareAndSwap(t *testing.T) {
	r := bareRepo(t)
	next := backend(t, r)
	other := newPublisher(t, config(t, r.dir), "hn-1", "m2")
	cfg := config(t, start(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPost && other.commits == 0 {
			other.must("theirs")
		}
		next.ServeHTTP(w, req)
	}))+"/policies")
	err := asError[*PublishError](t, newPublisher(t, cfg, "hn-1", "m1").publish("mine"))
	if got := r.git("show", "nodes/hn-1:a/b/snapshot.json"); got != "theirs" {
		t.Errorf("the branch has %q: %v", got, err)
	}
}

// TestPublishRetryAfter: when a server wants to be asked again is in the error.
func TestPublishRetryAfter(t *testing.T) {
	u := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "120")
		http.Error(w, "later", http.StatusTooManyRequests)
	}))
	err := asError[*PublishError](t, newPublisher(t, config(t, u), "hn-1", "m1").publish("x"))
	if err.RetryAfter != 2*time.Minute {
		t.Errorf("%v: %s", err, err.RetryAfter)
	}
}

// TestPublishUnsaved: what cannot be remembered is not pushed.
func TestPublishUnsaved(t *testing.T) {
	r := bareRepo(t)
	p := newPublisher(t, config(t, r.dir), "hn-1", "m1")
	full := errors.New("no space left on device")
	p.p.Files = []File{{Name: "snapshot.json"}}
	for _, branch := range []string{"", "nodes/", "a..b", "a b"} {
		q := p.p
		q.Branch = branch
		err := Publish(context.Background(), p.cfg, q, nil, func(string) error { return nil })
		contains(t, asError[*PublishError](t, err).Error(), "not a valid name of a branch")
	}
	err := Publish(context.Background(), p.cfg, p.p, nil, func(string) error { return full })
	if asError[*PublishError](t, err); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	if refs := r.git("for-each-ref"); refs != "" {
		t.Errorf("pushed: %s", refs)
	}
}

// TestOpenNodes: the branches that nodes publish are fetched, with what is wrong with one of them.
func TestOpenNodes(t *testing.T) {
	each(t, func(t *testing.T, r *repo, cfg Config) {
		_, err := OpenNodes(context.Background(), cfg, nf.DefaultNodeBranch, "")
		if err == nil {
			t.Fatal("an empty repository has nodes")
		}
		for _, node := range []string{"hn-10", "hn-9", "a/b"} {
			newPublisher(t, cfg, node, "m").must("snapshot of " + node)
		}
		r.commit("README", "nodes")
		r.git("branch", "nodes/by-hand")
		r.git("branch", "other/hn-1")
		r.write("snapshot.yaml", "yaml")
		r.commitAll("by hand")
		r.git("branch", "nodes/yaml")
		n, err := OpenNodes(context.Background(), cfg, nf.DefaultNodeBranch, "")
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		if got, want := n.Files(), []string{"nodes/a%2Fb:a/b/snapshot.json", "nodes/by-hand", "nodes/hn-9:a/b/snapshot.json", "nodes/hn-10:a/b/snapshot.json", "nodes/yaml:snapshot.yaml"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		for file, want := range map[string]string{"nodes/a%2Fb:a/b/snapshot.json": "snapshot of a/b", "nodes/hn-9:a/b/snapshot.json": "snapshot of hn-9", "nodes/yaml:snapshot.yaml": "yaml"} {
			if text, err := n.Read(file); err != nil || string(text) != want {
				t.Errorf("%s: %q, %v", file, text, err)
			}
		}
		one, err := OpenNodes(context.Background(), cfg, nf.DefaultNodeBranch, "a/b")
		if err != nil {
			t.Fatal(err)
		}
		defer one.Close()
		if got := one.Files(); len(got) != 1 || one.Node(got[0]) != "a/b" {
			t.Errorf("of one node: %q", got)
		}
		if _, err := OpenNodes(context.Background(), cfg, nf.DefaultNodeBranch, "hn-1"); err == nil || !strings.Contains(err.Error(), "no branch nodes/hn-1") {
			t.Errorf("of a node that has not published: %v", err)
		}
		if n.Node("nodes/a%2Fb:a/b/snapshot.json") != "a/b" || n.Node("nodes/by-hand") != "by-hand" {
			t.Errorf("%q", n.files)
		}
		if _, err := n.Read("nodes/by-hand"); err == nil || !strings.Contains(err.Error(), "it has no file snapshot.json") {
			t.Errorf("%v", err)
		}
	})
}

// TestNodeBranchesAreRefs: git takes the branches of nodes with any name.
func TestNodeBranchesAreRefs(t *testing.T) {
	for _, node := range []string{"hn-1", "a/b", ".a", "a.", "a..b", "a.lock", "@", "-a", "a b", "é", "a\n", "{node}", "HEAD"} {
		branch := nf.NodeBranch(nf.DefaultNodeBranch, node)
		if out, err := exec.Command("git", "check-ref-format", "--branch", branch).CombinedOutput(); err != nil {
			t.Errorf("%q: git does not allow %q: %s", node, branch, out)
		}
	}
}

// TestOpenManyNodes: the branches of many nodes, whose snapshots are larger together than a fetch may be, are
// fetched within their bound on memory.
func TestOpenManyNodes(t *testing.T) {
	const nodes, size = 800, 150_000
	r := bareRepo(t)
	var in strings.Builder
	text := strings.Repeat(`{"key": "conntrack.timeouts.udp", "live": 30},`+"\n", size/47)
	for i := range nodes {
		fmt.Fprintf(&in, "commit refs/heads/nodes/hn-%d\ncommitter c <c@example.org> 1 +0000\ndata 1\nx\nM 100644 inline snapshot.json\ndata %d\n%s%06d\n", i, len(text)+6, text, i)
	}
	r.gitInput(in.String(), "fast-import", "--quiet")
	cfg := config(t, serve(t, r))
	cfg.Timeout = time.Minute
	was, most := childEnded, int64(0)
	childEnded = func(used int64) { most = used }
	n, err := OpenNodes(context.Background(), cfg, nf.DefaultNodeBranch, "")
	childEnded = was
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if most > 2*maxResident {
		t.Errorf("the child took %d MiB", most>>20)
	}
	files := n.Files()
	if len(files) != nodes {
		t.Errorf("%d nodes", len(files))
	}
	for _, f := range []string{files[0], files[nodes-1]} {
		if got, err := n.Read(f); err != nil || len(got) != len(text)+6 {
			t.Errorf("%s: %d bytes, %v", f, len(got), err)
		}
	}
}
