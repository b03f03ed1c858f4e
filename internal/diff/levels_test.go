package diff

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

const (
	customTracking = "custom(0x4c004003)" // iptable_filter ipt_state
	customPlain    = "custom(0xc000003)"  // ip_tables iptable_filter ipt_REJECT
)

// levelCase is one combination of what decides about a container's level, as
// the words of testdata/levels.txt.
type levelCase struct{ state, restart, saved, live, wanted, tracking, before string }

// levelRow is one row of that file. Each column is a list of words, or *.
type levelRow struct {
	line    int
	columns [7]string
	answers string
	source  string
	used    bool
}

func levelRows(t *testing.T) []levelRow {
	t.Helper()
	f, err := os.Open("testdata/levels.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows []levelRow
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		if line := lines.Text(); line != "" && line[0] != '#' {
			row := levelRow{line: n}
			fields, source, _ := strings.Cut(line, "#")
			words := strings.Fields(fields)
			if len(words) < 8 || strings.TrimSpace(source) == "" {
				t.Fatalf("line %d has not 8 columns and a source", n)
			}
			copy(row.columns[:], words)
			row.answers, row.source = strings.Join(words[7:], " "), source
			rows = append(rows, row)
		}
	}
	return rows
}

// words are those that each column has for the case: relations, not values.
func (c levelCase) words() [7][]string {
	below := c.wanted == "disabled" || c.wanted == "stateless"
	wanted := []string{"high"}
	if below {
		wanted = []string{"low"}
	}
	return [7][]string{{c.state}, {c.restart}, c.savedWords(), c.liveWords(), wanted, {c.tracking}, {c.before}}
}

func (c levelCase) savedWords() []string {
	switch {
	case c.saved == "unknown":
		return []string{"unknown"}
	case c.saved == c.wanted:
		return []string{"right"}
	case strings.HasPrefix(c.saved, "custom"):
		return []string{"custom", "wrong"}
	}
	return []string{"named", "wrong"}
}

func (c levelCase) liveWords() []string {
	switch c.live {
	case "unknown", "none":
		return []string{c.live}
	case c.wanted:
		return []string{"right"}
	case "stateful", "full", customTracking:
		return []string{"ct", "wrong"}
	}
	return []string{"plain", "wrong"}
}

func (r *levelRow) matches(words [7][]string) bool {
	for i, column := range r.columns {
		if column == "*" {
			continue
		}
		if !slices.ContainsFunc(strings.Split(column, ","), func(word string) bool { return slices.Contains(words[i], word) }) {
			return false
		}
	}
	return true
}

func levelValue(word string) nf.Value {
	switch word {
	case "unknown":
		return nf.Unknown("EIO")
	case "none":
		return nf.Absent()
	}
	return nf.Text(word).As(nf.KeyLevel)
}

// snapshot is a node with the one container that the case is about.
func (c levelCase) snapshot() *nf.Snapshot {
	return virtuozzo(func(s *nf.Snapshot) {
		module(s, "nf_nat").State = nf.ModuleLoaded // so that no module of a level is to be loaded
		ct := &s.Containers[0]
		ct.State = c.state
		switch c.state {
		case "stopped", "mounted":
			ct.Instance = nf.InstanceStopped
		case "suspended":
			ct.Instance = nf.InstanceSuspended
		}
		live(&ct.Namespace, nf.KeyLevel, levelValue(c.live))
		boot(&ct.Namespace, nf.KeyLevel, levelValue(c.saved))
		ct.Tracking = &nf.Tracking{State: c.tracking}
		if c.before == "once" {
			s.Memory.Restarts = []nf.RestartDone{{Target: vz101.Nameless(), Asked: nf.Exactly(levelValue(c.wanted)), Instance: "boot-1/101/17"}}
		}
	})
}

func (c levelCase) want() nf.Want {
	return restart(want(vz101, nf.KeyLevel, levelValue(c.wanted)), nf.Restart(c.restart))
}

