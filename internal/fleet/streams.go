package fleet

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The most bytes of a value, with its headers. The store refuses larger ones.
const (
	MaxStatus   = 16 << 10
	MaxSnapshot = 1_000_000 // compressed: a message of 1 MiB, with its headers, is the most that servers take
	MaxRollout  = 64 << 10
	MaxGrant    = 4 << 10
	MaxLease    = 4 << 10
)

// LeaseTerm is how long the store keeps a lease that is not renewed.
const LeaseTerm = 30 * time.Second

// maxConsumers bounds the consumers of a stream. Nodes and readers have none: only coordinators, and people who look.
const maxConsumers = 100

// Sizes are the most bytes that the streams take on a disk. A full stream refuses new keys, and still takes new values
// of those that it has.
type Sizes struct {
	Status, Snapshot, Rollout, Grant, Lease int64
}

// SizesFor returns sizes for a fleet of so many nodes: several times what they are expected to put.
func SizesFor(nodes int) Sizes {
	n := max(int64(nodes), 1000)
	return Sizes{Status: n * 4 << 10, Snapshot: n * 64 << 10, Rollout: 16 << 20, Grant: n << 10, Lease: 1 << 20}
}

// Streams returns how the streams of a fleet are configured. With several replicas a value survives the loss of a
// server. With one, what nodes say of themselves is not synced to the disk before it is acknowledged: nodes put it again.
func Streams(replicas int, sizes Sizes) []jetstream.StreamConfig {
	fromNodes := jetstream.DefaultPersistMode
	if replicas == 1 {
		fromNodes = jetstream.AsyncPersistMode
	}
	list := []jetstream.StreamConfig{
		{Name: StreamStatus, Description: "what nodes say of themselves", MaxBytes: sizes.Status, MaxMsgSize: MaxStatus, PersistMode: fromNodes},
		{Name: StreamSnapshot, Description: "snapshots of nodes", MaxBytes: sizes.Snapshot, MaxMsgSize: MaxSnapshot, PersistMode: fromNodes},
		{Name: StreamRollout, Description: "roll-out documents", MaxBytes: sizes.Rollout, MaxMsgSize: MaxRollout},
		{Name: StreamGrant, Description: "restart grants", MaxBytes: sizes.Grant, MaxMsgSize: MaxGrant},
		{Name: StreamLease, Description: "leases of coordinators", MaxBytes: sizes.Lease, MaxMsgSize: MaxLease, MaxAge: LeaseTerm},
	}
	for i := range list {
		s := &list[i]
		s.Replicas = replicas
		s.Storage = jetstream.FileStorage
		s.Subjects = []string{putSubject[s.Name] + ">"}
		s.SubjectTransform = &jetstream.SubjectTransformConfig{Source: putSubject[s.Name] + ">", Destination: Key(s.Name, ">")}
		if wake, ok := wakeSubject[s.Name]; ok {
			s.RePublish = &jetstream.RePublish{Source: Key(s.Name, ">"), Destination: wake + ">", HeadersOnly: true}
		}
		s.MaxMsgsPerSubject = 1
		s.Discard = jetstream.DiscardNew
		s.MaxConsumers = maxConsumers
		s.AllowDirect = true
		// Who may put one key may not remove others: a roll-up would empty the whole stream.
		s.AllowRollup, s.DenyDelete, s.DenyPurge = false, true, true
	}
	return list
}

var putSubject = map[string]string{
	StreamStatus: SubjectStatus, StreamSnapshot: SubjectSnapshot, StreamRollout: SubjectRollout, StreamGrant: SubjectGrant, StreamLease: SubjectLease,
}

var wakeSubject = map[string]string{StreamRollout: SubjectWakeRollout, StreamGrant: SubjectWakeGrant}

// Key returns the subject that a stream keeps the value of a node or channel under.
func Key(stream, name string) string {
	return "$KV." + strings.TrimPrefix(stream, "KV_") + "." + name
}

// MakeStreams makes the streams of a fleet, or changes those that are there to what they should be. They never get smaller,
// and keep the copies that they have.
func MakeStreams(ctx context.Context, js jetstream.JetStream, replicas int, sizes Sizes) error {
	if err := checkVersion(js.Conn().ConnectedServerVersion()); err != nil {
		return err
	}
	for _, want := range Streams(replicas, sizes) {
		if err := makeStream(ctx, js, want); err != nil {
			return fmt.Errorf("cannot make the stream %s: %w", want.Name, err)
		}
	}
	return nil
}

func makeStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) error {
	have, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = js.CreateStream(ctx, want)
		return err
	}
	if err != nil {
		return err
	}
	is := have.CachedInfo().Config
	want.MaxBytes = larger(is.MaxBytes, want.MaxBytes)
	want.Replicas = max(is.Replicas, want.Replicas)
	if want.Replicas == 1 {
		want.PersistMode = is.PersistMode // no server changes it
	}
	if is.PersistMode != want.PersistMode {
		return fmt.Errorf("the server cannot change its persist mode from %v to %v: delete the stream, and nodes will put their values again", is.PersistMode, want.PersistMode)
	}
	_, err = js.UpdateStream(ctx, want)
	return err
}

// larger returns the larger one of two limits. One below 1 is none.
func larger(a, b int64) int64 {
	if a < 1 || b < 1 {
		return -1
	}
	return max(a, b)
}

// oldestServer is the oldest version of nats-server that has all that the streams use.
const oldestServer = "2.14.0"

func checkVersion(have string) error {
	var parts [2][2]int
	for i, v := range []string{have, oldestServer} {
		fields := strings.SplitN(v, ".", 3)
		for j := range min(len(fields), 2) {
			parts[i][j], _ = strconv.Atoi(fields[j]) // what is no number is too old
		}
	}
	if h, o := parts[0], parts[1]; h[0] < o[0] || h[0] == o[0] && h[1] < o[1] {
		return fmt.Errorf("the nats-server has version %q, and a fleet needs %s or later", have, oldestServer)
	}
	return nil
}
