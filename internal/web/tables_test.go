package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/nf"
)

// scrape returns the metrics, which must be as Prometheus wants them.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	text := w.Body.String()
	if problems, err := promlint.New(strings.NewReader(text)).Lint(); w.Code != http.StatusOK || err != nil || len(problems) > 0 {
		t.Errorf("%d, %v, %v", w.Code, problems, err)
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Log("promtool is not installed")
		return text
	}
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v: %s", err, out)
	}
	return text
}

func tableOf(name string, count, limit int64) agent.TableReading {
	return agent.TableReading{ConntrackTable: nf.ConntrackTable{Count: count, Max: limit,
		Target: nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: name, Name: name}}}
}

// TestTableMetrics: each table has its series; names are escaped; a table without a limit or a
// forecast has no number that looks like one.
func TestTableMetrics(t *testing.T) {
	report := agent.TableReport{}
	m := NewMetrics("1.2.3")
	m.WatchTables(func() agent.TableReport { return report })
	for _, runtime := range nf.Runtimes() {
		if text := scrape(t, m); !strings.Contains(text, fmt.Sprintf("\nnfsync_containers{runtime=%q} 0\n", runtime)) {
			t.Errorf("no count of %s:\n%s", runtime, text)
		}
	}
	if text := scrape(t, m); strings.Contains(text, "nfsync_conntrack_entries") {
		t.Errorf("before the first reading:\n%s", text)
	}
	full := time.Unix(1_800_000_000, 0)
	web := tableOf("web-1", 90, 100)
	web.Fills, web.FullAt, web.Drops = true, &full, &nf.Drops{Dropped: 7, Evicted: 4_000_000_000}
	node := tableOf("", 5, 0)
	node.Target = nf.Node
	vz := tableOf("", 1, 10)
	vz.Target = nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeVZ, ID: "132694", Name: "a \"quoted\"\nname \\ \xff}"}
	report = agent.TableReport{Read: true, Tables: []agent.TableReading{web, vz, node}, Containers: map[string]int{nf.RuntimeNetns: 1, nf.RuntimeVZ: 1}}
	text := scrape(t, m)
	for _, line := range []string{
		`nfsync_containers{runtime="netns"} 1`, `nfsync_containers{runtime="vz"} 1`, `nfsync_conntrack_tables_omitted 0`,
		`nfsync_conntrack_entries{container="web-1",id="web-1",runtime="netns"} 90`, `nfsync_conntrack_max_entries{container="web-1",id="web-1",runtime="netns"} 100`,
		`nfsync_conntrack_dropped_packets_total{container="web-1",id="web-1",runtime="netns"} 7`,
		`nfsync_conntrack_evicted_entries_total{container="web-1",id="web-1",runtime="netns"} 4e+09`,
		`nfsync_conntrack_filling{container="web-1",id="web-1",runtime="netns"} 1`, `nfsync_conntrack_filling{container="",id="",runtime="node"} 0`,
		`nfsync_conntrack_full_timestamp_seconds{container="web-1",id="web-1",runtime="netns"} 1.8e+09`,
		`nfsync_conntrack_entries{container="",id="",runtime="node"} 5`, `nfsync_conntrack_max_entries{container="",id="",runtime="node"} +Inf`,
		`nfsync_conntrack_entries{container="a \"quoted\"\nname \\ ` + "\uFFFD" + `}",id="132694",runtime="vz"} 1`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
	if n := strings.Count(text, "\nnfsync_conntrack_full_timestamp_seconds{"); n != 1 {
		t.Errorf("%d forecasts", n)
	}
}

// TestTableMetricsBound: only the fullest tables have series; the others are counted.
func TestTableMetricsBound(t *testing.T) {
	var report agent.TableReport
	for i := range maxTables + 5 {
		report.Tables = append(report.Tables, tableOf(fmt.Sprintf("c%d", i), int64(maxTables+5-i), 2*maxTables))
	}
	m := NewMetrics("1.2.3")
	m.WatchTables(func() agent.TableReport { return report })
	text := scrape(t, m)
	if n := strings.Count(text, "\nnfsync_conntrack_entries{"); n != maxTables || !strings.Contains(text, "\nnfsync_conntrack_tables_omitted 5\n") || strings.Contains(text, `"c1000"`) {
		t.Errorf("%d series", n)
	}
}
