package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/view"
)

// ask asks for a path of a page. loopback says where the page listens.
func (s *scene) ask(t testing.TB, loopback bool, method, host, path string) *httptest.ResponseRecorder {
	t.Helper()
	p := &Public{Status: s.Status, Metrics: http.NotFoundHandler(), Page: s.page(), Webhook: func() {}, Say: func(text string) { t.Error(text) }}
	r := httptest.NewRequest(method, path, http.NoBody)
	r.Host = host
	ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), listenerKey{}, loopback), patient)
	defer cancel()
	w := httptest.NewRecorder()
	p.handler(t.Context()).ServeHTTP(w, r.WithContext(ctx))
	return w
}

// get returns the page at a path.
func (s *scene) get(t testing.TB, path string) string {
	t.Helper()
	w := s.ask(t, true, http.MethodGet, "localhost", path)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: status %d: %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

// TestPageHeaders: whatever is answered may load nothing from elsewhere, is not shown in a frame, and is
// not stored.
func TestPageHeaders(t *testing.T) {
	s := newScene()
	for _, path := range []string{"/", "/page.css", "/page.js", "/icon.svg", "/events"} {
		for host, code := range map[string]int{"127.0.0.1:9469": 200, "evil.example": 421} {
			method := http.MethodGet
			if path == "/events" {
				method = http.MethodHead // it ends
			}
			w := s.ask(t, true, method, host, path)
			if w.Code != code {
				t.Errorf("%s for %s: status %d, want %d", path, host, w.Code, code)
			}
			for name, want := range map[string]string{"Content-Security-Policy": "default-src 'none';", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
				"Cross-Origin-Resource-Policy": "same-origin"} {
				if got := w.Header().Get(name); !strings.HasPrefix(got, want) {
					t.Errorf("%s for %s: %s is %q, want %q", path, host, name, got, want)
				}
			}
			for _, directive := range []string{"frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'", "script-src 'self'", "style-src 'self'"} {
				if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, directive) || strings.Contains(csp, "unsafe") {
					t.Errorf("%s: policy %q", path, csp)
				}
			}
		}
	}
	page := s.get(t, "/")
	if m := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script>|href="(javascript|http)`).FindString(page); m != "" {
		t.Errorf("the page has %q, which its policy forbids, or which leads elsewhere", m)
	}
}

// TestPageHost: on a loopback address the page is shown only to those who call it by a name of that
// address. On another one, and for metrics and health, the name does not matter.
func TestPageHost(t *testing.T) {
	s := newScene()
	for host, mine := range map[string]bool{
		"localhost": true, "localhost:9469": true, "LOCALHOST.:80": true, "127.0.0.1": true, "127.0.0.1:8080": true, "127.8.9.1:1": true, "[::1]": true, "[::1]:9469": true,
		"[::ffff:127.0.0.1]:9469": true,
		"":                        false, "evil.example": false, "evil.example:9469": false, "localhost.evil.example": false, "127.0.0.1.evil.example:9469": false, "192.0.2.1:9469": false, "0.0.0.0:9469": false,
		"[::]:9469": false, "[2001:db8::1]": false, "localhost@evil.example": false, "127.1": false, "[::1": true,
	} {
		for _, path := range []string{"/", "/events"} {
			want := http.StatusMisdirectedRequest
			if mine {
				want = http.StatusOK
			}
			w := s.ask(t, true, http.MethodHead, host, path)
			if w.Code != want {
				t.Errorf("%q, %s: status %d, want %d", host, path, w.Code, want)
			}
			if w = s.ask(t, false, http.MethodHead, host, path); w.Code != http.StatusOK {
				t.Errorf("%q, %s, not on loopback: status %d", host, path, w.Code)
			}
		}
		if w := s.ask(t, true, http.MethodGet, host, "/readyz"); w.Code != http.StatusOK {
			t.Errorf("%q: health depends on the name", host)
		}
	}
	if w := s.ask(t, true, http.MethodGet, "evil.example", "/"); !strings.Contains(w.Body.String(), "ssh -L") || strings.Contains(w.Body.String(), "hn-1") {
		t.Errorf("a request that is refused gets %q", w.Body)
	}
}

