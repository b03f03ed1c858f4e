// Package prometheus_test checks the alerts for Prometheus, and the dashboard for Grafana, which asks
// Prometheus: that they load, that each alert fires when it should and only then, and that what they
// name is there.
package prometheus_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const (
	rulesFile     = "nfsync.rules.yml"
	dashboardFile = "../grafana/nfsync.json"
	runbookFile   = "../../docs/monitoring.md"
	metricsFile   = "../../docs/agent.md"
)

// testFiles are the unit tests of the rules.
var testFiles = []string{"nfsync.rules_test.yml", "nfsync.rules_days_test.yml"}

// alert is a rule of rulesFile.
type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// alerts returns the rules of rulesFile.
func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal([]byte(read(t, rulesFile)), &file); err != nil {
		t.Fatal(err)
	}
	var list []alert
	for _, g := range file.Groups {
		list = append(list, g.Rules...)
	}
	if len(list) == 0 {
		t.Fatal("no alerts")
	}
	return list
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// promtool fails unless promtool succeeds.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %q: %v\n%s", args, err, out)
	}
}

// TestRules has promtool read the rules and run their tests.
func TestRules(t *testing.T) {
	promtool(t, "check", "rules", "--lint-fatal", rulesFile)
	promtool(t, append([]string{"test", "rules"}, testFiles...)...)
}

// TestEachAlertIsTested: there is a test in which each alert fires, and one in which it does not though
// there are series.
func TestEachAlertIsTested(t *testing.T) {
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, name := range testFiles {
		var file struct {
			Tests []struct {
				Cases []struct {
					Alert string `yaml:"alertname"`
					Want  []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			} `yaml:"tests"`
		}
		if err := yaml.Unmarshal([]byte(read(t, name)), &file); err != nil {
			t.Fatal(err)
		}
		for _, test := range file.Tests {
			for _, c := range test.Cases {
				fires[c.Alert] = fires[c.Alert] || len(c.Want) > 0
				silent[c.Alert] = silent[c.Alert] || len(c.Want) == 0
			}
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] || !silent[a.Alert] {
			t.Errorf("%s: a test in which it fires: %t, one in which it does not: %t", a.Alert, fires[a.Alert], silent[a.Alert])
		}
	}
}

// TestAlertsAreComplete: each alert has a name of its own, a severity, texts, and an entry of the runbook.
func TestAlertsAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range alerts(t) {
		if seen[a.Alert] || !strings.HasPrefix(a.Alert, "Nfsync") {
			t.Errorf("the name %s", a.Alert)
		}
		seen[a.Alert] = true
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) {
			t.Errorf("%s: the severity %q", a.Alert, a.Labels["severity"])
		}
		if len(a.Annotations) != 3 || a.Annotations["summary"] == "" || !strings.HasSuffix(a.Annotations["description"], ".") && !strings.HasSuffix(a.Annotations["description"], "{{ end }}") {
			t.Errorf("%s: the annotations %q", a.Alert, a.Annotations)
		}
		if want := "docs/monitoring.md#" + strings.ToLower(a.Alert); a.Annotations["runbook"] != want {
			t.Errorf("%s: the runbook is %s, want %s", a.Alert, a.Annotations["runbook"], want)
		}
	}
}

