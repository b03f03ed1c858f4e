package source

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// A URL that fails is not tried again for firstPause, doubled with each failure up to longestPause.
const (
	firstPause   = time.Minute
	longestPause = 15 * time.Minute
)

// Health remembers, while a process runs, how the fetches from each URL went, so that a dead one does
// not cost its timeout in each fetch while another works. The zero value remembers nothing.
type Health struct {
	mu   sync.Mutex
	urls map[string]*urlHealth
	now  func() time.Time // for tests; nil: time.Now
}

type urlHealth struct {
	failures int       // since it worked last
	retry    time.Time // it is not tried before, while another works; zero: it is tried in its turn
	worked   time.Time // zero: never
	err      error     // of the last fetch
}

func (h *Health) time() time.Time {
	if h.now != nil {
		return h.now()
	}
	return time.Now()
}

// of returns what is known of a URL. The caller holds the lock.
func (h *Health) of(u string) *urlHealth {
	if h.urls == nil {
		h.urls = map[string]*urlHealth{}
	}
	if h.urls[u] == nil {
		h.urls[u] = &urlHealth{}
	}
	return h.urls[u]
}

// order returns URLs in the order in which they are tried: those that pause come last. late is the
// number of those.
func (h *Health) order(urls []string) (sorted []string, late int) {
	if h == nil {
		return urls, 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var pausing []string
	for _, u := range urls {
		if h.time().Before(h.of(u).retry) {
			pausing = append(pausing, u)
		} else {
			sorted = append(sorted, u)
		}
	}
	return append(sorted, pausing...), len(pausing)
}

// failure returns why the last fetch from a URL failed; nil if it did not.
func (h *Health) failure(u string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of(u).err
}

// record notes the end of a fetch from a URL.
func (h *Health) record(u string, err error) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.of(u)
	if x.err = err; err == nil {
		x.failures, x.retry, x.worked = 0, time.Time{}, h.time()
		return
	}
	x.failures++
	x.retry = h.time().Add(pause(x.failures))
}

// pause returns how long a URL is not tried after so many failures in turn, up to a tenth shorter or
// longer: the nodes of a fleet do not come back at the same moment.
func pause(failures int) time.Duration {
	d := firstPause
	for range failures - 1 {
		d = min(2*d, longestPause)
	}
	return d - d/10 + rand.N(d/5+1)
}

// TryAll ends all pauses: the next fetch tries the URLs in their order.
func (h *Health) TryAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range h.urls {
		x.retry = time.Time{}
	}
}

// Status says of each URL how its fetches go.
func (h *Health) Status(urls []string) []nf.SourceURL {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := []nf.SourceURL{}
	for _, u := range urls {
		x := h.of(u)
		s := nf.SourceURL{URL: nf.PublicURL(u)}
		if !x.worked.IsZero() {
			worked := x.worked
			s.LastFetch = &worked
		}
		if fetch, ok := errors.AsType[*FetchError](x.err); ok { // the URL is there already
			s.Error = fetch.Err.Error()
		} else if x.err != nil {
			s.Error = x.err.Error()
		}
		if retry := x.retry; h.time().Before(retry) {
			s.RetryAt = &retry
		}
		list = append(list, s)
	}
	return list
}
