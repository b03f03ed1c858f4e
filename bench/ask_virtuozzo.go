package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"nfsync.dev/nfsync/bench/bare"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/vz/vztest"
)

// simulation is what a simulated node needs of a test: it ends the node, and says what went wrong.
type simulation struct {
	testing.TB
	ends []func()
}

// Helper does nothing.
func (s *simulation) Helper() {}

// Cleanup remembers what ends the node.
func (s *simulation) Cleanup(f func()) { s.ends = append(s.ends, f) }

// Fatal ends the question.
func (s *simulation) Fatal(args ...any) { panic(errors.New(fmt.Sprint(args...))) }

// Fatalf ends the question.
func (s *simulation) Fatalf(format string, args ...any) { panic(fmt.Errorf(format, args...)) }

// Errorf says what a program has sent that it should not.
func (s *simulation) Errorf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (s *simulation) end() {
	for i := range s.ends {
		s.ends[len(s.ends)-1-i]()
	}
}

// askVirtuozzo measures a plan for containers of Virtuozzo.
func (b *bench) askVirtuozzo() error {
	t := b.table("How long does a plan take on a node of Virtuozzo?",
		"The node is simulated: its files, and real processes in network namespaces of their own for the containers. `prlctl` and `vzlist` are\nprograms that only ask the simulation, so that they are faster than Virtuozzo's. Every container has the saved level, the live level and the timeout that\nthe policy wants. The loops look for the same: the saved level from `vzlist`, once for all containers or once for each of them, and the timeout with `nsenter`\nand a shell's built-ins. The live level is in a file, which they read.")
	scene := count(b.vz, "container", "containers")
	b.begin(t, scene)
	s := &simulation{}
	defer s.end()
	if err := os.Setenv("TMPDIR", scenes); err != nil {
		return err
	}
	root, err := b.makeVirtuozzo(s)
	if err != nil {
		return err
	}
	debug.FreeOSMemory() // its programs are copies of this one
	policies, err := writeFiles("virtuozzo", map[string]string{"policy.yaml": fmt.Sprintf("apiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata: {name: all}\nspec: {level: stateful, conntrack: {timeouts: {tcpEstablished: %d}}}\n", firstValues[0])})
	if err != nil {
		return err
	}
	onVirtuozzo := func(args ...string) command {
		return command{args: append(append([]string{b.nfsync}, args...), "--config", "none", "--node", nodeName, "--node-netns", nodeFile,
			"--state-dir", filepath.Join(b.work, "virtuozzo"), "--run-dir", filepath.Join(scenes, "lock"), "--runtime", "vz", "--vz-root", root)}
	}
	if _, err := b.start(onVirtuozzo("apply", policies, "--yes")); err != nil {
		return err
	}
	nfsync := t.add(row{what: "`nfsync plan`", scene: scene})
	nfsync.base = nfsync
	add := func(what string) *row { return t.add(row{what: what, scene: scene, base: nfsync}) }
	look := fmt.Sprintf(`read mask <%[1]s/sys/fs/cgroup/ve/$ct/ve.iptables_mask; read pid <%[1]s/var/run/ve/$ct.init.pid || :; nsenter --net=/proc/$pid/ns/net sh -c 'read v <%s || :'`, root, bare.Sysctl(keys[0]))
	list := root + "/usr/sbin/vzlist -H -o "
	once := runner{row: add("loop, `vzlist` once"),
		run: b.program(shell(list + "ctid,netfilter | while read ct level; do " + look + "; done"))}
	often := runner{row: add("loop, `vzlist` for each container"), most: 1, // a minute
		run: b.program(shell("for ct in $(" + list + "ctid); do " + list + "netfilter $ct; " + look + "; done"))}
	return b.measure(b.rounds, runner{row: nfsync, run: b.program(onVirtuozzo("plan", policies, "--detailed-exitcode"))}, b.slow(b.vz, once), often)
}

// makeVirtuozzo makes the node, and returns its root.
func (b *bench) makeVirtuozzo(s *simulation) (root string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cannot simulate Virtuozzo: %v", p)
		}
	}()
	node := vztest.New(s)
	for i := range b.vz {
		if b.ctx.Err() != nil {
			return "", b.ctx.Err()
		}
		node.Add(vztest.Container{ID: fmt.Sprint(1001 + i), Saved: "stateful", State: nf.StateRunning})
	}
	return node.Root(), nil
}
