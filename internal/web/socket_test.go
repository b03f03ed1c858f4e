package web

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// talker is an agent that records what it is asked.
type talker struct {
	accepted   []string
	suspension *nf.Suspension
	resumed    bool
	confirmed  bool
	waits      error // of a confirmation, or of a birth
	born       []nf.Given
	updates    chan nf.NodeStatus
	large      string       // in the status
	left       atomic.Int64 // listeners that have gone
}

func (a *talker) Status() nf.NodeStatus {
	return nf.NodeStatus{Kind: nf.KindNodeStatus, Node: "hn-1", Source: a.large, Suspension: a.suspension, CurrentLap: &nf.CurrentLap{Causes: []string{"drift"}}}
}
func (a *talker) Listen() (<-chan nf.NodeStatus, func()) { return a.updates, func() { a.left.Add(1) } }
func (a *talker) Sync(accept string)                     { a.accepted = append(a.accepted, accept) }
func (a *talker) Suspend(s *nf.Suspension) error         { a.suspension, a.resumed = s, s == nil; return nil }
func (a *talker) Confirm() (nf.Confirmation, error) {
	a.confirmed = a.waits == nil
	return nf.Confirmation{Run: "7", Changes: 2}, a.waits
}
func (a *talker) Birth(ctx context.Context, g nf.Given) (nf.Birth, error) {
	if g.ID == "slow" {
		<-ctx.Done()
		return nf.Birth{}, ctx.Err()
	}
	a.born = append(a.born, g)
	return nf.Birth{Container: g.ID, Changes: 2}, a.waits
}
func (a *talker) asked() bool {
	return a.accepted != nil || a.suspension != nil || a.resumed || a.confirmed || a.born != nil
}
func request(uid int, method, path, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	return r.WithContext(context.WithValue(r.Context(), peerKey{}, peer{uid: uid, known: uid >= 0}))
}

// TestSocketRights: members of the group may look and wake, and only root may do the rest.
func TestSocketRights(t *testing.T) {
	const unknown = -1
	commit := strings.Repeat("a", 40)
	for name, test := range map[string]struct {
		uid                int
		method, path, body string
		want               int
		asked              bool
	}{
		"status":                 {member, "GET", "/v1/status", "", 200, false},
		"sync":                   {member, "POST", "/v1/sync", "{}", 200, true},
		"sync without a body":    {member, "POST", "/v1/sync", "", 200, true},
		"accept":                 {member, "POST", "/v1/sync", `{"accept":"` + commit + `"}`, 403, false},
		"suspend":                {member, "POST", "/v1/suspend", `{"reason":"x"}`, 403, false},
		"resume":                 {member, "POST", "/v1/resume", "{}", 403, false},
		"nobody known":           {unknown, "POST", "/v1/resume", "{}", 403, false},
		"root accepts":           {0, "POST", "/v1/sync", `{"accept":"` + commit + `"}`, 200, true},
		"root suspends":          {0, "POST", "/v1/suspend", `{"reason":"x","seconds":60}`, 200, true},
		"confirm":                {member, "POST", "/v1/confirm", "{}", 403, false},
		"root confirms":          {0, "POST", "/v1/confirm", "{}", 200, true},
		"a birth":                {member, "POST", "/v1/births", `{"runtimes":["docker"],"id":"1f"}`, 403, false},
		"root gives a birth":     {0, "POST", "/v1/births", `{"runtimes":["docker"],"id":"1f"}`, 200, true},
		"a large birth":          {0, "POST", "/v1/births", `{"id":"` + strings.Repeat("x", maxRequest) + `"}`, 413, false},
		"an unknown birth":       {0, "POST", "/v1/births", `{"labels":{}}`, 400, false},
		"root resumes":           {0, "POST", "/v1/resume", "{}", 200, true},
		"no commit":              {0, "POST", "/v1/sync", `{"accept":"main"}`, 400, false},
		"no reason":              {0, "POST", "/v1/suspend", `{}`, 400, false},
		"negative":               {0, "POST", "/v1/suspend", `{"reason":"x","seconds":-1}`, 400, false},
		"unknown field":          {0, "POST", "/v1/suspend", `{"reason":"x","for":"1h"}`, 400, false},
		"not JSON":               {0, "POST", "/v1/sync", `x`, 400, false},
		"large":                  {0, "POST", "/v1/suspend", `{"reason":"` + strings.Repeat("x", maxRequest) + `"}`, 413, false},
		"large after it":         {0, "POST", "/v1/suspend", `{"reason":"x"}` + strings.Repeat(" ", maxRequest), 413, false},
		"a long reason":          {0, "POST", "/v1/suspend", `{"reason":"` + strings.Repeat("x", maxReason+1) + `"}`, 400, false},
		"a blank reason":         {0, "POST", "/v1/suspend", `{"reason":" "}`, 400, false},
		"a time that overflows":  {0, "POST", "/v1/suspend", `{"reason":"x","seconds":9223372036854775807}`, 400, false},
		"a fraction of a second": {0, "POST", "/v1/suspend", `{"reason":"x","seconds":0.5}`, 400, false},
		"two documents":          {0, "POST", "/v1/sync", `{}{"accept":"` + commit + `"}`, 400, false},
		"a list":                 {0, "POST", "/v1/sync", `[]`, 400, false},
		"another method":         {0, "GET", "/v1/suspend", "", 405, false},
		"another path":           {0, "GET", "/v1/", "", 404, false},
		"another method, status": {0, "POST", "/v1/status", "", 405, false},
	} {
		a := &talker{}
		w := httptest.NewRecorder()
		socketHandler(t.Context(), a, requestTimeout).ServeHTTP(w, request(test.uid, test.method, test.path, test.body))
		if w.Code != test.want || a.asked() != test.asked {
			t.Errorf("%s: status %d (%s), asked: %v", name, w.Code, strings.TrimSpace(w.Body.String()), a.asked())
		}
	}
}

