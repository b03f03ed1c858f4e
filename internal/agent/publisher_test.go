package agent

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/state"
)

// pressed is a publisher whose pushes are recorded.
type pressed struct {
	*publisher
	dir      string
	changing sync.Mutex // of the snapshot and the status
	snapshot nf.Snapshot
	current  nf.NodeStatus
	fail     error
	pushes   []time.Time
	known    [][]string // for each push, what had been pushed before
	reports  int
	labels   []bool // for each snapshot, whether labels were asked
}

func newPressed(dir string) *pressed {
	p := &pressed{dir: dir, snapshot: nf.Snapshot{Node: nf.NodeIdentity{Name: "hn-1"}}}
	p.restart()
	return p
}

// restart is another agent with the same state.
func (p *pressed) restart() {
	p.publisher = newPublisher(func() nf.NodeStatus {
		p.changing.Lock()
		defer p.changing.Unlock()
		return p.current
	})
	p.reported = func() { p.reports++ }
	p.use(p.setupOf("u"))
}

func (p *pressed) setupOf(url string) *Publishing {
	return &Publishing{
		Repository: source.Config{URLs: []string{url}}, Branch: "nodes/hn-1", Node: "hn-1", Machine: "m",
		State: func() (*state.Dir, error) { return state.Open(p.dir) },
		Snapshot: func(_ context.Context, labels apply.LabelUse) (nf.Snapshot, error) {
			p.changing.Lock()
			defer p.changing.Unlock()
			s := p.snapshot
			s.TakenAt = time.Now()
			p.labels = append(p.labels, labels != nil && labels(s.Node))
			return s, nil
		},
		Documents: func(nf.Snapshot, nf.NodeStatus) ([]source.File, error) {
			return []source.File{{Name: "snapshot.json"}}, nil
		},
		Push: func(_ context.Context, _ source.Config, _ source.Publication, pushed []string, save func(string) error) error {
			p.pushes, p.known = append(p.pushes, time.Now()), append(p.known, pushed)
			if err := save(time.Now().String()); err != nil {
				return err
			}
			return p.fail
		},
	}
}

// change changes the node.
func (p *pressed) change(f func()) {
	p.changing.Lock()
	defer p.changing.Unlock()
	f()
}

// during runs the publisher for a time, with a lap that looks at the node each minute.
func (p *pressed) during(t *testing.T, d time.Duration, each func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	began, ended := make(chan struct{}), make(chan bool)
	close(began)
	go func() {
		p.run(ctx, began)
		close(ended)
	}()
	for ctx.Err() == nil {
		p.change(each)
		p.lapEnded(true, false)
		select {
		case <-ctx.Done():
		case <-time.After(time.Minute):
		}
	}
	<-ended
}

// TestPublisherPublishesChanges: once at first, once for each change, and not for what a node counts;
// and after less than a day even if nothing has changed, also by another agent.
func TestPublisherPublishesChanges(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		p := newPressed(dir)
		begin := time.Now()
		counts := func() {
			p.snapshot.Host.Count = nf.Number(time.Now().Unix() % 1000)
			p.current.UpdatedAt = time.Now()
		}
		p.during(t, time.Hour, counts)
		p.restart()
		p.during(t, time.Hour, counts)
		if len(p.pushes) != 1 || len(p.known[0]) != 0 {
			t.Fatalf("%d pushes, want 1: %v", len(p.pushes), p.pushes)
		}
		p.snapshot.Containers = []nf.Container{{ID: "web-1"}}
		p.during(t, time.Hour, counts)
		if len(p.pushes) != 2 || len(p.known[1]) != 1 {
			t.Fatalf("%d pushes, want 2: %v", len(p.pushes), p.pushes)
		}
		p.current.Suspension = &nf.Suspension{Reason: "x"}
		p.during(t, time.Hour, counts)
		if len(p.pushes) != 3 {
			t.Fatalf("%d pushes, want 3: %v", len(p.pushes), p.pushes)
		}
		p.during(t, 15*time.Hour, counts)
		p.restart()
		p.during(t, 15*time.Hour, func() {})
		if len(p.pushes) != 4 || p.pushes[3].Sub(p.pushes[2]) > 24*time.Hour || p.pushes[3].Sub(p.pushes[2]) < 19*time.Hour {
			t.Fatalf("pushed at %v after %v", p.pushes, begin)
		}
		if r := p.Report(); r.Err != nil || !r.At.Equal(p.pushes[3]) {
			t.Errorf("%+v", r)
		}
	})
}

