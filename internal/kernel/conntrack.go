package kernel

import "nfsync.dev/nfsync/internal/nf"

// countFile is the file below /proc/sys/net/netfilter that counts the live
// conntrack entries of a network namespace.
const countFile = "nf_conntrack_count"

// Count is the number of live conntrack entries of the network namespace of the
// calling thread: net.netfilter.nf_conntrack_count. It is absent where the
// kernel has no conntrack. Entries stay until they time out when the last rule
// that tracks is removed, so a count is no proof that connections are tracked.
func (fs FS) Count() nf.Value {
	dir, err := fs.openNetfilter()
	defer dir.close()
	if err != nil {
		return nf.Unknown(err.Error())
	}
	return dir.fact("", countFile).Live
}
