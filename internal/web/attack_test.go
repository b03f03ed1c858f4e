package web

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// impatient is the timeout of servers that drop who is slow, patient that of clients.
const (
	impatient = 300 * time.Millisecond
	patient   = 60 * time.Second
)

// attacked is a server on a listen address.
type attacked struct {
	*Public
	addr  string
	woken atomic.Int64
}

func newAttacked(t *testing.T, metrics http.Handler, timeout time.Duration) *attacked {
	t.Helper()
	a := &attacked{Public: &Public{Say: func(text string) { t.Error(text) }, Status: func() nf.NodeStatus { return nf.NodeStatus{Revision: &nf.InForce{}} }, Metrics: metrics}}
	a.Webhook = func() { a.woken.Add(1) }
	a.UseSecret(secretFile(t, secret))
	a.Alive()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.addr = l.Addr().String()
	s := a.server(timeout)
	go func() { _ = s.Serve(limit(l, maxFromOne, maxFromAll, addressOf)) }()
	t.Cleanup(func() { s.Close() })
	return a
}

// dial connects and sends a text. It waits for answers for a time.
func dial(t *testing.T, network, addr, text string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patient))
	_, _ = io.WriteString(c, text) // it may be closed already
	return c
}

// exchange sends a text, and no more, and returns all that comes back until the server closes.
func exchange(t *testing.T, network, addr, text string) string {
	t.Helper()
	c := dial(t, network, addr, text)
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	answer, _ := io.ReadAll(c) // reset is as good as closed
	return string(answer)
}

// statuses lists the status codes of answers.
func statuses(answers string) string {
	var codes []string
	for line := range strings.Lines(answers) {
		if strings.HasPrefix(line, "HTTP/1.") && len(line) > 12 {
			codes = append(codes, line[9:12])
		}
	}
	return strings.Join(codes, " ")
}

// isUp fails unless the server answers a well-behaved client.
func (a *attacked) isUp(t *testing.T) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patient}
	for end := time.Now().Add(patient); ; <-time.After(10 * time.Millisecond) {
		res, err := c.Get("http://" + a.addr + "/healthz")
		if err == nil {
			_ = res.Body.Close()
		}
		if err == nil && res.StatusCode == http.StatusOK {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the server does not answer: %v", err)
		}
	}
}

