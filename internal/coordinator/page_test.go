package coordinator

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
)

// viewOf is a view of so many nodes, in the middle of a roll-out. Everything that a node says is hostile.
func viewOf(n int) View {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	v := View{Now: now, Name: "a", Channel: "main", Connected: true, Server: "nats://127.0.0.1:4222", Read: now, Lease: true}
	for i := range n {
		v.Nodes = append(v.Nodes, nf.HeardNode{Heard: now, FleetNode: nf.FleetNode{
			Node: fmt.Sprintf("hn-%05d", i), Labels: map[string]string{"role": "<script>alert(1)</script>"}, Revision: commit(1 + i%40),
			Message: "<img src=x onerror=alert(2)>\x1b[2J" + strings.Repeat("x", 5000), Conditions: map[nf.ConditionType]nf.ConditionStatus{nf.Ready: nf.ConditionTrue, "<b>": nf.ConditionTrue},
		}})
	}
	doc := rollout.Begin(nf.RolloutDocument{Channel: "main"}, commit(2), nf.DefaultRolloutPlan(), "seed", v.Nodes, now)
	doc.Coordinator, doc.Term = "a", 1
	for i := range v.Nodes {
		v.Nodes[i].Progress = &nf.NodeProgress{Generation: 1, Revision: commit(2), State: nf.ProgressFailed, Reason: "</td><script>alert(3)</script>"}
		if i%2 == 0 {
			v.Nodes[i].Heard = now.Add(-time.Hour)
		}
	}
	v.Document = &doc
	v.Branch = Fetched{URL: "https://git.example.com/p.git", Branch: "main", Commit: commit(2), Signer: "<i>", At: now}
	v.Problems = []string{"<u>a problem</u>"}
	return v
}

func serveView(t *testing.T, v View) string {
	t.Helper()
	w := newWorld(t)
	c := w.idle("a")
	c.view.Store(&v)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Serve(ctx, l, "1.2.3") }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

func get(t *testing.T, url, host string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(text)
}

// TestThePageIsBounded looks at a fleet of 10,000 hostile nodes.
func TestThePageIsBounded(t *testing.T) {
	t.Parallel()
	base := serveView(t, viewOf(10_000))
	answer, text := get(t, base+"/", "")
	if answer.StatusCode != http.StatusOK || !strings.Contains(answer.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Fatalf("%s, %v", answer.Status, answer.Header)
	}
	if len(text) > 200_000 {
		t.Errorf("the page has %d bytes", len(text))
	}
	for _, bad := range []string{"<script", "<img", "<u>", "<i>", "\x1b", "onerror=alert(2)>"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, want := range []string{"hn-00000", "10000", "1 to 50 of 10000", commit(2), "a problem", "rolling", "and 4980 more", "none has begun", `data-label="waiting">`, `data-label="failed">`} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if _, text = get(t, base+"/?q=hn-00077&page=9", ""); !strings.Contains(text, "1 of 10000 nodes") || !strings.Contains(text, "hn-00077") {
		t.Error("the search does not find a node")
	}
	if _, text = get(t, base+"/?page=200", ""); !strings.Contains(text, "9951 to 10000 of 10000") {
		t.Error("the last page is not the last one")
	}
	if _, text = get(t, base+"/?q=<script>", ""); strings.Contains(text, "<script") {
		t.Error("what is searched for is not escaped")
	}
	if answer, _ = get(t, base+"/", "evil.example.com"); answer.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("for another host: %s", answer.Status)
	}
	for path, kind := range map[string]string{"/page.css": "text/css", "/icon.svg": "image/svg+xml", "/healthz": "", "/readyz": ""} {
		if answer, text = get(t, base+path, ""); text == "" || !strings.HasPrefix(answer.Header.Get("Content-Type"), kind) {
			t.Errorf("%s: %s, %v", path, answer.Status, answer.Header)
		}
	}
}

// TestAnEmptyPage is one of a coordinator that knows nothing.
func TestAnEmptyPage(t *testing.T) {
	t.Parallel()
	base := serveView(t, View{Now: time.Now(), Name: "a", Channel: "main"})
	if _, text := get(t, base+"/", ""); !strings.Contains(text, "There is none.") || !strings.Contains(text, "cannot be reached") {
		t.Errorf("the page is %s", text)
	}
	if _, text := get(t, base+"/metrics", ""); !strings.Contains(text, "nfsync_coordinator_connected 0") {
		t.Errorf("the metrics are %s", text)
	}
}

// TestMetricsAreDocumented scrapes, and holds the names against the table of the documentation.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	_, text := get(t, serveView(t, viewOf(100))+"/metrics", "")
	for _, line := range []string{
		`nfsync_coordinator_build_info{goversion=`, "nfsync_coordinator_lease_held 1", `nfsync_fleet_nodes{revision="none"} 0`, "nfsync_fleet_nodes_silent 50",
		`nfsync_fleet_rollout_state{state="rolling"} 1`, `nfsync_fleet_rollout_nodes{group="other",progress="failed"}`, `nfsync_fleet_nodes_condition{type="Ready"} 100`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
	if n := strings.Count(text, "nfsync_fleet_nodes{"); n != maxRevisions+2 {
		t.Errorf("%d revisions are counted by name", n)
	}
	if strings.Contains(text, "<b>") {
		t.Error("a condition that a node has made up is counted")
	}
	page, err := os.ReadFile("../../docs/coordinator.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range MetricNames() {
		if !strings.Contains(text, "\n"+name+"{") && !strings.Contains(text, "\n"+name+" ") {
			t.Errorf("%s is not scraped", name)
		}
		if !strings.Contains(string(page), "| `"+name+"` |") {
			t.Errorf("docs/coordinator.md does not have %s", name)
		}
	}
}
