package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/netns"
)

// prometheus is a Prometheus that runs as a process.
type prometheus struct {
	testing.TB
	address string
}

// newPrometheus starts a Prometheus that scrapes agents, the first one of which is hn-1, with the
// configuration of docs/monitoring.md and the alerts of the package. Everything takes less time.
func newPrometheus(t *testing.T, agents ...string) prometheus {
	t.Helper()
	manual, err := os.ReadFile("../../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile("../../packaging/prometheus/nfsync.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	p, dir := prometheus{t, freeAddress(t)}, t.TempDir()
	quick := strings.NewReplacer("scrape_interval: 30s", "scrape_interval: 500ms", "127.0.0.1:9469", agents[0])
	config := "global: {evaluation_interval: 500ms}\nrule_files: [rules.yml]\n" + quick.Replace(block(t, manual, "yaml"))
	for i, agent := range agents[1:] {
		config += fmt.Sprintf("      - targets: [%s]\n        labels: {instance: hn-%d}\n", agent, i+2)
	}
	for name, text := range map[string]string{
		"prometheus.yml": config,
		"rules.yml":      regexp.MustCompile(`(?m)^ +for: .*`).ReplaceAllString(string(rules), "        for: 1s"),
	} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("prometheus", "--config.file="+dir+"/prometheus.yml", "--storage.tsdb.path="+dir+"/data", "--web.listen-address="+p.address, "--log.level=warn")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := startBound(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Prometheus has said:\n%s", &said)
		}
	})
	eventuallyTrue(t, "Prometheus is ready", func() bool { return get(p.address, "/-/ready") == http.StatusOK })
	return p
}

// get reads an answer of the API of Prometheus.
func (p prometheus) get(path string, data any) {
	p.Helper()
	res, err := http.Get("http://" + p.address + path)
	if err != nil {
		p.Fatal(err)
	}
	defer res.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Status != "success" {
		p.Fatalf("%s: %v, %s: %s", path, err, answer.Status, answer.Error)
	}
}

// count returns how many series a query has.
func (p prometheus) count(query string) int {
	p.Helper()
	var data struct{ Result []json.RawMessage }
	p.get("/api/v1/query?query="+url.QueryEscape(query), &data)
	return len(data.Result)
}

// unhealthy returns the rules that were not evaluated, or not without an error.
func (p prometheus) unhealthy() (rules int, bad []string) {
	p.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	p.get("/api/v1/rules", &data)
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			if rules++; r.Health != "ok" {
				bad = append(bad, fmt.Sprintf("%s is %s: %s", r.Name, r.Health, r.LastError))
			}
		}
	}
	return rules, bad
}

// firing returns the alerts that fire, as "NfsyncDown hn-1", with their texts.
func (p prometheus) firing() map[string]string {
	p.Helper()
	var data struct {
		Alerts []struct {
			State               string
			Labels, Annotations map[string]string
		}
	}
	p.get("/api/v1/alerts", &data)
	list := map[string]string{}
	for _, a := range data.Alerts {
		if a.State == "firing" {
			list[a.Labels["alertname"]+" "+a.Labels["instance"]] = a.Annotations["summary"] + ": " + a.Annotations["description"]
		}
	}
	return list
}

// fires waits until an alert fires, with a text that names its node.
func (p prometheus) fires(t *testing.T, alert string) string {
	t.Helper()
	eventuallyTrue(t, alert+" fires", func() bool { return p.firing()[alert] != "" })
	text := p.firing()[alert]
	if _, node, _ := strings.Cut(alert, " "); !strings.Contains(text, node) || strings.Contains(text, "no value") || strings.Contains(text, "error") {
		t.Errorf("%s says %q", alert, text)
	}
	return text
}

