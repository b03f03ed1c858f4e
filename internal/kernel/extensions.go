package kernel

import (
	"encoding/binary"
	"fmt"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// levels are names, separated by spaces, under the level that each needs. A name that is
// not in the list of its kind, such as that of a module from outside of the kernel, needs an
// unknown level: it may track connections, or change addresses.
type levels map[nf.Level]string

// byName returns the level of each name.
func (l levels) byName() map[string]nf.Level {
	names := map[string]nf.Level{}
	for level, list := range l {
		for _, name := range strings.Fields(list) {
			names[name] = level
		}
	}
	return names
}

// nftExpressions are the expressions of nf_tables, of Linux 3.13 to 6.18, by the name that
// the kernel gives them: net/netfilter/nft_*.c, and those below net/ipv4/netfilter,
// net/ipv6/netfilter and net/bridge/netfilter. Those above stateless make the kernel track
// the namespace: nf_ct_netns_get in the init function of net/netfilter/nft_ct.c,
// nft_connlimit.c, nft_synproxy.c, nft_flow_offload.c, nft_nat.c, nft_masq.c and
// nft_redir.c. notrack (nft_ct.c) does not, it only marks packets. tproxy, socket,
// fib, dup and fwd use no connection of conntrack.
var nftExpressions = levels{
	nf.LevelStateless: `bitwise byteorder cmp counter dup dynset exthdr fib fwd hash immediate inner last limit log
		lookup match meta notrack numgen objref osf payload queue quota range reject rt socket target tproxy tunnel xfrm`,
	nf.LevelStateful: "connlimit ct flow_offload synproxy",
	nf.LevelFull:     "masq nat redir",
}

var nftLevels = nftExpressions.byName()

// nftObjects are the kinds of objects by number (NFT_OBJECT_* in
// linux/netfilter/nf_tables.h), as nft(8) writes them, with the level that each needs.
var nftObjects = map[uint32]need{
	1:  {nf.LevelStateless, "counter"},
	2:  {nf.LevelStateless, "quota"},
	3:  {nf.LevelStateful, "ct helper"},
	4:  {nf.LevelStateless, "limit"},
	5:  {nf.LevelStateful, "ct count"},
	6:  {nf.LevelStateless, "tunnel"},
	7:  {nf.LevelStateful, "ct timeout"},
	8:  {nf.LevelStateless, "secmark"},
	9:  {nf.LevelStateful, "ct expectation"},
	10: {nf.LevelStateful, "synproxy"},
}

// xtMatches are the matches of x_tables, of Linux 3.10 to 6.18 and of the Virtuozzo 7 kernel
// (wdog_tmo): net/netfilter/xt_*.c, net/ipv4/netfilter/ipt_*.c and ip_tables.c,
// net/ipv6/netfilter/ip6t_*.c and ip6_tables.c, and, which nft_compat takes too,
// net/bridge/netfilter/ebt_*.c. Those of the conntrack family call nf_ct_netns_get (before
// 4.10 nf_ct_l3proto_try_module_get) in their check function. xt_socket.c and xt_ipvs.c use
// a connection if there is one and need none.
var xtMatches = levels{
	nf.LevelStateless: `802_3 addrtype ah among arp bpf cgroup comment cpu dccp devgroup dscp dst ecn esp eui64 frag
		hashlimit hbh hl icmp icmp6 ip ip6 ipcomp iprange ipv6header ipvs l2tp length limit mac mark mark_m mh multiport
		nfacct osf owner physdev pkttype policy quota rateest realm recent rpfilter rt sctp set socket srh statistic stp
		string tcp tcpmss time tos ttl u32 udp udplite vlan wdog_tmo`,
	nf.LevelStateful: "cluster connbytes connlabel connlimit connmark conntrack helper state",
}

var xtMatchLevels = xtMatches.byName()

// xtTargets are the targets of x_tables, of the same kernels and files, and of
// net/ipv4/netfilter/arpt_mangle.c. NOTRACK only marks packets. SNPT and DNPT (ip6t_NPT.c)
// rewrite addresses without any state. xt_HMARK.c uses a connection if there is one. The
// snat, dnat and redirect of ebtables are written in lower case and change hardware
// addresses.
var xtTargets = levels{
	nf.LevelStateless: `AUDIT CHECKSUM CLASSIFY DNPT DSCP ECN HL HMARK IDLETIMER LED LOG MARK NFLOG NFQUEUE NOTRACK
		RATEEST REJECT SECMARK SET SNPT TCPMSS TCPOPTSTRIP TEE TOS TPROXY TRACE TTL ULOG
		arpreply dnat log mangle mark nflog redirect snat ulog`,
	nf.LevelStateful: "CLUSTERIP CONNMARK CONNSECMARK SYNPROXY " + targetCT,
	nf.LevelFull:     "DNAT MASQUERADE NETMAP REDIRECT SNAT",
}

var xtTargetLevels = xtTargets.byName()

const targetCT = "CT"

// xtCTNotrack is XT_CT_NOTRACK, the first bit of the flags that struct
// xt_ct_target_info begins with (linux/netfilter/xt_CT.h).
const xtCTNotrack = 1

// objectNeeds returns what an object of nf_tables needs.
func objectNeeds(kind uint32) []need {
	n, known := nftObjects[kind]
	switch {
	case !known:
		return []need{{nf.LevelUnset, fmt.Sprintf("object of type %d", kind)}}
	case n.level == nf.LevelStateless:
		return nil
	}
	return []need{n}
}

// expressionNeeds returns what an expression of nf_tables needs that contains no other.
func expressionNeeds(name string) []need {
	level := nftLevels[name]
	if level == nf.LevelStateless {
		return nil
	}
	return []need{{level, name}}
}

// matchNeeds returns what an x_tables match needs, whatever its revision.
func matchNeeds(name string) []need {
	return []need{{xtMatchLevels[name], "xt match " + name}}
}

// targetNeeds returns what an x_tables target needs, whatever its revision. iptables writes
// -j NOTRACK as the target CT with a flag; the kernel then does not track
// (xt_ct_tg_check in net/netfilter/xt_CT.c).
func targetNeeds(name string, info []byte) []need {
	if name == xtStandard || name == xtError { // of x_tables itself
		return nil
	}
	level := xtTargetLevels[name]
	if name == targetCT && len(info) >= 2 && binary.NativeEndian.Uint16(info)&xtCTNotrack != 0 {
		level = nf.LevelStateless
	}
	return []need{{level, "xt target " + name}}
}
