package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// driftQuestion is how long a running agent takes to look again.
type driftQuestion struct {
	*bench
	table *table
}

func (b *bench) newDrift() *driftQuestion {
	return &driftQuestion{b, b.table("How long does a running process take to look for drift?",
		`A process that has looked at all namespaces looks again at four keys of each; nothing has changed. nfsync's agent reads the values
through files that it keeps open; in a lap it also lists the namespaces anew, and reads what the node has itself. The bare loop holds the sysctls of all namespaces open, and does one pread of each, from its own namespace. Dentries are not dropped. A scene is
left out where the machine allows a process fewer open files than the loop holds.`)}
}

func (q *driftQuestion) ask(n int) error {
	if n == 1 {
		return nil
	}
	q.begin(q.table, count(n, "namespace", "namespaces"))
	if enough, err := mayOpen(n * len(keys)); err != nil || !enough {
		return err
	}
	policies, err := writePolicy("drift", append([]int{q.value}, otherValues...)...)
	if err != nil {
		return err
	}
	observer, err := q.startResident(q.part("recheck", policies))
	if err != nil {
		return err
	}
	whole, err := q.startResident(q.part("look", policies))
	if err != nil {
		return err
	}
	holder, err := q.startResident(q.floor(append([]string{"hold", netnsDir}, keys...)...))
	if err != nil {
		return err
	}
	scene := count(n, "namespace", "namespaces") + ", " + count(len(keys), "key", "keys")
	nfsync := q.table.add(row{what: "nfsync, the values", scene: scene})
	nfsync.base = nfsync
	lap := q.table.add(row{what: "nfsync, all that a lap observes", scene: scene, base: nfsync})
	bare := q.table.add(row{what: "bare loop over open files", scene: scene, base: nfsync})
	if err := q.measure(3*q.rounds, runner{row: nfsync, run: observer.check}, runner{row: lap, run: whole.check}, runner{row: bare, run: holder.check}); err != nil {
		return err
	}
	if n == 1000 {
		nfsync.aimWithin(bare, 1.5, "the bare loop")
	}
	for _, r := range []*resident{observer, whole, holder} {
		if err := r.end(); err != nil {
			return fmt.Errorf("a process that looks for drift: %w", err)
		}
	}
	return nil
}

// mayOpen reports whether a process may have that many open files, and some of its own. Go raises
// the limit to the most that is allowed.
func mayOpen(files int) (bool, error) {
	const ofItsOwn = 100
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	return limit.Max >= uint64(files+ofItsOwn), err
}
