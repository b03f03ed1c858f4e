package coordinator

import (
	"cmp"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
)

// metric is one metric: its name without the prefix, what it says, and its labels.
type metric struct {
	name, help string
	labels     []string
	kind       prometheus.ValueType
}

// The metrics of a coordinator. Those of what all coordinators of a channel see begin with nfsync_fleet_.
var (
	metricConnected  = metric{"nfsync_coordinator_connected", "Whether the fleet's store can be reached.", nil, prometheus.GaugeValue}
	metricLease      = metric{"nfsync_coordinator_lease_held", "Whether this coordinator is at work.", nil, prometheus.GaugeValue}
	metricRead       = metric{"nfsync_coordinator_last_read_timestamp_seconds", "When the store was last read.", nil, prometheus.GaugeValue}
	metricFetch      = metric{"nfsync_coordinator_last_fetch_timestamp_seconds", "When the branch was last fetched and its newest commit was good.", nil, prometheus.GaugeValue}
	metricBranch     = metric{"nfsync_coordinator_branch_problem", "Whether the newest commit of the branch is not rolled out, by the reason.", []string{"reason"}, prometheus.GaugeValue}
	metricProblems   = metric{"nfsync_coordinator_problems", "What the page lists as problems.", nil, prometheus.GaugeValue}
	metricWrites     = metric{"nfsync_coordinator_writes_total", "Roll-out documents that this coordinator has written.", nil, prometheus.CounterValue}
	metricConflicts  = metric{"nfsync_coordinator_conflicts_total", "Writes that were not made because another coordinator was faster.", nil, prometheus.CounterValue}
	metricNodes      = metric{"nfsync_fleet_nodes", "Nodes by the revision in force: the 20 most frequent ones, none, and other.", []string{"revision"}, prometheus.GaugeValue}
	metricSilent     = metric{"nfsync_fleet_nodes_silent", "Nodes that were not heard of lately.", nil, prometheus.GaugeValue}
	metricUnread     = metric{"nfsync_fleet_nodes_unread", "Nodes that have put what cannot be read.", nil, prometheus.GaugeValue}
	metricConditions = metric{"nfsync_fleet_nodes_condition", "Nodes of which a condition holds.", []string{"type"}, prometheus.GaugeValue}
	metricGrants     = metric{"nfsync_fleet_restart_grants", "Nodes that may restart containers now.", nil, prometheus.GaugeValue}
	metricState      = metric{"nfsync_fleet_rollout_state", "Whether the roll-out is in a state.", []string{"state"}, prometheus.GaugeValue}
	metricRecovered  = metric{"nfsync_fleet_rollout_recovered", "Whether the roll-out is halted because the store is an older copy.", nil, prometheus.GaugeValue}
	metricStep       = metric{"nfsync_fleet_rollout_step", "The present step of the roll-out; -1: none has begun.", nil, prometheus.GaugeValue}
	metricGeneration = metric{"nfsync_fleet_rollout_generation", "The generation of the roll-out document.", nil, prometheus.GaugeValue}
	metricTerm       = metric{"nfsync_fleet_rollout_term", "How often another coordinator has taken over.", nil, prometheus.GaugeValue}
	metricFraction   = metric{"nfsync_fleet_rollout_fraction", "The fraction of a group whose turn has come.", []string{"group"}, prometheus.GaugeValue}
	metricProgress   = metric{"nfsync_fleet_rollout_nodes", "Nodes of a group by how far they are with the roll-out.", []string{"group", "progress"}, prometheus.GaugeValue}

	allMetrics = []metric{
		metricConnected, metricLease, metricRead, metricFetch, metricBranch, metricProblems, metricWrites, metricConflicts, metricNodes, metricSilent, metricUnread,
		metricConditions, metricGrants, metricState, metricRecovered, metricStep, metricGeneration, metricTerm, metricFraction, metricProgress,
	}
)

func (m metric) desc() *prometheus.Desc { return prometheus.NewDesc(m.name, m.help, m.labels, nil) }

// MetricNames returns the names of the metrics of a coordinator, besides those of Go and of the process.
func MetricNames() []string {
	names := []string{"nfsync_coordinator_build_info"}
	for _, m := range allMetrics {
		names = append(names, m.name)
	}
	return names
}

// collector makes the metrics of what a coordinator knows when it is asked.
type collector struct{ view func() View }

// Describe sends the descriptions of all metrics.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range allMetrics {
		out <- m.desc()
	}
}