// TestPageListener: which address a listener has decides whose names count.
func TestPageListener(t *testing.T) {
	for address, loopback := range map[string]bool{"127.0.0.1:0": true, "0.0.0.0:0": false, "[::1]:0": true} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		s := newScene()
		p := &Public{Status: s.Status, Metrics: http.NotFoundHandler(), Page: s.page(), Say: func(text string) { t.Error(text) }}
		server := p.server(requestTimeout)
		go func() { _ = server.Serve(l) }()
		defer server.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		to := "127.0.0.1:" + port
		if address == "[::1]:0" {
			to = "[::1]:" + port
		}
		answer := statuses(exchange(t, "tcp", to, "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"))
		if want := map[bool]string{true: "421", false: "200"}[loopback]; answer != want {
			t.Errorf("%s: status %s, want %s", address, answer, want)
		}
	}
}

// TestPageMethods: the page only shows.
func TestPageMethods(t *testing.T) {
	s := newScene()
	for _, path := range []string{"/", "/events", "/page.css", "/page.js", "/icon.svg"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions, "BREW"} {
			if w := s.ask(t, true, method, "localhost", path); w.Code != http.StatusMethodNotAllowed || !strings.Contains(w.Header().Get("Allow"), "GET") {
				t.Errorf("%s %s: status %d, Allow %q", method, path, w.Code, w.Header().Get("Allow"))
			}
		}
		if w := s.ask(t, true, http.MethodHead, "localhost", path); w.Code != http.StatusOK {
			t.Errorf("HEAD %s: status %d", path, w.Code)
		}
	}
	for _, path := range []string{"/page", "/page/page.html", "/index.html", "/page.html", "/../etc/passwd"} {
		if w := s.ask(t, true, http.MethodGet, "localhost", path); w.Code == http.StatusOK {
			t.Errorf("%s is answered", path)
		}
	}
}

