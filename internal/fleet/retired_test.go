package fleet_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/fleet/fleettest"
	"nfsync.dev/nfsync/internal/nf"
)

// TestRetired: a node that the coordinator has retired is not read any more, and what others have put in its name is no such word.
func TestRetired(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	ctx := within(t)
	other, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	gone := time.Now()
	for _, name := range []string{"gone", "forged", "moved"} {
		m := join(t, s.Config(name), func() {})
		for what, err := range map[string]error{"a status": second(m.PutNode(ctx, nf.FleetNode{Node: name})), "a snapshot": second(m.PutSnapshot(ctx, []byte("{}")))} {
			if err != nil {
				t.Fatalf("%s of %s: %v", what, name, err)
			}
		}
	}
	for name, c := range map[string]struct {
		of  string
		key nkeys.KeyPair
	}{"gone": {"gone", s.Key()}, "forged": {"forged", other}, "moved": {"gone", s.Key()}} {
		word, err := fleet.Retired(c.of, gone, c.key)
		if err != nil {
			t.Fatal(err)
		}
		s.Put(fleet.SubjectStatus+name, word)
		s.Put(fleet.SubjectSnapshot+name, word)
	}
	for key, want := range map[string][]string{s.CoordinatorKey(): {"forged", "moved"}, "": {"moved"}} {
		cfg := s.Config("ci")
		cfg.CoordinatorKey = key
		r := openReader(t, cfg)
		nodes, unread, err := r.Nodes(ctx)
		if err != nil || len(nodes) != 0 || len(unread) != len(want) {
			t.Errorf("with the key %q: %v, %v, %v", key, nodes, unread, err)
		}
		var snapshots []string
		err = r.Snapshots(ctx, "", func(node string, _ time.Time, _ []byte, err error) error {
			if err != nil { // no snapshot
				snapshots = append(snapshots, node)
			}
			return nil
		})
		if slices.Sort(snapshots); err != nil || !slices.Equal(snapshots, want) {
			t.Errorf("with the key %q: snapshots that cannot be read of %q, %v", key, snapshots, err)
		}
		if err := r.Snapshots(ctx, "gone", func(string, time.Time, []byte, error) error { return nil }); !errors.Is(err, fleet.ErrNone) {
			t.Errorf("its snapshot: %v", err)
		}
	}
	// One that comes back is there again.
	if _, err := join(t, s.Config("gone"), func() {}).PutNode(ctx, nf.FleetNode{Node: "gone"}); err != nil {
		t.Fatal(err)
	}
	if nodes, _, err := openReader(t, s.Config("ci")).Nodes(ctx); err != nil || len(nodes) != 1 || nodes[0].Node != "gone" {
		t.Errorf("%v, %v", nodes, err)
	}
}

func second[A any](_ A, err error) error { return err }
