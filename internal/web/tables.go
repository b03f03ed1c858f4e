package web

import (
	"math"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/nf"
)

// maxTables is how many conntrack tables have metrics of their own: the fullest ones. The others
// are counted.
const maxTables = 1000

// tableMetrics are the metrics of conntrack tables, read when Prometheus asks.
type tableMetrics struct {
	report                                                             func() agent.TableReport
	containers, entries, limit, dropped, evicted, fills, full, omitted *prometheus.Desc
}

// WatchTables adds the metrics of the containers and their conntrack tables.
func (m *Metrics) WatchTables(report func() agent.TableReport) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName("nfsync", "", name), help, labels, nil)
	}
	table := []string{"runtime", "id", "container"}
	m.registry.MustRegister(tableMetrics{
		report:     report,
		containers: desc("containers", "Containers by their runtime.", "runtime"),
		entries:    desc("conntrack_entries", "Entries of a conntrack table. The runtime of the node's own is node.", table...),
		limit:      desc("conntrack_max_entries", "The limit of a conntrack table that is in force, +Inf if there is none.", table...),
		dropped:    desc("conntrack_dropped_packets_total", "Packets of new connections that the kernel has dropped, as its counter drop.", table...),
		evicted:    desc("conntrack_evicted_entries_total", "Entries that the kernel has removed early because the table was full, as its counter early_drop.", table...),
		fills:      desc("conntrack_filling", "Whether a conntrack table is full or nearly full, or will be full within hours at this rate.", table...),
		full:       desc("conntrack_full_timestamp_seconds", "When a conntrack table that fills will be full at this rate, or was first seen full.", table...),
		omitted:    desc("conntrack_tables_omitted", "Conntrack tables without metrics of their own: only the fullest have them."),
	})
}

// Describe implements prometheus.Collector.
func (m tableMetrics) Describe(c chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, c) }

// Collect implements prometheus.Collector.
func (m tableMetrics) Collect(c chan<- prometheus.Metric) {
	r := m.report()
	for _, runtime := range nf.Runtimes() {
		c <- prometheus.MustNewConstMetric(m.containers, prometheus.GaugeValue, float64(r.Containers[runtime]), runtime)
	}
	shown := r.Tables[:min(len(r.Tables), maxTables)]
	c <- prometheus.MustNewConstMetric(m.omitted, prometheus.GaugeValue, float64(len(r.Tables)-len(shown)))
	for _, t := range shown {
		m.collectTable(c, t)
	}
}

func (m tableMetrics) collectTable(c chan<- prometheus.Metric, t agent.TableReading) {
	labels := tableLabels(t.Target)
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64) {
		c <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	limit := math.Inf(1)
	if t.Max > 0 {
		limit = float64(t.Max)
	}
	send(m.entries, prometheus.GaugeValue, float64(t.Count))
	send(m.limit, prometheus.GaugeValue, limit)
	if t.Drops != nil {
		send(m.dropped, prometheus.CounterValue, float64(t.Drops.Dropped))
		send(m.evicted, prometheus.CounterValue, float64(t.Drops.Evicted))
	}
	send(m.fills, prometheus.GaugeValue, oneIf(t.Fills))
	if t.FullAt != nil {
		send(m.full, prometheus.GaugeValue, float64(t.FullAt.Unix()))
	}
}

// tableLabels returns the labels of a target. Prometheus takes only UTF-8.
func tableLabels(t nf.Target) []string {
	if t.IsNode() {
		return []string{nf.TargetNode, "", ""}
	}
	labels := []string{t.Runtime, t.ID, t.Name}
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	return labels
}