// scraped starts an agent of a new node with one container, and returns the address on which it
// answers.
func scraped(t *testing.T, policy, config, fault string) (node, *running, string) {
	t.Helper()
	n, address := newNode(t), freeAddress(t)
	path := n.path("netns/web-1")
	if err := netns.Create(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(path, unix.MNT_DETACH) })
	args := []string{"--config", n.path("agent.yaml")}
	if policy != "" {
		text := "{apiVersion: nfsync.dev/v1alpha1, kind: ContainerPolicy, metadata: {name: web}, spec: {conntrack: " + policy + "}}"
		if err := os.WriteFile(n.path("policy.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, n.path("policy.yaml"))
	}
	n.configure(t, "listen: %s\n%s", address, config)
	return n, n.agent(t, []string{"FAULT=" + fault}, args...), address
}

// TestMonitoring has a real Prometheus scrape real agents, as docs/monitoring.md says: alerts fire
// for what happens, no other ones do, and the panels of the dashboard have something to show.
func TestMonitoring(t *testing.T) {
	loopback(t)
	n, agent, first := scraped(t, "{max: 50000, timeouts: {udp: 45s}}", "", "")
	_, _, cutOff := scraped(t, "", "source: {urls: ['http://"+freeAddress(t)+"/x.git']}", "")
	_, _, failing := scraped(t, "{timeouts: {udp: 45s}}", "drift: {interval: 1s}", "fail:1")
	_, _, stuck := scraped(t, "{timeouts: {udp: 45s, icmp: 20s}}", "", "fail:2")
	p := newPrometheus(t, first, cutOff, failing, stuck)

	if text := p.fires(t, "NfsyncRefused hn-1"); !strings.Contains(text, "Policies ask hn-1 for what is refused: read-only: 1 differences") {
		t.Errorf("%q", text)
	}
	if out, code := n.client(t, "suspend", "--reason", "x"); code != 0 {
		t.Fatal(out)
	}
	p.fires(t, "NfsyncSuspended hn-1")
	n.configure(t, "nonsense: true")
	p.fires(t, "NfsyncConfigurationInvalid hn-1")
	p.fires(t, "NfsyncFetchFailing hn-2")
	p.fires(t, "NfsyncChangesFailed hn-3")
	p.fires(t, "NfsyncStuck hn-4")
	p.firesNoMore(t, "NfsyncRefused hn-1", "NfsyncSuspended hn-1", "NfsyncConfigurationInvalid hn-1", "NfsyncFetchFailing hn-2", "NfsyncChangesFailed hn-3", "NfsyncStuck hn-4")
	rules, bad := p.unhealthy()
	if rules < 20 || len(bad) > 0 {
		t.Errorf("%d rules, and %q", rules, bad)
	}
	p.showsDashboard(t)

	if code := agent.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	p.fires(t, "NfsyncDown hn-1")
	// Alerts that look back go on for a while, the others have ended with the metrics.
	p.firesNoMore(t, "NfsyncDown hn-1", "NfsyncRefused hn-1", "NfsyncSuspended hn-1", "NfsyncFetchFailing hn-2", "NfsyncChangesFailed hn-3", "NfsyncStuck hn-4")
}

// firesNoMore waits until no other alerts fire. Those that fire at the start of an agent end.
func (p prometheus) firesNoMore(t *testing.T, than ...string) {
	t.Helper()
	var others []string
	eventuallyTrue(t, "nothing fires but "+strings.Join(than, ", "), func() bool {
		others = slices.DeleteFunc(slices.Sorted(maps.Keys(p.firing())), func(alert string) bool { return slices.Contains(than, alert) })
		return len(others) == 0
	})
}

// quiet are the panels that have nothing to show of the agents of TestMonitoring: they publish nothing and have no fleet,
// nothing waits or drifts, and no table fills. A panel of changes shows those since the first scrape, which may
// come after them.
var quiet = []string{"Age of publications", "Heard of the fleet", "Changes", "Drift that was undone", "Pending", "Restarts pending", "Forecast", "Packets dropped", "Entries evicted"}

// showsDashboard asks Prometheus what the panels of the dashboard ask it.
func (p prometheus) showsDashboard(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile("../../packaging/grafana/nfsync.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$__rate_interval", "1m", "$node", ".*", "$container", ".*")
	shown := 0
	for _, panel := range dashboard.Panels {
		found := 0
		for _, target := range panel.Targets {
			found += p.count(variables.Replace(target.Expr))
		}
		if shown += found; found == 0 && len(panel.Targets) > 0 && !slices.Contains(quiet, panel.Title) {
			t.Errorf("%s shows nothing", panel.Title)
		}
	}
	if shown < 30 {
		t.Errorf("only %d series", shown)
	}
}
