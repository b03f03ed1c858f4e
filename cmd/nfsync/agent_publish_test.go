package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// publishFault is something that goes wrong with the publication alone.
type publishFault struct {
	name    string
	prepare func(n *agentNode) (begin, mend func())
	reason  string
	message string
	// stalls is set where laps fail for the same reason.
	stalls bool
}

// TestPublishFaults: whatever is wrong with a publication is a condition, and laps go on as without it.
// Once it is mended, the branch has the newest state, in one commit.
func TestPublishFaults(t *testing.T) {
	t.Parallel()
	together(t, 3, publishFaults(), func(f publishFault) string { return f.name }, func(t *testing.T, f publishFault) {
		n := newAgentNode(t)
		n.git("init", "-q", "--bare", "-b", "main", n.path("nodes.git"))
		n.git("-C", n.path("nodes.git"), "config", "http.receivepack", "true")
		n.add("web")
		n.commit(udpPolicy(41))
		begin, mend := f.prepare(n)
		n.start()
		n.awaitReady(n.tip)
		n.awaitPublished(nf.ConditionTrue, "Published", "nodes/hn-1")
		begin()
		n.add("later")
		n.awaitPublished(nf.ConditionFalse, f.reason, f.message)
		if _, out := n.verb("status"); !strings.Contains(out, f.reason) {
			n.fail("nfsync status does not say %s:\n%s", f.reason, out)
		}
		if !f.stalls {
			n.setUDP("web", 77)
			n.awaitUDP("web", 41)
			s := n.status()
			if took := s.LastLap.FinishedAt.Sub(s.LastLap.StartedAt); s.Condition(nf.Ready).Status != nf.ConditionTrue || took >= sourceTimeout {
				n.fail("a lap took %s, as if it had waited for the publication", took)
			}
		}
		mend()
		n.awaitPublished(nf.ConditionTrue, "Published", "nodes/hn-1")
		n.awaitPublishedContainer("later")
		if count := n.gitInput("", "-C", n.path("nodes.git"), "rev-list", "--count", "nodes/hn-1"); count != "1" {
			n.fail("the branch has %s commits", count)
		}
	})
}

// awaitPublished waits for a status of the condition.
func (n *agentNode) awaitPublished(status nf.ConditionStatus, reason, message string) {
	n.Helper()
	want := regexp.MustCompile(message)
	n.await(fmt.Sprintf("Published %s %s %q", status, reason, message), func() bool {
		c := n.status().Condition(nf.Published)
		return c.Status == status && c.Reason == reason && want.MatchString(c.Message)
	})
}

// awaitPublishedContainer waits until the snapshot that is published has a container.
func (n *agentNode) awaitPublishedContainer(name string) {
	n.Helper()
	n.await(name+" is published", func() bool {
		cmd := exec.Command("git", "-C", n.path("nodes.git"), "show", "nodes/hn-1:snapshot.json")
		text, err := cmd.Output()
		var s nf.Snapshot
		return err == nil && json.Unmarshal(text, &s) == nil && len(s.Containers) > 0 && strings.Contains(string(text), `"id": "`+name+`"`)
	})
}

func publishFaults() []publishFault {
	list := []publishFault{
		{"a hook refuses", hookRefuses, "PublishFailed", `pre-receive hook declined: .*no room for nodes`, false},
		{"http answers 500", publish500, "PublishFailed", `500`, false},
		{"http token expires", publishTokenExpires, "PublishFailed", `does not accept the credentials`, false},
		{"ssh key is not let in", publishKeyRemoved, "PublishFailed", `does not let root in with the key .*client`, false},
		{"ssh host key changes", publishHostKeyChanges, "PublishFailed", `the key of .* has changed`, false},
		{"the branch of another node", branchTaken, "NotOwner", `node hn-2 publishes there, and this is node hn-1.*publish.branch`, false},
		{"disk full", publishFullDisk, "PublishFailed", `no space left on device`, true},
	}
	for _, m := range []gateMode{gateShut, gateSilent, gateSlow} {
		message := stoppedInTime
		if m == gateShut {
			message = `connection refused`
		}
		with := func(serve func(*agentNode) *gate) func(*agentNode) (begin, mend func()) {
			return func(n *agentNode) (begin, mend func()) {
				g := serve(n)
				return func() { g.set(m) }, func() { g.set(gateOpen); n.wake() }
			}
		}
		list = append(list, publishFault{"http " + string(m), with(func(n *agentNode) *gate { return n.publishOverHTTP("").gate }), "PublishFailed", message, false},
			publishFault{"ssh " + string(m), with(func(n *agentNode) *gate { return n.publishOverSSH().gate }), "PublishFailed", message, false})
	}
	return list
}

// publishOverHTTP makes the node publish over http, and follow its repository by its path.
func (n *agentNode) publishOverHTTP(auth string) *httpServer {
	n.Helper()
	s := n.overHTTP()
	n.config += fmt.Sprintf("publish: {url: 'http://%s/nodes.git'%s}\n", s.gate.addr, auth)
	n.url = n.path("repo.git")
	return s
}

// publishOverSSH does the same over ssh.
func (n *agentNode) publishOverSSH() *sshServer {
	n.Helper()
	s := n.overSSH()
	n.config = fmt.Sprintf("publish: {url: 'ssh://root@%s%s', %s}\n", s.gate.addr, n.path("nodes.git"), strings.TrimSpace(n.config))
	n.url = n.path("repo.git")
	return s
}

