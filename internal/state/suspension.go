package state

import (
	"path/filepath"

	"nfsync.dev/nfsync/internal/nf"
)

const (
	suspensionName   = "suspension"
	suspensionRemedy = "put a good copy in its place, or move it away: the agent is then not suspended"
)

// Suspension reads the suspension of the agent; nil is none. It does not look at the time.
func (d *Dir) Suspension() (*nf.Suspension, error) {
	var s *nf.Suspension
	_, err := load(filepath.Join(d.path, suspensionName), suspensionName, suspensionRemedy, &s)
	return s, err
}

// SaveSuspension replaces the suspension; nil ends it.
func (d *Dir) SaveSuspension(s *nf.Suspension) error {
	return d.save(suspensionName, suspensionName, s)
}
