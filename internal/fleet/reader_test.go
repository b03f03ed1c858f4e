package fleet_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/fleet/fleettest"
	"nfsync.dev/nfsync/internal/nf"
)

func openReader(t *testing.T, cfg fleet.Config) *fleet.Reader {
	t.Helper()
	r, err := fleet.OpenReader(within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// TestManyNodes: 5,000 nodes are read, in ten batches, each once, by name.
func TestManyNodes(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	fill(t, s.Connect(), 5000)
	r := openReader(t, s.Config("ci"))
	before := time.Now().Add(-time.Hour)
	nodes, unread, err := r.Nodes(within(t))
	if err != nil || len(nodes) != 5000 || len(unread) != 0 {
		t.Fatalf("%d nodes, %d unread: %v", len(nodes), len(unread), err)
	}
	if !slices.IsSortedFunc(nodes, func(a, b nf.HeardNode) int { return strings.Compare(a.Node, b.Node) }) {
		t.Error("not by name")
	}
	names := map[string]bool{}
	for _, n := range nodes {
		names[n.Node] = true
		if n.Heard.Before(before) {
			t.Fatalf("%s was heard of at %v", n.Node, n.Heard)
		}
	}
	if len(names) != 5000 {
		t.Errorf("%d names", len(names))
	}
}

// TestEmptyStore: nothing is nothing, and not an error.
func TestEmptyStore(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	r := openReader(t, s.Config("ci"))
	ctx := within(t)
	if nodes, unread, err := r.Nodes(ctx); err != nil || len(nodes)+len(unread) > 0 {
		t.Errorf("%v, %v, %v", nodes, unread, err)
	}
	none := func(string, time.Time, []byte, error) error { t.Error("called"); return nil }
	if err := r.Snapshots(ctx, "", none); err != nil {
		t.Error(err)
	}
	if err := r.Snapshots(ctx, "hn-1", none); !errors.Is(err, fleet.ErrNone) {
		t.Error(err)
	}
	if err := r.Snapshots(ctx, "*", none); err == nil {
		t.Error("every node is no node")
	}
	if _, err := r.Rollout(ctx); !errors.Is(err, fleet.ErrNone) {
		t.Error(err)
	}
	if _, err := r.Ask(ctx, nf.FleetAsk{Verb: nf.AskHalt}); !errors.Is(err, fleet.ErrNoCoordinator) {
		t.Error(err)
	}
}

// TestUnread: what a node has put wrongly is its own trouble.
func TestUnread(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	for name, value := range map[string]string{
		"good":       `{"node":"good","revision":"a"}`,
		"newer":      `{"node":"newer","some":"field of a later version"}`,
		"thief":      `{"node":"good","revision":"b"}`,
		"nameless":   `{}`,
		"broken":     `{"node":"broken"`,
		"number":     `{"node":7}`,
		"empty":      ``,
		"progress":   `{"node":"progress","progress":{"state":"splendid"}}`,
		"deep":       strings.Repeat("[", 12_000),
		"sorted.out": `{"node":"sorted.out"}`,
	} {
		s.Put(fleet.SubjectStatus+name, []byte(value))
	}
	s.Put(fleet.SubjectStatus+"mended", []byte("?"))
	s.Put(fleet.SubjectStatus+"mended", []byte(`{"node":"mended"}`))
	nodes, unread, err := openReader(t, s.Config("ci")).Nodes(within(t))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range nodes {
		names = append(names, n.Node)
		if n.Node == "good" && n.Revision != "a" {
			t.Errorf("another node has said it: %+v", n)
		}
	}
	if want := []string{"good", "mended", "newer", "sorted.out"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	if want, have := []string{"broken", "deep", "empty", "nameless", "number", "progress", "thief"}, slices.Sorted(maps.Keys(unread)); !slices.Equal(have, want) {
		t.Errorf("unread: %q, want %q", have, want)
	}
}

// TestSnapshots: snapshots come as they were put. One that would fill the memory does not.
func TestSnapshots(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	ctx := within(t)
	documents := map[string][]byte{"hn-1": []byte(`{"kind":"NodeSnapshot"}`), "hn-2": slices.Repeat([]byte("many containers "), 1<<17), "hn-3": random(800_000)}
	for name, document := range documents {
		if _, err := join(t, s.Config(name), func() {}).PutSnapshot(ctx, document); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string][]byte{"bomb": bomb(t, true), "hidden-bomb": bomb(t, false), "plain": []byte("{}"), "empty-frame": nil} {
		s.Put(fleet.SubjectSnapshot+name, value)
	}
	r := openReader(t, s.Config("ci"))
	wrong := map[string]error{}
	seen := map[string]string{}
	err := r.Snapshots(ctx, "", func(node string, put time.Time, document []byte, err error) error {
		if err != nil {
			wrong[node] = err
			return nil
		}
		if seen[node] != "" || put.IsZero() {
			t.Errorf("%s again, or never put: %v", node, put)
		}
		seen[node] = string(document)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, document := range documents {
		if seen[name] != string(document) {
			t.Errorf("%s: %d bytes, and %d were put", name, len(seen[name]), len(document))
		}
	}
	for _, name := range []string{"bomb", "hidden-bomb", "plain"} {
		if wrong[name] == nil {
			t.Errorf("%s was read: %d bytes", name, len(seen[name]))
		}
	}
	calls := 0
	err = r.Snapshots(ctx, "hn-1", func(node string, _ time.Time, document []byte, err error) error {
		calls++
		if node != "hn-1" || string(document) != string(documents["hn-1"]) {
			t.Errorf("%s: %s, %v", node, document, err)
		}
		return err
	})
	if err != nil || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
	enough := errors.New("enough")
	if err := r.Snapshots(ctx, "", func(string, time.Time, []byte, error) error { return enough }); !errors.Is(err, enough) || isUnreachable(err) {
		t.Errorf("the caller's error: %v", err)
	}
}

// bomb returns 100 MB of zeros, compressed: with its size at the front, or without.
func bomb(t *testing.T, sized bool) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 100<<20)
	if sized {
		return w.EncodeAll(zeros, nil)
	}
	var b strings.Builder
	w.Reset(&b)
	if _, err := w.Write(zeros); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(b.String())
}

// TestReadRollout: with a key the document is verified, and without one it is read as it is.
func TestReadRollout(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	s.PutRollout(nf.RolloutDocument{Channel: "main", Generation: 3})
	ctx := within(t)
	cfg := s.Config("ann")
	if d, err := openReader(t, cfg).Rollout(ctx); err != nil || d.Generation != 3 {
		t.Errorf("%+v, %v", d, err)
	}
	_, cfg.CoordinatorKey = newKey(t)
	if d, err := openReader(t, cfg).Rollout(ctx); !isForged(err) {
		t.Errorf("another coordinator's: %+v, %v", d, err)
	}
	cfg.CoordinatorKey = ""
	if d, err := openReader(t, cfg).Rollout(ctx); err != nil || d.Generation != 3 {
		t.Errorf("unverified: %+v, %v", d, err)
	}
}

// TestAsk: the coordinator of the channel is asked, and its answer returned.
func TestAsk(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	ctx, nc := within(t), s.Connect()
	if _, err := nc.Subscribe(fleet.SubjectAsk+"main", func(m *nats.Msg) {
		var ask nf.FleetAsk
		if err := json.Unmarshal(m.Data, &ask); err != nil {
			t.Error(err)
		}
		switch ask.Verb {
		case nf.AskWake: // no answer
		case nf.AskAbort:
			_ = m.Respond([]byte("?"))
		default:
			answer, _ := json.Marshal(nf.FleetAnswer{Document: &nf.RolloutDocument{Generation: ask.Generation + 1}, Error: ask.Reason})
			_ = m.Respond(answer)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	cfg := s.Config("ann")
	r := openReader(t, cfg)
	if a, err := r.Ask(ctx, nf.FleetAsk{Verb: nf.AskHalt, Generation: 4, Reason: "no"}); err != nil || a.Document.Generation != 5 || a.Error != "no" {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := r.Ask(ctx, nf.FleetAsk{Verb: nf.AskAbort}); err == nil {
		t.Error("no answer was taken for one")
	}
	cfg.Intervals.Answer = 50 * time.Millisecond
	if _, err := openReader(t, cfg).Ask(t.Context(), nf.FleetAsk{Verb: nf.AskWake}); !errors.Is(err, fleet.ErrNoCoordinator) {
		t.Errorf("no answer in time: %v", err)
	}
	cfg.Channel = "other"
	if _, err := openReader(t, cfg).Ask(ctx, nf.FleetAsk{Verb: nf.AskHalt}); !errors.Is(err, fleet.ErrNoCoordinator) {
		t.Errorf("another channel: %v", err)
	}
}

// TestChanged: a reader learns of what nodes put and of a new document, also after the store was away.
func TestChanged(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	r := openReader(t, s.Config("ann"))
	changed := r.Changed(t.Context())
	await := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case <-time.After(patience):
			t.Fatalf("%s: nothing is said to have changed", what)
		}
	}
	await("the connection has begun")
	read := func() {
		t.Helper()
		if _, _, err := r.Nodes(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	s.Put(fleet.SubjectStatus+"hn-1", []byte(`{"node":"hn-1"}`))
	await("a node")
	read()
	s.Put(fleet.SubjectStatus+"hn-1", []byte(`{"node":"hn-1","revision":"b"}`))
	await("the same node")
	read()
	s.PutRollout(nf.RolloutDocument{Channel: "main"})
	await("a document")
	s.Restart()
	await("the store was away")
	eventually(t, "read again", func() bool { _, _, err := r.Nodes(within(t)); return err == nil })
	s.Put(fleet.SubjectStatus+"hn-2", []byte(`{"node":"hn-2"}`))
	await("a node afterwards")
	r.Close()
	for range changed { // it is closed
	}
}

// TestReaderIsCut: an answer that does not come to its end is an error, and not fewer nodes.
func TestReaderIsCut(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	s.Put(fleet.SubjectStatus+"hn-1", []byte(`{"node":"hn-1"}`))
	p, cfg := through(t, s)
	r := openReader(t, cfg)
	p.Hole()
	done := make(chan error, 1)
	go func() {
		_, _, err := r.Nodes(within(t))
		done <- err
	}()
	p.Cut()
	if err := <-done; !isUnreachable(err) {
		t.Errorf("%v", err)
	}
	if err := r.Snapshots(within(t), "", nil); !isUnreachable(err) {
		t.Errorf("%v", err)
	}
	p.Pass()
	eventually(t, "read again", func() bool { nodes, _, err := r.Nodes(within(t)); return err == nil && len(nodes) == 1 })
}
