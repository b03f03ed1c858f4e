package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
)

// agentNode is a node with an agent, the repository that it follows, and containers. Its agent
// is a process of its own, so that tests can wait side by side.
type agentNode struct {
	testing.TB
	dir     string
	url     string   // of the repository
	config  string   // more lines of the configuration, below source and beside it
	flags   []string // more flags of the agent
	env     []string // more environment of it
	program string   // that runs as the agent
	tip     string   // the last commit

	agent *exec.Cmd // nil: none runs
	ended chan error
}

// newAgentNode makes a node that follows a repository by its path, and has no container.
func newAgentNode(t testing.TB) *agentNode {
	t.Helper()
	dir, err := os.MkdirTemp("", "nfs") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	n := &agentNode{TB: t, dir: dir, program: "nfsync"}
	t.Cleanup(func() {
		n.kill()
		n.check(os.RemoveAll(dir))
	})
	n.check(os.Mkdir(n.path("netns"), 0o755))
	n.check(netns.Create(n.path("node")))
	t.Cleanup(func() { _ = unix.Unmount(n.path("node"), unix.MNT_DETACH) })
	n.url = n.path("repo.git")
	n.git("init", "-q", "--bare", "-b", "main", n.url)
	return n
}

func (n *agentNode) path(name string) string { return filepath.Join(n.dir, name) }

func (n *agentNode) check(err error) {
	n.Helper()
	if err != nil {
		n.Fatal(err)
	}
}

func (n *agentNode) write(name, text string) string {
	n.Helper()
	n.check(os.WriteFile(n.path(name), []byte(text), 0o600))
	return n.path(name)
}

// git runs git with an input, without the configuration of this machine.
func (n *agentNode) git(args ...string) { n.Helper(); n.gitInput("", args...) }

