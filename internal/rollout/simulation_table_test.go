package rollout

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

var update = flag.Bool("update", false, "write the results and the table of the simulation")

// An outcome is how a simulation has ended.
type outcome struct {
	Revision string          `json:"revision"`
	Plan     string          `json:"plan"`
	Seed     uint64          `json:"seed"`
	State    nf.RolloutState `json:"state"`
	Got      int             `json:"got"`     // nodes that got the revision
	Seconds  int             `json:"seconds"` // until it was done or halted
}

// simPlans are the columns of the table, simRevisions its rows.
var simPlans = []struct {
	name string
	plan nf.RolloutPlan
}{{"one group, no canaries", oneGroup()}, {"20 canaries a label", simPlan(20)}, {"100 canaries a label", simPlan(100)}}

var simRevisions = []struct {
	name  string
	fault fault
	// most is how many nodes a bad revision may reach in any run with canaries of 20, and of 100.
	most [2]int
}{
	{"good", fault{}, [2]int{simNodes, simNodes}},
	{"harms 5 % of edge (0.5 % of all)", fault{role: "edge", rate: 0.05}, [2]int{6000, 6000}},
	{"the same, and they go dark", fault{role: "edge", rate: 0.05, dark: true}, [2]int{6000, 6000}},
	{"harms 5 % of gpu (0.25 % of all)", fault{role: "gpu", rate: 0.05}, [2]int{6000, 6000}},
	{"harms all 50 of lab", fault{role: "lab", rate: 1}, [2]int{100, 500}},
	{"harms 5 % of all", fault{rate: 0.05}, [2]int{1500, 500}},
	{"harms all", fault{rate: 1}, [2]int{100, 500}},
}

const (
	simSeeds   = 10
	simResults = "testdata/simulation.json"
	simTable   = "../../docs/fleet-simulation.md"
)

// TestSimulation runs the simulations again and compares them with the results in testdata: of all 10 seeds if
// NFSYNC_SEEDS is 10. By default it is the first one, and only what does not take long. The table in docs is that of all results.
func TestSimulation(t *testing.T) {
	seeds := environ(t, "NFSYNC_SEEDS", 1)
	if *update {
		seeds = simSeeds
	}
	recorded := readOutcomes(t)
	var outcomes []outcome
	for r, revision := range simRevisions {
		for p, plan := range simPlans {
			for seed := range seeds {
				if seeds == 1 && (p == 0 || p == 2 && r == 0) {
					continue // nothing halts it for hours
				}
				o := run(revision.name, plan.name, seed, plan.plan, revision.fault)
				outcomes = append(outcomes, o)
				if p > 0 {
					checkOutcome(t, o, r > 0, revision.most[p-1])
				}
				if !*update && !slices.Contains(recorded, o) {
					t.Errorf("not as in %s (go test -update writes it): %+v", simResults, o)
				}
			}
		}
	}
	if *update {
		writeOutcomes(t, outcomes)
		recorded = outcomes
	}
	compareTable(t, recorded)
}

func run(revision, plan string, seed uint64, p nf.RolloutPlan, f fault) outcome {
	s := simulate(seed, p, f)
	return outcome{Revision: revision, Plan: plan, Seed: seed, State: s.doc.State, Got: s.got, Seconds: int(s.now / time.Second)}
}

// checkOutcome holds for all seeds.
func checkOutcome(t *testing.T, o outcome, bad bool, most int) {
	t.Helper()
	if !bad {
		// 2 % are silent.
		if o.State != nf.RolloutDone || o.Got < simNodes*97/100 || o.Seconds > 3*3600 {
			t.Errorf("a good revision: %+v", o)
		}
		return
	}
	if o.State != nf.RolloutHalted || o.Got > most {
		t.Errorf("a bad revision, at most %d nodes may get it: %+v", most, o)
	}
}

func environ(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < 1 || n > simSeeds {
		t.Fatalf("%s: 1 to %d: %q", name, simSeeds, text)
	}
	return n
}

func readOutcomes(t *testing.T) []outcome {
	if *update {
		return nil
	}
	text, err := os.ReadFile(simResults)
	if err != nil {
		t.Fatal(err)
	}
	var outcomes []outcome
	if err := json.Unmarshal(text, &outcomes); err != nil {
		t.Fatal(err)
	}
	return outcomes
}

// writeOutcomes writes one outcome a line.
func writeOutcomes(t *testing.T, outcomes []outcome) {
	var lines []string
	for _, o := range outcomes {
		line, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
	if err := os.WriteFile(simResults, []byte("[\n"+strings.Join(lines, ",\n")+"\n]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// compareTable compares the page with the results, or writes its table.
func compareTable(t *testing.T, outcomes []outcome) {
	const begin, end = "<!-- the table of the test begins here -->\n", "<!-- and ends here -->\n"
	page, err := os.ReadFile(simTable)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(page, []byte(begin))
	was, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		t.Fatalf("%s has no marks for the table", simTable)
	}
	table := tableOf(outcomes)
	if string(was) == table {
		return
	}
	if !*update {
		t.Errorf("the table of %s is another one (go test -update writes it):\n%s", simTable, table)
		return
	}
	page = slices.Concat(before, []byte(begin+table+end), after)
	if err := os.WriteFile(simTable, page, 0o644); err != nil {
		t.Fatal(err)
	}
}

func tableOf(outcomes []outcome) string {
	var b strings.Builder
	b.WriteString("| revision |")
	for _, p := range simPlans {
		b.WriteString(" " + p.name + " |")
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(simPlans)) + "\n")
	for _, r := range simRevisions {
		b.WriteString("| " + r.name + " |")
		for _, p := range simPlans {
			b.WriteString(" " + cell(outcomes, r.name, p.name) + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// cell says how the runs with a revision and a plan have ended.
func cell(outcomes []outcome, revision, plan string) string {
	var halted, done []outcome
	for _, o := range outcomes {
		if o.Revision != revision || o.Plan != plan {
			continue
		}
		if o.State == nf.RolloutHalted {
			halted = append(halted, o)
		} else {
			done = append(done, o)
		}
	}
	switch {
	case len(halted) == 0 && revision == "good":
		return "done after " + hours(middle(done, seconds))
	case len(halted) == 0:
		return "never halts: " + thousands(middle(done, got))
	case len(done) > 0:
		return fmt.Sprintf("%d of %d never halt: %s", len(done), len(done)+len(halted), thousands(most(done)))
	}
	return fmt.Sprintf("%s (at most %s), %s", thousands(middle(halted, got)), thousands(most(halted)), hours(middle(halted, seconds)))
}

func got(o outcome) int     { return o.Got }
func seconds(o outcome) int { return o.Seconds }

// middle returns the median, the higher one of two.
func middle(outcomes []outcome, of func(outcome) int) int {
	var values []int
	for _, o := range outcomes {
		values = append(values, of(o))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func most(outcomes []outcome) int {
	n := 0
	for _, o := range outcomes {
		n = max(n, o.Got)
	}
	return n
}

func hours(seconds int) string {
	if seconds < 3600 {
		return fmt.Sprintf("%d min", (seconds+59)/60)
	}
	return fmt.Sprintf("%d h %d min", seconds/3600, seconds%3600/60)
}

func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
