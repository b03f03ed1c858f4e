package kernel

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// A name has one level.
func TestExtensionsAreListedOnce(t *testing.T) {
	for what, l := range map[string]levels{"expressions": nftExpressions, "matches": xtMatches, "targets": xtTargets} {
		listed := 0
		for level, names := range l {
			if level < nf.LevelStateless || level > nf.LevelFull {
				t.Errorf("%s of the level %s", what, level)
			}
			listed += len(strings.Fields(names))
		}
		if n := len(l.byName()); n != listed {
			t.Errorf("%d %s are listed %d times", n, what, listed)
		}
	}
}

// What the kernel's own files name is known. The kernel of the tests lists its matches and
// targets (xt_table_seq_show in net/netfilter/x_tables.c); it has none from outside.
func TestTheKernelsExtensionsAreKnown(t *testing.T) {
	for _, family := range []string{"ip", "ip6", "arp"} {
		for file, known := range map[string]map[string]nf.Level{"matches": xtMatchLevels, "targets": xtTargetLevels} {
			list, err := os.ReadFile("/proc/net/" + family + "_tables_" + file)
			if err != nil {
				continue
			}
			for _, name := range strings.Fields(string(list)) {
				if known[name] == nf.LevelUnset && name != xtError {
					t.Errorf("%s of %s: %s is unknown", file, family, name)
				}
			}
		}
	}
	// The plug-ins of iptables 1.8.9, libxt_NAME.so and the like.
	for _, name := range strings.Fields("802_3 among arp ip ip6 mark_m pkttype stp vlan ah dst eui64 frag hbh hl icmp6 ipv6header mh rt srh icmp realm ttl addrtype bpf cgroup " +
		"cluster comment connbytes connlabel connlimit connmark conntrack cpu dccp devgroup dscp ecn esp hashlimit helper ipcomp iprange ipvs length limit mac mark multiport " +
		"nfacct osf owner physdev policy quota rateest recent rpfilter sctp set socket state statistic string tcp tcpmss time tos u32 udp") {
		if xtMatchLevels[name] == nf.LevelUnset {
			t.Errorf("the match %s is unknown", name)
		}
	}
	for _, name := range strings.Fields("mangle arpreply dnat log mark nflog redirect snat DNPT HL NETMAP REJECT SNPT CLUSTERIP ECN TTL ULOG AUDIT CHECKSUM CLASSIFY CONNMARK CONNSECMARK " +
		"CT DNAT DSCP HMARK IDLETIMER LED LOG MARK MASQUERADE NFLOG NFQUEUE NOTRACK RATEEST REDIRECT SECMARK SET SNAT SYNPROXY TCPMSS TCPOPTSTRIP TEE TOS TPROXY TRACE") {
		if xtTargetLevels[name] == nf.LevelUnset {
			t.Errorf("the target %s is unknown", name)
		}
	}
}

// Modules from outside of the kernel: openwrt's FULLCONENAT and FLOWOFFLOAD, DNETMAP of
// xtables-addons, nDPI's match, the nft expression fullcone. Some of them track or do NAT.
func TestForeignExtensionsAreUnknown(t *testing.T) {
	for _, needs := range [][]need{
		targetNeeds("FULLCONENAT", nil), targetNeeds("FLOWOFFLOAD", nil), targetNeeds("DNETMAP", nil), targetNeeds("ct", nil),
		matchNeeds("ndpi"), matchNeeds("CONNTRACK"), matchNeeds(""), expressionNeeds("fullcone"), objectNeeds(11), objectNeeds(0),
	} {
		if len(needs) != 1 || needs[0].level != nf.LevelUnset {
			t.Errorf("%v, want an unknown level", needs)
		}
	}
	for _, needs := range [][]need{targetNeeds("", nil), targetNeeds("ERROR", nil), expressionNeeds("immediate"), objectNeeds(1)} {
		if len(needs) != 0 {
			t.Errorf("%v, want nothing", needs)
		}
	}
}

// Unknown uses are listed first, and the level of those that are not listed is not lost.
func TestUnknownUsesOfALargeTable(t *testing.T) {
	u := uses{}
	for i := range maxUses + 3 {
		u.add("c", targetNeeds(fmt.Sprintf("FOREIGN%d", i), nil))
	}
	u.add("c", targetNeeds("CONNMARK", nil))
	table := nf.Table{Backend: nf.BackendLegacy, Family: "ip", Name: "t", Rules: 20}
	u.list(&table)
	if slices.ContainsFunc(table.Uses, func(u nf.Use) bool { return u.Level != nf.LevelUnset }) || table.Level() != nf.LevelStateful ||
		table.MoreUses[nf.LevelStateless] != 3 || table.MoreUses[nf.LevelStateful] != 1 {
		t.Errorf("%+v", table)
	}
}
