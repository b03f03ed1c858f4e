package kernel

import "nfsync.dev/nfsync/internal/nf"

// Tracking tells whether the network namespace of the calling thread tracks
// connections.
func (fs FS) Tracking(m *nf.Modules, r *nf.Rules) nf.Tracking {
	return nf.Tracking{State: nf.TrackingUnknown}
}
