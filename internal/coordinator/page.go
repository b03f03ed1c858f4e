package coordinator

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"

	"nfsync.dev/nfsync/internal/web"
)

//go:embed page/page.html
var pageHTML string

var pageTemplate = sync.OnceValue(func() *template.Template { return template.Must(template.New("page").Parse(pageHTML)) })

// maxDrawn is how many pages are made at once.
const maxDrawn = 2

// Serve answers with the page and the metrics on a listener until ctx ends. The listener is then closed.
func (c *Coordinator) Serve(ctx context.Context, l net.Listener, version string) error {
	return web.Serve(ctx, l, c.handler(version), func(text string) { c.Say(slog.LevelWarn, text) })
}

// handler answers requests. Metrics and health are answered whatever name a request has in Host, the page is not: see
// web.Guarded.
func (c *Coordinator) handler(version string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metricsHandler(version, c.View))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		report(w, c.IsAlive(), "the loop has come round lately", "the loop has not come round lately")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		report(w, c.View().Connected, "the store can be reached", "the store cannot be reached")
	})
	drawing := make(chan struct{}, maxDrawn)
	mux.Handle("GET /{$}", web.Guarded(func(w http.ResponseWriter, r *http.Request) {
		select {
		case drawing <- struct{}{}:
			defer func() { <-drawing }()
			servePage(w, r, c.View())
		case <-r.Context().Done():
		}
	}))
	mux.Handle("GET /page.css", web.Guarded(file("text/css", web.Style())))
	mux.Handle("GET /icon.svg", web.Guarded(file("image/svg+xml", web.Icon())))
	return mux
}

// report answers a check of health.
func report(w http.ResponseWriter, ok bool, yes, no string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
		yes = no
	}
	_, _ = fmt.Fprintln(w, yes) // the reader may have gone
}

func file(kind string, text []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind+"; charset=utf-8")
		_, _ = w.Write(text) // the reader may have gone
	}
}

// servePage answers with the page.
func servePage(w http.ResponseWriter, r *http.Request, v View) {
	var out bytes.Buffer
	if err := pageTemplate().Execute(&out, pageOf(v, queryOf(r.URL.Query()))); err != nil {
		http.Error(w, errors.Join(errors.New("the page cannot be made"), err).Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(out.Len()))
	_, _ = w.Write(out.Bytes()) // the reader may have gone
}