func hookRefuses(n *agentNode) (begin, mend func()) {
	n.publishOverHTTP("")
	hook := n.path("nodes.git/hooks/pre-receive")
	return func() {
			n.check(errors.Join(os.MkdirAll(n.path("nodes.git/hooks"), 0o755), os.WriteFile(hook, []byte("#!/bin/sh\necho no room for nodes >&2\nexit 1\n"), 0o755)))
		}, func() {
			n.check(os.Remove(hook)) // the agent tries again by itself
		}
}

func publish500(n *agentNode) (begin, mend func()) {
	s := n.publishOverHTTP("")
	return func() { s.with(func(s *httpServer) { s.broken = true }) }, func() { s.with(func(s *httpServer) { s.broken = false }); n.wake() }
}

// publishTokenExpires: the agent watches the file of the token.
func publishTokenExpires(n *agentNode) (begin, mend func()) {
	s := n.publishOverHTTP(", http: {tokenFile: " + n.write("token", "first\n") + "}")
	s.token = "first"
	return func() { s.with(func(s *httpServer) { s.token = "second" }) },
		func() { n.write("token.new", "second\n"); n.check(os.Rename(n.path("token.new"), n.path("token"))) }
}

func publishKeyRemoved(n *agentNode) (begin, mend func()) {
	n.publishOverSSH()
	keys, err := os.ReadFile(n.path("ssh/authorized_keys"))
	n.check(err)
	return func() { n.write("ssh/authorized_keys", "") }, func() { n.write("ssh/authorized_keys", string(keys)); n.wake() }
}

func publishHostKeyChanges(n *agentNode) (begin, mend func()) {
	s := n.publishOverSSH()
	return func() { s.show("b") }, func() { s.show("a"); n.wake() }
}

// branchTaken: what is on the branch stays there until a person deletes it.
func branchTaken(n *agentNode) (begin, mend func()) {
	n.config += "publish: {url: " + n.path("nodes.git") + "}\n"
	return func() {
			text := "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\nx\n\nNfsync-Node: hn-2\nNfsync-Machine: other\nNfsync-Snapshot: snapshot.json\n"
			n.gitInput("", "-C", n.path("nodes.git"), "mktree")
			commit := n.gitInput(text, "-C", n.path("nodes.git"), "hash-object", "-t", "commit", "-w", "--stdin")
			n.git("-C", n.path("nodes.git"), "update-ref", "refs/heads/nodes/hn-1", commit)
		}, func() {
			n.git("-C", n.path("nodes.git"), "branch", "-D", "nodes/hn-1")
			n.wake()
		}
}

func publishFullDisk(n *agentNode) (begin, mend func()) {
	n.config += "publish: {url: " + n.path("nodes.git") + "}\n"
	n.smallDisk()
	return func() { _ = os.WriteFile(n.path("state/core"), make([]byte, 8<<20), 0o600) }, func() { n.check(os.Remove(n.path("state/core"))); n.wake() }
}

// TestPublishKilled kills the agent while the server takes a push. Whether the server has taken it or not,
// the next agent goes on with the branch.
func TestPublishKilled(t *testing.T) {
	t.Parallel()
	n := newAgentNode(t)
	n.git("init", "-q", "--bare", "-b", "main", n.path("nodes.git"))
	n.git("-C", n.path("nodes.git"), "config", "http.receivepack", "true")
	n.publishOverHTTP("")
	n.commit(udpPolicy(41))
	n.start()
	n.awaitPublished(nf.ConditionTrue, "Published", "nodes/hn-1")
	marker := n.path("pushing")
	n.check(errors.Join(os.MkdirAll(n.path("nodes.git/hooks"), 0o755),
		os.WriteFile(n.path("nodes.git/hooks/pre-receive"), []byte("#!/bin/sh\n: >"+marker+"\nsleep 0.5\n"), 0o755)))
	for i := range 3 {
		name := fmt.Sprintf("web-%d", i)
		_ = os.Remove(marker)
		n.add(name)
		n.wake()
		n.await("the push has begun", func() bool { _, err := os.Stat(marker); return err == nil })
		n.kill()
		n.run(append([]string{"agent", "--config", n.path("etc/agent.yaml")}, n.flagsOf()...)...)
		n.awaitPublishedContainer(name)
		n.awaitPublished(nf.ConditionTrue, "Published", "nodes/hn-1")
	}
	if count := n.gitInput("", "-C", n.path("nodes.git"), "rev-list", "--count", "nodes/hn-1"); count != "1" {
		n.fail("the branch has %s commits", count)
	}
}

// TestPublishStops: an agent that is stopped does not wait for a server that hangs.
func TestPublishStops(t *testing.T) {
	t.Parallel()
	n := newAgentNode(t)
	n.git("init", "-q", "--bare", "-b", "main", n.path("nodes.git"))
	s := n.publishOverHTTP("")
	s.gate.set(gateSilent)
	n.commit(udpPolicy(41))
	n.configure()
	n.configureWith("timeout: "+sourceTimeout.String(), "timeout: 60s")
	n.runConfigured()
	n.awaitReady(n.tip)
	began := time.Now()
	if state := n.stop(syscall.SIGTERM); !state.Success() || time.Since(began) > 5*time.Second {
		n.fail("it ended with %s after %s", state, time.Since(began))
	}
}
