package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"nfsync.dev/nfsync/internal/engine"
	"nfsync.dev/nfsync/internal/nf"
)

// talkAddress is where the servers of fleets listen, one after the other.
const talkAddress = "127.0.0.1:4222"

// The members of a fleet that talk.
const (
	talkNode   = "hn-000001"
	talkReader = "ci"
)

// askTalk measures how the members of a fleet talk through its server.
func (b *bench) askTalk() error {
	t := b.table("How long does it take a fleet to talk?",
		`One server with the accounts and the streams of a fleet, as `+"`nfsync-coordinator serve`"+` runs it, in a process of its own, and its clients in another one on the same
machine. The CPU is that of the clients, the memory that of the server. *Woken* is the time from a roll-out document that is put until the last of the nodes has heard of it, each on a
connection of its own. Statuses and snapshots are put by 100 clients at the same time, each waiting for its acknowledgement, and read in batches, as coordinators and
readers do. A status has 0.7 KB; a snapshot is of 50 containers with all their keys, and was compressed before.`)
	if _, err := b.start(command{args: []string{"ip", "link", "set", "lo", "up"}}); err != nil {
		return err
	}
	shot, err := b.talkSnapshot()
	if err != nil {
		return err
	}
	for _, q := range []struct {
		n            int
		thing        string
		parts, whats []string // that are measured in turn, and their rows
	}{
		{b.woken, "node", []string{"wake"}, []string{"woken, the last one"}},
		{b.statuses, "status", []string{"put-statuses", "read-statuses"}, []string{"put", "read, as the coordinator does"}},
		{b.shots, "snapshot", []string{"put-snapshots", "read-snapshots"}, []string{"put", "read, as `plan --nodes-from` does"}},
	} {
		scene := count(q.n, q.thing, plurals[q.thing])
		b.begin(t, scene)
		var rows []*row
		for _, what := range q.whats {
			rows = append(rows, t.add(row{what: what, scene: scene}))
		}
		if err := b.talk(q.n, shot, q.parts, rows); err != nil {
			return fmt.Errorf("%s: %w", scene, err)
		}
	}
	return nil
}

var plurals = map[string]string{"node": "nodes", "status": "statuses", "snapshot": "snapshots"}

// talkSnapshot writes the snapshot that nodes put, and returns its path.
func (b *bench) talkSnapshot() (string, error) {
	before, container, after, err := b.snapshotParts(0)
	if err != nil {
		return "", err
	}
	dir, err := writeFiles("talk", nil)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "snapshot.json")
	return path, writeContainers(path, before, container, after, 50, "c")
}

// talk measures parts against a server of their own.
func (b *bench) talk(n int, shot string, parts []string, rows []*row) (err error) {
	dir := filepath.Join(b.work, "talk")
	if err := makeFleet(dir); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	server, err := b.startResident(b.part("serve-fleet", dir, strconv.Itoa(n)))
	if err != nil {
		return err
	}
	defer func() { _ = server.end() }() // it was not asked to do anything that could fail
	var runners []runner
	for i, part := range parts {
		client, err := b.startResident(b.part(part, dir, strconv.Itoa(n), shot))
		if err != nil {
			return err
		}
		defer func() { _ = client.end() }()
		runners = append(runners, runner{row: rows[i], run: func() (result, error) {
			r, err := client.check()
			if err == nil {
				r.whole.peak, err = peakMemory(strconv.Itoa(server.cmd.Process.Pid))
			}
			return r, err
		}})
	}
	return b.measure(min(b.rounds, 5), runners...)
}

// makeFleet makes the keys of a fleet, and the credentials of those who talk.
func makeFleet(dir string) error {
	d, _, err := engine.Init(dir)
	if err != nil {
		return err
	}
	for name, kind := range map[string]nf.CredentialKind{talkNode: nf.CredentialNode, talkReader: nf.CredentialReader} {
		text, err := d.Enroll(kind, name, 0, false)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name+".creds"), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// talkStart is the time that a server, or all clients, may take to be there.
const talkStart = 5 * time.Minute

// startServer starts the server of a fleet of so many nodes.
func startServer(dir string, nodes int) error {
	d, err := engine.Open(dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), talkStart)
	defer cancel()
	_, err = engine.Start(ctx, d, engine.Options{Listen: engine.Listen{Address: talkAddress}, Nodes: nodes})
	return err
}