// Collect sends the metrics of now.
func (c collector) Collect(out chan<- prometheus.Metric) {
	v := c.view()
	set := func(m metric, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(m.desc(), m.kind, value, labels...)
	}
	set(metricConnected, oneIf(v.Connected))
	set(metricLease, oneIf(v.Lease))
	set(metricRead, seconds(v.Read))
	set(metricFetch, seconds(v.Branch.At))
	for _, reason := range BranchProblems() {
		set(metricBranch, oneIf(v.Branch.Why() == reason), reason)
	}
	set(metricProblems, float64(len(v.Problems)))
	set(metricWrites, float64(v.Writes))
	set(metricConflicts, float64(v.Conflicts))
	c.nodes(v, set)
	if v.Document != nil {
		c.rollout(v, *v.Document, set)
	}
}

type setter func(m metric, value float64, labels ...string)

func (c collector) nodes(v View, set setter) {
	for _, r := range byRevision(v.Nodes) {
		set(metricNodes, float64(r.Nodes), r.Revision)
	}
	set(metricSilent, float64(len(rollout.Silent(v.Nodes, v.Now))))
	set(metricUnread, float64(len(v.Unread)))
	for t, n := range byCondition(v.Nodes) {
		set(metricConditions, float64(n), string(t))
	}
	grants := 0
	for _, g := range v.Grants {
		if g.Until.After(v.Now) {
			grants++
		}
	}
	set(metricGrants, float64(grants))
}

func (c collector) rollout(v View, doc nf.RolloutDocument, set setter) {
	for _, state := range nf.RolloutStates() {
		set(metricState, oneIf(doc.State == state), string(state))
	}
	set(metricRecovered, oneIf(doc.Recovered))
	set(metricStep, float64(doc.Step))
	set(metricGeneration, float64(doc.Generation))
	set(metricTerm, float64(doc.Term))
	_, groups := rollout.Count(doc, v.Nodes, v.Now)
	for i, g := range doc.Groups {
		set(metricFraction, g.Fraction, g.Name)
		for _, n := range named(groups[i]) {
			set(metricProgress, float64(n.count), g.Name, n.name)
		}
	}
}

// namedCount is a count of nodes with its name.
type namedCount struct {
	name  string
	count int
}

// named returns counts with their names, as pages and metrics have them.
func named(c nf.RolloutCounts) []namedCount {
	return []namedCount{{"silent", c.Silent}, {"unaffected", c.Unaffected}, {"waiting", c.Waiting}, {"begun", c.Begun}, {"applied", c.Applied}, {"refused", c.Refused}, {"failed", c.Failed}, {"lost", c.Lost}}
}

// The revisions of a fleet that are counted by name.
const (
	maxRevisions  = 20
	noRevision    = "none"
	otherRevision = "other"
)

// revisionCount counts the nodes with a revision in force.
type revisionCount struct {
	Revision string
	Nodes    int
}

// byRevision counts nodes by the revision in force: the most frequent ones first, then those with none and with another
// one.
func byRevision(nodes []nf.HeardNode) []revisionCount {
	counts := map[string]int{}
	none, other := 0, 0
	for i := range nodes {
		switch r := nodes[i].Revision; {
		case r == "":
			none++
		case !nf.IsCommitID(r):
			other++
		default:
			counts[r]++
		}
	}
	list := make([]revisionCount, 0, len(counts)+2)
	for r, n := range counts {
		list = append(list, revisionCount{r, n})
	}
	slices.SortFunc(list, func(a, b revisionCount) int {
		return cmp.Or(cmp.Compare(b.Nodes, a.Nodes), cmp.Compare(a.Revision, b.Revision))
	})
	for _, r := range list[min(maxRevisions, len(list)):] {
		other += r.Nodes
	}
	return append(list[:min(maxRevisions, len(list))], revisionCount{noRevision, none}, revisionCount{otherRevision, other})
}

// byCondition counts the nodes of which each condition holds.
func byCondition(nodes []nf.HeardNode) map[nf.ConditionType]int {
	counts := map[nf.ConditionType]int{}
	for _, t := range nf.ConditionTypes() {
		counts[t] = 0
	}
	for i := range nodes {
		for t := range counts {
			if nodes[i].Conditions[t] == nf.ConditionTrue {
				counts[t]++
			}
		}
	}
	return counts
}

func oneIf(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

// seconds returns a time as metrics have it; 0: never.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// maxScrapes is how many scrapes are answered at once.
const maxScrapes = 4

// metricsHandler answers scrapes.
func metricsHandler(version string, view func() View) http.Handler {
	registry := prometheus.NewRegistry()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "nfsync_coordinator_build_info", Help: "Which nfsync-coordinator this is."}, []string{"version", "goversion"})
	build.WithLabelValues(version, runtime.Version()).Set(1)
	registry.MustRegister(build, collector{view}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})
}
