package nf

import (
	"maps"
	"slices"
	"strings"
)

// Key names one thing that nfsync can set on a target.
type Key string

// The keys without a name; the others have a prefix and a name.
const (
	KeyLevel     Key = "level"
	KeyMax       Key = "conntrack.max"       // entries; net.netfilter.nf_conntrack_max
	KeyBuckets   Key = "conntrack.buckets"   // hash buckets; net.netfilter.nf_conntrack_buckets
	KeyExpectMax Key = "conntrack.expectMax" // entries; net.netfilter.nf_conntrack_expect_max
	KeyRestart   Key = "restart"             // a restart that nfsync makes; never wanted by itself

	// KeyAboveLevel is the wish of spec.modulesAboveLevel, keep or unload. It
	// is wanted but never planned: it decides about the module keys.
	KeyAboveLevel Key = "modulesAboveLevel"
)

const (
	modulePrefix  = "module/"
	timeoutPrefix = "conntrack.timeouts."
	sysctlPrefix  = "conntrack.sysctls."
)

// ModuleKey returns the key of a kernel module's state; - and _ are the same.
func ModuleKey(name string) Key { return Key(modulePrefix + NormalizeModule(name)) }

// TimeoutKey returns the key of a conntrack timeout, by its name in a policy.
func TimeoutKey(name string) Key { return Key(timeoutPrefix + name) }

// SysctlKey returns the key of any other net.netfilter.nf_conntrack_* value, by its
// kernel name.
func SysctlKey(name string) Key { return Key(sysctlPrefix + name) }

// NormalizeModule returns the kernel's spelling of a module's name: _ for -.
func NormalizeModule(name string) string { return strings.ReplaceAll(name, "-", "_") }

// Module returns the module's name, if k is a module's key.
func (k Key) Module() (string, bool) { return strings.CutPrefix(string(k), modulePrefix) }

// Timeout returns the timeout's name in a policy, if k is a timeout's key.
func (k Key) Timeout() (string, bool) { return strings.CutPrefix(string(k), timeoutPrefix) }

// Conntrack reports whether k is a value below net.netfilter.
func (k Key) Conntrack() bool { return strings.HasPrefix(string(k), "conntrack.") }

// Sysctl returns the name of the file below /proc/sys/net/netfilter that holds
// the value, if k is a conntrack key: nf_conntrack_max for conntrack.max.
func (k Key) Sysctl() (string, bool) {
	switch k {
	case KeyMax:
		return "nf_conntrack_max", true
	case KeyBuckets:
		return "nf_conntrack_buckets", true
	case KeyExpectMax:
		return "nf_conntrack_expect_max", true
	}
	if name, ok := k.Timeout(); ok {
		file, known := timeouts[name]
		return file, known
	}
	return strings.CutPrefix(string(k), sysctlPrefix)
}

// SysctlFileKey returns the key of a file below /proc/sys/net/netfilter: the inverse of
// Key.Sysctl. It is false for files that are not nf_conntrack's.
func SysctlFileKey(file string) (Key, bool) {
	for _, k := range []Key{KeyMax, KeyBuckets, KeyExpectMax} {
		if name, _ := k.Sysctl(); name == file {
			return k, true
		}
	}
	if name, ok := timeoutNames[file]; ok {
		return TimeoutKey(name), true
	}
	return SysctlKey(file), strings.HasPrefix(file, "nf_conntrack_")
}

// TimeoutNames lists the names of all conntrack timeouts that a policy can
// set, sorted.
func TimeoutNames() []string { return slices.Sorted(maps.Keys(timeouts)) }

// MaxTimeout is the longest conntrack timeout, in seconds: the kernel counts ticks in an int, and has
// at most 250 of them a second here.
const MaxTimeout = 8589934

// timeouts maps a policy's name of a timeout to its file below
// /proc/sys/net/netfilter. It is the union of Linux 3.10 to 6.18
// (net/netfilter/nf_conntrack_standalone.c and, before 4.19,
// net/netfilter/nf_conntrack_proto_*.c; frag6 is
// net/ipv6/netfilter/nf_conntrack_reasm.c).
var timeouts = map[string]string{
	"generic":             "nf_conntrack_generic_timeout",
	"tcpSynSent":          "nf_conntrack_tcp_timeout_syn_sent",
	"tcpSynRecv":          "nf_conntrack_tcp_timeout_syn_recv",
	"tcpEstablished":      "nf_conntrack_tcp_timeout_established",
	"tcpFinWait":          "nf_conntrack_tcp_timeout_fin_wait",
	"tcpCloseWait":        "nf_conntrack_tcp_timeout_close_wait",
	"tcpLastAck":          "nf_conntrack_tcp_timeout_last_ack",
	"tcpTimeWait":         "nf_conntrack_tcp_timeout_time_wait",
	"tcpClose":            "nf_conntrack_tcp_timeout_close",
	"tcpMaxRetrans":       "nf_conntrack_tcp_timeout_max_retrans",
	"tcpUnacknowledged":   "nf_conntrack_tcp_timeout_unacknowledged",
	"udp":                 "nf_conntrack_udp_timeout",
	"udpStream":           "nf_conntrack_udp_timeout_stream",
	"udplite":             "nf_conntrack_udplite_timeout",
	"udpliteStream":       "nf_conntrack_udplite_timeout_stream",
	"icmp":                "nf_conntrack_icmp_timeout",
	"icmpv6":              "nf_conntrack_icmpv6_timeout",
	"gre":                 "nf_conntrack_gre_timeout",
	"greStream":           "nf_conntrack_gre_timeout_stream",
	"sctpClosed":          "nf_conntrack_sctp_timeout_closed",
	"sctpCookieWait":      "nf_conntrack_sctp_timeout_cookie_wait",
	"sctpCookieEchoed":    "nf_conntrack_sctp_timeout_cookie_echoed",
	"sctpEstablished":     "nf_conntrack_sctp_timeout_established",
	"sctpShutdownSent":    "nf_conntrack_sctp_timeout_shutdown_sent",
	"sctpShutdownRecd":    "nf_conntrack_sctp_timeout_shutdown_recd",
	"sctpShutdownAckSent": "nf_conntrack_sctp_timeout_shutdown_ack_sent",
	"sctpHeartbeatSent":   "nf_conntrack_sctp_timeout_heartbeat_sent",
	"sctpHeartbeatAcked":  "nf_conntrack_sctp_timeout_heartbeat_acked",
	"dccpRequest":         "nf_conntrack_dccp_timeout_request",
	"dccpRespond":         "nf_conntrack_dccp_timeout_respond",
	"dccpPartopen":        "nf_conntrack_dccp_timeout_partopen",
	"dccpOpen":            "nf_conntrack_dccp_timeout_open",
	"dccpClosereq":        "nf_conntrack_dccp_timeout_closereq",
	"dccpClosing":         "nf_conntrack_dccp_timeout_closing",
	"dccpTimewait":        "nf_conntrack_dccp_timeout_timewait",
	"frag6":               "nf_conntrack_frag6_timeout",
}

var timeoutNames = func() map[string]string {
	names := make(map[string]string, len(timeouts))
	for name, file := range timeouts {
		names[file] = name
	}
	return names
}()
