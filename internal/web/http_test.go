package web

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

const secret = "h0rse battery"

func mac(body string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(body))
	return hex.EncodeToString(m.Sum(nil))
}

func oldMac(body string) string {
	m := hmac.New(sha1.New, []byte(secret))
	m.Write([]byte(body))
	return hex.EncodeToString(m.Sum(nil))
}

func secretFile(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestWebhook sends what the servers send: their manuals under "Validating webhook deliveries"
// (GitHub), "Secret token" (GitLab), "Secure webhooks" (Bitbucket), "Webhooks" (Gitea, Forgejo).
func TestWebhook(t *testing.T) {
	const body = `{"ref":"refs/heads/main"}`
	for name, test := range map[string]struct {
		headers map[string]string
		want    int
	}{
		"GitHub":              {map[string]string{"X-Hub-Signature-256": "sha256=" + mac(body), "X-Hub-Signature": "sha1=" + oldMac(body)}, 202},
		"GitLab":              {map[string]string{"X-Gitlab-Token": secret}, 202},
		"Bitbucket":           {map[string]string{"X-Hub-Signature": "sha256=" + mac(body)}, 202},
		"Gitea":               {map[string]string{"X-Gitea-Signature": mac(body), "X-Hub-Signature-256": "sha256=" + mac(body)}, 202},
		"Gitea alone":         {map[string]string{"X-Gitea-Signature": mac(body)}, 202},
		"Forgejo":             {map[string]string{"X-Forgejo-Signature": mac(body)}, 202},
		"another sender":      {map[string]string{"X-Nfsync-Signature": "sha256=" + mac(body)}, 202},
		"none":                {nil, 403},
		"empty":               {map[string]string{"X-Hub-Signature-256": ""}, 403},
		"no digits":           {map[string]string{"X-Hub-Signature-256": "sha256="}, 403},
		"of another body":     {map[string]string{"X-Hub-Signature-256": "sha256=" + mac("x")}, 403},
		"short":               {map[string]string{"X-Hub-Signature-256": "sha256=" + mac(body)[:10]}, 403},
		"SHA-1":               {map[string]string{"X-Hub-Signature": "sha1=" + oldMac(body)}, 403},
		"SHA-1 as SHA-256":    {map[string]string{"X-Hub-Signature-256": "sha256=" + oldMac(body)}, 403},
		"another token":       {map[string]string{"X-Gitlab-Token": "h0rse"}, 403},
		"one of two is wrong": {map[string]string{"X-Hub-Signature-256": "sha256=" + mac("x"), "X-Gitea-Signature": mac(body)}, 403},
		"the other is wrong":  {map[string]string{"X-Hub-Signature-256": "sha256=" + mac(body), "X-Forgejo-Signature": mac("x")}, 403},
		"a wrong token too":   {map[string]string{"X-Gitlab-Token": "x", "X-Hub-Signature-256": "sha256=" + mac(body)}, 403},
		"an empty token":      {map[string]string{"X-Gitlab-Token": ""}, 403},
		"twice sha256=":       {map[string]string{"X-Hub-Signature-256": "sha256=sha256=" + mac(body)}, 403},
		"upper case":          {map[string]string{"X-Gitea-Signature": strings.ToUpper(mac(body))}, 202},
		"two in one":          {map[string]string{"X-Gitea-Signature": mac(body) + "," + mac(body)}, 403},
		"of an empty body":    {map[string]string{"X-Gitea-Signature": mac("")}, 403},
		"the token as a MAC":  {map[string]string{"X-Nfsync-Signature": secret}, 403},
		"the MAC as a token":  {map[string]string{"X-Gitlab-Token": mac(body)}, 403},
		"another header":      {map[string]string{"Authorization": "Bearer " + secret}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			woken := 0
			p := &Public{Say: func(string) {}, Webhook: func() { woken++ }, Metrics: http.NotFoundHandler()}
			p.UseSecret(secretFile(t, secret+"\n"))
			r := httptest.NewRequest(http.MethodPost, "/webhook", strings.NewReader(body))
			for k, v := range test.headers {
				r.Header.Set(k, v)
			}
			w := httptest.NewRecorder()
			p.handler(t.Context()).ServeHTTP(w, r)
			if w.Code != test.want || (woken == 1) != (test.want == 202) {
				t.Errorf("status %d, woken %d times", w.Code, woken)
			}
			if strings.Contains(w.Body.String(), secret) {
				t.Error("the answer holds the secret")
			}
		})
	}
}

