package web

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"testing"
)

// FuzzWebhook: a webhook wakes a lap only if its headers have the secret, or the HMAC of its body
// with it, and then exactly one. The answer never has the secret.
func FuzzWebhook(f *testing.F) {
	const body = `{"ref":"refs/heads/main"}`
	for _, headers := range []string{
		"X-Hub-Signature-256: sha256=" + mac(body), "X-Hub-Signature: sha256=" + mac(body), "X-Hub-Signature: sha1=" + oldMac(body),
		"X-Gitea-Signature: " + mac(body), "X-Forgejo-Signature: " + mac(body), "X-Nfsync-Signature: sha256=" + mac(body), "X-Gitlab-Token: " + secret,
		"X-Gitlab-Token: " + secret + "\r\nX-Gitlab-Token: " + secret, "X-Gitea-Signature: " + strings.ToUpper(mac(body)), "X-Gitlab-Token: ", "x-hub-signature-256: =", "",
		"X-Gitea-Signature: " + mac(body) + "\r\nX-Forgejo-Signature: " + mac("x"), "X-Gitea-Signature: " + mac(""), "Content-Length: 99", "A: \xff",
	} {
		f.Add(headers, []byte(body))
	}
	file := secretFile(f, secret)
	f.Fuzz(func(t *testing.T, headers string, body []byte) {
		h, err := textproto.NewReader(bufio.NewReader(strings.NewReader(headers + "\r\n\r\n"))).ReadMIMEHeader()
		if err != nil {
			return // the server refuses it
		}
		woken := 0
		p := &Public{Say: func(string) {}, Webhook: func() { woken++ }, Metrics: http.NotFoundHandler()}
		p.UseSecret(file)
		r := httptest.NewRequest(http.MethodPost, "/webhook", bytes.NewReader(body))
		r.Header = http.Header(h)
		w := httptest.NewRecorder()
		p.handler(t.Context()).ServeHTTP(w, r)
		proved := strings.Contains(headers, secret) || strings.Contains(strings.ToLower(headers), mac(string(body)))
		switch {
		case woken > 1, woken == 1 && !proved, (woken == 1) != (w.Code == http.StatusAccepted):
			t.Errorf("woken %d times, status %d by %q", woken, w.Code, headers)
		case strings.Contains(w.Body.String(), secret):
			t.Errorf("it tells the secret: %s", w.Body)
		}
	})
}

// FuzzSocket: whatever a member of the group sends changes nothing, no request makes the agent do
// more than one thing, and each answer is of the socket.
func FuzzSocket(f *testing.F) {
	commit := strings.Repeat("a", 40)
	for _, seed := range []struct{ method, path, body string }{
		{"GET", "/v1/status", ""}, {"POST", "/v1/sync", "{}"}, {"POST", "/v1/sync", ""}, {"POST", "/v1/sync", `{"accept":"` + commit + `"}`}, {"POST", "/v1/sync", `{"Accept":"` + commit + `","accept":""}`},
		{"POST", "/v1/suspend", `{"reason":"x","seconds":60}`}, {"POST", "/v1/suspend", `{"reason":"\u0000\ud800","seconds":1e3}`}, {"POST", "/v1/suspend", `{"reason":"x","seconds":-9223372036854775808}`},
		{"POST", "/v1/resume", "{}"}, {"POST", "/v1/resume", "null"}, {"POST", "//v1//resume", "{}"}, {"POST", "/v1/status/../resume", "{}"}, {"PUT", "/v1/suspend", "[]"}, {"POST", "/v1/sync", `{}{}`},
	} {
		f.Add(seed.method, seed.path, []byte(seed.body), true)
		f.Add(seed.method, seed.path, []byte(seed.body), false)
	}
	f.Fuzz(func(t *testing.T, method, path string, body []byte, root bool) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + path + " HTTP/1.1\r\nHost: agent\r\n\r\n")))
		if err != nil || r.URL.Path == "/v1/events" {
			return // the server refuses it, or it does not end
		}
		uid := 4711
		if root {
			uid = 0
		}
		request := request(uid, http.MethodPost, "/", string(body))
		request.Method, request.URL, request.RequestURI = r.Method, r.URL, r.RequestURI
		a, w := &talker{}, httptest.NewRecorder()
		socketHandler(t.Context(), a, impatient).ServeHTTP(w, request)
		things := len(a.accepted)
		if a.suspension != nil || a.resumed {
			things++
		}
		switch {
		case things > 1, things == 1 && w.Code != http.StatusOK:
			t.Errorf("status %d: %+v", w.Code, a)
		case !root && (a.suspension != nil || a.resumed || things == 1 && a.accepted[0] != ""):
			t.Errorf("a member has changed something: %+v", a)
		case w.Code == http.StatusOK && !json.Valid(w.Body.Bytes()):
			t.Errorf("no JSON: %s", w.Body)
		case w.Code >= http.StatusInternalServerError:
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		if s := a.suspension; s != nil && (strings.TrimSpace(s.Reason) == "" || s.Until != nil && !s.Until.After(s.Since)) {
			t.Errorf("a suspension that nobody can mean: %+v", s)
		}
	})
}