// TestPageShows: all that there is to be seen is on the page.
func TestPageShows(t *testing.T) {
	s := newScene()
	until := sceneNow.Add(2 * time.Hour)
	s.status.Suspension = &nf.Suspension{Since: before(time.Hour), Until: &until, Reason: "moving racks", By: "ada"}
	s.status.CurrentLap = &nf.CurrentLap{StartedAt: before(3 * time.Second), Causes: []string{"webhook"}}
	s.status.Stuck = []nf.StuckChange{{Target: nf.Node, Key: nf.KeyMax, From: nf.Number(1), To: nf.Number(2), Reads: nf.Number(3), Run: "000417-x", Why: "permission denied"}}
	s.status.Errors = []string{"policies/web.yaml:3:1: unknown key \"levle\""}
	s.status.Changes = append(s.status.Changes, nf.Change{Target: s.find("wiki").Target, Key: nf.KeyMax, From: nf.Number(1), To: nf.Number(7), LastFailure: &nf.LastFailure{Why: "it was busy"}})
	s.status.Conditions[1] = nf.Condition{Type: nf.Reconciling, Status: nf.ConditionTrue, Reason: string(agent.ReasonUnconfirmed), Message: "run 000419 waits for nfsync confirm until 15:00", LastTransitionTime: before(time.Minute)}
	s.status.Tables[0].Lost = &nf.Lost{Drops: nf.Drops{Dropped: 17}, Since: before(time.Minute)}
	page := s.get(t, "/")
	for _, want := range []string{
		"hn-1.example", ">ready<", "but for 1 refusal", "0.9.0", "enforce", "3.10.0-1160", // the agent
		"8c1f4e2b7a90<", "8c1f4e2b7a90d35e6f8a1b2c3d4e5f6071829304", ">main<", "ada@example.com", // the revision
		"refused</dd>", ">drift<", "214 ms", "in 22 s", "in 4 min", // the lap
		"https://git.example.com/policies.git", "connection refused", "in 9 min", // the sources
		"TableFilling", "changed by something else", // the conditions
		"by ada: moving racks", "2026-03-12 16:31:07 UTC", "waits for a confirmation", "run 000419", "nfsync confirm", "after webhook", // the notices
		"conntrack-latched", "allow nfsync to", "the container restarts", "dns policies/dns.yaml:11:12", // refused
		"56,539 of 65,536 entries, 86 %", "in 43 min", "17 packets dropped", "limit 65,536", // the table that fills
		"probably kube-proxy (process 2211)", "changed back 3 times", // the fight
		"the level is saved", "the container is stopped", "each packet of its containers", // pending, warnings
		"permission denied", "nfsync recover", "levle", "it was busy", // stuck, errors, failed
		"conntrack.timeouts.tcpEstablished", "1,048,576", "295,", "policies/node.yaml:14", // the node
		"vz/123, stopped", ">staging<", "23,976", "131,072", "last day: ", // containers
		"000418-20260312T141907Z", "rolled back", "write nf_conntrack_max: invalid argument", "120s</code> → <code>30s", // receipts
	} {
		if !strings.Contains(strings.ReplaceAll(page, "2m</code> → ", "120s</code> → "), strings.ReplaceAll(want, "&", "&amp;")) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if strings.Contains(page, "&lt;nil&gt;") || strings.Contains(page, "ZgotmplZ") || strings.Contains(page, "%!") {
		t.Error("the page has an unfit value")
	}
}

// TestPageStarting: before the first lap there is little to be seen, and a page all the same.
func TestPageStarting(t *testing.T) {
	s := emptyScene()
	page := s.get(t, "/")
	for _, want := range []string{">starting<", "the first lap has not ended", "No lap has looked at the node", "No apply has left a receipt", "Nothing needs attention", "No policy wants anything of the node"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	s.overview.At = before(time.Minute)
	s.err = errors.New("permission denied")
	s.add(vzTarget(1, ""), nf.LevelFull, 0, agent.Day{})
	s.overview.Containers[0].Unobservable = "its state is unknown"
	page = s.get(t, "/")
	for _, want := range []string{"unreadable", "cannot be listed: permission denied", "unlimited", "vz/1"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
}

// hostile are names that do harm where they are not escaped.
var hostile = []string{"</title><script>document.title='owned'</script>", "<img src=x onerror=document.title='owned'>", `"><svg onload=document.title='owned'>`, "' onfocus=document.title='owned' autofocus x='",
	"javascript:document.title='owned'", "\u202egpj.exe\u2066", "a\nb\x00\x1b[2J", "\xff\xfe", "{{.Node}}", "&#x3c;script&#x3e;", "%3Cscript%3E", strings.Repeat("x", 300)}

// hostileScene has a hostile name wherever a name can be.
func hostileScene() *scene {
	s := newScene()
	for i, name := range hostile {
		t := nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: name, Name: name}
		source := nf.Source{Name: name, File: name, Line: i + 1, Column: 1}
		s.add(t, nf.LevelStateful, 1000, agent.Day{}).State = name
		s.status.Refusals = append(s.status.Refusals, nf.Refusal{Target: t, Key: nf.Key(name), From: nf.Unknown(name), To: nf.Text(name), Code: nf.Code(name), Reason: name, Remedy: name, Until: nf.Until(name), Source: source})
		s.status.Fights = append(s.status.Fights, nf.Fight{Target: t, Key: nf.Key(name), From: nf.Text(name), To: nf.Number(1), SetBy: []nf.Writer{{Where: name, Value: nf.Text(name)}}})
		s.status.Pending = append(s.status.Pending, nf.Pending{Target: t, Key: nf.Key(name), Until: nf.UntilNodeRestart, Reason: name, Source: source})
		s.status.Stuck = append(s.status.Stuck, nf.StuckChange{Target: t, Key: nf.Key(name), Run: name, Why: name})
		s.status.Changes = append(s.status.Changes, nf.Change{Target: t, Key: nf.Key(name), Cause: nf.Cause(name), Source: source})
		s.status.Warnings = append(s.status.Warnings, nf.Warning{Code: name, Target: t, Key: nf.Key(name), Message: name, Source: &source})
		s.status.Errors = append(s.status.Errors, name)
		s.status.Tables = append(s.status.Tables, nf.FillingTable{Target: t, Count: 999, Max: 1000})
		s.status.URLs = append(s.status.URLs, nf.SourceURL{URL: name, Error: name})
		s.overview.Node = append(s.overview.Node, nf.EffectiveKey{Target: nf.Node, Key: nf.Key(name), Live: nf.Text(name), Source: source})
		s.receipts = append([]apply.Receipt{{ID: name, Revision: name, TakenBack: name, Results: []apply.Result{{Change: nf.Change{Target: t, Key: nf.Key(name), From: nf.Text(name)}, Outcome: apply.Outcome(name), Error: name}}}}, s.receipts...)
		s.status.LastLap.Causes = append(s.status.LastLap.Causes, name)
		s.status.Next = append(s.status.Next, nf.NextLap{Cause: name})
	}
	s.status.Node, s.status.Agent.Version, s.status.Mode, s.overview.Kernel = hostile[0], hostile[1], hostile[2], hostile[0]
	s.status.Revision.Commit, s.status.Revision.Branch, s.status.Revision.Signer = hostile[2], hostile[1], hostile[3]
	s.status.Suspension = &nf.Suspension{Reason: hostile[0], By: hostile[1]}
	s.status.LastLap.Error = hostile[2]
	for i := range s.status.Conditions {
		s.status.Conditions[i].Message, s.status.Conditions[i].Status = hostile[i], nf.ConditionTrue
	}
	return s
}

// TestPageHostile: hostile names are text, and so is what somebody asks for.
func TestPageHostile(t *testing.T) {
	s := hostileScene()
	for _, path := range []string{"/", "/?q=" + url.QueryEscape(hostile[0]), "/?runtime=" + url.QueryEscape(hostile[2]) + "&level=%22%3E&sort=%3Cscript%3E&page=-9", "/?q=%FF%00" + strings.Repeat("x", 5000),
		"/?page=99999999999999999999", "/?q=" + url.QueryEscape(hostile[1]) + "&attention=%22%3E%3Cscript%3E"} {
		page := s.get(t, path)
		if n := strings.Count(page, "<script"); n != 1 {
			t.Errorf("%.80s: %d scripts", path, n)
		}
		if m := regexp.MustCompile(`(?i)<img|<svg on|<[a-z0-9]+(\s+[a-z-]+(="[^"]*")?)*\s+on[a-z]+=|href="(javascript|[^/#?])`).FindString(page); m != "" {
			t.Errorf("%.80s: a name became %q", path, m)
		}
		if strings.ContainsAny(page, "\u202e\u2066\x00\x1b") || !strings.HasSuffix(page, "</html>\n") {
			t.Errorf("%.80s: a name changes how the text reads, or the page ends early", path)
		}
	}
	page := s.get(t, "/")
	if !strings.Contains(page, "\\u{202e}gpj.exe") || view.Clean(hostile[5]) == hostile[5] {
		t.Error("what changes the direction of the text is not shown as such")
	}
	if len(page) > 2<<20 {
		t.Errorf("%d bytes", len(page))
	}
}

// names returns the containers that a page lists.
func names(page string) string {
	var list []string
	for _, m := range regexp.MustCompile(`<span class="name">([^<]*)</span>`).FindAllStringSubmatch(page, -1) {
		list = append(list, m[1])
	}
	return strings.Join(list, " ")
}

// TestPageRuntimes: the runtimes of the node's containers can be selected, and the one that is.
func TestPageRuntimes(t *testing.T) {
	s := newScene()
	s.add(nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeDocker, ID: "9f2c", Name: "shop"}, nf.LevelDisabled, 0, agent.Day{})
	for query, want := range map[string]string{"": "vz docker", "runtime=docker": "vz docker*", "runtime=cri": "vz cri* docker", "runtime=unheard-of": "vz docker"} {
		page := s.get(t, "/?"+query)
		_, page, _ = strings.Cut(page, `<select name="runtime">`)
		page, _, _ = strings.Cut(page, "</select>")
		var list []string
		for _, m := range regexp.MustCompile(`<option( selected)?>([^<]*)</option>`).FindAllStringSubmatch(page, -1) {
			if m[1] != "" {
				m[2] += "*"
			}
			list = append(list, m[2])
		}
		if got := strings.Join(list, " "); got != want {
			t.Errorf("%q: %s, want %s", query, got, want)
		}
	}
	if got := names(s.get(t, "/?runtime=docker")); got != "shop" {
		t.Errorf("of docker: %s", got)
	}
}

// TestPageFilter: a form without a script selects containers and orders them.
func TestPageFilter(t *testing.T) {
	s := newScene()
	s.add(nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: "lab-10", Name: "lab-10"}, nf.LevelDisabled, 0, agent.Day{})
	s.add(nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: "lab-9", Name: "lab-9"}, nf.LevelDisabled, 0, agent.Day{}).Keys = 0
	for query, want := range map[string]string{
		"attention=1":                   "dns-2 proxy-1 git",
		"q=web":                         "web-1 web-2 web-3 web-4",
		"q=WEB+3":                       "web-3",
		"q=vz/101":                      "web-1",
		"q=+dns++refused+":              "dns-2",
		"q=stopped":                     "staging",
		"q=no+policy":                   "lab-9",
		"q=nothing":                     "",
		"runtime=netns":                 "lab-10 lab-9",
		"runtime=netns&sort=name":       "lab-9 lab-10",
		"level=disabled":                "lab-10 lab-9",
		"level=unknown":                 "staging",
		"level=stateless":               "dns-1 backup",
		"q=proxy&level=full":            "proxy-2",
		"q=runner&level=full":           "ci-runner-2",
		"q=dns&attention=1":             "dns-2",
		"runtime=unheard-of&q=web-1":    "web-1",
		"sort=unheard-of&q=shop":        "shop-1 shop-2 shop-db",
		"q=shop&sort=name&page=7":       "shop-1 shop-2 shop-db",
		"q=" + strings.Repeat("w", 300): "",
	} {
		if got := names(s.get(t, "/?"+query)); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	page := s.get(t, "/?q=dns&level=stateful&sort=fullest&attention=1")
	for _, want := range []string{`value="dns"`, "<option selected>stateful</option>", `<option value="fullest" selected>`, `value="1" checked`, ">1 of 26<"} {
		if !strings.Contains(page, want) {
			t.Errorf("the form does not keep %s", want)
		}
	}
	fullest := names(s.get(t, "/?sort=fullest"))
	if !strings.HasPrefix(fullest, "proxy-1 ") || !strings.HasSuffix(fullest, "lab-10 lab-9") {
		t.Errorf("the fullest first: %s", fullest)
	}
}

