package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"nfsync.dev/nfsync/internal/nf"
)

// TestMetricsOfAgent reads the metrics of a real agent as Prometheus does, in both formats, and has
// promtool look at their names and types.
func TestMetricsOfAgent(t *testing.T) {
	loopback(t)
	n := newNode(t)
	address := freeAddress(t)
	n.configure(t, "listen: %s", address)
	n.agent(t, nil, "--config", n.path("agent.yaml"), n.path("policy.yaml"))
	eventuallyTrue(t, "it is ready", func() bool { s := n.status(t); return s.Condition(nf.Ready).Status == nf.ConditionTrue })
	text, families := scrape(t, address, "text/plain;version=0.0.4")
	_, open := scrape(t, address, "application/openmetrics-text;version=1.0.0")
	manual, err := os.ReadFile("../../docs/agent.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range families {
		if strings.HasPrefix(name, "nfsync_") && !strings.Contains(string(manual), "`"+name) {
			t.Errorf("docs/agent.md does not describe %s", name)
		}
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
		if f.GetType() == dto.MetricType_COUNTER != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s", name, f.GetType())
		}
		if open[name] == nil {
			t.Errorf("%s is not among the OpenMetrics", name)
		}
	}
	promtool(t, text)

	value := func(name string) float64 {
		t.Helper()
		_, families := scrape(t, address, "text/plain")
		f := families[name]
		if f == nil || len(f.Metric) != 1 {
			t.Fatalf("%s: %v", name, f)
		}
		return f.Metric[0].GetGauge().GetValue()
	}
	for name, want := range map[string]float64{"nfsync_suspended": 0, "nfsync_fights": 0, "nfsync_restarts_pending": 0, "nfsync_config_last_reload_successful": 1, "nfsync_stuck": 0} {
		if got := value(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if last, next, read := value("nfsync_last_lap_timestamp_seconds"), value("nfsync_next_lap_timestamp_seconds"), value("nfsync_config_last_reload_success_timestamp_seconds"); next <= last || read > last || last-read > 3600 {
		t.Errorf("the last lap was at %v, the next one is at %v, the configuration was read at %v", last, next, read)
	}

	// What a person does is in the metrics at once, and so is a configuration that is invalid.
	if out, code := n.client(t, "suspend", "--reason", "x"); code != 0 {
		t.Fatal(out)
	}
	if got := value("nfsync_suspended"); got != 1 {
		t.Errorf("suspended is %v", got)
	}
	if err := os.WriteFile(n.path("agent.yaml"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventuallyTrue(t, "the configuration is reported", func() bool { return value("nfsync_config_last_reload_successful") == 0 })
}

// scrape returns the metrics of an agent in a format, and what Prometheus' own library reads there.
func scrape(t *testing.T, address, accept string) (string, map[string]*dto.MetricFamily) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if kind, _, _ := strings.Cut(accept, ";"); err != nil || res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), kind) {
		t.Fatalf("%s, %s, %v", res.Status, res.Header.Get("Content-Type"), err)
	}
	families := map[string]*dto.MetricFamily{}
	for d := expfmt.NewDecoder(strings.NewReader(string(text)), expfmt.ResponseFormat(res.Header)); ; {
		var f dto.MetricFamily
		err := d.Decode(&f)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in:\n%s", err, text)
		}
		families[f.GetName()] = &f
	}
	if len(families) < 20 {
		t.Fatalf("%d metrics in:\n%s", len(families), text)
	}
	if strings.HasPrefix(accept, "application/openmetrics-text") {
		if !strings.HasSuffix(string(text), "\n# EOF\n") {
			t.Errorf("it does not end with EOF:\n%s", text)
		}
		importOpenMetrics(t, string(text))
	}
	return string(text), families
}

// promtool fails if promtool finds fault with metrics.
func promtool(t *testing.T, text string) {
	t.Helper()
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

// sample matches a line of OpenMetrics that has a value, and no time.
var sample = regexp.MustCompile(`(?m)^[^#\n]+$`)

// importOpenMetrics has Prometheus' own parser read OpenMetrics: promtool imports samples that have
// a time.
func importOpenMetrics(t *testing.T, text string) {
	t.Helper()
	dir := t.TempDir()
	name := dir + "/metrics"
	if err := os.WriteFile(name, []byte(sample.ReplaceAllString(text, "$0 1700000000")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("promtool", "tsdb", "create-blocks-from", "openmetrics", name, dir+"/tsdb").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
