package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// misconfigured is a configuration that breaks while an agent runs.
type misconfigured struct {
	name            string
	spoil           func(n *agentNode)
	reason, message string
	condition       nf.ConditionType
	mend            func(n *agentNode)
}

// TestAgentReloads: with a broken configuration the agent goes on with the old one and says so. Once it
// is mended, the new one is in force.
func TestAgentReloads(t *testing.T) {
	t.Parallel()
	again := func(n *agentNode) { n.configure() }
	list := []misconfigured{
		{"syntax", adds("drift: {interval: 1s\n"), "InvalidConfiguration", `agent\.yaml:\d+:\d+: `, nf.Stalled, again},
		{"unknown key", adds("nonsense: 1\n"), "InvalidConfiguration", `agent\.yaml:10:1: unknown key "nonsense"`, nf.Stalled, again},
		{"empty", func(n *agentNode) { n.write("etc/agent.yaml", "") }, "InvalidConfiguration", `agent\.yaml`, nf.Stalled, again},
		{"removed", func(n *agentNode) { n.check(os.Remove(n.path("etc/agent.yaml"))) }, "InvalidConfiguration", `agent\.yaml: no such file`, nf.Stalled, again},
		{"directory removed", func(n *agentNode) { n.check(os.RemoveAll(n.path("etc"))) }, "InvalidConfiguration", `agent\.yaml: no such file`, nf.Stalled, again},
		{"a directory", func(n *agentNode) {
			n.check(errors.Join(os.Remove(n.path("etc/agent.yaml")), os.Mkdir(n.path("etc/agent.yaml"), 0o700)))
		}, "InvalidConfiguration", `agent\.yaml: is a directory`, nf.Stalled, func(n *agentNode) {
			n.check(os.Remove(n.path("etc/agent.yaml")))
			n.configure()
		}},
	}
	together(t, 4, list, func(m misconfigured) string { return m.name }, func(t *testing.T, m misconfigured) {
		n := newAgentNode(t)
		n.add("web")
		n.commit(udpPolicy(41))
		n.start()
		n.awaitReady(n.tip)
		m.spoil(n)
		n.awaitCondition(m.condition, m.reason, m.message)
		// The old one still names the repository.
		n.commit(udpPolicy(42))
		n.awaitUDP("web", 42)
		n.setUDP("web", 77)
		n.awaitUDP("web", 42)
		n.awaitCondition(m.condition, m.reason, m.message)
		n.config = "mode: observe\n"
		m.mend(n)
		n.await("the new configuration is in force", func() bool {
			s := n.status()
			return s.Mode == "observe" && s.Condition(nf.Ready).Status == nf.ConditionTrue
		})
	})
}

// adds returns what adds lines to the configuration.
func adds(lines string) func(*agentNode) {
	return func(n *agentNode) {
		text, err := os.ReadFile(n.path("etc/agent.yaml"))
		n.check(err)
		n.write("etc/agent.yaml", string(text)+lines)
	}
}

// TestAgentReloadsSwap: the configuration is below a symbolic link that is swapped, as Kubernetes
// updates a mounted ConfigMap.
func TestAgentReloadsSwap(t *testing.T) {
	t.Parallel()
	n := newAgentNode(t)
	n.add("web")
	n.commit(udpPolicy(41))
	n.configure()
	swap := func(version, mode string) {
		dir := "etc/.." + version
		n.check(os.Mkdir(n.path(dir), 0o700))
		text, err := os.ReadFile(n.path("etc/agent.yaml"))
		n.check(err)
		text = []byte(strings.Replace(string(text), "mode: observe\n", "", 1))
		n.write(dir+"/agent.yaml", string(text)+mode)
		n.check(errors.Join(os.Symlink(".."+version, n.path("etc/..tmp")), os.Rename(n.path("etc/..tmp"), n.path("etc/..data"))))
	}
	swap("1", "")
	n.check(errors.Join(os.Remove(n.path("etc/agent.yaml")), os.Symlink("..data/agent.yaml", n.path("etc/agent.yaml"))))
	n.runConfigured()
	n.awaitReady(n.tip)
	for i, mode := range []string{"observe", "enforce", "observe"} {
		line := ""
		if mode == "observe" {
			line = "mode: observe\n"
		}
		swap(fmt.Sprint(2+i), line)
		n.check(os.RemoveAll(n.path(fmt.Sprint("etc/..", 1+i)))) // the old one goes, as there
		n.await("mode "+mode, func() bool { return n.status().Mode == mode })
	}
}

// TestAgentReloadsKeys: the files that a configuration names are missing, come, and are replaced.
func TestAgentReloadsKeys(t *testing.T) {
	t.Parallel()
	n := newAgentNode(t)
	n.add("web")
	s := n.overHTTP()
	s.token = "first"
	n.config = "  http: {tokenFile: " + n.path("token") + "}\n"
	old, next := n.keygen("old"), n.keygen("signer")
	n.write("signers", "ada@example.org "+old)
	n.commit(udpPolicy(41))
	n.start()
	n.awaitCondition(nf.Reconciling, "FetchFailed", `token: no such file`)
	n.write("token", "first\n")
	n.awaitReady(n.tip)

	// A signer that is not known, until its key is added.
	n.config += "verify: {mode: tip, allowedSigners: [" + n.path("signers") + "]}\n"
	good := n.tip
	n.commit(udpPolicy(42))
	n.sign()
	n.configure()
	n.awaitCondition(nf.Stalled, "NotTrusted", `signed`)
	if s := n.status(); s.Revision.Commit != good {
		n.fail("in force is %s", s.Revision.Commit)
	}
	n.write("signers.new", "ada@example.org "+next)
	n.check(os.Rename(n.path("signers.new"), n.path("signers")))
	n.awaitReady(n.tip)
	n.awaitUDP("web", 42)
}

// TestAgentHangup: SIGHUP makes an agent without a configuration file fetch.
func TestAgentHangup(t *testing.T) {
	if _, err := os.Stat(defaultConfig); err == nil {
		// The tests have mounts of their own.
		dir := filepath.Dir(defaultConfig)
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(dir, unix.MNT_DETACH)
	}
	for _, config := range [][]string{{"--config", "none"}, nil} {
		n := newAgentNode(t)
		n.add("web")
		n.commit(udpPolicy(41))
		n.run(append(append([]string{"agent", "--git", n.url, "--branch", "main"}, config...), n.flagsOf()...)...)
		n.awaitReady(n.tip)
		n.commit(udpPolicy(42))
		n.wake()
		n.awaitReady(n.tip)
		n.awaitUDP("web", 42)
		n.kill() // its listen address is that of the next one
	}
}