var nextPage = regexp.MustCompile(`<a href="([^"]*)" rel="next">`)

// TestPagePages: of many containers a page has some, and links lead to each of the others.
func TestPagePages(t *testing.T) {
	s := largeScene(t, 1003)
	seen := map[string]bool{}
	path := "/?sort=name&q=web"
	for pages := 0; path != ""; pages++ {
		page := s.get(t, path)
		if pages > 21 || len(page) > 150<<10 {
			t.Fatalf("%s: page %d has %d bytes", path, pages, len(page))
		}
		for _, name := range strings.Fields(names(page)) {
			seen[name] = true
		}
		path = ""
		if m := nextPage.FindStringSubmatch(page); m != nil {
			path, _, _ = strings.Cut(strings.ReplaceAll(m[1], "&amp;", "&"), "#")
		}
	}
	if len(seen) != 1003 {
		t.Errorf("%d of 1003 containers", len(seen))
	}
	if page := s.get(t, "/?q=web-77"); !strings.Contains(page, ">11 of 1,003<") || strings.Contains(page, "rel=\"next\"") {
		t.Error("the filter does not count what it finds")
	}
	if page := s.get(t, "/?page=99"); !strings.Contains(page, "1,001 to 1,003 of 1,003") || !strings.Contains(page, `rel="prev"`) {
		t.Error("the last page")
	}
}

