package fleetscale

import (
	"fmt"
	"os"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
)

func TestMain(m *testing.M) {
	source.RunChild() // a fetch starts this program again
	os.Exit(m.Run())
}

// few is how many agents each test run has. With more it may take longer.
const few = 100

// TestManyAgents rolls a good revision out, one that fails on most nodes of a group, and one that mends it. In each step the
// coordinator is killed and another one goes on, and agents are stopped and started again. While all that happens no node is beyond its step, and
// no answer to an operator is lost.
func TestManyAgents(t *testing.T) {
	w := newWorld(t, agents(t))
	began := time.Now()
	stage := func(what string) { t.Logf("%5.1f s  %s", time.Since(began).Seconds(), what) }

	good := w.repo.push()
	w.coordinate()
	w.killInEachStep(good, func(step int) {
		stage(fmt.Sprintf("step %d of the good revision", step))
		if step == 1 {
			w.pauseAndResume()
		}
	})
	w.untilDone(good)
	stage("the good revision is done")

	bad := w.repo.push()
	for _, n := range w.nodes {
		n.fails = func(revision string) bool {
			return revision == bad && n.identity.Labels["role"] == "edge" && isChosen(n.identity.Name, 0.8)
		}
	}
	halted := w.killInEachStep(bad, func(int) {})
	stage(fmt.Sprintf("the bad revision is halted in step %d", halted.Step))
	if halted.State != nf.RolloutHalted {
		t.Fatalf("a revision that fails on most nodes of a group is %s", halted.State)
	}
	w.replaceCoordinator()
	w.until("another coordinator has taken the halted roll-out over", func(d nf.RolloutDocument) bool { return d.Revision == bad && d.State == nf.RolloutHalted })
	if most := w.most(halted.Step); w.watcher.touchedBy(bad) > most {
		t.Errorf("%d nodes have had the bad revision, at most %d may", w.watcher.touchedBy(bad), most)
	}

	mended := w.repo.push()
	w.until("the roll-out of what mends it", func(d nf.RolloutDocument) bool { return d.Revision == mended && d.Step == 0 })
	w.eventually("the nodes with the bad revision have what mends it", func() bool { return w.watcher.leftWith(bad) == 0 })
	stage("no node has the bad revision")
	if had := w.watcher.touchedBy(bad); had > w.most(halted.Step) || had == 0 {
		t.Errorf("%d nodes have had the bad revision, at most %d may", had, w.most(halted.Step))
	}
	if len(w.nodes) > few {
		w.untilDone(mended)
		stage("what mends it is done")
	}
	w.eventually("all is checked", w.watcher.settled)
	checked, documents := w.watcher.counts()
	stage(fmt.Sprintf("%d nodes have had the bad revision; %d documents, %d beginnings and changes were checked", w.watcher.touchedBy(bad), documents, checked))
	if checked < len(w.nodes) {
		t.Error("the watcher does not see what the nodes do")
	}
}

// most returns the most nodes that have had their turn by a step.
func (w *world) most(step int) int {
	byRole := map[string]int{}
	for _, n := range w.nodes {
		byRole[n.identity.Labels["role"]]++
	}
	return mostOf(step, byRole["web"]) + mostOf(step, byRole["edge"])
}

// killInEachStep replaces the coordinator, and stops and starts some agents, when a step begins and when it soaks, until the
// roll-out of a revision is done or halted. inStep is called in each step.
func (w *world) killInEachStep(revision string, inStep func(step int)) nf.RolloutDocument {
	w.Helper()
	type place struct {
		step  int
		state nf.RolloutState
	}
	been := map[place]bool{}
	for {
		doc := w.until("another step of "+revision, func(d nf.RolloutDocument) bool {
			return d.Revision == revision && (!been[place{d.Step, d.State}] || d.State == nf.RolloutDone || d.State == nf.RolloutHalted)
		})
		if doc.State == nf.RolloutDone || doc.State == nf.RolloutHalted {
			return doc
		}
		been[place{doc.Step, doc.State}] = true
		w.replaceCoordinator()
		w.restartSome(doc.Step)
		if doc.State == nf.RolloutRolling && doc.Step >= 0 {
			inStep(doc.Step)
		}
	}
}

// restartSome stops some agents and starts them again.
func (w *world) restartSome(step int) {
	w.Helper()
	for i, n := range w.nodes {
		if i%20 == step+1 {
			n.stop()
			n.start()
		}
	}
}

// pauseAndResume pauses the roll-out. The coordinator is killed as soon as it has answered: the next one keeps the pause, and no
// node begins, until a person has resumed it.
func (w *world) pauseAndResume() {
	w.Helper()
	paused := w.pause()
	w.killCoordinator()
	w.coordinate()
	// Another ask is answered by the coordinator that has taken over.
	if again := w.pause(); again.Step != paused.Step {
		w.Errorf("it was paused in step %d, and is in step %d", paused.Step, again.Step)
	}
	w.resume()
}

// untilDone waits until a roll-out is done, and all nodes have said that they have its revision.
func (w *world) untilDone(revision string) {
	w.Helper()
	w.until("the roll-out is done", func(d nf.RolloutDocument) bool { return d.Revision == revision && d.State == nf.RolloutDone })
	w.eventually("all nodes have "+revision, func() bool {
		for _, n := range w.heard() {
			if n.Revision != revision || n.Progress == nil || n.Progress.Revision != revision || n.Progress.State != nf.ProgressApplied && n.Progress.State != nf.ProgressUnaffected {
				return false
			}
		}
		return true
	})
	for _, n := range w.nodes {
		want := nf.Number(int64(firstValue + numberOf(revision)))
		if n.identity.Labels["role"] == "idle" {
			want = nf.Number(firstValue)
		}
		if got := n.machine.Value(nf.Node, udp); got != want {
			w.Errorf("%s has %s, not %s", n.identity.Name, got, want)
		}
	}
}
