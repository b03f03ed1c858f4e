package main

import (
	"fmt"
	"strconv"

	"nfsync.dev/nfsync/bench/bare"
)

// applyQuestion is how long it takes to change a value in every namespace.
type applyQuestion struct {
	*bench
	table *table
	rows  map[string]*row // of nfsync, by scene
}

func (b *bench) newApply() *applyQuestion {
	return &applyQuestion{b, b.table("How long does it take to change one value in every namespace?",
		`Each run changes `+"`"+keys[0]+"`"+` in every namespace to the value that it does not have, and the values are read
back afterwards, outside the measured time. Each is a whole process. nfsync plans, writes its intents to disk, writes, reads back, and saves a
receipt; its state directory is on disk. The bare loop is one thread that opens the namespace's file, enters it, and does open, pread, pwrite,
pread. The loops of people read the value and write it: one starts `+"`nsenter`"+` with a shell whose built-ins do it (the `+"`read`"+`
of dash gets the first digit only), the other `+"`ip netns exec`"+` with sysctl(8) twice. *First* is with the kernel's dentries dropped before the run, *again* without: then those of all namespaces are in
/proc, since every program has been in each.`), map[string]*row{}}
}

func (q *applyQuestion) ask(n int) error {
	q.begin(q.table, count(n, "namespace", "namespaces"))
	for _, s := range []state{first, again} {
		if err := q.askIn(n, s); err != nil {
			return err
		}
	}
	return nil
}

func (q *applyQuestion) askIn(n int, s state) error {
	scene := s.scene(n)
	nfsync := q.table.add(row{what: "`nfsync apply`", scene: scene})
	nfsync.base = nfsync
	q.rows[scene] = nfsync
	bare := q.table.add(row{what: "bare loop in Go", scene: scene, base: nfsync})
	loop := q.table.add(row{what: "the same, without its start", scene: scene, base: nfsync})
	runners := []runner{
		q.setter(nfsync, s, q.nfsyncApply),
		q.setter(bare, s, func(value int) (command, error) {
			return q.floor("apply", netnsDir, keys[0], strconv.Itoa(value)), nil
		}),
	}
	runners[1].own = loop
	if n <= q.slowest {
		nsenter := q.table.add(row{what: "`nsenter` and a shell's built-ins", scene: scene, base: nfsync})
		ip := q.table.add(row{what: "`ip netns exec` loop", scene: scene, base: nfsync})
		runners = append(runners, q.slow(n, q.setter(nsenter, s, nsenterSet)))
		if !q.quick || n < q.slowest || s.name == again.name {
			runners = append(runners, q.slow(n, q.setter(ip, s, ipSet)))
		}
		defer q.aim(n, s, nsenter, ip)
	}
	if n == q.ansible && s.name == again.name {
		r, err := q.ansibleRunner(q.table.add(row{what: "`ansible-playbook`, ansible.posix.sysctl", scene: scene, base: nfsync}))
		if err != nil {
			return err
		}
		runners = append(runners, r)
	}
	return q.measure(q.roundsAt(n), runners...)
}

// roundsAt returns how often what is quick is run with that many namespaces.
func (b *bench) roundsAt(n int) int {
	const withMany = 3
	if n > b.slowest {
		return min(b.rounds, withMany)
	}
	return b.rounds
}

// slow bounds the runs of a loop that takes seconds.
func (b *bench) slow(n int, r runner) runner {
	if n >= b.slowest || b.quick {
		r.most = b.slowRounds
	}
	return r
}

// aim adds the targets, once all is measured.
func (q *applyQuestion) aim(n int, s state, nsenter, ip *row) {
	if n != 1000 {
		return
	}
	nfsync := q.rows[s.scene(n)]
	nfsync.aimFaster(ip, 150)
	nfsync.aimFaster(nsenter, 20)
	if small := q.rows[s.scene(100)]; small != nil {
		nfsync.aim(target{what: "times the cost a namespace at 100", limit: 1.5, unit: times,
			got: quotient(nfsync.wall()/float64(n), small.wall()/100)})
	}
}

// setter runs a command that sets the other value, and checks that it has.
func (b *bench) setter(r *row, s state, set func(value int) (command, error)) runner {
	return runner{row: r, before: s.before, after: b.verify, run: func() (result, error) {
		value := b.other()
		c, err := set(value)
		if err != nil {
			return result{}, err
		}
		b.value = value
		return b.start(c)
	}}
}

func (b *bench) nfsyncApply(value int) (command, error) {
	dir, err := writePolicy(fmt.Sprintf("apply-%d", value), value)
	return b.onNode("apply", dir, "--yes"), err
}

func nsenterSet(value int) (command, error) {
	return shell(fmt.Sprintf(`for ns in %s/*; do nsenter --net=$ns sh -c 'read v <%s; echo %d >%[2]s'; done`, netnsDir, bare.Sysctl(keys[0]), value)), nil
}

func ipSet(value int) (command, error) {
	key := "net.netfilter." + keys[0]
	return shell(fmt.Sprintf(`for ns in $(ls %s); do ip netns exec $ns sysctl -n %s; ip netns exec $ns sysctl -q -w %[2]s=%d; done`, netnsDir, key, value)), nil
}