// TestWebhookBounds: a webhook without a secret, with one that cannot be read, or that is too large
// wakes nothing.
func TestWebhookBounds(t *testing.T) {
	large := strings.Repeat("x", maxWebhook+1)
	for name, test := range map[string]struct {
		file, method, path, body string
		want                     int
	}{
		"not configured": {"", "POST", "/webhook", "x", 404},
		"no file":        {"/nonexistent", "POST", "/webhook", "x", 500},
		"empty file":     {secretFile(t, "\n"), "POST", "/webhook", "x", 500},
		"large":          {secretFile(t, secret), "POST", "/webhook", large, 413},
		"huge secret":    {secretFile(t, strings.Repeat("x", maxSecret+1)), "POST", "/webhook", "x", 500},
		"a directory":    {t.TempDir(), "POST", "/webhook", "x", 500},
		"GET":            {secretFile(t, secret), "GET", "/webhook", "x", 405},
		"another path":   {secretFile(t, secret), "POST", "/webhook/../status", "x", 404},
		"metrics":        {secretFile(t, secret), "POST", "/metrics", "x", 405},
	} {
		p := &Public{Say: func(string) {}, Webhook: func() { t.Errorf("%s: it wakes a lap", name) }, Metrics: http.NotFoundHandler()}
		p.UseSecret(test.file)
		r := httptest.NewRequest(test.method, test.path, strings.NewReader(test.body))
		r.Header.Set("X-Hub-Signature-256", "sha256="+mac(test.body))
		w := httptest.NewRecorder()
		p.handler(t.Context()).ServeHTTP(w, r)
		if w.Code != test.want && (w.Code != 307 || test.want != 404) {
			t.Errorf("%s: status %d, want %d", name, w.Code, test.want)
		}
	}
}

