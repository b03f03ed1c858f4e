package main

import (
	"fmt"

	"nfsync.dev/nfsync/bench/bare"
)

// scanQuestion is how long it takes to find that nothing is to be changed.
type scanQuestion struct {
	*bench
	table *table
}

func (b *bench) newScan() *scanQuestion {
	return &scanQuestion{b, b.table("How long does a plan take when nothing is to be changed?",
		`Every namespace has the values that the policy wants, one key or four. The bare scan is the fastest that is known: two
threads, each with a private procfs that it renews after 32 namespaces. The plain scan is one thread and the shared /proc. Each program is
there twice: as a whole process, and as what it measures itself, without its start; for nfsync that is listing and observing, without
parsing, planning and printing. Rows without a start are compared with nfsync's without a start. *First* and *again* are as above.`)}
}

func (q *scanQuestion) ask(n int) error {
	q.begin(q.table, count(n, "namespace", "namespaces"))
	for _, s := range []state{first, again} {
		if err := q.askIn(n, s); err != nil {
			return err
		}
	}
	return nil
}

// scanRows are the rows of one number of keys.
type scanRows struct{ plan, own, bare, bareOwn *row }

func (q *scanQuestion) askIn(n int, s state) error {
	var runners []runner
	byKeys := map[int]scanRows{}
	for _, k := range []int{1, len(keys)} {
		dir, err := writePolicy(fmt.Sprintf("scan-%d", k), append([]int{q.value}, otherValues...)[:k]...)
		if err != nil {
			return err
		}
		r := q.rowsOf(n, k, s, byKeys[1])
		byKeys[k] = r
		runners = append(runners,
			runner{row: r.plan, before: s.before, run: q.program(q.onNode("plan", dir, "--detailed-exitcode"))},
			runner{row: &row{what: "(nfsync's parts)", scene: r.plan.scene}, own: r.own, before: s.before, run: q.program(q.part("observe", dir))},
			runner{row: r.bare, own: r.bareOwn, before: s.before, run: q.program(q.floor(append([]string{"scan", netnsDir}, keys[:k]...)...))})
	}
	runners = append(runners, q.otherScans(n, s, byKeys[1])...)
	if err := q.measure(q.roundsAt(n), runners...); err != nil {
		return err
	}
	if n == 1000 && s.name == first.name {
		one, four := byKeys[1], byKeys[len(keys)]
		one.plan.aimWithin(one.bare, 2, "the bare scan")
		one.own.aimWithin(one.bareOwn, 2, "the bare scan, both without their start")
		four.plan.aimWithin(one.plan, 1.5, "with one key")
		four.own.aimWithin(one.own, 1.5, "with one key")
	}
	return nil
}

// rowsOf adds the rows of one number of keys. They are compared with those of one key.
func (q *scanQuestion) rowsOf(n, k int, s state, one scanRows) scanRows {
	scene := count(n, "namespace", "namespaces") + ", " + count(k, "key", "keys") + ", " + s.name
	add := func(what string, base *row) *row { return q.table.add(row{what: what, scene: scene, base: base}) }
	r := scanRows{plan: add("`nfsync plan`", one.plan), own: add("nfsync's scan, without start", one.own)}
	if one.plan == nil {
		r.plan.base, r.own.base = r.plan, r.own
	}
	r.bare, r.bareOwn = add("bare scan", r.plan.base), add("bare scan, without start", r.own.base)
	return r
}

// otherScans are the scans of one key that others make.
func (q *scanQuestion) otherScans(n int, s state, one scanRows) []runner {
	add := func(what string, base *row) *row {
		return q.table.add(row{what: what, scene: one.plan.scene, base: base})
	}
	plain := runner{row: &row{what: "(plain scan)", scene: one.plan.scene}, own: add("plain scan, without start", one.own),
		before: s.before, run: q.program(q.floor("plain", netnsDir, keys[0]))}
	list := []runner{plain}
	if n > q.slowest || q.quick && n == q.slowest {
		return list
	}
	nsenter := runner{row: add("`nsenter` and a shell's built-ins", one.plan), before: s.before, run: q.program(shell(
		fmt.Sprintf(`for ns in %s/*; do nsenter --net=$ns sh -c 'read v <%s || :'; done`, netnsDir, bare.Sysctl(keys[0]))))}
	list = append(list, q.slow(n, nsenter))
	ip := runner{row: add("`ip netns exec` loop", one.plan), before: s.before, run: q.program(shell(
		fmt.Sprintf(`for ns in $(ls %s); do ip netns exec $ns sysctl -n net.netfilter.%s; done`, netnsDir, keys[0])))}
	return append(list, q.slow(n, ip))
}
