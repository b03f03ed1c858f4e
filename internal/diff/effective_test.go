package diff

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// TestCauseOfWaitingRestart: a restart that has waited for another one is not drift, since the
// level of a running container does not move. A saved level that something else has set is.
func TestCauseOfWaitingRestart(t *testing.T) {
	for _, test := range []struct {
		saved   nf.Level
		restart nf.Cause
	}{{nf.LevelStateless, nf.CausePolicy}, {nf.LevelFull, nf.CauseDrift}} {
		s := virtuozzo(levels(nf.LevelFull, test.saved), func(s *nf.Snapshot) {
			s.Memory.Keys = []nf.MemoryKey{{Target: vz101, Key: nf.KeyLevel, Asked: nf.Exactly(nf.LevelStateless.Value()), Applied: nf.LevelStateless.Value(), Instance: s.Containers[0].Instance}}
		})
		p := Plan(wants(level(vz101, nf.LevelStateless, nf.RestartAllow)), s)
		i := slices.IndexFunc(p.Changes, func(c nf.Change) bool { return c.Key == nf.KeyRestart })
		if i < 0 || p.Changes[i].Cause != test.restart {
			t.Errorf("saved %s: %+v", test.saved, p.Changes)
		}
	}
}

// TestEffective: each wanted key has its values, who has won and lost, and what a plan makes of it.
func TestEffective(t *testing.T) {
	max, udp := want(vz101, nf.KeyMax, nf.Number(300000)), want(vz101, nf.TimeoutKey("udp"), nf.Number(99))
	udp.Lost = []nf.Rival{{Wish: nf.Exactly(nf.Number(5)), Source: nf.Source{Name: "default"}}}
	icmp := want(vz101, nf.KeyMax, nf.Number(300000))
	icmp.Key, icmp.Wish = nf.TimeoutKey("icmp"), nf.Exactly(nf.Number(30))
	s := virtuozzo(func(s *nf.Snapshot) { live(&s.Containers[0].Namespace, nf.TimeoutKey("icmp"), nf.Number(30)) })
	keys, _ := Effective(wants(udp, max, icmp, level(vz101, nf.LevelStateless, nf.RestartStage)), s)
	var got []string
	for _, k := range keys {
		got = append(got, strings.TrimSpace(fmt.Sprint(k.Key, " ", k.Live, " ", k.Saved, " ", k.Wanted, " ", len(k.Lost), " ", k.State, " ", k.Code)))
	}
	want := []string{
		"module/ip_tables loaded absent loaded 0 in-sync",
		"module/iptable_filter loaded absent loaded 0 in-sync",
		"module/nf_tables loaded absent loaded 0 in-sync",
		"conntrack.max 262144 absent 300000 0 refused above-node",
		"conntrack.timeouts.icmp 30 absent 30 0 in-sync",
		"conntrack.timeouts.udp 30 absent 99 1 differs",
		"level full full stateless 0 pending",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
