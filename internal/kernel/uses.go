package kernel

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// maxUses bounds the uses, and the guards, that are listed of one table: a table of ten
// thousand rules stays small in a snapshot. The uses of the highest levels are listed, so
// that the level of the table is right.
const maxUses = 16

// need is a level that a statement of a rule needs, and the statement's name.
type need struct {
	level nf.Level
	what  string
}

// uses counts the rules of each chain by what they need: the statements above
// stateless, and all matches and targets of x_tables, each of which holds a
// module.
type uses map[chainNeed]int

type chainNeed struct {
	need
	chain string
}

// add counts one rule of the chain, with what it needs.
func (u uses) add(chain string, needs []need) {
	for i, n := range needs {
		if !slices.Contains(needs[:i], n) {
			u[chainNeed{n, chain}]++
		}
	}
}

// list adds the uses to a table, the highest level first, and bounds its guards.
func (u uses) list(t *nf.Table) {
	for _, n := range slices.SortedFunc(maps.Keys(u), chainNeed.compare) {
		if len(t.Uses) < maxUses {
			t.Uses = append(t.Uses, nf.Use{Level: n.level, Chain: n.chain, What: n.what, Count: u[n]})
			continue
		}
		if t.MoreUses == nil {
			t.MoreUses = map[nf.Level]int{}
		}
		t.MoreUses[n.level]++
	}
	slices.Sort(t.Guards)
	t.MoreGuards = max(len(t.Guards)-maxUses, 0)
	t.Guards = t.Guards[:len(t.Guards)-t.MoreGuards]
}

func (n chainNeed) compare(o chainNeed) int {
	return cmp.Or(cmp.Compare(o.level, n.level), cmp.Compare(n.chain, o.chain), cmp.Compare(n.what, o.what))
}

// guard names a base chain whose policy is not accept, with its hook.
func guard(chain, hook string) string { return chain + " (" + hook + ")" }

// nftLevels are the nf_tables expressions that need more than stateless, by the
// name that the kernel gives them. Each of them makes the kernel track the
// namespace: nf_ct_netns_get in the init function of net/netfilter/nft_ct.c,
// nft_connlimit.c, nft_synproxy.c, nft_flow_offload.c, nft_nat.c, nft_masq.c and
// nft_redir.c. notrack (nft_ct.c) does not, it only marks packets. tproxy, socket,
// fib, dup and fwd use no connection of conntrack.
var nftLevels = map[string]nf.Level{
	"ct":           nf.LevelStateful,
	"connlimit":    nf.LevelStateful,
	"synproxy":     nf.LevelStateful,
	"flow_offload": nf.LevelStateful,
	"nat":          nf.LevelFull,
	"masq":         nf.LevelFull,
	"redir":        nf.LevelFull,
}

// nftObjects are the kinds of stateful objects (NFT_OBJECT_* in
// linux/netfilter/nf_tables.h) that need stateful, by number.
var nftObjects = map[uint32]string{
	3:  "ct helper",
	5:  "ct count",
	7:  "ct timeout",
	9:  "ct expectation",
	10: "synproxy",
}

// xtMatches are the x_tables matches of the conntrack family, of Linux 3.10 to
// 6.18: net/netfilter/xt_*.c, each with nf_ct_netns_get (before 4.10
// nf_ct_l3proto_try_module_get) in its check function. xt_socket.c, xt_HMARK.c
// and xt_ipvs.c use a connection if there is one and need none.
var xtMatches = []string{"cluster", "connbytes", "connlabel", "connlimit", "connmark", "conntrack", "helper", "state"}

// xtTargets are the x_tables targets that need more than stateless, of Linux
// 3.10 to 6.18: net/netfilter/xt_*.c, net/ipv4/netfilter/ipt_*.c and
// net/ipv6/netfilter/ip6t_*.c. NOTRACK only marks packets. SNPT and DNPT
// (ip6t_NPT.c) rewrite addresses without any state. The snat, dnat and redirect
// of ebtables are written in lower case and change hardware addresses.
var xtTargets = map[string]nf.Level{
	targetCT:      nf.LevelStateful,
	"CLUSTERIP":   nf.LevelStateful,
	"CONNMARK":    nf.LevelStateful,
	"CONNSECMARK": nf.LevelStateful,
	"SYNPROXY":    nf.LevelStateful,
	"DNAT":        nf.LevelFull,
	"MASQUERADE":  nf.LevelFull,
	"NETMAP":      nf.LevelFull,
	"REDIRECT":    nf.LevelFull,
	"SNAT":        nf.LevelFull,
}

const targetCT = "CT"

// xtCTNotrack is XT_CT_NOTRACK, the first bit of the flags that struct
// xt_ct_target_info begins with (linux/netfilter/xt_CT.h).
const xtCTNotrack = 1

// matchNeeds returns what an x_tables match needs.
func matchNeeds(name string) []need {
	level := nf.LevelStateless
	if slices.Contains(xtMatches, name) {
		level = nf.LevelStateful
	}
	return []need{{level, "xt match " + name}}
}

// targetNeeds returns what an x_tables target needs. iptables writes -j NOTRACK as
// the target CT with a flag; the kernel then does not track
// (xt_ct_tg_check in net/netfilter/xt_CT.c).
func targetNeeds(name string, info []byte) []need {
	if name == xtStandard || name == xtError { // of x_tables itself
		return nil
	}
	level, ok := xtTargets[name]
	if !ok || name == targetCT && len(info) >= 2 && binary.NativeEndian.Uint16(info)&xtCTNotrack != 0 {
		level = nf.LevelStateless
	}
	return []need{{level, "xt target " + name}}
}
