package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// fault is something that goes wrong while an agent runs, and is mended then.
type fault struct {
	name string
	// prepare is called before the agent is started. It returns what begins the fault, with a
	// new commit that asks for 42, and what mends it.
	prepare func(n *agentNode) (begin, mend func())
	// What the status says meanwhile.
	condition       nf.ConditionType
	reason, message string
	// holdsBack is set where nothing at all can be changed meanwhile.
	holdsBack bool
}

// TestAgentFaults: while something is wrong, the last good revision stays in force, its drift is
// undone, and the status says what is wrong. Once that is mended, the new commit comes into force by
// itself.
func TestAgentFaults(t *testing.T) {
	t.Parallel()
	together(t, 3, faults(), func(f fault) string { return f.name }, func(t *testing.T, f fault) {
		n := newAgentNode(t)
		n.add("web")
		begin, mend := f.prepare(n)
		if n.tip == "" {
			n.commit(udpPolicy(41))
		}
		n.start()
		n.awaitReady(n.tip)
		if v := n.udp("web"); v != "41" {
			t.Fatalf("%s, want 41", v)
		}
		good := n.tip
		begin()
		n.awaitCondition(f.condition, f.reason, f.message)
		s := n.status()
		if s.Revision == nil || s.Revision.Commit != good || s.Condition(nf.Ready).Status == nf.ConditionTrue {
			n.fail("in force is %v, want %s", s.Revision, good)
		}
		if _, out := n.verb("status"); !strings.Contains(out, f.reason) || !strings.Contains(out, "is not ready") {
			n.fail("nfsync status does not say %s:\n%s", f.reason, out)
		}
		if !f.holdsBack {
			n.setUDP("web", 77)
			n.awaitUDP("web", 41)
		}
		mend()
		n.awaitReady(n.tip)
		n.awaitUDP("web", 42)
	})
}

// together runs a test for each of a list side by side, so many at once: they mostly wait.
func together[T any](t *testing.T, most int, list []T, name func(T) string, test func(*testing.T, T)) {
	t.Helper()
	room := make(chan bool, most)
	var all sync.WaitGroup
	for _, one := range list {
		room <- true
		all.Go(func() {
			t.Run(name(one), func(t *testing.T) { test(t, one) })
			<-room
		})
	}
	all.Wait()
}

func faults() []fault {
	list := []fault{
		{"http answers 500", answers500, nf.Reconciling, "FetchFailed", `500`, false},
		{"http token expires", tokenExpires, nf.Reconciling, "FetchFailed", `does not accept the credentials`, false},
		{"ssh host key changes", hostKeyChanges, nf.Reconciling, "FetchFailed", `the key of .* has changed`, false},
		{"rewritten branch", rewrittenBranch, nf.Stalled, "Rewritten", `rewritten|does not descend`, false},
		{"unsigned commit", unsignedCommit, nf.Stalled, "NotTrusted", `not signed|no signature`, false},
		{"invalid policy", invalidPolicy, nf.Stalled, "InvalidPolicies", `web.yaml:6:`, false},
		{"disk full", fullDisk, nf.Stalled, "Error", `state directory .*no space left on device`, true},
		{"disk read-only", readOnlyDisk, nf.Stalled, "Error", `read-only file system`, true},
	}
	for _, m := range []gateMode{gateShut, gateSilent, gateSlow} {
		message := stoppedInTime
		if m == gateShut {
			message = `connection refused`
		}
		list = append(list,
			fault{"http " + string(m), withGate(m, func(n *agentNode) *gate { return n.overHTTP().gate }), nf.Reconciling, "FetchFailed", message, false},
			fault{"ssh " + string(m), withGate(m, func(n *agentNode) *gate { return n.overSSH().gate }), nf.Reconciling, "FetchFailed", message, false})
	}
	return list
}

// withGate lets a server be reached no more, or too slowly.
func withGate(m gateMode, serve func(*agentNode) *gate) func(*agentNode) (begin, mend func()) {
	return func(n *agentNode) (begin, mend func()) {
		g := serve(n)
		return func() { g.set(m); n.commit(udpPolicy(42)) }, func() { g.set(gateOpen) }
	}
}

func answers500(n *agentNode) (begin, mend func()) {
	s := n.overHTTP()
	return func() { s.with(func(s *httpServer) { s.broken = true }); n.commit(udpPolicy(42)) },
		func() { s.with(func(s *httpServer) { s.broken = false }) }
}

// tokenExpires: the file of the token is replaced as the agent runs on.
func tokenExpires(n *agentNode) (begin, mend func()) {
	s := n.overHTTP()
	s.token = "first"
	n.config += "  http: {tokenFile: " + n.write("token", "first\n") + "}\n"
	return func() { s.with(func(s *httpServer) { s.token = "second" }); n.commit(udpPolicy(42)) },
		func() { n.write("token.new", "second\n"); n.check(os.Rename(n.path("token.new"), n.path("token"))) }
}

func hostKeyChanges(n *agentNode) (begin, mend func()) {
	s := n.overSSH()
	return func() { s.show("b"); n.commit(udpPolicy(42)) }, func() { s.show("a") }
}

// rewrittenBranch is mended by a person.
func rewrittenBranch(n *agentNode) (begin, mend func()) {
	n.overHTTP()
	return func() { n.rewrite(udpPolicy(42)) }, func() {
		if code, out := n.verb("sync", "--accept", n.tip); code != 0 {
			n.fail("sync --accept: %d\n%s", code, out)
		}
	}
}