// TestSocket talks through a real socket, whose peer is this process.
func TestSocket(t *testing.T) {
	dir := t.TempDir()
	a := &talker{updates: make(chan nf.NodeStatus, 1)}
	c := NewClient(dir)
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNoAgent) {
		t.Errorf("without an agent: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- ServeSocket(ctx, dir, a, func(text string) { t.Error(text) }) }()
	defer func() { cancel(); <-ended }()
	for {
		s, err := c.Status(t.Context())
		if err == nil && s.Node == "hn-1" {
			break
		}
		if !errors.Is(err, ErrNoAgent) {
			t.Fatalf("%+v, %v", s, err)
		}
		<-time.After(time.Millisecond)
	}
	if info, err := os.Stat(dir + "/" + SocketName); err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("%v, %v", info, err)
	}
	if answer, err := c.Sync(t.Context(), ""); err != nil || len(a.accepted) != 1 || answer.CurrentLap == nil {
		t.Errorf("%+v, %v", answer, err)
	}
	said, err := c.Suspend(t.Context(), "why", time.Hour)
	if s := a.suspension; err != nil || s == nil || s.Reason != "why" || s.Until == nil || s.By == "" || !said.Until.Equal(*s.Until) {
		t.Errorf("%+v, %+v, %v", a, said, err)
	}
	if was, err := c.Resume(t.Context()); err != nil || !a.resumed || was == nil || was.Reason != "why" {
		t.Errorf("%+v, %v", was, err)
	}
	if _, err := c.Sync(t.Context(), "main"); err == nil || !strings.Contains(err.Error(), "not a full hash") {
		t.Error(err)
	}
	a.updates <- nf.NodeStatus{Node: "hn-2"}
	var seen []string
	stop := errors.New("enough")
	err = c.Watch(t.Context(), func(s nf.NodeStatus) error {
		if seen = append(seen, s.Node); len(seen) == 2 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || seen[0] != "hn-1" || seen[1] != "hn-2" {
		t.Errorf("%q, %v", seen, err)
	}
}

// TestConfirm: the answer says what was confirmed, or why nothing was.
func TestConfirm(t *testing.T) {
	a := &talker{}
	w := httptest.NewRecorder()
	socketHandler(t.Context(), a, requestTimeout).ServeHTTP(w, request(0, "POST", "/v1/confirm", ""))
	if got := strings.TrimSpace(w.Body.String()); got != `{"run":"7","changes":2}` {
		t.Error(got)
	}
	a.waits = errors.New("nothing waits")
	w = httptest.NewRecorder()
	socketHandler(t.Context(), a, requestTimeout).ServeHTTP(w, request(0, "POST", "/v1/confirm", ""))
	if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "nothing waits") {
		t.Errorf("%d, %s", w.Code, w.Body)
	}
}

// TestLockAgent: a run directory has one agent.
func TestLockAgent(t *testing.T) {
	dir := t.TempDir()
	release, err := LockAgent(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockAgent(dir); !errors.Is(err, ErrOtherAgent) {
		t.Error(err)
	}
	release()
	again, err := LockAgent(dir)
	if err != nil {
		t.Fatal(err)
	}
	again()
}
