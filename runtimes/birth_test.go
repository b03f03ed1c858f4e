//go:build runtimes

package runtimes_test

import (
	"os"
	"strings"
)

// birthValue is the value of udpTimeout that the agent of startAgent gives.
const birthValue = "41"

// startAgent starts an agent that gives each container of a runtime birthValue. It is the packages' unit,
// in its sandbox.
func (n *node) startAgent(runtime string) {
	n.t.Helper()
	n.Write("/srv/policies/all.yaml", policy("all", "{runtimes: ["+runtime+"]}", 41), 0o644)
	const unit = "/etc/systemd/system/nfsync.service"
	n.Copy("../packaging/systemd/nfsync.service", unit, 0o644)
	n.Copy("../packaging/systemd/sandbox.conf", unit+".d/50-sandbox.conf", 0o644)
	n.Write(unit+".d/60-test.conf", "[Service]\nExecStart=\nExecStart=/usr/bin/nfsync agent /srv/policies --config none --node-netns /proc/1/ns/net\n", 0o644)
	n.Write("/etc/nfsync/agent.yaml", "", 0o600) // the unit asks for it
	n.Must("systemctl", "daemon-reload")
	n.Must("systemctl", "start", "nfsync")
}

// hasBirthValue reports whether a process sees birthValue.
func (n *node) hasBirthValue(pid string) bool {
	n.t.Helper()
	return n.udpTimeoutOf(pid) == birthValue
}

// maxBirths bounds the containers of expectBirths. Of those of LXC, which start in some ten milliseconds,
// 2 of 5 see birthValue: the chance that none of so many does is one in a billion.
const maxBirths = 40

// expectBirths runs containers whose program reads udpTimeout as its first act, and reports how many have
// seen birthValue. The agent cannot always be in time, so that one must have: more than containers are run
// until one has.
func (n *node) expectBirths(network string, containers int, run func(i int) (seen string)) {
	n.t.Helper()
	ran, inTime := 0, 0
	for ; ran < containers || inTime == 0 && ran < maxBirths; ran++ {
		if run(ran) == birthValue {
			inTime++
		}
	}
	if n.t.Logf("%s: %d of %d programs have seen the value", network, inTime, ran); inTime == 0 {
		n.t.Errorf("%s: no program has seen the value", network)
	}
}

// copySeen is a program that writes what it sees of udpTimeout as its first act, to the root of its file
// system. The built-in read of a shell would see the first digit only: it reads byte by byte.
const copySeen = "/bin/cp " + udpTimeout + " /seen"

// seen returns what copySeen has written in a root file system, once it has.
func (n *node) seen(root string) (value string) {
	n.t.Helper()
	n.eventually("what is seen in "+root, func() bool {
		data, _ := os.ReadFile(n.Path(root + "/seen"))
		value = strings.TrimSpace(string(data))
		return value != ""
	})
	return value
}