func unsignedCommit(n *agentNode) (begin, mend func()) {
	n.overHTTP()
	n.write("signers", "ada@example.org "+n.keygen("signer"))
	n.config += "verify: {mode: tip, allowedSigners: [" + n.path("signers") + "]}\n"
	n.commit(udpPolicy(41))
	n.sign()
	return func() { n.commit(udpPolicy(42)) }, n.sign
}

// sign makes a signed commit of the files of the last one.
func (n *agentNode) sign() {
	n.Helper()
	commit := n.gitInput("", "-C", n.path("repo.git"), "-c", "gpg.format=ssh", "-c", "user.signingkey="+n.path("signer"), "commit-tree", "-S", "-p", "main", "-m", "x", "main^{tree}")
	n.git("-C", n.path("repo.git"), "update-ref", "refs/heads/main", commit)
	n.tip = commit
}

func invalidPolicy(n *agentNode) (begin, mend func()) {
	return func() { n.commit(udpPolicy(0)) }, func() { n.commit(udpPolicy(42)) }
}

// smallDisk makes the state directory a filesystem of its own.
func (n *agentNode) smallDisk() {
	n.Helper()
	n.check(os.Mkdir(n.path("state"), 0o700))
	n.check(unix.Mount("tmpfs", n.path("state"), "tmpfs", 0, "size=4m,mode=0700"))
	n.Cleanup(func() { _ = unix.Unmount(n.path("state"), unix.MNT_DETACH) })
}

func fullDisk(n *agentNode) (begin, mend func()) {
	n.smallDisk()
	n.overHTTP()
	return func() {
		if err := os.WriteFile(n.path("state/core"), make([]byte, 8<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
			n.fail("the disk is not full: %v", err)
		}
		n.commit(udpPolicy(42))
	}, func() { n.check(os.Remove(n.path("state/core"))) }
}

func readOnlyDisk(n *agentNode) (begin, mend func()) {
	n.smallDisk()
	n.overHTTP()
	remount := func(flags uintptr) func() {
		return func() {
			n.await("remounted", func() bool { return unix.Mount("", n.path("state"), "", unix.MS_REMOUNT|flags, "") == nil })
		}
	}
	return func() { remount(unix.MS_RDONLY)(); n.commit(udpPolicy(42)) }, remount(0)
}

// damage is what may happen to the clone of an agent.
type damage struct {
	name string
	do   func(n *agentNode, clone string)
}

func damages() []damage {
	each := func(pattern string, do func(path string, text []byte) error) func(*agentNode, string) {
		return func(n *agentNode, clone string) {
			n.Helper()
			files, err := filepath.Glob(filepath.Join(clone, pattern))
			n.check(err)
			if len(files) == 0 {
				n.fail("the clone has no %s", pattern)
			}
			for _, path := range files {
				text, err := os.ReadFile(path)
				n.check(errors.Join(err, os.Chmod(path, 0o600)))
				n.check(do(path, text))
			}
		}
	}
	flip := func(path string, text []byte) error {
		text[len(text)/2] ^= 0x10
		return os.WriteFile(path, text, 0o600)
	}
	cut := func(path string, text []byte) error { return os.Truncate(path, int64(len(text)/2)) }
	gone := func(path string, _ []byte) error { return os.Remove(path) }
	return []damage{
		{"pack flipped", each("objects/pack/*.pack", flip)},
		{"index flipped", each("objects/pack/*.idx", flip)},
		{"pack cut", each("objects/pack/*.pack", cut)},
		{"index cut", each("objects/pack/*.idx", cut)},
		{"packs gone", each("objects/pack/*.pack", gone)},
		{"shallow cut", each("shallow", cut)},
		{"objects gone", func(n *agentNode, clone string) { n.check(os.RemoveAll(filepath.Join(clone, "objects"))) }},
		{"a file in its place", func(n *agentNode, clone string) {
			n.check(errors.Join(os.RemoveAll(clone), os.WriteFile(clone, nil, 0o600)))
		}},
	}
}

// TestAgentRecreatesClone damages the clone of an agent: it is made again, and a new commit comes into
// force, without a person.
func TestAgentRecreatesClone(t *testing.T) {
	t.Parallel()
	n := newAgentNode(t)
	n.overHTTP()
	n.add("web")
	n.commit(udpPolicy(41))
	n.start()
	n.awaitReady(n.tip)
	locks, err := filepath.Glob(n.path("state/git/*.lock"))
	n.check(err)
	if len(locks) != 1 {
		t.Fatalf("%d clones", len(locks))
	}
	clone := strings.TrimSuffix(locks[0], ".lock")
	for i, d := range damages() {
		unlock := n.holdClone(locks[0])
		d.do(n, clone)
		unlock()
		n.wake()
		n.await(d.name+" is mended", func() bool {
			defer n.holdClone(locks[0])()
			return exec.Command("git", "-C", clone, "fsck", "--no-dangling").Run() == nil
		})
		n.commit(udpPolicy(100 + i))
		n.wake()
		n.awaitReady(n.tip)
		n.awaitUDP("web", 100+i)
	}
	if log, err := os.ReadFile(n.path("log")); err != nil || !strings.Contains(string(log), "the clone was recreated: ") {
		n.fail("nothing is said of it (%v)", err)
	}
}

// holdClone keeps fetches from a clone until unlock is called.
func (n *agentNode) holdClone(lock string) (unlock func()) {
	n.Helper()
	f, err := os.OpenFile(lock, os.O_RDWR, 0)
	n.check(err)
	n.check(unix.Flock(int(f.Fd()), unix.LOCK_EX))
	return func() { n.check(f.Close()) }
}