// TestAttacks sends what no client of good will sends. Nothing of it wakes a lap, each gets an answer
// or is closed, and the server goes on.
func TestAttacks(t *testing.T) {
	a := newAttacked(t, NewMetrics("1").Handler(), requestTimeout)
	const body = "{}"
	signature := "X-Hub-Signature-256: sha256=" + mac(body) + "\r\n"
	post := func(headers, body string) string {
		return "POST /webhook HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + "\r\n" + body
	}
	for name, test := range map[string]struct{ text, want string }{
		"a large header":        {"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", "431"},
		"many headers":          {"GET /healthz HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: x\r\n", 20<<10) + "\r\n", "431"},
		"a large path":          {"GET /" + strings.Repeat("x", 64<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", "431"},
		"a large body":          {post(fmt.Sprintf("Content-Length: %d\r\n", 1<<40), "x"), "413"},
		"a large chunked body":  {post("Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", maxWebhook+1, strings.Repeat("x", maxWebhook+1))), "413"},
		"a negative length":     {post("Content-Length: -1\r\n", ""), "400"},
		"two lengths":           {post("Content-Length: 2\r\nContent-Length: 3\r\n"+signature, body), "400"},
		"length and chunked":    {post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"+signature, "3\r\nabc\r\n0\r\n\r\n"), "403"},
		"a chunk that lies":     {post("Transfer-Encoding: chunked\r\n"+signature, "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n"), "400"},
		"a chunk that ends":     {post("Transfer-Encoding: chunked\r\n"+signature, "5\r\n{}"), "400"},
		"an unknown encoding":   {post("Transfer-Encoding: gzip\r\n"+signature, body), "501"},
		"a header without name": {post(": x\r\nContent-Length: 2\r\n"+signature, body), "400"},
		"a folded header":       {post("X-Hub-Signature-256: sha256=\r\n "+mac(body)+"\r\nContent-Length: 2\r\n", body), "403"},
		"expect":                {post("Expect: 100-continue\r\nContent-Length: 2\r\n", body), "100 403"},
		"expect, large":         {post(fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n", 1<<30), ""), "413"},
		"expect something else": {post("Expect: money\r\nContent-Length: 2\r\n"+signature, body), "417"},
		"a doubled signature":   {post(signature+signature+"Content-Length: 2\r\n", body), "403"},
		"a doubled token":       {post("X-Gitlab-Token: "+secret+"\r\nX-Gitlab-Token: "+secret+"\r\nContent-Length: 2\r\n", body), "403"},
		"garbage":               {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"},
		"http2":                 {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"},
		"upgrade to http2":      {"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", "404"},
		"no host":               {"GET /healthz HTTP/1.1\r\n\r\n", "400"},
		"two hosts":             {"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"},
		"an unknown version":    {"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n", "505"},
		"HTTP/1.0":              {"GET /healthz HTTP/1.0\r\n\r\n", "200"},
		"HTTP/0.9":              {"GET /healthz\r\n\r\n", "400"},
		"HEAD":                  {"HEAD /healthz HTTP/1.0\r\n\r\n", "200"},
		"TRACE":                 {"TRACE /healthz HTTP/1.0\r\nX: y\r\n\r\n", "405"},
		"CONNECT":               {"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nConnection: close\r\n\r\n", "404"},
		"OPTIONS *":             {"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200"},
		"GET *":                 {"GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "400"},
		"a whole URL":           {"GET http://example.org/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200"},
		"two slashes":           {"GET //metrics HTTP/1.0\r\n\r\n", "307"},
		"dots":                  {"GET /metrics/../healthz HTTP/1.0\r\n\r\n", "307"},
		"encoded dots":          {"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.0\r\n\r\n", "404"},
		"an encoded slash":      {"GET /metrics%2f..%2fhealthz HTTP/1.0\r\n\r\n", "404"},
		"an encoded zero":       {"GET /healthz%00 HTTP/1.0\r\n\r\n", "404"},
		"a bad escape":          {"GET /%zz HTTP/1.0\r\n\r\n", "400"},
		"pipelined":             {"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" + post("Content-Length: 2\r\n", body), "200 404 403"},
		"smuggled":              {"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200 404"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := exchange(t, "tcp", a.addr, test.text)
			if got := statuses(answer); got != test.want {
				t.Errorf("status %q, want %q:\n%.2000s", got, test.want, answer)
			}
			if strings.Contains(answer, secret) || strings.Contains(answer, "root:") {
				t.Errorf("it says too much: %s", answer)
			}
		})
	}
	t.Cleanup(func() {
		if n := a.woken.Load(); n != 0 {
			t.Errorf("%d laps were woken", n)
		}
	})
}

// TestMethods: another method than the one of a path is answered with those that are.
func TestMethods(t *testing.T) {
	a := newAttacked(t, NewMetrics("1").Handler(), requestTimeout)
	for path, allow := range map[string]string{"/metrics": "GET, HEAD", "/healthz": "GET, HEAD", "/readyz": "GET, HEAD", "/webhook": "POST"} {
		for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "GET", "POST", "BREW"} {
			req, err := http.NewRequestWithContext(t.Context(), method, "http://"+a.addr+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if known := strings.Contains(allow, method); !known && (res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != allow) {
				t.Errorf("%s %s: %s, Allow: %q", method, path, res.Status, res.Header.Get("Allow"))
			}
		}
	}
}

// TestHosts: the answer does not depend on Host, and grants no other site the right to read it.
func TestHosts(t *testing.T) {
	a := newAttacked(t, NewMetrics("1").Handler(), requestTimeout)
	for _, host := range []string{"127.0.0.1", "evil.example", "[::1]:9469", "a:b@c"} {
		answer := exchange(t, "tcp", a.addr, "GET /readyz HTTP/1.0\r\nHost: "+host+"\r\nOrigin: https://evil.example\r\n\r\n")
		if strings.Contains(answer, "evil") || strings.Contains(answer, "Access-Control") {
			t.Errorf("%s: %s", host, answer)
		}
	}
}

// TestSlow: who sends a header or a body a byte at a time, or nothing, or does not read the answer,
// is dropped.
func TestSlow(t *testing.T) {
	large := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 1024 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	a := newAttacked(t, large, impatient)
	for name, text := range map[string]string{
		"nothing":  "",
		"a header": "GET /healthz HTTP/1.1\r\nHost: x\r\n",
		"a body":   "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
		"a chunk":  "POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, "tcp", a.addr, text)
			began := time.Now()
			go func() {
				for text != "" {
					if _, err := io.WriteString(c, "x"); err != nil {
						return
					}
					<-time.After(impatient / 10)
				}
			}()
			if _, err := io.Copy(io.Discard, c); os.IsTimeout(err) || time.Since(began) > patient {
				t.Errorf("it was dropped after %s: %v", time.Since(began), err)
			}
		})
	}
	t.Run("a reader", func(t *testing.T) {
		t.Parallel()
		c := dial(t, "tcp", a.addr, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
		_, _ = io.ReadFull(c, make([]byte, 10))
		<-time.After(4 * impatient)
		n, err := io.Copy(io.Discard, c)
		if os.IsTimeout(err) || n >= 64<<20 {
			t.Errorf("it has received %d bytes: %v", n, err)
		}
	})
	t.Cleanup(func() {
		if n := a.woken.Load(); n != 0 {
			t.Errorf("%d laps were woken", n)
		}
	})
}

// TestManyConnections: thousands of connections that do nothing are closed, and others are answered.
func TestManyConnections(t *testing.T) {
	a := newAttacked(t, NewMetrics("1").Handler(), impatient)
	open := 0
	for range 2000 {
		c, err := net.Dial("tcp", a.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open++
	}
	a.isUp(t)
	signed := "POST /webhook HTTP/1.0\r\nContent-Length: 2\r\nX-Gitlab-Token: " + secret + "\r\n\r\n{}"
	if got := statuses(exchange(t, "tcp", a.addr, signed)); got != "202" {
		t.Errorf("a webhook among %d connections: %q", open, got)
	}
}

// TestLimit: a peer has a number of connections, all peers together too, and one that closes makes
// room.
func TestLimit(t *testing.T) {
	inner, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	peers := make(chan string, 1)
	l := limit(inner, 2, 3, func(net.Conn) string { return <-peers })
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	// connect returns the accepted connection; nil if it was closed.
	connect := func(peer string) net.Conn {
		t.Helper()
		c := dial(t, "unix", inner.Addr().String(), "")
		closed := make(chan bool, 1)
		go func() { _, _ = c.Read(make([]byte, 1)); closed <- true }()
		peers <- peer
		select {
		case served := <-accepted:
			return served
		case <-closed:
			return nil
		}
	}
	first := connect("a")
	for _, step := range []struct {
		peer string
		ok   bool
	}{{"a", true}, {"a", false}, {"b", true}, {"b", false}, {"c", false}, {"", true}, {"", true}, {"", true}} {
		if got := connect(step.peer) != nil; got != step.ok {
			t.Errorf("%q: %v", step.peer, got)
		}
	}
	first.Close()
	first.Close() // counts once
	if connect("a") == nil || connect("a") != nil {
		t.Error("a connection that was closed makes no room, or too much")
	}
}

// serveTalker serves a socket.
func serveTalker(t *testing.T, a Talker, timeout time.Duration) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), SocketName)
	l, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := socketServer(ctx, a, timeout)
	go func() { _ = s.Serve(limit(l, maxOfMember, maxOfMembers, memberOf)) }()
	t.Cleanup(func() { cancel(); s.Close() })
	return path
}

// TestEventsLast: a stream of events outlives the time that a request has.
func TestEventsLast(t *testing.T) {
	a := &talker{updates: make(chan nf.NodeStatus, 1)}
	lines := bufio.NewScanner(dial(t, "unix", serveTalker(t, a, impatient), "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n"))
	next := func(want string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("no %s: %v", want, lines.Err())
	}
	next(`"node":"hn-1"`)
	<-time.After(3 * impatient)
	a.updates <- nf.NodeStatus{Node: "hn-2"}
	next(`"node":"hn-2"`)
}

// TestEventsUnread: a reader of events that never reads is dropped, and so is one of the status.
func TestEventsUnread(t *testing.T) {
	a := &talker{updates: make(chan nf.NodeStatus), large: strings.Repeat("x", 1<<20)}
	path := serveTalker(t, a, impatient)
	dial(t, "unix", path, "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
	dial(t, "unix", path, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
	for end := time.Now().Add(patient); ; {
		select {
		case a.updates <- nf.NodeStatus{Source: a.large}:
			continue // it still takes some
		case <-time.After(time.Millisecond):
		}
		if a.left.Load() == 1 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the reader is still there")
		}
	}
}

// TestSocketAttacks sends to the socket what no client of good will sends.
func TestSocketAttacks(t *testing.T) {
	a := &talker{}
	path := serveTalker(t, a, requestTimeout)
	for name, test := range map[string]struct{ text, want string }{
		"garbage":           {"\x00\x01\x02\r\n\r\n", "400"},
		"a large header":    {"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", "431"},
		"a large body":      {fmt.Sprintf("POST /v1/suspend HTTP/1.0\r\nContent-Length: %d\r\n\r\n", 1<<40) + `{"reason":"` + strings.Repeat("x", maxRequest), "413"},
		"a body that lies":  {"POST /v1/suspend HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
		"a body that stops": {"POST /v1/suspend HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100\r\n\r\n{", "400"},
		"dots":              {"POST /v1/status/../resume HTTP/1.0\r\n\r\n", "307"},
		"another method":    {"DELETE /v1/suspend HTTP/1.0\r\n\r\n", "405"},
		"only a header":     {"POST /v1/resume HTTP/1.1\r\nHost: x\r\n", "400"},
		"HTTP/1.0":          {"GET /v1/status HTTP/1.0\r\n\r\n", "200"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := exchange(t, "unix", path, test.text)
			if got := statuses(answer); got != test.want {
				t.Errorf("status %q, want %q:\n%.2000s", got, test.want, answer)
			}
		})
	}
	t.Cleanup(func() {
		if a.asked() {
			t.Errorf("%+v", a)
		}
	})
}
