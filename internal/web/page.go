package web

import (
	"bytes"
	"context"
	"embed"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/view"
)

// Viewed is the agent, as the status page sees it.
type Viewed interface {
	Status() nf.NodeStatus
	// Overview returns what laps have last seen of the node.
	Overview() apply.Overview
	// Changes returns a channel that receives something after each change, until done is called.
	Changes() (changes <-chan struct{}, done func())
}

// Tables are the readings of the conntrack tables.
type Tables interface {
	Report() agent.TableReport
	Days(targets []nf.Target) map[nf.Target]agent.Day
}

// Page is the status page of an agent. What it shows is read when somebody looks.
type Page struct {
	Agent  Viewed
	Tables Tables
	// ReceiptIDs lists the receipts of the node, the newest first, and Receipt reads one.
	ReceiptIDs func() ([]string, error)
	Receipt    func(id string) (apply.Receipt, error)

	now      func() time.Time // nil: time.Now
	once     sync.Once
	drawing  chan struct{} // a place for each page that is being made
	streams  *bounds
	receipts receiptCache
}

// The most pages that are made at once, and the most streams of events: from one address, and from
// all. They leave connections for scrapes.
const (
	maxDrawn          = 2
	maxStreamsFromOne = 8
	maxStreams        = 32
)

var (
	//go:embed page
	pageFiles embed.FS

	pageStyle  = []byte(view.BaseStyle() + pageFile("page.css"))
	pageScript = []byte(pageFile("page.js"))
	pageIcon   = []byte(pageFile("icon.svg"))
)

// pageTemplate returns the template, which is parsed when somebody first asks for the page.
var pageTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page.html").ParseFS(pageFiles, "page/page.html"))
})

func pageFile(name string) string {
	text, err := pageFiles.ReadFile("page/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	return string(text)
}

// register adds the page to a handler. Its streams end with ending.
func (p *Page) register(mux *http.ServeMux, ending context.Context) {
	p.once.Do(func() {
		p.drawing, p.streams = make(chan struct{}, maxDrawn), newBounds(maxStreamsFromOne, maxStreams)
	})
	handle := func(path string, h http.HandlerFunc) { mux.Handle("GET "+path, Guarded(h)) }
	handle("/{$}", p.serve)
	handle("/events", func(w http.ResponseWriter, r *http.Request) { p.events(ending, w, r) })
	for path, file := range map[string]struct {
		kind string
		text []byte
	}{"/page.css": {"text/css", pageStyle}, "/page.js": {"text/javascript", pageScript}, "/icon.svg": {"image/svg+xml", pageIcon}} {
		handle(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", file.kind+"; charset=utf-8")
			_, _ = w.Write(file.text) // the reader has gone
		})
	}
}

// pagePolicy lets the page load its own style, script and icon, and nothing else.
const pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Guarded answers a request with headers that keep the page to itself. On a loopback address it answers
// only for the names of that address: a page from elsewhere whose name somebody lets resolve to
// 127.0.0.1 learns nothing.
func Guarded(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Content-Security-Policy": pagePolicy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"X-Frame-Options": "DENY", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			w.Header().Set(name, value)
		}
		if onLoopback(r) && !isLoopbackName(r.Host) {
			http.Error(w, misdirected(r), http.StatusMisdirectedRequest)
			return
		}
		h(w, r)
	}
}

// misdirected says how the page is opened.
func misdirected(r *http.Request) string {
	port := "9469"
	if at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if _, its, err := net.SplitHostPort(at.String()); err == nil {
			port = its
		}
	}
	return strings.ReplaceAll(`This address shows the status page only to those who call it localhost, 127.0.0.1 or [::1].
Otherwise a page from elsewhere, open in a browser on this node, could read it.

On the node open the page under one of these names, with the port.
From elsewhere: ssh -L PORT:127.0.0.1:PORT NODE, then http://127.0.0.1:PORT/
Behind a proxy: let it send "Host: localhost".
`, "PORT", port)
}

// Style returns the style of the page, for other pages of nfsync.
func Style() []byte { return pageStyle }

// Icon returns the icon of the page, an SVG image.
func Icon() []byte { return pageIcon }

// listenerKey is the key of the address that a request has come to.
type listenerKey struct{}

// withListener stores whether a listener is reached from this machine only.
func withListener(l net.Listener) context.Context {
	loopback := false
	if at, err := netip.ParseAddrPort(l.Addr().String()); err == nil {
		loopback = at.Addr().Unmap().IsLoopback()
	}
	return context.WithValue(context.Background(), listenerKey{}, loopback)
}

func onLoopback(r *http.Request) bool {
	loopback, known := r.Context().Value(listenerKey{}).(bool)
	return loopback || !known
}

// isLoopbackName reports whether a Host names this machine for itself.
func isLoopbackName(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	if strings.EqualFold(strings.TrimSuffix(name, "."), "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback()
}

// serve answers with the page.
func (p *Page) serve(w http.ResponseWriter, r *http.Request) {
	select {
	case p.drawing <- struct{}{}:
		defer func() { <-p.drawing }()
	case <-r.Context().Done():
		return
	}
	var out bytes.Buffer
	if err := pageTemplate().Execute(&out, p.data(parseQuery(r.URL.Query()))); err != nil {
		http.Error(w, "the page cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(out.Len()))
	_, _ = w.Write(out.Bytes()) // the reader has gone
}

func (p *Page) clock() time.Time {
	if p.now != nil {
		return p.now()
	}
	return time.Now()
}

// How often a stream has an event at most, and how often it shows that it is alive.
const (
	eventPause = time.Second
	eventQuiet = 20 * time.Second
)

// events sends an event after each change, until ending or the request ends. A reader that does not
// read is dropped.
func (p *Page) events(ending context.Context, w http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr) // empty: a peer like any other
	if !p.streams.enter(host) {
		w.Header().Set("Retry-After", "15")
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	defer p.streams.leave(host)
	changes, done := p.Agent.Changes()
	defer done()
	w.Header().Set("Content-Type", "text/event-stream")
	conn := http.NewResponseController(w)
	send := func(text string) bool {
		_ = conn.SetWriteDeadline(time.Now().Add(requestTimeout))
		_, err := w.Write([]byte(text))
		return err == nil && conn.Flush() == nil
	}
	for open := send("retry: 3000\n\n") && r.Method != http.MethodHead; open; {
		select {
		case <-ending.Done():
			return
		case <-r.Context().Done():
			return
		case <-changes:
			open = send("data: changed\n\n") && pause(ending, r.Context(), eventPause)
		case <-time.After(eventQuiet):
			open = send(": quiet\n\n")
		}
	}
}

// pause waits, and returns false when a context ends.
func pause(a, b context.Context, d time.Duration) bool {
	select {
	case <-a.Done():
		return false
	case <-b.Done():
		return false
	case <-time.After(d):
		return true
	}
}
