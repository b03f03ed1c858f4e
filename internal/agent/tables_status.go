package agent

import (
	"maps"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

func tableFilling(r TableReport) judgement {
	if !r.Read {
		return judgement{false, ReasonNotRead, "no conntrack table was read: the kernel has none, or the first reading has not ended"}
	}
	if len(r.Filling) == 0 {
		return judgement{false, ReasonNotFilling, "no conntrack table is full or nearly full, or rises so that it will be within hours"}
	}
	reason := ReasonFilling
	if r.Filling[0].Full {
		reason = ReasonFull
	}
	var texts []string
	for _, f := range r.Filling {
		texts = append(texts, f.Target.String()+" "+f.When())
	}
	return judgement{true, reason, nf.FirstFew(texts, maxNamed)}
}

// withTables returns a status with another reading of the tables.
func withTables(was nf.NodeStatus, r TableReport, now time.Time) nf.NodeStatus {
	s := was
	s.Tables = append([]nf.FillingTable{}, r.Filling...)
	s.Conditions = slices.Clone(was.Conditions)
	for i, c := range s.Conditions {
		if c.Type == nf.TableFilling {
			s.Conditions[i] = tableFilling(r).condition(c.Type, c.ObservedRevision)
		}
	}
	transitions(was.Conditions, s.Conditions, now)
	return s
}

// sameTables reports whether both lists name the same tables, full or not.
func sameTables(a, b []nf.FillingTable) bool {
	names := func(list []nf.FillingTable) map[nf.Target]bool {
		set := map[nf.Target]bool{}
		for _, f := range list {
			set[f.Target] = f.Full
		}
		return set
	}
	return maps.Equal(names(a), names(b))
}