func TestHealth(t *testing.T) {
	s := nf.NodeStatus{}
	p := &Public{Status: func() nf.NodeStatus { return s }, Metrics: http.NotFoundHandler()}
	want := func(path string, code int) {
		t.Helper()
		w := httptest.NewRecorder()
		p.handler(t.Context()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != code {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	want("/healthz", 503)
	p.Alive()
	want("/healthz", 200)
	late := time.Now().Add(-2 * Watchdog)
	p.beat.Store(&late)
	want("/healthz", 503)
	want("/readyz", 503)
	s.Revision = &nf.InForce{Commit: "c1"}
	want("/readyz", 200)
	s.Conditions = []nf.Condition{{Type: nf.Stalled, Status: nf.ConditionTrue, Reason: "InvalidPolicies", Message: "/etc/secret: x"}}
	want("/readyz", 503)
}

// TestMetrics: the metrics are as Prometheus wants them, before the first lap and after laps.
func TestMetrics(t *testing.T) {
	m := NewMetrics("1.2.3")
	lint := func() string {
		t.Helper()
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		text := w.Body.String()
		problems, err := promlint.New(strings.NewReader(text)).Lint()
		if err != nil || len(problems) > 0 {
			t.Errorf("%v, %v", problems, err)
		}
		return text
	}
	if text := lint(); !strings.Contains(text, `nfsync_changes_total{outcome="stuck"} 0`) {
		t.Errorf("before the first lap it does not count changes:\n%s", text)
	}
	now := time.Now()
	r := agent.Report{Trip: agent.Trip{Causes: []agent.Cause{agent.WakeStart}, Fetch: true}, Started: now, Finished: now.Add(time.Second), Fights: []nf.Fight{{}, {}}, SuspensionNow: &nf.Suspension{Reason: "x"}}
	r.Result.Receipt = apply.Receipt{Kind: "Receipt", Results: []apply.Result{{Change: nf.Change{Cause: nf.CauseDrift}, Outcome: apply.Applied}},
		Refusals: []nf.Refusal{{Code: nf.AboveNode}}, Pending: []nf.Pending{{Until: nf.UntilNodeRestart}}, Summary: apply.Summary{Applied: 1, Refusals: 1}}
	s := agent.Status(agent.NewStatus("hn-1", "x", "enforce", nf.AgentInfo{StartedAt: now}), r)
	s.Next = []nf.NextLap{{At: time.Unix(1700000000, 0)}}
	m.Fetched(30*time.Millisecond, nil)
	m.Fetched(time.Minute, errors.New("no"))
	m.Configured(time.Unix(1600000000, 0), nil)
	m.Configured(now, errors.New("invalid"))
	m.Observe(s, r)
	text := lint()
	for _, line := range []string{
		`nfsync_laps_total{result="refused"} 1`, `nfsync_fetches_total{result="ok"} 1`, `nfsync_drift_changes_total 1`, `nfsync_refusals{code="above-node"} 1`,
		`nfsync_pending{until="node-restart"} 1`, `nfsync_condition{type="RestartPending"} 1`, `nfsync_condition_reason_info{reason="WaitsForRestart",type="RestartPending"} 1`, `nfsync_lap_duration_seconds_sum 1`, `nfsync_fights 2`, `nfsync_suspended 1`, `nfsync_restarts_pending 1`,
		`nfsync_next_lap_timestamp_seconds 1.7e+09`, `nfsync_config_last_reload_successful 0`, `nfsync_config_last_reload_success_timestamp_seconds 1.6e+09`,
		`nfsync_fetch_duration_seconds_bucket{result="ok",le="0.05"} 1`, `nfsync_fetch_duration_seconds_sum{result="error"} 60`, `nfsync_changes_total{outcome="applied"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
}

// TestScrapeDuringLap: scrapes and laps at the same time are no race, and a scrape never sees half a
// lap: the revision that is in force is always there.
func TestScrapeDuringLap(t *testing.T) {
	m := NewMetrics("1")
	s := nf.NodeStatus{Revision: &nf.InForce{Commit: "c1"}, LastLap: &nf.LapStatus{}}
	m.Observe(s, agent.Report{})
	done := make(chan bool)
	go func() {
		defer close(done)
		for range 200 {
			m.Observe(s, agent.Report{})
			m.Conditions(s)
			m.Fetched(time.Second, nil)
			m.Configured(time.Now(), nil)
		}
	}()
	for range 50 {
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if !strings.Contains(w.Body.String(), `nfsync_revision_info{branch="",commit="c1"} 1`) {
			t.Fatal("a scrape saw no revision")
		}
	}
	<-done
}

// TestSecretComplaint: that the secret cannot be read is logged when it begins, not for each webhook,
// and without what is in the file.
func TestSecretComplaint(t *testing.T) {
	var logged strings.Builder
	p := &Public{Webhook: func() {}, Metrics: http.NotFoundHandler(), Say: func(text string) { logged.WriteString(text + "\n") }}
	file := secretFile(t, "")
	p.UseSecret(file)
	post := func() {
		p.handler(t.Context()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/webhook", http.NoBody))
	}
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			post()
		}
	}
	write("")
	write(secret)
	write(strings.Repeat(secret, 1000))
	write("")
	lines := strings.Split(strings.TrimSpace(logged.String()), "\n")
	if len(lines) != 3 || !strings.HasSuffix(lines[0], "is empty") || !strings.Contains(lines[1], "larger than") || strings.Contains(logged.String(), secret) {
		t.Errorf("%q", lines)
	}
}
