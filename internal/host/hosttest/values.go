package hosttest

import (
	"fmt"
	"maps"
	"slices"
	"syscall"

	"nfsync.dev/nfsync/internal/nf"
)

// defaultValues returns the values of a new namespace in Linux 6.18.
func defaultValues() map[nf.Key]int64 {
	return map[nf.Key]int64{
		nf.TimeoutKey("generic"):                    600,
		nf.TimeoutKey("tcpSynSent"):                 120,
		nf.TimeoutKey("tcpEstablished"):             432000,
		nf.TimeoutKey("tcpCloseWait"):               60,
		nf.TimeoutKey("tcpTimeWait"):                120,
		nf.TimeoutKey("udp"):                        30,
		nf.TimeoutKey("udpStream"):                  120,
		nf.TimeoutKey("icmp"):                       30,
		nf.SysctlKey("nf_conntrack_acct"):           0,
		nf.SysctlKey("nf_conntrack_events"):         2,
		nf.SysctlKey("nf_conntrack_tcp_be_liberal"): 0,
		nf.SysctlKey("nf_conntrack_tcp_loose"):      1,
	}
}

// isNodeOnly reports whether every container reads the node's value of the key.
func isNodeOnly(k nf.Key) bool { return k == nf.KeyBuckets || k == nf.KeyExpectMax }

// owner returns the namespace that has the value of a key: ns or the node's.
func (m *Machine) owner(ns *namespace, k nf.Key) *namespace {
	if isNodeOnly(k) || k == nf.KeyMax && ns.scope != Own {
		return m.host
	}
	return ns
}

// isReadOnly reports whether a write of the key is refused in the namespace.
func (m *Machine) isReadOnly(ns *namespace, k nf.Key) bool {
	return ns != m.host && (isNodeOnly(k) || k == nf.KeyMax && ns.scope == ReadOnly)
}

// hasConntrack reports whether the kernel has nf_conntrack, and so its values.
func (m *Machine) hasConntrack() bool {
	mod, ok := m.modules["nf_conntrack"]
	return ok && mod.State != nf.ModuleUnloaded
}

// read returns the value of a conntrack key.
func (m *Machine) read(ns *namespace, k nf.Key) nf.Value {
	n, ok := m.owner(ns, k).values[k]
	if !ok || !m.hasConntrack() {
		return nf.Absent()
	}
	return nf.Number(n)
}

// sysctlFact returns the fact of a conntrack key.
func (m *Machine) sysctlFact(ns *namespace, k nf.Key) nf.Fact {
	f := nf.Fact{Key: k, Live: m.read(ns, k)}
	f.ReadOnly = !f.Live.IsAbsent() && m.isReadOnly(ns, k)
	return f
}

// sysctlFacts returns the facts of the keys; if all is set, also those of every key
// that the namespace has.
func (m *Machine) sysctlFacts(ns *namespace, keys []nf.Key, all bool) []nf.Fact {
	keys = slices.DeleteFunc(slices.Clone(keys), func(k nf.Key) bool { return !k.Conntrack() })
	if all && m.hasConntrack() {
		keys = slices.AppendSeq(keys, maps.Keys(ns.values))
		keys = append(keys, nf.KeyMax, nf.KeyBuckets, nf.KeyExpectMax)
	}
	slices.Sort(keys)
	facts := []nf.Fact{}
	for _, k := range slices.Compact(keys) {
		facts = append(facts, m.sysctlFact(ns, k))
	}
	return facts
}

// write sets a conntrack key as the kernel does. It accepts 0 to 2147483647, for
// timeouts up to 8589934 s (250 ticks a second). There is at least one bucket, and
// buckets are rounded up. The scope decides about a container's conntrack.max.
func (m *Machine) write(ns *namespace, k nf.Key, n int64) error {
	const maxInt, maxTimeout = 1<<31 - 1, 8589934
	owner := m.owner(ns, k)
	_, timeout := k.Timeout()
	_, exists := owner.values[k]
	switch {
	case !exists || !m.hasConntrack():
		return fmt.Errorf("cannot open %s: %w", k, syscall.ENOENT)
	case m.isReadOnly(ns, k):
		return fmt.Errorf("cannot open %s for writing: %w", k, syscall.EACCES)
	case n < 0 || n > maxInt, timeout && n > maxTimeout, k == nf.KeyBuckets && n == 0:
		return fmt.Errorf("cannot write %d to %s: %w", n, k, syscall.EINVAL)
	case k == nf.KeyMax && ns != m.host && ns.scope == Own && n > m.host.values[k]:
		return fmt.Errorf("cannot write %d to %s, the node's is %d: %w", n, k, m.host.values[k], syscall.EINVAL)
	case k == nf.KeyMax && ns != m.host && ns.scope == Shared && n != owner.values[k]:
		return nf.ErrNodeScope // the write changed the node's, and was put back
	case k == nf.KeyBuckets:
		n = (n + bucketStep - 1) / bucketStep * bucketStep
	}
	owner.values[k] = n
	return nil
}
