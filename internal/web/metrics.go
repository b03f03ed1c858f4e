package web

import (
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
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
	reasons     *prometheus.GaugeVec
	refusals    *prometheus.GaugeVec
	pending     *prometheus.GaugeVec
	notMade     prometheus.Gauge
	inSync      prometheus.Gauge
	stuck       prometheus.Gauge

	fetchSeconds    *prometheus.HistogramVec
	publications    *prometheus.CounterVec
	publishSeconds  *prometheus.HistogramVec
	lastPublished   prometheus.Gauge
	suspended       prometheus.Gauge
	fights          prometheus.Gauge
	restartsPending prometheus.Gauge
	nextLap         prometheus.Gauge
	configLoaded    prometheus.Gauge
	configTime      prometheus.Gauge

	mu sync.Mutex // a scrape sees all of a lap or nothing
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
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900}}),
		fetches:     counter("fetches_total", "Fetches of a revision by their result.", "result"),
		changes:     counter("changes_total", "Changes by their outcome.", "outcome"),
		drift:       prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Name: "drift_changes_total", Help: "Values that something else had changed, and that were changed back."}),
		lastLap:     single("last_lap_timestamp_seconds", "When the last lap ended."),
		lastSuccess: single("last_success_timestamp_seconds", "When a lap last ended without an error."),
		revision:    gauge("revision_info", "The revision in force.", "commit", "branch"),
		conditions:  gauge("condition", "Whether a condition holds.", "type"),
		reasons:     gauge("condition_reason_info", "Why a condition is as it is.", "type", "reason"),
		refusals:    gauge("refusals", "What is refused now, by code.", "code"),
		pending:     gauge("pending", "What waits now, by what it waits for.", "until"),
		notMade:     single("changes_not_made", "Changes that were found and not made."),
		inSync:      single("in_sync", "Values that are as wanted."),
		stuck:       single("stuck", "Changes that could be neither made nor undone."),
		fetchSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: ns, Name: "fetch_duration_seconds", Help: "How long fetches take, by whether they delivered a commit that may be followed.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}}, []string{"result"}),
		publications: counter("publish_publications_total", "Publications of the node, by whether they have reached the repository.", "result"),
		publishSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: ns, Name: "publish_push_duration_seconds", Help: "How long pushes of publications take, by whether they have reached the repository.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}}, []string{"result"}),
		lastPublished:   single("publish_last_success_timestamp_seconds", "When what the node is was last published."),
		suspended:       single("suspended", "Whether the agent is suspended."),
		fights:          single("fights", "Values that are left as they are, because something else changes them back."),
		restartsPending: single("restarts_pending", "Containers, and the node, that have to restart for a value to come into force."),
		nextLap:         single("next_lap_timestamp_seconds", "When the next lap is due, if nothing wakes one before."),
		configLoaded:    single("config_last_reload_successful", "Whether the configuration was valid when it was last read."),
		configTime:      single("config_last_reload_success_timestamp_seconds", "When the configuration that is in force was read."),
	}
	build := gauge("build_info", "Which nfsync this is.", "version", "goversion")
	build.WithLabelValues(version, runtime.Version()).Set(1)
	m.registry.MustRegister(build, m.laps, m.lapSeconds, m.fetches, m.changes, m.drift, m.lastLap, m.lastSuccess, m.revision, m.conditions, m.reasons, m.refusals, m.pending,
		m.notMade, m.inSync, m.stuck, m.fetchSeconds, m.suspended, m.fights, m.restartsPending, m.nextLap, m.configLoaded, m.configTime, m.publications, m.publishSeconds, m.lastPublished,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, result := range []string{fetchOK, fetchError} {
		m.publications.WithLabelValues(result)
		m.publishSeconds.WithLabelValues(result)
		m.fetches.WithLabelValues(result)
		m.fetchSeconds.WithLabelValues(result)
	}
	for _, result := range nf.LapResults() {
		m.laps.WithLabelValues(string(result))
	}
	for _, outcome := range apply.Outcomes() { // the first change of an outcome is an increase, too
		m.changes.WithLabelValues(string(outcome))
	}
	for _, t := range nf.ConditionTypes() {
		if t != nf.Published && t != nf.FleetUnreachable {
			m.conditions.WithLabelValues(string(t))
		}
	}
	for _, code := range nf.Codes() {
		m.refusals.WithLabelValues(string(code))
	}
	return m
}

// sameName is a counter of client_golang that in OpenMetrics has the name of a gauge, which
// parsers refuse.
const sameName = "go_memstats_alloc_bytes_total"

// maxScrapes is how many scrapes are answered at once.
const maxScrapes = 16

// Handler answers a scrape.
func (m *Metrics) Handler() http.Handler {
	gather := func() ([]*dto.MetricFamily, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		families, err := m.registry.Gather()
		return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == sameName }), err
	}
	return promhttp.HandlerFor(prometheus.GathererFunc(gather), promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: maxScrapes})
}

// The results of fetches.
const (
	fetchOK    = "ok"
	fetchError = "error"
)

// Fetched counts the time that a fetch has taken.
func (m *Metrics) Fetched(took time.Duration, err error) {
	result := fetchOK
	if err != nil {
		result = fetchError
	}
	m.fetchSeconds.WithLabelValues(result).Observe(took.Seconds())
}

