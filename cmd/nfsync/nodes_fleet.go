package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// fleetSnapshots are the snapshots that the nodes of a fleet have put. They are kept in a file: those of ten thousand nodes are
// more than the memory of a small machine.
type fleetSnapshots struct {
	store *os.File // without a name
	found map[string]fleetSnapshot
	size  int64
}

// fleetSnapshot is where the snapshot of a node is.
type fleetSnapshot struct {
	node     string
	from, to int64
	why      error // there is none that can be read; nil if there is one
}

// openFleet reads the snapshots of all nodes, or that of one.
func (o *nodesOptions) openFleet(ctx context.Context, a *app, git *gitOptions, only string) (done func(), err error) {
	access := o.fleet
	access.servers, access.caFile = fleetURLs(o.urls[0]), git.Auth.CAFile
	limited, cancel := context.WithTimeout(ctx, git.timeout)
	defer cancel()
	s, err := newFleetSnapshots()
	if err != nil {
		return nil, err
	}
	err = a.withFleet(limited, &access, func(l *fleetLink) error { return l.Snapshots(limited, only, s.add) })
	switch {
	case errors.Is(err, fleet.ErrNone):
		err = fmt.Errorf("the node %s has put no snapshot into the fleet", only)
	case err == nil && len(s.found) == 0:
		err = errors.New("no node has put a snapshot into the fleet")
	case fleet.IsNotPermitted(err):
		err = hinted{errors.New("these credentials do not read them"), needsReader}
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("cannot read the snapshots of %s: %w", nf.PublicURL(o.urls[0]), err)
	}
	o.opened = s
	return s.Close, nil
}

func newFleetSnapshots() (*fleetSnapshots, error) {
	store, err := os.CreateTemp("", "nfsync-nodes-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a file for the snapshots: %w", err)
	}
	return &fleetSnapshots{store: store, found: map[string]fleetSnapshot{}}, os.Remove(store.Name())
}

// add keeps the snapshot of a node.
func (s *fleetSnapshots) add(node string, _ time.Time, document []byte, why error) error {
	kept := fleetSnapshot{node: node, from: s.size, to: s.size + int64(len(document)), why: why}
	if _, err := s.store.Write(document); err != nil {
		return fmt.Errorf("cannot keep the snapshot of the node %s: %w", node, err)
	}
	s.size = kept.to
	s.found["fleet:"+node] = kept
	return nil
}

// Close removes what was read.
func (s *fleetSnapshots) Close() { _ = s.store.Close() } // it has no name: nothing is left

// Files returns the names of the snapshots in the order of the nodes.
func (s *fleetSnapshots) Files() []string {
	var list []string
	for name := range s.found {
		list = append(list, name)
	}
	slices.SortFunc(list, func(a, b string) int {
		return cmp.Or(nf.CompareNames(s.found[a].node, s.found[b].node), cmp.Compare(a, b))
	})
	return list
}

// Node returns the node that has put a snapshot.
func (s *fleetSnapshots) Node(file string) string { return s.found[file].node }

// Read returns a snapshot.
func (s *fleetSnapshots) Read(file string) ([]byte, error) {
	f := s.found[file]
	if f.why != nil {
		return nil, f.why
	}
	text := make([]byte, f.to-f.from)
	if _, err := io.ReadFull(io.NewSectionReader(s.store, f.from, f.to-f.from), text); err != nil {
		return nil, fmt.Errorf("cannot read what was kept: %w", err)
	}
	return text, nil
}
