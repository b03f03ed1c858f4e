package agent

import (
	"context"
	"testing"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// vanishing is a machine whose containers are listed, and have gone when they are observed.
type vanishing struct{ apply.Machine }

func (vanishing) ListBorn(_ context.Context, born []nf.Container) (nf.Snapshot, bool, error) {
	return nf.Snapshot{Containers: born}, true, nil
}

func (vanishing) Observe(_ context.Context, s nf.Snapshot, _ nf.Ask) (nf.Snapshot, error) {
	s.Containers = nil
	return s, nil
}

// A lap for a container that has gone when it is observed does not settle it: it may be there by another
// process.
func TestBirthThatVanishes(t *testing.T) {
	l := &bornLister{lister: lister{vanishing{}, newTables()}, born: []nf.Container{{Runtime: nf.RuntimeDocker, ID: "web"}}}
	s, err := l.List(t.Context())
	if err != nil || l.others {
		t.Fatalf("listed: %v, others %v", err, l.others)
	}
	if _, err := l.Observe(t.Context(), s, nf.Ask{}); err != nil || !l.others {
		t.Errorf("observed: %v, others %v, want true", err, l.others)
	}
}
