package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// sizes are the sizes of the scenes, and how often what is quick is run.
type sizes struct {
	quick      bool
	rounds     int   // fewer with more namespaces than slowest
	namespaces []int // ascending
	slowest    int   // the most namespaces for loops that start programs in each
	slowRounds int   // of these loops at that size
	ansible    int   // namespaces for ansible; 0: it is left out
	files      []int // policy files
	resolve    int   // policies, and containers
	snapshots  []int // containers
	fleet      int   // nodes
	woken      int   // nodes that a document wakes
	statuses   int   // that are put and read
	shots      int   // snapshots that are put and read
	vz         int   // containers of Virtuozzo
}

// The sizes of a run.
var (
	full = sizes{rounds: 9, namespaces: []int{1, 100, 1000, 5000}, slowest: 1000, slowRounds: 3, ansible: 100,
		files: []int{10, 1000, 10_000}, resolve: 10_000, snapshots: []int{10_000, 20_000}, fleet: 1000, woken: 10_000, statuses: 100_000, shots: 10_000, vz: 1000}
	quick = sizes{quick: true, rounds: 3, namespaces: []int{1, 100, 1000}, slowest: 1000, slowRounds: 1,
		files: []int{10, 1000}, resolve: 10_000, snapshots: []int{10_000, 20_000}, fleet: 100, woken: 1000, statuses: 10_000, shots: 1000, vz: 100}
	smoke = sizes{quick: true, rounds: 1, namespaces: []int{1, 3}, slowest: 1000, slowRounds: 1,
		files: []int{3}, resolve: 3, snapshots: []int{3, 6}, fleet: 2, woken: 5, statuses: 10, shots: 5, vz: 2}
)

// bench is one run of the program, inside its namespaces.
type bench struct {
	sizes
	ctx    context.Context
	nfsync string
	self   string
	work   string // a directory on disk
	env    []string
	log    io.Writer
	began  time.Time
	load   string // of the machine, before
	tables []*table

	count int // of the namespaces that exist
	value int // of keys[0] in each of them
}

func newBench(ctx context.Context, nfsync, work string, s sizes) (*bench, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	home := filepath.Join(scenes, "home")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return nil, err
	}
	return &bench{sizes: s, ctx: ctx, nfsync: nfsync, self: self, work: work, log: os.Stderr, began: time.Now(), load: loadAverage(),
		env: []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "HOME=" + home, "TMPDIR=" + scenes, "LC_ALL=C.UTF-8",
			"GIT_CONFIG_NOSYSTEM=1", "ANSIBLE_NOCOLOR=1"}}, nil
}

// run asks all questions. Those that need many namespaces come last: removing these takes the
// kernel a while.
func (b *bench) run() error {
	apply, scan, drift := b.newApply(), b.newScan(), b.newDrift()
	for _, ask := range []func() error{b.askStart, b.askHost, b.askParse, b.askFetch, b.askResolve, b.askSnapshots, b.askFleet, b.askTalk} {
		if err := ask(); err != nil {
			return err
		}
	}
	for _, n := range b.namespaces {
		if err := b.grow(n); err != nil {
			return err
		}
		for _, ask := range []func(int) error{apply.ask, scan.ask, drift.ask} {
			if err := ask(n); err != nil {
				return err
			}
		}
	}
	return b.askVirtuozzo()
}

// table adds a table to the page.
func (b *bench) table(question, about string) *table {
	t := &table{question: question, about: about}
	b.tables = append(b.tables, t)
	return t
}

// begin says which question is asked now.
func (b *bench) begin(t *table, scene string) { b.say("%s %s", t.question, scene) }

// say prints a line about the progress.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.log, "%5.0f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

// flags are those of nfsync for the node of the scenes.
func (b *bench) flags() []string {
	return []string{"--config", "none", "--node", nodeName, "--node-netns", nodeFile, "--netns-dir", netnsDir,
		"--state-dir", filepath.Join(b.work, "state"), "--run-dir", filepath.Join(scenes, "lock"), "--runtime", "netns"}
}

// onNode is a command line of nfsync for that node.
func (b *bench) onNode(args ...string) command {
	return command{args: append(append([]string{b.nfsync}, args...), b.flags()...)}
}

// plain is a command line of nfsync that looks at no node.
func (b *bench) plain(args ...string) command {
	return command{args: append(append([]string{b.nfsync}, args...), "--config", "none", "--state-dir", filepath.Join(b.work, "state"))}
}

// floor is a command line of a floor.
func (b *bench) floor(args ...string) command {
	return command{args: append([]string{filepath.Join(b.work, floorFile)}, args...), own: true}
}

// part is a command line of a part of nfsync.
func (b *bench) part(args ...string) command {
	return command{args: append([]string{b.self, partVerb}, args...), own: true}
}

// shell is a command line of sh(1).
func shell(script string) command { return command{args: []string{"sh", "-ec", script}} }
