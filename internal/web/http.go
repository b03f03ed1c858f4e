package web

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
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

// Public is what the agent shows on its listen address. Nothing of it is secret. Metrics and health are
// answered whatever name a request has in Host: a page that a browser on the node has loaded from
// elsewhere learns no more from them than any process on the node. The page is not.
type Public struct {
	Status  func() nf.NodeStatus
	Metrics http.Handler
	Page    *Page // nil: there is none
	// Webhook wakes a lap.
	Webhook func()
	// Say reports what goes wrong while a request is answered.
	Say func(string)

	secretFile atomic.Pointer[string]
	complaint  atomic.Pointer[string]    // the last one
	beat       atomic.Pointer[time.Time] // when the loop last came round, also by the monotonic clock
}

// UseSecret names the file with the secret that signs webhooks; empty refuses them.
func (p *Public) UseSecret(file string) { p.secretFile.Store(&file) }

// Alive records that the loop has come round.
func (p *Public) Alive() {
	now := time.Now()
	p.beat.Store(&now)
}

// IsAlive reports whether the loop has come round within Watchdog.
func (p *Public) IsAlive() bool { return p.idle() < Watchdog }

// idle returns the time since the loop came round; Watchdog if it never has.
func (p *Public) idle() time.Duration {
	if beat := p.beat.Load(); beat != nil {
		return time.Since(*beat)
	}
	return Watchdog
}

// The most connections to the listen address: from one address, and from all.
const (
	maxFromOne = 64
	maxFromAll = 256
)

// lastAnswers is how long requests that are being answered may take when ctx has ended.
const lastAnswers = 5 * time.Second

// Serve answers requests on a listener until ctx ends. The listener is then closed.
func (p *Public) Serve(ctx context.Context, l net.Listener) error {
	return serve(ctx, l, p.server(requestTimeout))
}

// Serve answers requests on a listener by a handler, within the bounds of the agent's address, until ctx ends. The
// listener is then closed.
func Serve(ctx context.Context, l net.Listener, h http.Handler, say func(string)) error {
	return serve(ctx, l, boundedServer(h, requestTimeout, say))
}

func serve(ctx context.Context, l net.Listener, s *http.Server) error {
	defer context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.Background(), lastAnswers)
		defer cancel()
		_ = s.Shutdown(last)
		_ = s.Close()
	})()
	if err := s.Serve(limit(l, maxFromOne, maxFromAll, addressOf)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (p *Public) server(timeout time.Duration) *http.Server {
	ending, end := context.WithCancel(context.Background())
	s := boundedServer(p.handler(ending), timeout, p.Say)
	s.RegisterOnShutdown(end)
	return s
}

func boundedServer(h http.Handler, timeout time.Duration, say func(string)) *http.Server {
	return &http.Server{Handler: h, BaseContext: withListener, ReadTimeout: timeout, WriteTimeout: 2 * timeout, IdleTimeout: 6 * timeout, MaxHeaderBytes: 16 << 10, ErrorLog: errorLog(say)}
}

// errorLog returns what net/http logs to: each line is said.
func errorLog(say func(string)) *log.Logger { //nolint:forbidigo // net/http knows nothing else
	return log.New(sayer(say), "", 0) //nolint:forbidigo // the same
}

type sayer func(string)

func (say sayer) Write(text []byte) (int, error) {
	say(strings.TrimSpace(string(text)))
	return len(text), nil
}

// handler answers requests. What it streams ends with ending.
func (p *Public) handler(ending context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", p.Metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		report(w, p.IsAlive(), fmt.Sprintf("the loop came round %s ago", p.idle().Round(time.Second)))
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
	if p.Page != nil {
		p.Page.register(mux, ending)
	}
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

// webhook wakes a lap if the request is signed with the secret. Nothing else of it is used, and its
// body is not kept.
func (p *Public) webhook(w http.ResponseWriter, r *http.Request) {
	file := p.secretFile.Load()
	if file == nil || *file == "" {
		http.Error(w, "webhooks are not configured", http.StatusNotFound)
		return
	}
	secret, err := readSecret(*file)
	p.complain(err)
	if err != nil {
		http.Error(w, "the secret cannot be read", http.StatusInternalServerError)
		return
	}
	mac := hmac.New(sha256.New, secret)
	if r.ContentLength <= maxWebhook { // one that is too large need not be sent
		_, err = io.Copy(mac, http.MaxBytesReader(w, r.Body, maxWebhook))
	}
	switch {
	case r.ContentLength > maxWebhook, isTooLarge(err):
		http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
	case err != nil:
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
	case !signed(r.Header, mac.Sum(nil), secret):
		http.Error(w, "the signature is missing or wrong", http.StatusForbidden)
	default:
		p.Webhook()
		w.WriteHeader(http.StatusAccepted)
	}
}

// readSecret reads the secret that signs webhooks.
func readSecret(file string) ([]byte, error) {
	secret, err := openfile.Read(file, maxSecret)
	if secret = bytes.TrimSpace(secret); err == nil && len(secret) == 0 {
		err = fmt.Errorf("%s is empty", file)
	}
	return secret, err
}

// complain logs why webhooks cannot be judged, when that changes. Those who send them do not learn
// it.
func (p *Public) complain(err error) {
	why := ""
	if err != nil {
		why = "no webhook is taken: cannot read its secret: " + err.Error()
	}
	if was := p.complaint.Swap(&why); why != "" && (was == nil || *was != why) {
		p.Say(why)
	}
}

func isTooLarge(err error) bool {
	_, is := errors.AsType[*http.MaxBytesError](err)
	return is
}

// hubSignature is a header of Bitbucket, and of GitHub with SHA-1.
const hubSignature = "X-Hub-Signature"

// signatures are the headers with an HMAC-SHA256 of the body in hexadecimal digits, with or
// without "sha256=" before them: of GitHub, Bitbucket, Gitea, Forgejo, and any other sender.
var signatures = []string{"X-Hub-Signature-256", hubSignature, "X-Gitea-Signature", "X-Forgejo-Signature", "X-Nfsync-Signature"}

// signed reports whether a webhook is signed with the secret. mac is the HMAC-SHA256 of its body.
// GitLab sends the secret itself. Some servers send several signatures: each one must be right, and
// none may come twice.
func signed(h http.Header, mac, secret []byte) bool {
	right := 0
	for _, name := range append(signatures, gitlabToken) {
		values := h.Values(name)
		switch {
		case len(values) == 0, name == hubSignature && len(values) == 1 && strings.HasPrefix(values[0], "sha1="):
			continue
		case len(values) > 1:
			return false
		case name == gitlabToken && !isSecret(values[0], secret), name != gitlabToken && !isMAC(values[0], mac):
			return false
		}
		right++
	}
	return right > 0
}

const gitlabToken = "X-Gitlab-Token" //nolint:gosec // the name of a header

// isSecret compares hashes, so that the time does not depend on the length of the secret.
func isSecret(token string, secret []byte) bool {
	a, b := sha256.Sum256([]byte(token)), sha256.Sum256(secret)
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func isMAC(value string, mac []byte) bool {
	got, err := hex.DecodeString(strings.TrimPrefix(value, "sha256="))
	return err == nil && hmac.Equal(got, mac)
}