// TestPublisherBacksOff: what has failed is tried again, ever less often, at most each quarter of an hour
// and a tenth, as the server says, and at once when a person asks.
func TestPublisherBacksOff(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		p := newPressed(dir)
		p.fail = errors.New("refused")
		p.during(t, 3*time.Hour, func() { p.snapshot.BootID = time.Now().String() })
		var last time.Duration
		for i := range p.pushes[1:] {
			pause := p.pushes[i+1].Sub(p.pushes[i])
			if i < 6 && pause <= last || pause < 9*time.Second || pause > 17*time.Minute {
				t.Errorf("pause %d is %s after %s", i, pause, last)
			}
			last = pause
		}
		if n := len(p.pushes); n < 12 || n > 25 {
			t.Errorf("%d pushes within three hours", n)
		}
		if got := len(p.known[len(p.known)-1]); got != len(p.pushes)-1 {
			t.Errorf("it knows %d of %d commits that it may have pushed", got, len(p.pushes)-1)
		}
		if c := published(*p.Report()).condition(nf.Published, ""); c.Status != nf.ConditionFalse || c.Reason != "PublishFailed" {
			t.Errorf("%+v", c)
		}
		p.pushes = nil
		p.fail = &source.PublishError{Err: errors.New("later"), RetryAfter: 30 * time.Minute}
		p.lapEnded(false, true)
		p.during(t, 29*time.Minute, func() {})
		if len(p.pushes) != 1 {
			t.Errorf("%d pushes before the server wants them", len(p.pushes))
		}
		p.fail = nil
		p.lapEnded(false, true)
		p.during(t, time.Hour, func() {})
		if len(p.pushes) != 2 {
			t.Errorf("%d pushes after it went well", len(p.pushes))
		}
	})
}

// TestPublisherLabels: labels are published if the policies in force select by them.
func TestPublisherLabels(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		p := newPressed(dir)
		for i, labels := range []apply.LabelUse{nil, func(n nf.NodeIdentity) bool { return n.Name == "hn-1" }, func(nf.NodeIdentity) bool { return false }} {
			p.inForce(labels)
			p.labels = nil
			p.during(t, 3*time.Minute, func() {})
			if len(p.labels) == 0 || slices.Contains(p.labels, i != 1) {
				t.Errorf("labels were asked: %v", p.labels)
			}
		}
	})
}

// TestPublisherFlaps: a node that changes all the time publishes each ten seconds at most, and the
// newest state in the end.
func TestPublisherFlaps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		p := newPressed(dir)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := make(chan struct{})
		close(began)
		ended := make(chan bool)
		go func() {
			p.run(ctx, began)
			close(ended)
		}()
		for range 300 {
			p.change(func() { p.snapshot.BootID = time.Now().String() })
			p.lapEnded(true, false)
			<-time.After(100 * time.Millisecond)
		}
		<-ended
		if n := len(p.pushes); n < 3 || n > 5 {
			t.Errorf("%d pushes in half a minute", n)
		}
		d, err := state.Open(p.dir)
		if err != nil {
			t.Fatal(err)
		}
		want, err := digest("", p.snapshot, p.current)
		if got := d.Publication("u", "nodes/hn-1"); err != nil || got == nil || got.Digest != want {
			t.Errorf("the last state was not published: %+v, %v", got, err)
		}
	})
}

// TestPublisherReconfigured: another repository is published to at once; none, and there is no
// condition.
func TestPublisherReconfigured(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		p := newPressed(dir)
		p.during(t, time.Minute, func() {})
		p.use(p.setupOf("v"))
		if r := p.Report(); r.URL != "v" || !r.At.IsZero() {
			t.Errorf("%+v", r)
		}
		p.during(t, time.Minute, func() {})
		if len(p.pushes) != 2 || p.known[1] != nil {
			t.Errorf("%d pushes: %v", len(p.pushes), p.known)
		}
		p.use(nil)
		p.snapshot.BootID = "other"
		p.during(t, time.Hour, func() {})
		if p.Report() != nil || len(p.pushes) != 2 {
			t.Errorf("%d pushes: %+v", len(p.pushes), p.Report())
		}
	})
}
