package web

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/openfile"
)

// Watchdog is the time within which a loop that is alive comes round. The restart of one container
// may take eleven minutes of it.
const Watchdog = 15 * time.Minute

// Public is what the agent shows on its listen address.
type Public struct {
	Status  func() nf.NodeStatus
	Metrics http.Handler
	// Webhook wakes a lap. SecretFile holds the secret that signs webhooks; empty refuses them.
	Webhook    func()
	SecretFile string

	beat atomic.Pointer[time.Time] // when the loop last came round, also by the monotonic clock
}

// Alive records that the loop has come round.
func (p *Public) Alive() {
	now := time.Now()
	p.beat.Store(&now)
}

// Serve answers requests on a listener until ctx ends.
func (p *Public) Serve(ctx context.Context, l net.Listener) error {
	s := &http.Server{Handler: p.handler(), ReadTimeout: requestTimeout, WriteTimeout: 3 * requestTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (p *Public) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", p.Metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		beat := p.beat.Load()
		if beat == nil {
			report(w, false, "the loop has not come round")
			return
		}
		since := time.Since(*beat)
		report(w, since < Watchdog, fmt.Sprintf("the loop came round %s ago", since.Round(time.Second)))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		s := p.Status()
		stalled := s.Condition(nf.Stalled)
		switch {
		case s.Revision == nil:
			report(w, false, "no revision is in force")
		case stalled.Status == nf.ConditionTrue:
			report(w, false, "stalled: "+stalled.Reason) // the message may name files
		default:
			report(w, true, "ok")
		}
	})
	mux.HandleFunc("POST /webhook", p.webhook)
	return mux
}

// report answers a check of health.
func report(w http.ResponseWriter, ok bool, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = io.WriteString(w, text+"\n") // the reader has gone
}

// The bounds of a webhook, in bytes.
const (
	maxWebhook = 1 << 20
	maxSecret  = 4 << 10
)

// webhook wakes a lap if the request is signed with the secret. Nothing else of it is used.
func (p *Public) webhook(w http.ResponseWriter, r *http.Request) {
	if p.SecretFile == "" {
		http.Error(w, "webhooks are not configured", http.StatusNotFound)
		return
	}
	secret, err := openfile.Read(p.SecretFile, maxSecret)
	secret = []byte(strings.TrimSpace(string(secret)))
	if err != nil || len(secret) == 0 {
		http.Error(w, "the secret cannot be read", http.StatusInternalServerError)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWebhook))
	switch {
	case err != nil:
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
	case !signed(r.Header, body, secret):
		http.Error(w, "the signature is missing or wrong", http.StatusForbidden)
	default:
		p.Webhook()
		w.WriteHeader(http.StatusAccepted)
	}
}

// signatures are the headers with an HMAC-SHA256 of the body in hexadecimal digits, with or
// without "sha256=" before them: of GitHub, Bitbucket, Gitea, Forgejo, and any other sender.
var signatures = []string{"X-Hub-Signature-256", "X-Hub-Signature", "X-Gitea-Signature", "X-Forgejo-Signature", "X-Nfsync-Signature"}

// signed reports whether a webhook is signed with the secret. GitLab sends the secret itself.
func signed(h http.Header, body, secret []byte) bool {
	if token := h.Get("X-Gitlab-Token"); token != "" {
		// Both are hashed, so that the time does not depend on the length of the secret.
		a, b := sha256.Sum256([]byte(token)), sha256.Sum256(secret)
		return subtle.ConstantTimeCompare(a[:], b[:]) == 1
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	want := mac.Sum(nil)
	for _, name := range signatures {
		value := h.Get(name)
		if name == "X-Hub-Signature" && !strings.HasPrefix(value, "sha256=") {
			continue // GitHub's, with SHA-1
		}
		got, err := hex.DecodeString(strings.TrimPrefix(value, "sha256="))
		if err == nil && value != "" {
			return hmac.Equal(got, want)
		}
	}
	return false
}
