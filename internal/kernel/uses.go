package kernel

import (
	"cmp"
	"maps"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// maxUses bounds the uses, and the guards, that are listed of one table: a table of ten
// thousand rules stays small in a snapshot. Those of unknown levels are listed first, then
// those of the highest, so that the level of the table is right.
const maxUses = 16

// need is a level that a statement of a rule needs, and the statement's name. The level is
// nf.LevelUnset if it is unknown.
type need struct {
	level nf.Level
	what  string
}

// uses counts the rules of each chain by what they need: the statements above
// stateless or unknown, and all matches and targets of x_tables, each of which holds a
// module.
type uses map[chainNeed]int

type chainNeed struct {
	need
	chain string
}

// add counts one rule of the chain, with what it needs.
func (u uses) add(chain string, needs []need) {
	for i, n := range needs {
		if !slices.Contains(needs[:i], n) {
			u[chainNeed{n, chain}]++
		}
	}
}

// list adds the uses to a table, unknown levels and then the highest first, and bounds its
// guards. Of more unknown ones than are listed it counts that they are rules.
func (u uses) list(t *nf.Table) {
	for _, n := range slices.SortedFunc(maps.Keys(u), chainNeed.compare) {
		if len(t.Uses) < maxUses {
			t.Uses = append(t.Uses, nf.Use{Level: n.level, Chain: n.chain, What: n.what, Count: u[n]})
			continue
		}
		if t.MoreUses == nil {
			t.MoreUses = map[nf.Level]int{}
		}
		t.MoreUses[max(n.level, nf.LevelStateless)]++
	}
	slices.Sort(t.Guards)
	t.MoreGuards = max(len(t.Guards)-maxUses, 0)
	t.Guards = t.Guards[:len(t.Guards)-t.MoreGuards]
}

func (n chainNeed) compare(o chainNeed) int {
	if (n.level == nf.LevelUnset) != (o.level == nf.LevelUnset) {
		return cmp.Compare(n.level, o.level)
	}
	return cmp.Or(cmp.Compare(o.level, n.level), cmp.Compare(n.chain, o.chain), cmp.Compare(n.what, o.what))
}

// guard names a base chain whose policy is not accept, with its hook.
func guard(chain, hook string) string { return chain + " (" + hook + ")" }