func (n *agentNode) gitInput(in string, args ...string) string {
	n.Helper()
	cmd := exec.Command("git", args...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org")
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.CombinedOutput()
	if err != nil {
		n.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// add makes containers.
func (n *agentNode) add(names ...string) {
	n.Helper()
	for _, name := range names {
		path := n.path("netns/" + name)
		n.check(netns.Create(path))
		n.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	}
}

// remove removes a container.
func (n *agentNode) remove(name string) {
	n.Helper()
	path := n.path("netns/" + name)
	n.check(errors.Join(unix.Unmount(path, unix.MNT_DETACH), os.Remove(path)))
}

// udpPolicy is a policy that gives all containers a timeout.
func udpPolicy(seconds int) string {
	return fmt.Sprintf("apiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata: {name: web}\nspec:\n  conntrack:\n    timeouts: {udp: %d}\n", seconds)
}

// commit commits a policy and returns the commit.
func (n *agentNode) commit(policy string) string { n.Helper(); return n.commits("main", policy, 1) }

// rewrite commits a policy to a branch that has no other commit.
func (n *agentNode) rewrite(policy string) string { n.Helper(); return n.commits("", policy, 1) }

// commits adds that many commits of a policy to the branch main, after those of another one.
func (n *agentNode) commits(after, policy string, count int) string {
	n.Helper()
	var in strings.Builder
	for i := range count {
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter Ada <ada@example.org> %d +0000\ndata 1\nx\n", time.Now().Unix())
		if i == 0 && after != "" && n.tip != "" {
			in.WriteString("from refs/heads/" + after + "^0\n")
		}
		fmt.Fprintf(&in, "M 100644 inline web.yaml\ndata %d\n%s\n", len(policy), policy)
	}
	n.gitInput(in.String(), "-C", n.path("repo.git"), "fast-import", "--quiet", "--force")
	return n.readTip()
}

func (n *agentNode) readTip() string {
	n.Helper()
	text, err := os.ReadFile(n.path("repo.git/refs/heads/main"))
	n.check(err)
	n.tip = strings.TrimSpace(string(text))
	return n.tip
}

// sourceTimeout is source.timeout of the agents here: a lap, or a publication, that waits for a silent server
// takes as long. On a busy machine a fetch takes seconds too.
const sourceTimeout = 6 * time.Second

// stoppedInTime is what is said of a server that is silent or slow.
var stoppedInTime = fmt.Sprintf("stopped after %s", sourceTimeout)

// configure writes the configuration of the agent.
func (n *agentNode) configure() { n.Helper(); n.configureWith("", "") }

// configureWith writes it with one text in place of another.
func (n *agentNode) configureWith(old, text string) {
	n.Helper()
	n.check(os.MkdirAll(n.path("etc"), 0o700))
	config := "apiVersion: nfsync.dev/v1alpha1\nkind: AgentConfig\nlisten: none\ndrift: {interval: 1s}\nsource:\n  urls: [" + n.url +
		"]\n  branch: main\n  interval: 1s\n  timeout: " + sourceTimeout.String() + "\n" + n.config
	n.write("etc/new", strings.Replace(config, old, text, 1))
	n.check(os.Rename(n.path("etc/new"), n.path("etc/agent.yaml")))
}

// flagsOf are the flags that name the node to any verb.
func (n *agentNode) flagsOf() []string {
	return []string{"--node", "hn-1", "--node-netns", n.path("node"), "--netns-dir", n.path("netns"), "--state-dir", n.path("state"), "--run-dir", n.path("run")}
}

// start configures and starts the agent.
func (n *agentNode) start() {
	n.Helper()
	n.configure()
	n.runConfigured()
}

// runConfigured starts the agent with the configuration that is there.
func (n *agentNode) runConfigured() {
	n.Helper()
	n.run(append(append([]string{"agent", "--config", n.path("etc/agent.yaml")}, n.flagsOf()...), n.flags...)...)
}

// run starts the agent with these arguments. What it says is added to the file log.
func (n *agentNode) run(args ...string) {
	n.Helper()
	log, err := os.OpenFile(n.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	n.check(err)
	defer log.Close()
	n.agent = exec.Command(n.program, args...)
	n.agent.Stdout, n.agent.Stderr = log, log
	n.agent.Env = append(append(os.Environ(), "http_proxy=", "HTTP_PROXY=", "ALL_PROXY="), n.env...)
	n.check(n.agent.Start())
	n.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan error) { ended <- cmd.Wait() }(n.agent, n.ended)
}

// wake makes the agent fetch now.
func (n *agentNode) wake() { n.Helper(); n.check(n.agent.Process.Signal(syscall.SIGHUP)) }

// kill kills the agent, if it runs, and waits for its end.
func (n *agentNode) kill() {
	if n.agent != nil {
		_ = n.agent.Process.Kill()
		<-n.ended
		n.agent = nil
	}
}

// stop sends the agent a signal, waits for its end and returns how it ended.
func (n *agentNode) stop(s syscall.Signal) *os.ProcessState {
	n.Helper()
	n.check(n.agent.Process.Signal(s))
	select {
	case <-n.ended:
	case <-time.After(patience):
		n.fail("the agent does not end")
	}
	state := n.agent.ProcessState
	n.agent = nil
	return state
}

// verb runs a verb on the node, and returns its exit code and output.
func (n *agentNode) verb(args ...string) (int, string) {
	n.Helper()
	cmd := exec.Command("nfsync", append(args, n.flagsOf()...)...)
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		n.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// status returns what status.json says; an empty status if there is none.
func (n *agentNode) status() *nf.NodeStatus {
	n.Helper()
	s := &nf.NodeStatus{}
	text, err := os.ReadFile(n.path("run/status.json"))
	if errors.Is(err, os.ErrNotExist) {
		return s
	}
	n.check(err)
	n.check(json.Unmarshal(text, s))
	return s
}

// fail ends the test with the status and the log of the agent.
func (n *agentNode) fail(format string, args ...any) {
	n.Helper()
	status, _ := os.ReadFile(n.path("run/status.json"))
	log, _ := os.ReadFile(n.path("log"))
	n.Fatalf("%s\nstatus: %s\nlog: %s", fmt.Sprintf(format, args...), status, log[max(0, len(log)-4000):])
}

// await waits until a condition holds.
func (n *agentNode) await(what string, holds func() bool) {
	n.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * patience); !holds(); <-tick.C {
		if time.Now().After(end) {
			n.fail("%s: not within %s", what, 2*patience)
		}
	}
}

// awaitCondition waits until a condition of the status holds, with that reason and a message
// that matches.
func (n *agentNode) awaitCondition(t nf.ConditionType, reason, message string) {
	n.Helper()
	want := regexp.MustCompile(message)
	n.await(fmt.Sprintf("%s %s %q", t, reason, message), func() bool {
		c := n.status().Condition(t)
		return c.Status == nf.ConditionTrue && c.Reason == reason && want.MatchString(c.Message)
	})
}

// awaitReady waits until a commit is in force without an error.
func (n *agentNode) awaitReady(commit string) {
	n.Helper()
	n.await("ready with "+commit, func() bool {
		s := n.status()
		return s.Revision != nil && s.Revision.Commit == commit && s.Condition(nf.Ready).Status == nf.ConditionTrue
	})
}

const icmpTimeout = "/proc/sys/net/netfilter/nf_conntrack_icmp_timeout"

// timeout returns the content of a file of a container.
func (n *agentNode) timeout(container, file string) string {
	n.Helper()
	var text []byte
	n.check(netns.Enter(n.path("netns/"+container), func() (err error) {
		text, err = os.ReadFile(file)
		return err
	}))
	return string(bytes.TrimSpace(text))
}

// udp returns the timeout of a container for udp.
func (n *agentNode) udp(container string) string { n.Helper(); return n.timeout(container, udpTimeout) }

// setUDP changes it as another program does.
func (n *agentNode) setUDP(container string, seconds int) {
	n.Helper()
	n.check(netns.Enter(n.path("netns/"+container), func() error {
		return os.WriteFile(udpTimeout, fmt.Append(nil, seconds), 0o644)
	}))
}

// awaitUDP waits until a container has a timeout.
func (n *agentNode) awaitUDP(container string, seconds int) {
	n.Helper()
	n.await(fmt.Sprintf("%s has %d", container, seconds), func() bool { return n.udp(container) == fmt.Sprint(seconds) })
}
