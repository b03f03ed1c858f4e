package kernel

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// kconfig is the configuration of a kernel: y, m or n (named and not set) by symbol,
// without CONFIG_.
type kconfig map[string]byte

// readKconfig reads the configuration of the running kernel and returns the file with
// it: /proc/config.gz (CONFIG_IKCONFIG_PROC), or that of the distribution in /boot or
// beside the modules.
func (fs FS) readKconfig() (kconfig, string, error) {
	var first error
	for _, path := range []string{
		fs.proc("config.gz"),
		fs.root("boot", "config-"+fs.release()),
		fs.root("lib/modules", fs.release(), "config"),
	} {
		data, err := readCompressed(path, filepath.Ext(path), maxFile)
		c := parseKconfig(data)
		if err == nil && len(c) == 0 {
			err = fmt.Errorf("%s is not a kernel's configuration", path)
		}
		if err == nil {
			return c, path, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, "", first
}

// parseKconfig reads "CONFIG_X=y" and "# CONFIG_X is not set"; values that
// are neither y nor m (numbers, strings) are left out.
func parseKconfig(data []byte) kconfig {
	c := kconfig{}
	for line := range strings.Lines(string(data)) {
		text := strings.TrimSpace(line)
		key, value, _ := strings.Cut(text, "=")
		comment, unset := strings.CutSuffix(text, " is not set")
		if symbol, ok := strings.CutPrefix(key, "CONFIG_"); ok && (value == "y" || value == "m") {
			c[symbol] = value[0]
		} else if symbol, ok := strings.CutPrefix(comment, "# CONFIG_"); ok && unset {
			c[symbol] = 'n'
		}
	}
	return c
}

// modules lists the modules of kconfigModules that this configuration builds into the
// kernel.
func (c kconfig) modules() map[string]bool {
	found := map[string]bool{}
	for word := range strings.FieldsSeq(kconfigModules) {
		module, symbols, given := strings.Cut(word, "=")
		if !given {
			symbols = usualSymbol(module)
		}
		if slices.ContainsFunc(strings.Split(symbols, ","), c.builtin) {
			found[module] = true
		}
	}
	return found
}

// builtin reports whether a symbol, A or A!B!C of kconfigModules, is built in.
func (c kconfig) builtin(alternative string) bool {
	symbols := strings.Split(alternative, "!")
	for _, unless := range symbols[1:] {
		if _, named := c[unless]; named {
			return false
		}
	}
	return c[symbols[0]] == 'y'
}

// usualSymbol returns the symbol that most modules have, by their names.
func usualSymbol(module string) string {
	kind, name, _ := strings.Cut(strings.ToUpper(module), "_")
	part := "TARGET_"
	if module == strings.ToLower(module) {
		part = "MATCH_"
	}
	switch kind {
	case "XT":
		return "NETFILTER_XT_" + part + name
	case "IPT":
		return "IP_NF_" + part + name
	case "IP6T":
		return "IP6_NF_" + part + name
	case "EBT":
		return "BRIDGE_EBT_" + name
	case "ACT":
		return "NET_ACT_" + name
	}
	return strings.ToUpper(module)
}

// kconfigModules are the netfilter modules and the symbols that build them:
// facts of the kernel's Makefiles from Linux 3.10 to 6.18. A module without symbols is built
// by its usualSymbol, MODULE=A,B by any of its symbols; A!B is symbol A of a kernel that does
// not know B. They are in net/netfilter, net/ipv4/netfilter, net/ipv6/netfilter,
// net/bridge/netfilter, ipset and ipvs, and last net/bridge, net/openvswitch and net/sched.
//
// Some symbols outlived their modules, so the exceptions: ipt_MASQUERADE and
// ip6t_MASQUERADE became xt_MASQUERADE in 5.2 while IP_NF_TARGET_MASQUERADE
// still selects it; nft_chain_nat was two modules before 5.1; xt_nat and
// iptable_nat had no symbol of their own in 3.10; ip_tables is built by its tables alone
// since 6.9, by IP_NF_IPTABLES before. Modules of old kernels whose symbols mean another
// module today (nf_tables_ipv4, nf_conntrack_proto_gre, nf_log_ipv4) are left out.
const kconfigModules = `
nf_conntrack nf_conntrack_amanda nf_conntrack_ftp nf_conntrack_h323 nf_conntrack_irc nf_conntrack_broadcast
nf_conntrack_netbios_ns nf_conntrack_snmp nf_conntrack_pptp nf_conntrack_sane nf_conntrack_sip
nf_conntrack_tftp nf_log_syslog nf_nat nf_nat_amanda nf_nat_ftp nf_nat_irc nf_nat_sip nf_nat_tftp
nf_dup_netdev nf_tables nft_compat nft_connlimit nft_numgen nft_ct nft_flow_offload nft_limit nft_nat
nft_objref nft_queue nft_quota nft_reject nft_reject_inet nft_reject_netdev nft_tunnel nft_log nft_masq
nft_redir nft_hash nft_fib nft_fib_inet nft_fib_netdev nft_socket nft_osf nft_tproxy nft_xfrm nft_synproxy
nft_dup_netdev nft_fwd_netdev nf_flow_table nf_flow_table_inet xt_AUDIT xt_CHECKSUM xt_CLASSIFY xt_CONNSECMARK
xt_CT xt_DSCP xt_HL xt_HMARK xt_LED xt_LOG xt_NETMAP xt_NFLOG xt_NFQUEUE xt_RATEEST xt_REDIRECT xt_MASQUERADE
xt_SECMARK xt_TPROXY xt_TCPMSS xt_TCPOPTSTRIP xt_TEE xt_TRACE xt_IDLETIMER xt_addrtype xt_bpf xt_cluster
xt_comment xt_connbytes xt_connlabel xt_connlimit xt_conntrack xt_cpu xt_dccp xt_devgroup xt_dscp xt_ecn
xt_esp xt_hashlimit xt_helper xt_hl xt_ipcomp xt_iprange xt_ipvs xt_l2tp xt_length xt_limit xt_mac
xt_multiport xt_nfacct xt_osf xt_owner xt_cgroup xt_physdev xt_pkttype xt_policy xt_quota xt_rateest xt_realm
xt_recent xt_sctp xt_socket xt_state xt_statistic xt_string xt_tcpmss xt_time xt_u32 nf_log_common
nf_tables_set nft_exthdr nft_meta nft_rt nft_counter nft_rbtree nft_set_rbtree nft_set_hash nft_set_bitmap
nfnetlink=NETFILTER_NETLINK nfnetlink_acct=NETFILTER_NETLINK_ACCT nfnetlink_queue=NETFILTER_NETLINK_QUEUE
nfnetlink_log=NETFILTER_NETLINK_LOG nfnetlink_osf=NETFILTER_NETLINK_OSF nfnetlink_hook=NETFILTER_NETLINK_HOOK
nf_conntrack_netlink=NF_CT_NETLINK nfnetlink_cttimeout=NF_CT_NETLINK_TIMEOUT
nfnetlink_cthelper=NF_CT_NETLINK_HELPER nf_synproxy_core=NETFILTER_SYNPROXY nf_conncount=NETFILTER_CONNCOUNT
nft_chain_nat=NFT_NAT!NFT_CHAIN_NAT_IPV4!NFT_CHAIN_NAT_IPV6 x_tables=NETFILTER_XTABLES
xt_tcpudp=NETFILTER_XTABLES xt_mark=NETFILTER_XT_MARK xt_connmark=NETFILTER_XT_CONNMARK
xt_set=NETFILTER_XT_SET xt_nat=NETFILTER_XT_NAT,NF_NAT!NETFILTER_XT_NAT

nf_defrag_ipv4 nf_socket_ipv4 nf_tproxy_ipv4 nf_reject_ipv4 nf_nat_h323 nf_nat_pptp nf_nat_snmp_basic
nft_reject_ipv4 nft_fib_ipv4 nft_dup_ipv4 ipt_ah ipt_rpfilter ipt_CLUSTERIP ipt_ECN ipt_REJECT ipt_SYNPROXY
nf_dup_ipv4 nf_conntrack_ipv4 nf_nat_ipv4 ipt_ULOG nft_chain_nat_ipv4 nft_chain_route_ipv4 nft_masq_ipv4
nft_redir_ipv4 ip_tables=IP_NF_IPTABLES_LEGACY,IP_NF_FILTER,IP_NF_MANGLE,IP_NF_NAT,IP_NF_RAW,IP_NF_SECURITY
iptable_filter=IP_NF_FILTER iptable_mangle=IP_NF_MANGLE iptable_nat=IP_NF_NAT,NF_NAT_IPV4!IP_NF_NAT
iptable_raw=IP_NF_RAW iptable_security=IP_NF_SECURITY arp_tables=IP_NF_ARPTABLES arpt_mangle=IP_NF_ARP_MANGLE
arptable_filter=IP_NF_ARPFILTER ipt_MASQUERADE=IP_NF_TARGET_MASQUERADE!NETFILTER_XT_TARGET_MASQUERADE

nf_defrag_ipv6 nf_socket_ipv6 nf_tproxy_ipv6 nf_reject_ipv6 nf_dup_ipv6 nft_reject_ipv6 nft_dup_ipv6
nft_fib_ipv6 ip6t_ah ip6t_eui64 ip6t_frag ip6t_ipv6header ip6t_mh ip6t_rpfilter ip6t_rt ip6t_srh ip6t_NPT
ip6t_REJECT ip6t_SYNPROXY nf_conntrack_ipv6 nf_nat_ipv6 nft_chain_nat_ipv6 nft_chain_route_ipv6 nft_masq_ipv6
nft_redir_ipv6
ip6_tables=IP6_NF_IPTABLES_LEGACY,IP6_NF_FILTER,IP6_NF_MANGLE,IP6_NF_NAT,IP6_NF_RAW,IP6_NF_SECURITY
ip6table_filter=IP6_NF_FILTER ip6table_mangle=IP6_NF_MANGLE ip6table_raw=IP6_NF_RAW
ip6table_security=IP6_NF_SECURITY ip6table_nat=IP6_NF_NAT,NF_NAT_IPV6!IP6_NF_NAT ip6t_hbh=IP6_NF_MATCH_OPTS
ip6t_MASQUERADE=IP6_NF_TARGET_MASQUERADE!NETFILTER_XT_TARGET_MASQUERADE

nf_conntrack_bridge ebt_802_3 ebt_among ebt_arp ebt_ip ebt_ip6 ebt_limit ebt_pkttype ebt_stp ebt_vlan
ebt_arpreply ebt_dnat ebt_redirect ebt_snat ebt_log ebt_nflog nft_meta_bridge=NFT_BRIDGE_META
nft_reject_bridge=NFT_BRIDGE_REJECT
ebtables=BRIDGE_NF_EBTABLES_LEGACY,BRIDGE_EBT_BROUTE,BRIDGE_EBT_T_FILTER,BRIDGE_EBT_T_NAT
ebtable_broute=BRIDGE_EBT_BROUTE ebtable_filter=BRIDGE_EBT_T_FILTER ebtable_nat=BRIDGE_EBT_T_NAT
ebt_mark_m=BRIDGE_EBT_MARK ebt_mark=BRIDGE_EBT_MARK_T

ip_set ip_set_bitmap_ip ip_set_bitmap_ipmac ip_set_bitmap_port ip_set_hash_ip ip_set_hash_ipmac
ip_set_hash_ipmark ip_set_hash_ipport ip_set_hash_ipportip ip_set_hash_ipportnet ip_set_hash_mac
ip_set_hash_net ip_set_hash_netport ip_set_hash_netiface ip_set_hash_netnet ip_set_hash_netportnet
ip_set_list_set

ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_wlc ip_vs_fo ip_vs_ovf ip_vs_lblc ip_vs_lblcr ip_vs_dh ip_vs_sh
ip_vs_mh ip_vs_sed ip_vs_nq ip_vs_twos ip_vs_ftp ip_vs_pe_sip

bridge br_netfilter=BRIDGE_NETFILTER
openvswitch vport_vxlan=OPENVSWITCH_VXLAN vport_geneve=OPENVSWITCH_GENEVE vport_gre=OPENVSWITCH_GRE
act_ct act_connmark act_ctinfo act_ipt em_ipset=NET_EMATCH_IPSET em_ipt=NET_EMATCH_IPT
`
