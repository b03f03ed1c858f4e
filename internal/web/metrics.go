package web

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/nf"
)

// Metrics are what Prometheus reads of an agent.
type Metrics struct {
	registry    *prometheus.Registry
	laps        *prometheus.CounterVec
	lapSeconds  prometheus.Histogram
	fetches     *prometheus.CounterVec
	changes     *prometheus.CounterVec
	drift       prometheus.Counter
	lastLap     prometheus.Gauge
	lastSuccess prometheus.Gauge
	revision    *prometheus.GaugeVec
	conditions  *prometheus.GaugeVec
	refusals    *prometheus.GaugeVec
	pending     *prometheus.GaugeVec
	notMade     prometheus.Gauge
	inSync      prometheus.Gauge
	stuck       prometheus.Gauge
}

// NewMetrics returns the metrics of an agent that has made no lap.
func NewMetrics(version string) *Metrics {
	const ns = "nfsync"
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: ns, Name: name, Help: help}, labels)
	}
	single := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: ns, Name: name, Help: help})
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		laps:     counter("laps_total", "Laps by their result.", "result"),
		lapSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: ns, Name: "lap_duration_seconds", Help: "How long laps take.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}}),
		fetches:     counter("fetches_total", "Fetches of a revision by their result.", "result"),
		changes:     counter("changes_total", "Changes by their outcome.", "outcome"),
		drift:       prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Name: "drift_changes_total", Help: "Values that something else had changed, and that were changed back."}),
		lastLap:     single("last_lap_timestamp_seconds", "When the last lap ended."),
		lastSuccess: single("last_success_timestamp_seconds", "When a lap last ended without an error."),
		revision:    gauge("revision_info", "The revision in force.", "commit", "branch"),
		conditions:  gauge("condition", "Whether a condition holds.", "type"),
		refusals:    gauge("refusals", "What is refused now, by code.", "code"),
		pending:     gauge("pending", "What waits now, by what it waits for.", "until"),
		notMade:     single("changes_not_made", "Changes that were found and not made."),
		inSync:      single("in_sync", "Values that are as wanted."),
		stuck:       single("stuck", "Changes that could be neither made nor undone."),
	}
	build := gauge("build_info", "Which nfsync this is.", "version", "goversion")
	build.WithLabelValues(version, runtime.Version()).Set(1)
	m.registry.MustRegister(build, m.laps, m.lapSeconds, m.fetches, m.changes, m.drift, m.lastLap, m.lastSuccess, m.revision, m.conditions, m.refusals, m.pending,
		m.notMade, m.inSync, m.stuck, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, result := range nf.LapResults() {
		m.laps.WithLabelValues(string(result))
	}
	for _, t := range nf.ConditionTypes() {
		m.conditions.WithLabelValues(string(t))
	}
	for _, code := range nf.Codes() {
		m.refusals.WithLabelValues(string(code))
	}
	return m
}

// Handler answers a scrape.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: 4})
}

// Observe counts a lap.
func (m *Metrics) Observe(s nf.NodeStatus, r agent.Report) {
	m.laps.WithLabelValues(string(s.LastLap.Result)).Inc()
	m.lapSeconds.Observe(r.Finished.Sub(r.Started).Seconds())
	if r.Trip.Fetch && !r.Stopped {
		result := "ok"
		if r.Result.Missed != nil {
			result = "error"
		}
		m.fetches.WithLabelValues(result).Inc()
	}
	for _, result := range r.Result.Receipt.Results {
		m.changes.WithLabelValues(string(result.Outcome)).Inc()
		if result.Cause == nf.CauseDrift && result.Outcome == "applied" {
			m.drift.Inc()
		}
	}
	m.lastLap.Set(float64(r.Finished.UnixMilli()) / 1000)
	if s.LastSuccess != nil {
		m.lastSuccess.Set(float64(s.LastSuccess.UnixMilli()) / 1000)
	}
	m.revision.Reset()
	if s.Revision != nil {
		m.revision.WithLabelValues(s.Revision.Commit, s.Revision.Branch).Set(1)
	}
	for _, c := range s.Conditions {
		holds := 0.0
		if c.Status == nf.ConditionTrue {
			holds = 1
		}
		m.conditions.WithLabelValues(string(c.Type)).Set(holds)
	}
	for _, code := range nf.Codes() {
		m.refusals.WithLabelValues(string(code)).Set(0)
	}
	for _, refusal := range s.Refusals {
		m.refusals.WithLabelValues(string(refusal.Code)).Inc()
	}
	m.pending.Reset()
	for _, p := range s.Pending {
		m.pending.WithLabelValues(string(p.Until)).Inc()
	}
	m.notMade.Set(float64(len(s.Changes)))
	m.stuck.Set(float64(len(s.Stuck)))
	if s.Summary != nil {
		m.inSync.Set(float64(s.Summary.InSync))
	}
}
