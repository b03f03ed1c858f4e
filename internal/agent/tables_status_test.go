package agent

import (
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// TestTablesStatus: a reading changes the status at once, and tells listeners and the caller when a table
// begins to fill, is full, or does not fill any more. A lap does not lose what was read.
func TestTablesStatus(t *testing.T) {
	n, tables, pass := newNode(map[string]int64{"web-1": limit / 2})
	a := New(NewStatus("hn-1", "x", "enforce", nf.AgentInfo{StartedAt: noon}))
	tables.changed = a.tablesRead
	a.tables = tables
	reports := 0
	a.TablesChanged = func([]nf.FillingTable, nf.NodeStatus) { reports++ }
	updates, done := a.Listen()
	defer done()
	step := func(entries int64, want nf.ConditionStatus, reason string, wantReports int, wantUpdate bool) {
		t.Helper()
		n.entries["web-1"] = entries
		reports = 0
		tables.read(t.Context())
		pass(time.Minute)
		s := a.Status()
		c := s.Condition(nf.TableFilling)
		if c.Status != want || c.Reason != reason || reports != wantReports || (len(s.Tables) > 0) != (want == nf.ConditionTrue) {
			t.Errorf("%+v, %+v, reported %d times", c, s.Tables, reports)
		}
		select {
		case s := <-updates:
			if !wantUpdate {
				t.Errorf("an update: %+v", s.Tables)
			}
		default:
			if wantUpdate {
				t.Error("no update")
			}
		}
	}
	if s := a.Status(); s.Condition(nf.TableFilling).Status != nf.ConditionUnknown {
		t.Errorf("%+v", s.Conditions)
	}
	step(limit/2, nf.ConditionFalse, "NotFilling", 0, false)
	step(limit*96/100, nf.ConditionTrue, "Filling", 1, true)
	began := transitionOf(a.Status())
	step(limit*97/100, nf.ConditionTrue, "Filling", 0, false)
	step(limit, nf.ConditionTrue, "Full", 1, false)

	a.report = Report{Started: noon, Finished: noon.Add(time.Hour)}
	a.ended(nil)
	<-updates
	s := a.Status()
	c := s.Condition(nf.TableFilling)
	if c.Status != nf.ConditionTrue || !c.LastTransitionTime.Equal(began) || len(s.Tables) != 1 {
		t.Errorf("after a lap: %+v, %+v", c, s.Tables)
	}
	step(limit/10, nf.ConditionTrue, "Filling", 1, false)
	for range overAfter - 2 {
		step(limit/10, nf.ConditionTrue, "Filling", 0, false)
	}
	step(limit/10, nf.ConditionFalse, "NotFilling", 1, true)
}

func transitionOf(s nf.NodeStatus) time.Time { return s.Condition(nf.TableFilling).LastTransitionTime }
