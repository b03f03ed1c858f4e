package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/netns"
)

// snapshotParts returns the snapshot of a node with one container, made by nfsync, as the text
// before its container, the container, and the text after it. facts is the most facts that the
// container has; 0: all.
func (b *bench) snapshotParts(facts int) (before, container, after string, err error) {
	dir := filepath.Join(scenes, "template")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", "", err
	}
	namespace := filepath.Join(dir, placeholder)
	if _, err := os.Stat(namespace); errors.Is(err, os.ErrNotExist) {
		if err := netns.Create(namespace); err != nil {
			return "", "", "", err
		}
	}
	cmd := b.command(command{args: []string{b.nfsync, "snapshot", "-o", "json", "--config", "none", "--node", nodeName, "--node-netns", nodeFile,
		"--netns-dir", dir, "--state-dir", filepath.Join(b.work, "none"), "--runtime", "netns"}})
	text, err := cmd.Output()
	if err != nil {
		return "", "", "", fmt.Errorf("nfsync snapshot: %w", err)
	}
	var s map[string]json.RawMessage
	if err := json.Unmarshal(text, &s); err != nil {
		return "", "", "", err
	}
	var containers []map[string]json.RawMessage
	if err := json.Unmarshal(s["containers"], &containers); err != nil {
		return "", "", "", err
	}
	if len(containers) != 1 {
		return "", "", "", fmt.Errorf("the snapshot has %d containers, not 1", len(containers))
	}
	if facts > 0 {
		if containers[0]["facts"], err = firstFacts(containers[0]["facts"], facts); err != nil {
			return "", "", "", err
		}
	}
	if containers[0]["instance"], err = json.Marshal("instance-" + placeholder); err != nil {
		return "", "", "", err
	}
	one, err := json.Marshal(containers[0])
	if err != nil {
		return "", "", "", err
	}
	s["containers"] = json.RawMessage(`["` + placeholder + `"]`)
	rest, err := json.Marshal(s)
	if err != nil {
		return "", "", "", err
	}
	before, after, _ = strings.Cut(string(rest), `"`+placeholder+`"`)
	return before, string(one), after, nil
}

// placeholder is the name of the container that the others are made from.
const placeholder = "CONTAINER"

// firstFacts returns the facts of the first keys that the policies are about.
func firstFacts(all json.RawMessage, n int) (json.RawMessage, error) {
	var facts []map[string]any
	if err := json.Unmarshal(all, &facts); err != nil {
		return nil, err
	}
	facts = slices.DeleteFunc(facts, func(f map[string]any) bool {
		return !slices.ContainsFunc(keyNames[:n], func(name string) bool { return f["key"] == "conntrack.timeouts."+name })
	})
	if len(facts) != n {
		return nil, fmt.Errorf("the snapshot has %d of %d keys", len(facts), n)
	}
	return json.Marshal(facts)
}

// writeSnapshot writes the snapshot of a node with many containers, and returns the file.
func (b *bench) writeSnapshot(name string, containers, facts int, prefix string) (string, error) {
	before, container, after, err := b.snapshotParts(facts)
	if err != nil {
		return "", err
	}
	path := filepath.Join(scenes, name)
	return path, writeContainers(path, before, container, after, containers, prefix)
}

// writeContainers writes a snapshot piece by piece, so that this program stays small.
func writeContainers(path, before, container, after string, n int, prefix string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	if _, err := w.WriteString(before); err != nil {
		return err
	}
	for i := range n {
		if i > 0 {
			if _, err := w.WriteString(","); err != nil {
				return err
			}
		}
		if _, err := strings.NewReplacer(placeholder, fmt.Sprintf("%s%05d", prefix, i+1)).WriteString(w, container); err != nil {
			return err
		}
	}
	if _, err := w.WriteString(after); err != nil {
		return err
	}
	return errors.Join(w.Flush(), f.Close())
}