// levelAnswers writes a plan down in the words of the table, and holds every
// entry to be about the level, from what it is to what is wanted.
func (c levelCase) answers(t *testing.T, p nf.Plan) string {
	var list []string
	check := func(target nf.Target, from, to nf.Value, layer nf.Layer) {
		have := levelValue(c.live)
		if layer == nf.LayerBoot {
			have = levelValue(c.saved)
		}
		if target != vz101 || to != levelValue(c.wanted) || from != have && !from.IsUnknown() {
			t.Errorf("%+v: %s from %s to %s", c, target, from, to)
		}
	}
	for _, change := range p.Changes {
		check(change.Target, change.From, change.To, change.Layer)
		word, oneWay := "save", c.saved == customTracking || c.saved == customPlain
		if change.Key == nf.KeyRestart {
			word, oneWay = "restart", true
		}
		if change.Disruptive != (change.Key == nf.KeyRestart) || change.OneWay != oneWay || (change.Layer == nf.LayerBoot) != (word == "save") {
			t.Errorf("%+v: %+v", c, change)
		}
		if change.OneWay && word == "save" {
			word += "!"
		}
		list = append(list, word)
	}
	for _, r := range slices.Backward(p.Refusals) { // the boot layer's after the live one's
		check(r.Target, r.From, r.To, r.Layer)
		word := string(r.Code)
		if r.Layer == nf.LayerBoot {
			word = "boot:" + word
		}
		list = append(list, word)
		if r.Key != nf.KeyLevel || r.Until != until[r.Code] || r.Remedy == "" || r.Reason == "" {
			t.Errorf("%+v: %+v", c, r)
		}
	}
	for _, q := range p.Pending {
		check(q.Target, q.From, q.To, nf.LayerLive)
		list = append(list, "pending")
		if q.Key != nf.KeyLevel || q.Until != nf.UntilContainerRestart || q.Reason == "" {
			t.Errorf("%+v: %+v", c, q)
		}
	}
	for _, i := range p.InSync {
		if i.Key == nf.KeyLevel {
			list = append(list, "in-sync")
		}
	}
	return strings.Join(list, " ")
}

// until maps the refusals of the table to the event that ends them.
var until = map[nf.Code]nf.Until{
	nf.Unobservable: nf.UntilObservable, nf.ConntrackLatched: nf.UntilContainerRestart,
	nf.RestartRequired: nf.UntilContainerRestart, nf.RestoreKeepsLevel: nf.UntilContainerRestart,
}

func levelCases(yield func(levelCase)) {
	masks := append(nf.LevelNames(), customTracking, customPlain, "unknown")
	for _, state := range []string{"running", "paused", "stopped", "mounted", "suspended", "starting", "migrating"} {
		live := masks
		if state == "stopped" || state == "mounted" {
			live = []string{"none"}
		}
		for _, r := range []string{"refuse", "stage", "allow"} {
			for _, saved := range masks {
				for _, l := range live {
					for _, wanted := range nf.LevelNames() {
						for _, tracking := range []string{nf.TrackingOn, nf.TrackingOff, nf.TrackingUnknown} {
							yield(levelCase{state, r, saved, l, wanted, tracking, "never"})
							yield(levelCase{state, r, saved, l, wanted, tracking, "once"})
						}
					}
				}
			}
		}
	}
}

// TestLevels holds every combination to the one row of the table that has it.
func TestLevels(t *testing.T) {
	rows := levelRows(t)
	cases, wrong := 0, 0
	levelCases(func(c levelCase) {
		cases++
		var match *levelRow
		words := c.words()
		for i := range rows {
			if !rows[i].matches(words) {
				continue
			}
			if match != nil {
				t.Fatalf("%+v is in lines %d and %d", c, match.line, rows[i].line)
			}
			match = &rows[i]
		}
		if match == nil {
			t.Fatalf("%+v is in no line", c)
		}
		match.used = true
		s := c.snapshot()
		p := Plan(wants(c.want()), s)
		if got := c.answers(t, p); got != match.answers && wrong < 20 {
			wrong++
			t.Errorf("%+v\n got %q\nwant %q (line %d:%s)", c, got, match.answers, match.line, match.source)
		}
		checkRestarts(t, fmt.Sprint(c), NewWorld(s), p)
	})
	for _, r := range rows {
		if !r.used {
			t.Errorf("no combination is in line %d", r.line)
		}
	}
	if cases < 10000 {
		t.Errorf("only %d combinations", cases)
	}
}

// checkRestarts holds each restart to come last of its target, and to be allowed
// just before it is made: when the level is saved.
func checkRestarts(t *testing.T, name string, w *World, p nf.Plan) {
	t.Helper()
	for i, c := range p.Changes {
		if c.Key != nf.KeyRestart {
			continue
		}
		for _, later := range p.Changes[i+1:] {
			if later.Target == c.Target {
				t.Errorf("%s: %s after its restart", name, later.Key)
			}
		}
		container := w.at(c.Target).container
		if saved := *container.Fact(nf.KeyLevel).Boot; saved != c.To && w.Check(c) == nil {
			t.Errorf("%s: a restart is allowed while %s is saved", name, saved)
		}
		boot(&container.Namespace, nf.KeyLevel, c.To)
		if r := w.Check(c); r != nil {
			t.Errorf("%s: the restart is refused once the level is saved: %s", name, r.Reason)
		}
		if w.InSync(c) || !w.Reads(c, c.From) {
			t.Errorf("%s: before the restart the level reads as wanted, or not as it was", name)
		}
	}
}
