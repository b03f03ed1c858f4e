package source

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestDeadURL: a URL that fails is not tried again while another works, until its pause has ended or
// somebody asks.
func TestDeadURL(t *testing.T) {
	first, second := newRepo(t), newRepo(t)
	first.commit("a.yaml", policy)
	second.commit("a.yaml", policy)
	dead := filepath.Join(t.TempDir(), "first")
	now := time.Now()
	h := &Health{now: func() time.Time { return now }}
	cfg := config(t, dead, second.dir)
	cfg.Health = h
	from := func(want string) {
		t.Helper()
		r := mustFetch(t, cfg)
		if r.URL != want || (want == second.dir) != (len(r.Warnings) == 1) {
			t.Errorf("%s has delivered it, want %s; warnings %q", r.URL, want, r.Warnings)
		}
	}
	from(second.dir)
	first.git("clone", "-q", "--bare", first.dir, dead) // it is back
	from(second.dir)
	if s := h.Status(cfg.URLs); s[0].Error == "" || s[0].RetryAt == nil || s[0].LastFetch != nil || s[1].Error != "" || s[1].LastFetch == nil {
		t.Errorf("%+v", s)
	}
	now = now.Add(2 * firstPause)
	from(dead)
	if s := h.Status(cfg.URLs); s[0].Error != "" || s[0].RetryAt != nil || s[0].LastFetch == nil {
		t.Errorf("%+v", s)
	}

	h.record(dead, errors.New("dead"))
	from(second.dir)
	h.TryAll()
	from(dead)

	// Where no other works, all are tried.
	h.record(dead, errors.New("dead"))
	cfg.URLs[1] = filepath.Join(t.TempDir(), "nowhere")
	if r := mustFetch(t, cfg); r.URL != dead {
		t.Errorf("%s has delivered it", r.URL)
	}
}

// TestPause: the pauses of a URL double up to a quarter of an hour, and end with a success.
func TestPause(t *testing.T) {
	now := time.Now()
	h := &Health{now: func() time.Time { return now }}
	const u = "https://example.org/x"
	for i, want := range []time.Duration{1, 2, 4, 8, 15, 15} {
		h.record(u, errors.New("dead"))
		got := h.of(u).retry.Sub(now)
		if want *= time.Minute; got < want-want/10 || got > want+want/10 {
			t.Errorf("pause %d is %s, want %s", i, got, want)
		}
	}
	h.record(u, nil)
	if got := h.of(u); got.failures != 0 || !got.retry.IsZero() {
		t.Errorf("%+v", got)
	}
	if got, late := (*Health)(nil).order([]string{u}); !slices.Equal(got, []string{u}) || late != 0 {
		t.Errorf("%v %d", got, late)
	}
}
