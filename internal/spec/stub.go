package spec

import (
	"io/fs"

	"nfsync.dev/nfsync/internal/nf"
)

// File is one file to be parsed. Name is its path as errors show it.
type File struct {
	Name string
	Data []byte
}

// ReadDir reads the policy files of a directory.
func ReadDir(path string) ([]File, []Diagnostic, error) { return nil, nil, nil }

// ReadFS does the same over an fs.FS.
func ReadFS(fsys fs.FS) ([]File, []Diagnostic, error) { return nil, nil, nil }

// Parse parses policy files.
func Parse(files []File) (Policies, []Diagnostic) { return Policies{}, nil }

// Resolve turns policies into wants.
func (p Policies) Resolve(s *nf.Snapshot) nf.Wants { return nf.Wants{} }

// Conflicts are the pairs that contradict each other.
func (p Policies) Conflicts() []Conflict { return nil }

// ParseSnapshot reads a NodeSnapshot.
func ParseSnapshot(f File) (nf.Snapshot, []Diagnostic) { return nf.Snapshot{}, nil }

// SavedPlan is what plan --out wrote.
type SavedPlan struct {
	ID, Node, Revision string
	Files              []File
}

// ParseSavedPlan reads a saved plan.
func ParseSavedPlan(f File) (SavedPlan, []Diagnostic) { return SavedPlan{}, nil }