// Pushed counts the time that a push of a publication has taken.
func (m *Metrics) Pushed(took time.Duration, err error) {
	result := fetchOK
	if err != nil {
		result = fetchError
	}
	m.publishSeconds.WithLabelValues(result).Observe(took.Seconds())
	if err == nil {
		m.publications.WithLabelValues(fetchOK).Inc()
	}
}

// PublicationEnded counts a publication that has failed, whether or not there was a push, and sets when the last one
// has not.
func (m *Metrics) PublicationEnded(r agent.PublishReport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Err != nil {
		m.publications.WithLabelValues(fetchError).Inc()
	}
	if !r.At.IsZero() {
		m.lastPublished.Set(seconds(r.At))
	}
}

// Configured records that the configuration was read, and whether it is in force.
func (m *Metrics) Configured(now time.Time, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.configLoaded.Set(0)
		return
	}
	m.configLoaded.Set(1)
	m.configTime.Set(seconds(now))
}

// Conditions sets what a status says of now; Observe sets what only a lap can find.
func (m *Metrics) Conditions(s nf.NodeStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conditions.Reset() // one that is not in the status any more is gone
	m.reasons.Reset()
	for _, c := range s.Conditions {
		m.conditions.WithLabelValues(string(c.Type)).Set(oneIf(c.Status == nf.ConditionTrue))
		m.reasons.WithLabelValues(string(c.Type), c.Reason).Set(1)
	}
	m.suspended.Set(oneIf(s.Suspension != nil))
}

func oneIf(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// Observe counts a lap.
func (m *Metrics) Observe(s nf.NodeStatus, r agent.Report) {
	m.Conditions(s)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.laps.WithLabelValues(string(s.LastLap.Result)).Inc()
	m.lapSeconds.Observe(r.Finished.Sub(r.Started).Seconds())
	if r.Trip.Fetch && !r.Stopped {
		result := fetchOK
		if r.Result.Missed != nil {
			result = fetchError
		}
		m.fetches.WithLabelValues(result).Inc()
	}
	for _, result := range r.Result.Receipt.Results {
		m.changes.WithLabelValues(string(result.Outcome)).Inc()
		if result.Cause == nf.CauseDrift && result.Outcome == apply.Applied {
			m.drift.Inc()
		}
	}
	m.lastLap.Set(seconds(r.Finished))
	if s.LastSuccess != nil {
		m.lastSuccess.Set(seconds(*s.LastSuccess))
	}
	if len(s.Next) > 0 {
		m.nextLap.Set(seconds(s.Next[0].At))
	}
	m.fights.Set(float64(len(s.Fights)))
	m.revision.Reset()
	if s.Revision != nil {
		m.revision.WithLabelValues(s.Revision.Commit, s.Revision.Branch).Set(1)
	}
	for _, code := range nf.Codes() {
		m.refusals.WithLabelValues(string(code)).Set(0)
	}
	for _, refusal := range s.Refusals {
		m.refusals.WithLabelValues(string(refusal.Code)).Inc()
	}
	m.pending.Reset()
	restarts := map[string]bool{}
	for _, p := range s.Pending {
		m.pending.WithLabelValues(string(p.Until)).Inc()
		if p.Until == nf.UntilContainerRestart || p.Until == nf.UntilNodeRestart {
			restarts[p.Target.String()] = true
		}
	}
	m.restartsPending.Set(float64(len(restarts)))
	m.notMade.Set(float64(len(s.Changes)))
	m.stuck.Set(float64(len(s.Stuck)))
	if s.Summary != nil {
		m.inSync.Set(float64(s.Summary.InSync))
	}
}

// WatchFleet adds the metrics of the node's place in its fleet. report returns nil for a node of none, which then has none.
func (m *Metrics) WatchFleet(report func() *agent.FleetReport) {
	m.registry.MustRegister(&fleetMetrics{report: report,
		connected:  prometheus.NewDesc("nfsync_fleet_connected", "Whether the node is connected to its fleet.", nil, nil),
		heard:      prometheus.NewDesc("nfsync_fleet_last_heard_timestamp_seconds", "When the fleet last gave a good roll-out document.", nil, nil),
		generation: prometheus.NewDesc("nfsync_fleet_generation", "The generation of the newest roll-out document that the node has had.", nil, nil),
		progress:   prometheus.NewDesc("nfsync_fleet_progress_info", "How far the node is with a revision of its fleet.", []string{"commit", "state"}, nil)})
}

// fleetMetrics are collected when they are read: a connection ends between laps.
type fleetMetrics struct {
	report                                 func() *agent.FleetReport
	connected, heard, generation, progress *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (f *fleetMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{f.connected, f.heard, f.generation, f.progress} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (f *fleetMetrics) Collect(to chan<- prometheus.Metric) {
	r := f.report()
	if r == nil {
		return
	}
	to <- prometheus.MustNewConstMetric(f.connected, prometheus.GaugeValue, oneIf(r.Link.Connected))
	to <- prometheus.MustNewConstMetric(f.generation, prometheus.GaugeValue, float64(r.Following.Document.Generation))
	if at := r.Following.HeardAt; !at.IsZero() {
		to <- prometheus.MustNewConstMetric(f.heard, prometheus.GaugeValue, seconds(at))
	}
	if p := r.Following.Progress; p != nil {
		to <- prometheus.MustNewConstMetric(f.progress, prometheus.GaugeValue, 1, p.Revision, string(p.State))
	}
}
