package kernel

import (
	"os"

	"nfsync.dev/nfsync/internal/nf"
)

// Capabilities tells what this kernel and nfsync itself can do.
func (fs FS) Capabilities(m *nf.Modules) nf.Capabilities {
	return nf.Capabilities{Latches: nf.No, BucketStep: int64(os.Getpagesize() / 8)}
}
