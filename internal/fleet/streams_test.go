package fleet_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/fleet/fleettest"
	"nfsync.dev/nfsync/internal/nf"
)

// patience is how long a test waits for what must happen.
const patience = 2 * time.Minute

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// TestStreams: what the store keeps, and refuses to do.
func TestStreams(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	ctx, nc := within(t), s.Connect()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := fleet.MakeStreams(ctx, js, 1, fleet.SizesFor(20_000)); err != nil {
		t.Fatalf("a second time, larger: %v", err)
	}
	for i, name := range []string{"a", "b", "a"} {
		if got := s.Put(fleet.SubjectStatus+name, []byte(name)); got != uint64(i+1) {
			t.Fatalf("sequence %d, want %d", got, i+1)
		}
	}
	v, err := fleet.Last(ctx, nc, fleet.StreamStatus, fleet.Key(fleet.StreamStatus, "a"))
	if err != nil || v.Sequence != 3 || string(v.Data) != "a" || v.Subject != "$KV.nfsync_status.a" || v.Put.IsZero() {
		t.Errorf("%+v, %v", v, err)
	}
	kv, err := js.KeyValue(ctx, "nfsync_status")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := kv.Keys(ctx)
	if slices.Sort(keys); err != nil || !slices.Equal(keys, []string{"a", "b"}) {
		t.Errorf("as a bucket: %q, %v", keys, err)
	}
	stream, err := js.Stream(ctx, fleet.StreamStatus)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, fleet.SubjectRollout+"main", []byte("x"), jetstream.WithExpectLastSequencePerSubject(0)); err != nil {
		t.Fatal(err)
	}
	if v, err := fleet.Last(ctx, nc, fleet.StreamRollout, fleet.Key(fleet.StreamRollout, "main")); err != nil || string(v.Data) != "x" {
		t.Errorf("what was put by compare-and-set: %+v, %v", v, err)
	}
	if err := stream.Purge(ctx); err == nil {
		t.Error("the stream can be purged")
	}
	if err := stream.DeleteMsg(ctx, 3); err == nil {
		t.Error("a value can be deleted")
	}
	rollup := nats.NewMsg(fleet.SubjectStatus + "b")
	rollup.Header.Set("Nats-Rollup", "all")
	if _, err := js.PublishMsg(ctx, rollup); err == nil {
		t.Error("a roll-up is taken")
	}
	if _, err := js.Publish(ctx, fleet.SubjectStatus+"c", make([]byte, fleet.MaxStatus+1)); err == nil {
		t.Error("a value that is too large is taken")
	}
	if info, err := stream.Info(ctx); err != nil || info.State.Msgs != 2 || info.Config.MaxBytes != fleet.SizesFor(20_000).Status {
		t.Errorf("%+v, %v", info, err)
	}
}

