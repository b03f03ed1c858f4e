package kernel

import "nfsync.dev/nfsync/internal/nf"

// Rules reads the tables of the network namespace of the calling thread.
func (fs FS) Rules(m *nf.Modules) nf.Rules { return nf.Rules{Tables: []nf.Table{}} }