// TestRunbook: docs/monitoring.md has an entry for each alert, in the order of the rules, with the
// severity and the time that the rule has, and no other one.
func TestRunbook(t *testing.T) {
	var got, want []string
	for _, m := range regexp.MustCompile(`(?m)^### (Nfsync\w+)\n\n(\w+), (?:after (\w+)|at once)\.`).FindAllStringSubmatch(read(t, runbookFile), -1) {
		got = append(got, fmt.Sprintf("%s %s %s", m[1], strings.ToLower(m[2]), m[3]))
	}
	for _, a := range alerts(t) {
		want = append(want, fmt.Sprintf("%s %s %s", a.Alert, a.Labels["severity"], a.For))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the runbook has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if n := strings.Count(read(t, runbookFile), "\n### Nfsync"); n != len(want) {
		t.Errorf("%d entries, want %d", n, len(want))
	}
}

// suffixes are those of the series of a histogram.
var suffixes = regexp.MustCompile(`_(bucket|sum|count)$`)

// TestMetricsAreDocumented: the metrics of alerts and panels are in docs/agent.md, which a test of
// cmd/nfsync compares with those of an agent.
func TestMetricsAreDocumented(t *testing.T) {
	documented := read(t, metricsFile)
	standard := []string{"up", "process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "process_max_fds"}
	var expressions []string
	for _, a := range alerts(t) {
		expressions = append(expressions, a.Expr, a.Annotations["description"])
	}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			expressions = append(expressions, target.Expr)
		}
	}
	metric := regexp.MustCompile(`\b(?:(?:nfsync|process|go)_\w+|up\b)`)
	seen := 0
	for _, e := range expressions {
		for _, name := range metric.FindAllString(e, -1) {
			seen++
			family := suffixes.ReplaceAllString(name, "")
			if !slices.Contains(standard, name) && !regexp.MustCompile("`"+family+"[`{]").MatchString(documented) {
				t.Errorf("docs/agent.md does not have %s, of %s", name, e)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d metrics", seen)
	}
}

// panel is a panel of the dashboard.
type panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Source      source `json:"datasource"`
	Grid        struct {
		X, Y, W, H int
	} `json:"gridPos"`
	Links []struct {
		URL string `json:"url"`
	} `json:"links"`
	Targets []struct {
		Source source `json:"datasource"`
		Expr   string `json:"expr"`
	} `json:"targets"`
}

// source is the data source of a panel or of its query.
type source struct {
	Type, UID string
}

// panels returns the panels of the dashboard without its rows.
func panels(t *testing.T) []panel {
	t.Helper()
	var dashboard struct {
		Panels []panel `json:"panels"`
	}
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &dashboard); err != nil {
		t.Fatal(err)
	}
	list := slices.DeleteFunc(dashboard.Panels, func(p panel) bool { return p.Type == "row" })
	if len(list) == 0 {
		t.Fatal("no panels")
	}
	return list
}

// TestDashboardQueries has promtool read each query of the dashboard, as the expression of a rule.
func TestDashboardQueries(t *testing.T) {
	variables := strings.NewReplacer("$__rate_interval", "5m", "$node", ".*", "$container", ".*")
	var rules []map[string]string
	for _, p := range panels(t) {
		for i, target := range p.Targets {
			expr := variables.Replace(target.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("%s: a variable is left in %s", p.Title, expr)
			}
			rules = append(rules, map[string]string{"record": fmt.Sprintf("panel:%d:%d", p.ID, i), "expr": expr})
		}
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", name)
}

// TestDashboardPanels: each panel has an id of its own, a text, a place of its own, the data source that
// the reader selects, and links to entries that the runbook has.
func TestDashboardPanels(t *testing.T) {
	runbook, ids, taken := read(t, runbookFile), map[int]bool{}, map[[2]int]string{}
	selected := source{"prometheus", "${datasource}"}
	linked := map[string]bool{}
	for _, p := range panels(t) {
		if ids[p.ID] || p.Title == "" || !strings.HasSuffix(p.Description, ".") || p.Source != selected || len(p.Targets) == 0 {
			t.Errorf("%d %q: description %q, source %v, %d queries", p.ID, p.Title, p.Description, p.Source, len(p.Targets))
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			if target.Source != selected {
				t.Errorf("%s: a query has the source %v", p.Title, target.Source)
			}
		}
		for x := p.Grid.X; x < p.Grid.X+p.Grid.W; x++ {
			for y := p.Grid.Y; y < p.Grid.Y+p.Grid.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s lies over %q at %d, %d", p.Title, other, x, y)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		for _, l := range p.Links {
			name, ok := strings.CutPrefix(l.URL, "${runbook}#")
			if linked[name] = true; !ok || !strings.Contains(strings.ToLower(runbook), "\n### "+name+"\n") {
				t.Errorf("%s: the link %s", p.Title, l.URL)
			}
		}
	}
	for _, a := range alerts(t) {
		if !linked[strings.ToLower(a.Alert)] {
			t.Errorf("no panel links to the runbook's %s", a.Alert)
		}
	}
}
