package state

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

const (
	fleetName     = "fleet"
	fleetLockName = "fleet.lock"
	fleetRemedy   = "put a good copy in its place, or move it away: the node then takes the next roll-out document that is signed, whatever its generation"
)

// Fleet is what a node knows of its fleet.
type Fleet struct {
	// Channel and CoordinatorKey are those of the configuration at the time. What follows says nothing of
	// another channel or another coordinator.
	Channel        string `json:"channel"`
	CoordinatorKey string `json:"coordinatorKey"`
	// Document is the roll-out document with the highest generation so far; its zero value: there was none.
	Document nf.RolloutDocument `json:"document"`
	Proof    string             `json:"proof,omitempty"` // of the generation of Document
	HeardAt  time.Time          `json:"heardAt"`         // when the node had Document
	// Newest is the commit that a roll-out has brought to this node last: it does not go back behind it, also if the last
	// good revision is lost. Empty: there was none.
	Newest string `json:"newest,omitempty"`
	// Grant is the highest generation of a restart grant so far.
	Grant uint64 `json:"grant"`
	// Progress is how far the node is with the revision that it has followed last; null: with none.
	Progress *nf.NodeProgress `json:"progress"`
	// SnapshotAt is when the snapshot was taken that nfsync agent --once has put last, and SnapshotDigest what agent.SnapshotDigest
	// returns of it. Turn is the turn of the node that it waits for, and TurnAt when it first saw that.
	SnapshotAt     time.Time `json:"snapshotAt,omitzero"`
	SnapshotDigest string    `json:"snapshotDigest,omitempty"`
	Turn           string    `json:"turn,omitempty"`
	TurnAt         time.Time `json:"turnAt,omitzero"`
}

// OlderError is the error for a document that is older than one that the node has had: the store of the
// fleet was taken back to an earlier state.
type OlderError struct {
	What     string // "roll-out document", "restart grant"
	Had, Has uint64 // the generations
}

func (e *OlderError) Error() string {
	if e.Had == e.Has {
		return fmt.Sprintf("the %s is another one than this node has had, with the same generation %d: the fleet's store was taken back, and the coordinator has to write a newer one", e.What, e.Had)
	}
	return fmt.Sprintf("the %s has generation %d, and this node has had %d: the fleet's store has lost what came after, and the coordinator has to write a newer one", e.What, e.Has, e.Had)
}

// ReadFleet reads what a node knows of its fleet below a state directory, as ReadMemory reads the memory.
func ReadFleet(path string) (Fleet, error) {
	var f Fleet
	_, err := load(filepath.Join(path, fleetName), fleetName, fleetRemedy, &f)
	return f, err
}

// Fleet reads what the node knows of the fleet with that channel and coordinator.
func (d *Dir) Fleet(channel, coordinatorKey string) (Fleet, error) {
	f, err := ReadFleet(d.path)
	if err != nil || f.Channel != channel || f.CoordinatorKey != coordinatorKey {
		return Fleet{Channel: channel, CoordinatorKey: coordinatorKey}, err
	}
	return f, nil
}

// ChangeFleet changes what the node knows of the fleet with that channel and coordinator, and returns it.
// Nothing is saved if change returns an error, or changes nothing. No other process changes it meanwhile.
func (d *Dir) ChangeFleet(ctx context.Context, channel, coordinatorKey string, change func(*Fleet) error) (Fleet, error) {
	unlock, err := d.waitFor(ctx, fleetLockName)
	if err != nil {
		return Fleet{}, fmt.Errorf("cannot lock what is known of the fleet: %w", err)
	}
	defer unlock()
	f, err := d.Fleet(channel, coordinatorKey)
	if err != nil {
		return f, err
	}
	was, err := seal(fleetName, f)
	if err != nil {
		return f, err
	}
	if err := change(&f); err != nil {
		return f, err
	}
	if is, err := seal(fleetName, f); err != nil || string(is) == string(was) {
		return f, err
	}
	return f, d.save(fleetName, fleetName, f)
}

// Accept takes a roll-out document. The error is an *OlderError, also for another document with the generation
// of the last one: who writes the store again after it was taken back gets to the same generations.
func (f *Fleet) Accept(doc nf.RolloutDocument, now time.Time) error {
	had := f.Document.Generation
	// The proof has the digest of the whole document. What was saved may be less: an older nfsync did not know all of it.
	proven := doc.Proof != "" && doc.Proof == f.Proof
	if doc.Generation < had || doc.Generation == had && had > 0 && !proven && !same(doc, f.Document) {
		return &OlderError{"roll-out document", had, doc.Generation}
	}
	switch {
	case doc.Generation > had:
		f.Document, f.Proof, f.HeardAt = doc, doc.Proof, now
	case proven:
		f.Document = doc
	}
	return nil
}

// same reports whether two documents are the same on the wire.
func same(a, b nf.RolloutDocument) bool {
	one, err := json.Marshal(a)
	other, otherErr := json.Marshal(b)
	return err == nil && otherErr == nil && bytes.Equal(one, other)
}

// AcceptGrant takes a restart grant. The error is an *OlderError.
func (f *Fleet) AcceptGrant(g nf.RestartGrant) error {
	if g.Generation < f.Grant {
		return &OlderError{"restart grant", f.Grant, g.Generation}
	}
	f.Grant = g.Generation
	return nil
}
