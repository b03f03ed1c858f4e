package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/web"
)

// The secrets that the agent has.
const (
	passwordSecret = "pass w0rd/s3cret"
	tokenSecret    = "t0ken-s3cret"
	proxySecret    = "pr0xy-s3cret"
	hookSecret     = "h00k-s3cret"
	urlSecret      = "ur1-s3cret"
)

// spellings lists the secrets as they may appear: as they are, in a URL, and as basic authentication
// sends them.
func spellings() []string {
	list := []string{passwordSecret, tokenSecret, proxySecret, hookSecret, urlSecret}
	for _, s := range list[:5] {
		list = append(list, url.QueryEscape(s), url.PathEscape(s), url.UserPassword("me", s).String(), base64.StdEncoding.EncodeToString([]byte("me:"+s)))
	}
	return list
}

// tellTale is a server that repeats in its answers what it was sent to prove who the client is. Each
// request is answered in another way.
type tellTale struct{ requests atomic.Int64 }

func (s *tellTale) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	told := r.Header.Get("Authorization") + r.Header.Get("Proxy-Authorization") + r.URL.String()
	if _, password, ok := r.BasicAuth(); ok {
		told += " " + password + " " + url.PathEscape(password)
	}
	raw := func(text string) {
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_, _ = io.WriteString(c, text)
			_ = c.Close()
		}
	}
	pkt := func(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }
	switch n := s.requests.Add(1); n % 8 {
	case 0:
		http.Error(w, told, http.StatusInternalServerError)
	case 1:
		w.Header().Set("WWW-Authenticate", `Basic realm="`+told+`"`)
		http.Error(w, told, http.StatusUnauthorized)
	case 2:
		raw("HTTP/1.1 500 " + told + "\r\n\r\n" + told)
	case 3:
		raw(told + "\r\n\r\n")
	case 4:
		raw("HTTP/1.1 200 OK\r\n" + told + "\r\n\r\n")
	case 5:
		w.Header().Set("Location", "http://me:"+url.PathEscape(told)+"@git.invalid/"+url.PathEscape(told)+"?t="+url.QueryEscape(told))
		w.WriteHeader(http.StatusFound)
	case 6:
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		_, _ = io.WriteString(w, pkt("# service=git-upload-pack\n")+"0000"+pkt("ERR "+told+"\n"))
	case 7:
		w.Header().Set("Content-Type", told)
		_, _ = io.WriteString(w, told)
	}
}

// TestNoSecretIsTold: whatever a server answers, no secret is in what the agent says: its log, its
// status, its metrics and events, and the files that it keeps.
func TestNoSecretIsTold(t *testing.T) {
	loopback(t)
	for _, format := range []string{logText, logJSON} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			noSecretIsTold(t, format)
		})
	}
}

func noSecretIsTold(t *testing.T, format string) {
	t.Helper()
	n := newNode(t)
	server := &tellTale{}
	s := httptest.NewServer(server)
	defer s.Close()
	for name, text := range map[string]string{"password": passwordSecret, "token": tokenSecret, "hook": hookSecret} {
		if err := os.WriteFile(n.path(name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address := freeAddress(t)
	common := fmt.Sprintf("listen: %s\nwebhookSecretFile: %s\npublish: {url: '%s/nodes.git', http: {user: me, passwordFile: %s}}\n", address, n.path("hook"), s.URL, n.path("password"))
	source := func(url, auth string) string {
		return common + fmt.Sprintf("source: {urls: ['%s'], branch: main, http: {%s}}", url, auth)
	}
	password, token := fmt.Sprintf("user: me, passwordFile: %s", n.path("password")), fmt.Sprintf("tokenFile: %s", n.path("token"))
	n.configure(t, "%s", source(s.URL+"/x.git", password))
	proxy := strings.Replace(s.URL, "://", "://me:"+proxySecret+"@", 1)
	r := n.agent(t, []string{"HTTP_PROXY=" + proxy, "HTTPS_PROXY=" + proxy, "ALL_PROXY=" + proxy, "NO_PROXY="}, "--log-format", format, "--config", n.path("agent.yaml"))
	eventuallyTrue(t, "it has a status", func() bool { return n.status(t).LastLap != nil })
	events := &strings.Builder{}
	watch := exec.Command("nfsync", "--run-dir", n.path("run"), "status", "--watch", "-o", "json")
	watch.Stdout, watch.Stderr = events, events
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	look := func() {
		text, _ := n.client(t, "status")
		said.WriteString(text)
		for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
			said.WriteString(body(t, address, path))
		}
	}
	rounds := 8 // one for each way to answer
	for i, config := range []string{
		source(s.URL+"/x.git", password), source(s.URL+"/x.git", token), source("http://git.invalid/x.git", password), source("https://git.invalid/x.git", token),
		source("http://git.invalid/x.git?private_token="+urlSecret, token),
		source("http://me:"+urlSecret+"@git.invalid/x.git", ""), // from here on they are invalid
		common + "source: {urls: ['http://git.invalid/x.git'], branch: main, http: {proxy: 'http://me:" + urlSecret + "@127.0.0.1:1'}}",
		common + "source: {urls: ['http://git.invalid/x.git'], branch: main, http: {tokenFile: '" + urlSecret + "'}}",
	} {
		before := n.status(t).LastLap.FinishedAt
		n.configure(t, "%s", config)
		eventuallyTrue(t, "the configuration is read", func() bool { return n.status(t).LastLap.FinishedAt.After(before) })
		if i == 5 {
			rounds = 1
		}
		for range rounds {
			before := n.status(t).LastLap.FinishedAt
			if _, err := web.NewClient(n.path("run")).Sync(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			eventuallyTrue(t, "a lap is made", func() bool { return n.status(t).LastLap.FinishedAt.After(before) })
			look()
		}
	}
	if code := r.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	_ = watch.Wait() // the agent has ended
	if !strings.Contains(events.String(), "PublishFailed") {
		t.Error("nothing was published")
	}
	if server.requests.Load() < 30 || strings.Count(events.String(), nf.KindNodeStatus) < 10 {
		t.Errorf("%d requests, %d events", server.requests.Load(), strings.Count(events.String(), nf.KindNodeStatus))
	}
	said.WriteString(events.String() + r.stderr.String())
	for _, dir := range []string{"run", "state"} {
		said.WriteString(contents(t, n.path(dir)))
	}
	for _, secret := range spellings() {
		if i := strings.Index(said.String(), secret); i >= 0 {
			t.Errorf("%q is in: …%s…", secret, said.String()[max(0, i-200):min(said.Len(), i+100)])
		}
	}
}

// body returns what a path answers.
func body(t *testing.T, address, path string) string {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := c.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// contents returns the contents of all files below a directory.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		all.WriteString(path + "\n" + string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