// TestPageBounds: much of anything makes no page without end.
func TestPageBounds(t *testing.T) {
	s := newScene()
	refusal := s.status.Refusals[0]
	for range 5000 {
		s.status.Refusals = append(s.status.Refusals, refusal)
		s.receipts[0].Results = append(s.receipts[0].Results, s.receipts[0].Results[0])
	}
	for i := range 500 {
		r := s.receipts[1]
		r.ID = fmt.Sprintf("%06d-x", i)
		s.receipts = append(s.receipts, r)
	}
	page := s.get(t, "/")
	for _, want := range []string{"and 4971 more: nfsync status", "and 4981 more: nfsync receipts 000418"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if n := strings.Count(page, `class="receipt"`); n != maxReceipts || len(page) > 200<<10 {
		t.Errorf("%d receipts, %d bytes", n, len(page))
	}
}

// TestPageReceipts: a receipt is read once, unless its changes are to be confirmed; one that cannot be read
// does not hide the others.
func TestPageReceipts(t *testing.T) {
	s := newScene()
	until := sceneNow.Add(time.Minute)
	s.receipts[1].ConfirmUntil = &until
	p := s.page()
	for range 3 {
		p.data(query{})
	}
	if want := len(s.receipts) + 2; s.read != want {
		t.Errorf("receipts were read %d times, want %d", s.read, want)
	}
	whole := s.receipts
	p.Receipt = func(string) (apply.Receipt, error) { return apply.Receipt{}, errors.New("damaged") }
	s.receipts = append([]apply.Receipt{{ID: "000500-x"}}, whole...)
	r := p.data(query{}).Receipts
	if r.List[0].Error != "damaged" || r.List[1].Error != "" || len(r.List) != len(s.receipts) {
		t.Errorf("%+v", r.List)
	}
	s.receipts = nil
	if p.data(query{}); len(p.receipts.read) != 0 {
		t.Error("receipts that are gone are kept")
	}
}

// TestPageDuringChanges: pages and changes at the same time are no race.
func TestPageDuringChanges(t *testing.T) {
	s := newScene()
	done := make(chan bool)
	go func() {
		defer close(done)
		for i := range 200 {
			s.change(func(s *scene) { s.status.UpdatedAt = before(time.Duration(i)) })
		}
	}()
	for range 20 {
		s.get(t, "/")
	}
	<-done
}

// BenchmarkPage makes the page of a node with 1,000 containers.
func BenchmarkPage(b *testing.B) {
	p := &Public{Status: func() nf.NodeStatus { return nf.NodeStatus{} }, Metrics: http.NotFoundHandler(), Page: largeScene(b, 1000).page()}
	h := p.handler(b.Context())
	size := 0
	for b.Loop() {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Host = "localhost"
		h.ServeHTTP(w, r)
		size = w.Body.Len()
	}
	b.ReportMetric(float64(size), "bytes/page")
}
