package diff

import (
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// merged are the modules of Linux 3.10 and later that became part of another one, those of
// one row at about one time: net/netfilter/Makefile, net/ipv4/netfilter/Makefile,
// net/ipv6/netfilter/Makefile and net/bridge/netfilter/Makefile of Linux 3.10 to 6.18. A few
// of the names are aliases of that module.
var merged = []struct{ into, names string }{
	{"nf_conntrack", "nf_conntrack_ipv4 nf_conntrack_ipv6"},
	{"nf_conntrack", "nf_conntrack_proto_dccp nf_conntrack_proto_sctp nf_conntrack_proto_udplite"},
	{"nf_conntrack", "nf_conntrack_proto_gre"},
	{"nf_flow_table_inet", "nf_flow_table_ipv4 nf_flow_table_ipv6"},
	{"nf_log_syslog", "nf_log_arp nf_log_bridge nf_log_common nf_log_ipv4 nf_log_ipv6 nf_log_netdev"},
	{"nf_nat", "nf_nat_ipv4 nf_nat_ipv6"},
	{"nf_nat", "nf_nat_masquerade_ipv4 nf_nat_masquerade_ipv6"},
	{"nf_nat", "nf_nat_proto_dccp nf_nat_proto_sctp nf_nat_proto_udplite"},
	{"nf_nat", "nf_nat_proto_gre"},
	{"nf_nat", "nf_nat_redirect"},
	{"nf_tables", "nf_tables_arp nf_tables_bridge nf_tables_inet nf_tables_ipv4 nf_tables_ipv6 nf_tables_netdev"},
	{"nf_tables", "nf_tables_set nft_rbtree nft_set_bitmap nft_set_hash nft_set_rbtree"},
	{"nf_tables", "nft_chain_route_ipv4 nft_chain_route_ipv6"},
	{"nf_tables", "nft_counter"},
	{"nf_tables", "nft_exthdr nft_meta nft_rt"},
	{"nf_tables", "nft_objref"},
	{"nft_chain_nat", "nft_chain_nat_ipv4 nft_chain_nat_ipv6"},
	{"nft_masq", "nft_masq_ipv4 nft_masq_ipv6"},
	{"nft_redir", "nft_redir_ipv4 nft_redir_ipv6"},
	{"xt_MASQUERADE", "ip6t_MASQUERADE ipt_MASQUERADE"},
}

// mergedInto returns the module of this kernel that a name became part of. It is empty if
// there is none, or if the kernel has one of the names of that time as a module.
func (w *World) mergedInto(name string) string {
	name = nf.NormalizeModule(name)
	for _, row := range merged {
		names := strings.Fields(row.names)
		into, ok := w.snap.Modules.Find(row.into)
		if !ok || !slices.Contains(names, name) {
			continue
		}
		separate := slices.ContainsFunc(names, func(n string) bool {
			m, found := w.snap.Modules.Find(n)
			return found && m.Name == n
		})
		if !separate {
			return into.Name
		}
	}
	return ""
}