// TestStreamsNeverShrink: the limits of streams that are there are raised, and never lowered, whoever makes them again.
func TestStreamsNeverShrink(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	ctx := within(t)
	js, err := jetstream.New(s.Connect())
	if err != nil {
		t.Fatal(err)
	}
	sizes := func() (all fleet.Sizes) {
		t.Helper()
		for name, size := range map[string]*int64{fleet.StreamStatus: &all.Status, fleet.StreamSnapshot: &all.Snapshot, fleet.StreamRollout: &all.Rollout, fleet.StreamGrant: &all.Grant, fleet.StreamLease: &all.Lease} {
			stream, err := js.Stream(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			*size = stream.CachedInfo().Config.MaxBytes
		}
		return all
	}
	for _, c := range []struct{ nodes, want int }{{20_000, 20_000}, {1000, 20_000}, {30_000, 30_000}} {
		if err := fleet.MakeStreams(ctx, js, 1, fleet.SizesFor(c.nodes)); err != nil {
			t.Fatal(err)
		}
		if got := sizes(); got != fleet.SizesFor(c.want) {
			t.Errorf("made for %d nodes: %+v", c.nodes, got)
		}
	}
	// A limit that an administrator has taken away stays away.
	stream, err := js.Stream(ctx, fleet.StreamSnapshot)
	if err != nil {
		t.Fatal(err)
	}
	unlimited := stream.CachedInfo().Config
	unlimited.MaxBytes = -1
	if _, err := js.UpdateStream(ctx, unlimited); err != nil {
		t.Fatal(err)
	}
	if err := fleet.MakeStreams(ctx, js, 1, fleet.SizesFor(1000)); err != nil {
		t.Fatal(err)
	}
	if got := sizes().Snapshot; got != -1 {
		t.Errorf("an unlimited stream has the limit %d", got)
	}
}

// TestWakeSubjects: a document wakes without its content, and a refused compare-and-set does not.
func TestWakeSubjects(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	nc := s.Connect()
	sub, err := nc.SubscribeSync("nfsync.v1.wake.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(within(t), fleet.SubjectRollout+"main", []byte("x"), jetstream.WithExpectLastSequencePerSubject(7)); err == nil {
		t.Error("a wrong compare-and-set is taken")
	}
	s.PutRollout(nf.RolloutDocument{Channel: "main", Generation: 1})
	s.PutGrant(nf.RestartGrant{Channel: "main", Node: "hn-1", Generation: 1})
	for _, want := range []string{"nfsync.v1.wake.rollout.main", "nfsync.v1.wake.grant.hn-1"} {
		m, err := sub.NextMsg(patience)
		if err != nil || m.Subject != want || len(m.Data) > 0 {
			t.Errorf("%+v, %v, want %s", m, err, want)
		}
	}
	if d, ok := s.Rollout("main"); !ok || d.Generation != 1 || d.Kind != nf.KindRolloutDocument {
		t.Errorf("%+v, %v", d, ok)
	}
	if g, ok := s.Grant("main", "hn-1"); !ok || g.Generation != 1 {
		t.Errorf("%+v, %v", g, ok)
	}
	if _, ok := s.Rollout("other"); ok {
		t.Error("a document of nowhere")
	}
}

// TestRestart: a store that starts again has what it had.
func TestRestart(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	url := s.URL()
	s.PutRollout(nf.RolloutDocument{Channel: "main", Generation: 4})
	s.Put(fleet.SubjectStatus+"hn-1", []byte(`{"node":"hn-1"}`))
	s.Restart()
	d, ok := s.Rollout("main")
	n, heard := s.Node("hn-1")
	if !ok || d.Generation != 4 || !heard || n.Node != "hn-1" || n.Heard.IsZero() || s.URL() != url {
		t.Errorf("%+v %v, %+v %v, %s was %s", d, ok, n, heard, s.URL(), url)
	}
}

// TestEach: batches have everything, once.
func TestEach(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	nc := s.Connect()
	fill(t, nc, 1234)
	seen := map[string]uint64{}
	last, err := fleet.Each(within(t), nc, fleet.StreamStatus, fleet.Key(fleet.StreamStatus, ">"), 0, func(v fleet.Stored, err error) error {
		seen[v.Subject] = v.Sequence
		return err
	})
	if err != nil || last != 1234 || len(seen) != 1234 {
		t.Errorf("%d of 1234, last %d: %v", len(seen), last, err)
	}
}

// fill puts what so many nodes say of themselves.
func fill(t *testing.T, nc *nats.Conn, nodes int) {
	t.Helper()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(256))
	if err != nil {
		t.Fatal(err)
	}
	for i := range nodes {
		name := fmt.Sprintf("hn-%d", i)
		if _, err := js.PublishAsync(fleet.SubjectStatus+name, []byte(`{"node":"`+name+`","version":"`+strings.Repeat("v", 500)+`"}`), jetstream.WithStallWait(patience)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-within(t).Done():
		t.Fatal("the store does not take them")
	}
}
