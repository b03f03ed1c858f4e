package vztest

import (
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// The masks of modules with their dependencies (lib/include/linux/vziptable_defs.h of
// libvzctl).
const (
	maskTables       = 1 << 0                         // VE_IP_IPTABLES
	maskFilter       = 1<<1 | maskTables              // VE_IP_FILTER
	maskMangle       = 1<<2 | maskTables              // VE_IP_MANGLE
	maskConntrack    = 1<<14 | maskTables             // VE_IP_CONNTRACK
	maskConntrackFTP = 1<<15 | maskConntrack          // VE_IP_CONNTRACK_FTP
	maskConntrackIRC = 1<<16 | maskConntrack          // VE_IP_CONNTRACK_IRC
	maskNAT          = 1<<20 | maskConntrack          // VE_IP_NAT
	maskNATFTP       = 1<<21 | maskNAT | 1<<15        // VE_IP_NAT_FTP
	maskNATIRC       = 1<<22 | maskNAT | 1<<16        // VE_IP_NAT_IRC
	maskTables6      = 1 << 26                        // VE_IP_IPTABLES6
	maskFilter6      = 1<<27 | maskTables6            // VE_IP_FILTER6
	maskMangle6      = 1<<28 | maskTables6            // VE_IP_MANGLE6
	maskNFConntrack  = 1<<30 | maskTables             // VE_NF_CONNTRACK
	maskStateless    = maskFilter | maskMangle        // VE_NF_STATELESS
	maskStateless6   = maskFilter6 | maskMangle6      // VE_NF_STATELESS6
	maskDefault      = maskStateless | maskStateless6 // VE_IP_DEFAULT
	maskAll          = ^uint64(0)                     // VE_IP_ALL
)

// levelMasks has the masks of _g_netfilter in lib/iptables.c of libvzctl. It does not use the
// table of the code under test.
var levelMasks = map[string]uint64{
	nf.LevelDisabled.String():  0,
	nf.LevelStateless.String(): maskStateless | maskStateless6,
	nf.LevelStateful.String():  maskStateless | maskStateless6 | maskNFConntrack | maskConntrack | maskConntrackFTP | maskConntrackIRC,
	nf.LevelFull.String():      maskAll,
}

// moduleMasks has the masks of the names in IPTABLES=. Most matches and targets have that of
// ip_tables (_g_iptables in lib/iptables.c of libvzctl).
var moduleMasks = map[string]uint64{
	"ip_tables": maskTables, "iptable_filter": maskFilter, "iptable_mangle": maskMangle,
	"ipt_limit": maskTables, "ipt_multiport": maskTables, "ipt_tos": maskTables, "ipt_TOS": maskTables,
	"ipt_REJECT": maskTables, "ipt_TCPMSS": maskTables, "ipt_tcpmss": maskTables, "ipt_ttl": maskTables,
	"ipt_LOG": maskTables, "ipt_length": maskTables, "ipt_owner": maskTables,
	"ip_conntrack": maskConntrack, "ip_conntrack_ftp": maskConntrackFTP, "ip_conntrack_irc": maskConntrackIRC,
	"ipt_conntrack": maskConntrack, "ipt_state": maskConntrack, "ipt_helper": maskConntrack,
	"iptable_nat": maskNAT, "ip_nat_ftp": maskNATFTP, "ip_nat_irc": maskNATIRC,
}

// confMask returns the mask that libvzctl writes at a start: that of NETFILTER=, else that of
// IPTABLES=, else VE_IP_DEFAULT (get_ipt_mask, lib/iptables.c). An unknown level is ignored.
func (n *Node) confMask(c *container) uint64 {
	conf := n.conf(c.ID)
	level, _ := conf.get("NETFILTER")
	if mask, known := levelMasks[level]; known {
		return mask
	}
	names, _ := conf.get("IPTABLES")
	if mask := modulesMask(names); mask != 0 {
		return mask
	}
	return maskDefault
}

// modulesMask returns the mask of a list of names. Unknown names are skipped (parse_ipt,
// lib/iptables.c; LIST_DELIMITERS are tab, space and comma).
func modulesMask(names string) uint64 {
	var mask uint64
	for _, name := range strings.FieldsFunc(names, func(r rune) bool { return strings.ContainsRune("\t ,", r) }) {
		mask |= moduleMasks[name]
	}
	return mask
}

// normalize returns a mask as the kernel stores it: each of bits 26 to 30 is a copy of the bit
// for IPv4, or for the old name of the module (ve_setup_iptables_mask, kernel/ve/ve.c). The
// mask of full is stored as it is.
func normalize(mask uint64) uint64 {
	for _, copied := range []struct{ from, bit uint64 }{
		{1 << 0, 1 << 26}, {1 << 1, 1 << 27}, {1 << 2, 1 << 28}, {1 << 20, 1 << 29}, {1 << 14, 1 << 30},
	} {
		mask &^= copied.bit
		if mask&copied.from != 0 {
			mask |= copied.bit
		}
	}
	return mask
}