// askSnapshots measures plans for nodes that are not here.
func (b *bench) askSnapshots() error {
	t := b.table("How long does a plan from a snapshot take?",
		"The plan changes four keys of each container. The snapshot is JSON, with the facts of these keys alone or with all that nfsync publishes.\nPlanning alone is from facts in memory, measured in a process that has read them.")
	policies, err := writePolicy("snapshot-policy", 7200, 46, 181, 301)
	if err != nil {
		return err
	}
	rows := map[int]*row{}
	for _, n := range b.snapshots {
		b.begin(t, count(n, "container", "containers"))
		scene := count(n, "container", "containers") + ", "
		snapshot, err := b.writeSnapshot("snapshot.json", n, len(keys), "c")
		if err != nil {
			return err
		}
		whole := t.add(row{what: "`nfsync plan --snapshot`", scene: scene + "4 keys"})
		whole.base = whole
		rows[n] = whole
		planning := t.add(row{what: "planning alone", scene: scene + "4 keys", base: whole})
		err = b.measure(b.rounds, runner{row: whole, run: b.program(b.plain("plan", policies, "--snapshot", snapshot))},
			runner{row: &row{what: "(reading and planning)", scene: scene}, own: planning, run: b.program(b.part("plan", policies, snapshot))})
		if err != nil {
			return err
		}
		if n == 10_000 {
			whole.aimUnder(400 * time.Millisecond)
			whole.aimMemory(100)
			planning.aimCPU(100 * time.Millisecond)
		}
		if small := rows[n/2]; small != nil {
			whole.aimWithin(small, 2.2, "half as many")
		}
	}
	if b.quick {
		return nil
	}
	return b.askFullSnapshot(t, policies)
}

// askFullSnapshot measures a plan from a snapshot as a node publishes it.
func (b *bench) askFullSnapshot(t *table, policies string) error {
	n := b.snapshots[0]
	snapshot, err := b.writeSnapshot("snapshot.json", n, 0, "c")
	if err != nil {
		return err
	}
	whole := t.add(row{what: "`nfsync plan --snapshot`", scene: count(n, "container", "containers") + ", all keys"})
	return b.measure(b.rounds, runner{row: whole, run: b.program(b.plain("plan", policies, "--snapshot", snapshot))})
}

// askResolve measures many policies for many containers.
func (b *bench) askResolve() error {
	n := b.resolve
	t := b.table("How long does it take to resolve many policies for many containers?",
		"A plan from a snapshot with as many containers as there are policies, whole process: files of 100 policies each are parsed, and the plan changes\none key of each container. Each policy selects one container, by its name or by a pattern. In the last scene every pattern begins alike.")
	b.begin(t, count(n, "policy", "policies"))
	snapshot, err := b.writeSnapshot("resolve.json", n, 1, "c")
	if err != nil {
		return err
	}
	for _, selector := range []struct{ name, format string }{{"names", "c%05d"}, {"patterns", "c%05d*"}, {"patterns that begin alike", "*%05d"}} {
		files := map[string]string{}
		for i := range n {
			files[fmt.Sprintf("%03d.yaml", i/100)] += fmt.Sprintf("---\napiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata: {name: p%05d}\nspec: {containers: {names: [%q]}, conntrack: {timeouts: {tcpEstablished: 2h}}}\n",
				i+1, fmt.Sprintf(selector.format, i+1))
		}
		dir, err := writeFiles("resolve", files)
		if err != nil {
			return err
		}
		r := t.add(row{what: "`nfsync plan --snapshot`", scene: thousands(n) + " × " + thousands(n) + ", " + selector.name})
		if err := b.measure(b.rounds, runner{row: r, run: b.program(b.plain("plan", dir, "--snapshot", snapshot))}); err != nil {
			return err
		}
		r.aimUnder(time.Second)
	}
	return nil
}

// askFleet measures the plan of many nodes.
func (b *bench) askFleet() error {
	const containers = 50
	t := b.table("How long does the plan of a fleet take?",
		"The plan changes four keys of each container, from the snapshots that the nodes have published, with all their keys.")
	b.begin(t, count(b.fleet, "node", "nodes"))
	before, container, after, err := b.snapshotParts(0)
	if err != nil {
		return err
	}
	dir, err := writeFiles("fleet", nil)
	if err != nil {
		return err
	}
	for i := range b.fleet {
		name := strings.ReplaceAll(before, nodeName, fmt.Sprintf("hn-%05d", i+1))
		rest := strings.ReplaceAll(after, nodeName, fmt.Sprintf("hn-%05d", i+1))
		if err := writeContainers(filepath.Join(dir, fmt.Sprintf("%05d.json", i+1)), name, container, rest, containers, "c"); err != nil {
			return err
		}
	}
	defer func() { _ = os.RemoveAll(dir) }()
	policies, err := writePolicy("snapshot-policy", 7200, 46, 181, 301)
	if err != nil {
		return err
	}
	r := t.add(row{what: "`nfsync plan --snapshot DIRECTORY`", scene: count(b.fleet, "node", "nodes") + " of 50 containers"})
	if err := b.measure(min(b.rounds, 3), runner{row: r, run: b.program(b.plain("plan", policies, "--snapshot", dir))}); err != nil {
		return err
	}
	if b.fleet == 1000 {
		r.aimUnder(5 * time.Second)
		r.aimMemory(300)
	}
	return nil
}
