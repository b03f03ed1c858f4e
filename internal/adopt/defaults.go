package adopt

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// defaults are the values that Linux 3.10 to 6.18 give to a new network namespace, where they do
// not depend on its memory (net/netfilter/nf_conntrack_proto_*.c, nf_conntrack_core.c, and
// net/ipv6/netfilter/nf_conntrack_reasm.c). Timeouts are in seconds.
var defaults = map[string][]int64{
	"generic": {600}, "icmp": {30}, "icmpv6": {30}, "frag6": {60}, "gre": {30}, "greStream": {180},
	"udp": {30}, "udpStream": {120, 180}, "udplite": {30}, "udpliteStream": {180},
	"tcpSynSent": {120}, "tcpSynRecv": {60}, "tcpEstablished": {432000}, "tcpFinWait": {120}, "tcpCloseWait": {60},
	"tcpLastAck": {30}, "tcpTimeWait": {120}, "tcpClose": {10}, "tcpMaxRetrans": {300}, "tcpUnacknowledged": {300},
	"sctpClosed": {10}, "sctpCookieWait": {3}, "sctpCookieEchoed": {3}, "sctpEstablished": {210, 432000},
	"sctpShutdownSent": {0, 3}, "sctpShutdownRecd": {0, 3}, "sctpShutdownAckSent": {3}, "sctpHeartbeatSent": {30}, "sctpHeartbeatAcked": {210},
	"dccpRequest": {240}, "dccpRespond": {480}, "dccpPartopen": {480}, "dccpOpen": {43200}, "dccpClosereq": {64}, "dccpClosing": {64}, "dccpTimewait": {240},

	"nf_conntrack_acct": {0}, "nf_conntrack_checksum": {1}, "nf_conntrack_dccp_loose": {1}, "nf_conntrack_events": {1, 2},
	"nf_conntrack_events_retry_timeout": {15}, "nf_conntrack_frag6_high_thresh": {262144, 4194304}, "nf_conntrack_frag6_low_thresh": {196608, 3145728},
	"nf_conntrack_helper": {0, 1}, "nf_conntrack_log_invalid": {0}, "nf_conntrack_tcp_be_liberal": {0},
	"nf_conntrack_tcp_ignore_invalid_rst": {0}, "nf_conntrack_tcp_loose": {1}, "nf_conntrack_tcp_max_retrans": {3}, "nf_conntrack_timestamp": {0},
}

// isWorthIt reports whether a value is worth a line in a policy: it is not what the kernel gives
// by itself or, of a container, not the node's limit; or nfsync has asked for it before.
func (d *describer) isWorthIt(t nf.Target, f nf.Fact) bool {
	if d.takesAll() || d.remembered[t.Nameless()][f.Key] {
		return true
	}
	n, _ := f.Live.Number()
	switch f.Key {
	case nf.KeyMax:
		return t.IsNode() || n != 0 && f.Live != d.snap.Host.Fact(nf.KeyMax).Live
	case nf.KeyBuckets, nf.KeyExpectMax: // they depend on the memory
		return f.Boot != nil
	}
	name := string(f.Key)[strings.LastIndexByte(string(f.Key), '.')+1:]
	return f.Boot != nil || !slices.Contains(defaults[name], n)
}

// inexpressible says why a policy cannot have a value; empty if it can.
func inexpressible(k nf.Key, v nf.Value) string {
	n, ok := v.Number()
	least, most := int64(1), int64(math.MaxInt32)
	_, isTimeout := k.Timeout()
	file, known := k.Sysctl()
	switch {
	case !ok:
		return "it is no number"
	case isTimeout:
		most = nf.MaxTimeout
	case k == nf.KeyMax && n == 0:
		return "0 is no limit, and a policy can only want one"
	case k == nf.SysctlKey(file):
		least = 0
		known = spec.IsSysctl(file)
	}
	if !known {
		return "a policy has no key for it"
	}
	if n < least || n > most {
		return fmt.Sprintf("a policy takes %d to %d", least, most)
	}
	return ""
}

// isNetfilter reports whether a module is one of netfilter, by its name.
func isNetfilter(name string) bool {
	return slices.ContainsFunc([]string{"nf_", "nft_", "nfnetlink", "xt_", "x_tables", "ip_set", "ip_tables", "iptable_", "ipt_", "ip6_tables", "ip6table_", "ip6t_", "arp_tables", "arptable_", "arpt_"},
		func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}
