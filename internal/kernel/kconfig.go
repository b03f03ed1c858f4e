package kernel

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
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
		c, err := readKconfigFile(path)
		if err == nil {
			return c, path, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, "", first
}

func readKconfigFile(path string) (kconfig, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	suffix := ""
	if strings.HasSuffix(path, ".gz") {
		suffix = ".gz"
	}
	data, err := decompress(f, suffix, maxFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	c := parseKconfig(data)
	if len(c) == 0 {
		return nil, fmt.Errorf("%s is not a kernel's configuration", path)
	}
	return c, nil
}

var notSet = regexp.MustCompile(`^# CONFIG_(\w+) is not set$`)

// parseKconfig reads "CONFIG_X=y" and "# CONFIG_X is not set"; values that
// are neither y nor m (numbers, strings) are left out.
func parseKconfig(data []byte) kconfig {
	c := kconfig{}
	for line := range bytes.Lines(data) {
		text := strings.TrimSpace(string(line))
		if symbol, value, ok := strings.Cut(text, "="); ok {
			symbol, ok = strings.CutPrefix(symbol, "CONFIG_")
			if ok && (value == "y" || value == "m") {
				c[symbol] = value[0]
			}
		} else if strings.HasPrefix(text, "# C") {
			if m := notSet.FindStringSubmatch(text); m != nil {
				c[m[1]] = 'n'
			}
		}
	}
	return c
}

// modules lists the modules of kconfigModules that this configuration builds into the
// kernel (y) or as files (m).
func (c kconfig) modules(value byte) map[string]bool {
	found := map[string]bool{}
	for line := range strings.Lines(kconfigModules) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] == "#" {
			continue
		}
		for _, alternative := range fields[1:] {
			if c.holds(alternative, value) {
				found[fields[0]] = true
			}
		}
	}
	return found
}

func (c kconfig) holds(alternative string, value byte) bool {
	symbols := strings.Split(alternative, "!")
	for _, unless := range symbols[1:] {
		if _, named := c[unless]; named {
			return false
		}
	}
	return c[symbols[0]] == value
}

// kconfigModules are the netfilter modules and the symbols that build them:
// facts of the kernel's Makefiles from Linux 3.10 to 6.18. A module is built
// by any of its symbols; A!B is symbol A of a kernel that does not know B.
//
// Some symbols outlived their modules, so the exceptions: ipt_MASQUERADE and
// ip6t_MASQUERADE became xt_MASQUERADE in 5.2 while IP_NF_TARGET_MASQUERADE
// still selects it; nft_chain_nat was two modules before 5.1; xt_nat and
// iptable_nat had no symbol of their own in 3.10; ip_tables is built by its tables alone
// since 6.9, by IP_NF_IPTABLES before. Modules of old kernels whose symbols mean another
// module today (nf_tables_ipv4, nf_conntrack_proto_gre, nf_log_ipv4) are left out.
const kconfigModules = `
# net/netfilter
nfnetlink NETFILTER_NETLINK
nfnetlink_acct NETFILTER_NETLINK_ACCT
nfnetlink_queue NETFILTER_NETLINK_QUEUE
nfnetlink_log NETFILTER_NETLINK_LOG
nfnetlink_osf NETFILTER_NETLINK_OSF
nfnetlink_hook NETFILTER_NETLINK_HOOK
nf_conntrack NF_CONNTRACK
nf_conntrack_netlink NF_CT_NETLINK
nfnetlink_cttimeout NF_CT_NETLINK_TIMEOUT
nfnetlink_cthelper NF_CT_NETLINK_HELPER
nf_conntrack_amanda NF_CONNTRACK_AMANDA
nf_conntrack_ftp NF_CONNTRACK_FTP
nf_conntrack_h323 NF_CONNTRACK_H323
nf_conntrack_irc NF_CONNTRACK_IRC
nf_conntrack_broadcast NF_CONNTRACK_BROADCAST
nf_conntrack_netbios_ns NF_CONNTRACK_NETBIOS_NS
nf_conntrack_snmp NF_CONNTRACK_SNMP
nf_conntrack_pptp NF_CONNTRACK_PPTP
nf_conntrack_sane NF_CONNTRACK_SANE
nf_conntrack_sip NF_CONNTRACK_SIP
nf_conntrack_tftp NF_CONNTRACK_TFTP
nf_log_syslog NF_LOG_SYSLOG
nf_nat NF_NAT
nf_nat_amanda NF_NAT_AMANDA
nf_nat_ftp NF_NAT_FTP
nf_nat_irc NF_NAT_IRC
nf_nat_sip NF_NAT_SIP
nf_nat_tftp NF_NAT_TFTP
nf_synproxy_core NETFILTER_SYNPROXY
nf_conncount NETFILTER_CONNCOUNT
nf_dup_netdev NF_DUP_NETDEV
nf_tables NF_TABLES
nft_compat NFT_COMPAT
nft_connlimit NFT_CONNLIMIT
nft_numgen NFT_NUMGEN
nft_ct NFT_CT
nft_flow_offload NFT_FLOW_OFFLOAD
nft_limit NFT_LIMIT
nft_nat NFT_NAT
nft_objref NFT_OBJREF
nft_queue NFT_QUEUE
nft_quota NFT_QUOTA
nft_reject NFT_REJECT
nft_reject_inet NFT_REJECT_INET
nft_reject_netdev NFT_REJECT_NETDEV
nft_tunnel NFT_TUNNEL
nft_log NFT_LOG
nft_masq NFT_MASQ
nft_redir NFT_REDIR
nft_hash NFT_HASH
nft_fib NFT_FIB
nft_fib_inet NFT_FIB_INET
nft_fib_netdev NFT_FIB_NETDEV
nft_socket NFT_SOCKET
nft_osf NFT_OSF
nft_tproxy NFT_TPROXY
nft_xfrm NFT_XFRM
nft_synproxy NFT_SYNPROXY
nft_chain_nat NFT_NAT!NFT_CHAIN_NAT_IPV4!NFT_CHAIN_NAT_IPV6
nft_dup_netdev NFT_DUP_NETDEV
nft_fwd_netdev NFT_FWD_NETDEV
nf_flow_table NF_FLOW_TABLE
nf_flow_table_inet NF_FLOW_TABLE_INET
x_tables NETFILTER_XTABLES
xt_tcpudp NETFILTER_XTABLES
xt_mark NETFILTER_XT_MARK
xt_connmark NETFILTER_XT_CONNMARK
xt_set NETFILTER_XT_SET
xt_nat NETFILTER_XT_NAT NF_NAT!NETFILTER_XT_NAT
xt_AUDIT NETFILTER_XT_TARGET_AUDIT
xt_CHECKSUM NETFILTER_XT_TARGET_CHECKSUM
xt_CLASSIFY NETFILTER_XT_TARGET_CLASSIFY
xt_CONNSECMARK NETFILTER_XT_TARGET_CONNSECMARK
xt_CT NETFILTER_XT_TARGET_CT
xt_DSCP NETFILTER_XT_TARGET_DSCP
xt_HL NETFILTER_XT_TARGET_HL
xt_HMARK NETFILTER_XT_TARGET_HMARK
xt_LED NETFILTER_XT_TARGET_LED
xt_LOG NETFILTER_XT_TARGET_LOG
xt_NETMAP NETFILTER_XT_TARGET_NETMAP
xt_NFLOG NETFILTER_XT_TARGET_NFLOG
xt_NFQUEUE NETFILTER_XT_TARGET_NFQUEUE
xt_RATEEST NETFILTER_XT_TARGET_RATEEST
xt_REDIRECT NETFILTER_XT_TARGET_REDIRECT
xt_MASQUERADE NETFILTER_XT_TARGET_MASQUERADE
xt_SECMARK NETFILTER_XT_TARGET_SECMARK
xt_TPROXY NETFILTER_XT_TARGET_TPROXY
xt_TCPMSS NETFILTER_XT_TARGET_TCPMSS
xt_TCPOPTSTRIP NETFILTER_XT_TARGET_TCPOPTSTRIP
xt_TEE NETFILTER_XT_TARGET_TEE
xt_TRACE NETFILTER_XT_TARGET_TRACE
xt_IDLETIMER NETFILTER_XT_TARGET_IDLETIMER
xt_addrtype NETFILTER_XT_MATCH_ADDRTYPE
xt_bpf NETFILTER_XT_MATCH_BPF
xt_cluster NETFILTER_XT_MATCH_CLUSTER
xt_comment NETFILTER_XT_MATCH_COMMENT
xt_connbytes NETFILTER_XT_MATCH_CONNBYTES
xt_connlabel NETFILTER_XT_MATCH_CONNLABEL
xt_connlimit NETFILTER_XT_MATCH_CONNLIMIT
xt_conntrack NETFILTER_XT_MATCH_CONNTRACK
xt_cpu NETFILTER_XT_MATCH_CPU
xt_dccp NETFILTER_XT_MATCH_DCCP
xt_devgroup NETFILTER_XT_MATCH_DEVGROUP
xt_dscp NETFILTER_XT_MATCH_DSCP
xt_ecn NETFILTER_XT_MATCH_ECN
xt_esp NETFILTER_XT_MATCH_ESP
xt_hashlimit NETFILTER_XT_MATCH_HASHLIMIT
xt_helper NETFILTER_XT_MATCH_HELPER
xt_hl NETFILTER_XT_MATCH_HL
xt_ipcomp NETFILTER_XT_MATCH_IPCOMP
xt_iprange NETFILTER_XT_MATCH_IPRANGE
xt_ipvs NETFILTER_XT_MATCH_IPVS
xt_l2tp NETFILTER_XT_MATCH_L2TP
xt_length NETFILTER_XT_MATCH_LENGTH
xt_limit NETFILTER_XT_MATCH_LIMIT
xt_mac NETFILTER_XT_MATCH_MAC
xt_multiport NETFILTER_XT_MATCH_MULTIPORT
xt_nfacct NETFILTER_XT_MATCH_NFACCT
xt_osf NETFILTER_XT_MATCH_OSF
xt_owner NETFILTER_XT_MATCH_OWNER
xt_cgroup NETFILTER_XT_MATCH_CGROUP
xt_physdev NETFILTER_XT_MATCH_PHYSDEV
xt_pkttype NETFILTER_XT_MATCH_PKTTYPE
xt_policy NETFILTER_XT_MATCH_POLICY
xt_quota NETFILTER_XT_MATCH_QUOTA
xt_rateest NETFILTER_XT_MATCH_RATEEST
xt_realm NETFILTER_XT_MATCH_REALM
xt_recent NETFILTER_XT_MATCH_RECENT
xt_sctp NETFILTER_XT_MATCH_SCTP
xt_socket NETFILTER_XT_MATCH_SOCKET
xt_state NETFILTER_XT_MATCH_STATE
xt_statistic NETFILTER_XT_MATCH_STATISTIC
xt_string NETFILTER_XT_MATCH_STRING
xt_tcpmss NETFILTER_XT_MATCH_TCPMSS
xt_time NETFILTER_XT_MATCH_TIME
xt_u32 NETFILTER_XT_MATCH_U32
nf_log_common NF_LOG_COMMON
nf_tables_set NF_TABLES_SET
nft_exthdr NFT_EXTHDR
nft_meta NFT_META
nft_rt NFT_RT
nft_counter NFT_COUNTER
nft_rbtree NFT_RBTREE
nft_set_rbtree NFT_SET_RBTREE
nft_set_hash NFT_SET_HASH
nft_set_bitmap NFT_SET_BITMAP
# net/ipv4/netfilter
nf_defrag_ipv4 NF_DEFRAG_IPV4
nf_socket_ipv4 NF_SOCKET_IPV4
nf_tproxy_ipv4 NF_TPROXY_IPV4
nf_reject_ipv4 NF_REJECT_IPV4
nf_nat_h323 NF_NAT_H323
nf_nat_pptp NF_NAT_PPTP
nf_nat_snmp_basic NF_NAT_SNMP_BASIC
nft_reject_ipv4 NFT_REJECT_IPV4
nft_fib_ipv4 NFT_FIB_IPV4
nft_dup_ipv4 NFT_DUP_IPV4
ip_tables IP_NF_IPTABLES_LEGACY IP_NF_FILTER IP_NF_MANGLE IP_NF_NAT IP_NF_RAW IP_NF_SECURITY
iptable_filter IP_NF_FILTER
iptable_mangle IP_NF_MANGLE
iptable_nat IP_NF_NAT NF_NAT_IPV4!IP_NF_NAT
iptable_raw IP_NF_RAW
iptable_security IP_NF_SECURITY
ipt_ah IP_NF_MATCH_AH
ipt_rpfilter IP_NF_MATCH_RPFILTER
ipt_CLUSTERIP IP_NF_TARGET_CLUSTERIP
ipt_ECN IP_NF_TARGET_ECN
ipt_REJECT IP_NF_TARGET_REJECT
ipt_SYNPROXY IP_NF_TARGET_SYNPROXY
arp_tables IP_NF_ARPTABLES
arpt_mangle IP_NF_ARP_MANGLE
arptable_filter IP_NF_ARPFILTER
nf_dup_ipv4 NF_DUP_IPV4
nf_conntrack_ipv4 NF_CONNTRACK_IPV4
nf_nat_ipv4 NF_NAT_IPV4
ipt_MASQUERADE IP_NF_TARGET_MASQUERADE!NETFILTER_XT_TARGET_MASQUERADE
ipt_ULOG IP_NF_TARGET_ULOG
nft_chain_nat_ipv4 NFT_CHAIN_NAT_IPV4
nft_chain_route_ipv4 NFT_CHAIN_ROUTE_IPV4
nft_masq_ipv4 NFT_MASQ_IPV4
nft_redir_ipv4 NFT_REDIR_IPV4
# net/ipv6/netfilter
ip6_tables IP6_NF_IPTABLES_LEGACY IP6_NF_FILTER IP6_NF_MANGLE IP6_NF_NAT IP6_NF_RAW IP6_NF_SECURITY
ip6table_filter IP6_NF_FILTER
ip6table_mangle IP6_NF_MANGLE
ip6table_raw IP6_NF_RAW
ip6table_security IP6_NF_SECURITY
ip6table_nat IP6_NF_NAT NF_NAT_IPV6!IP6_NF_NAT
nf_defrag_ipv6 NF_DEFRAG_IPV6
nf_socket_ipv6 NF_SOCKET_IPV6
nf_tproxy_ipv6 NF_TPROXY_IPV6
nf_reject_ipv6 NF_REJECT_IPV6
nf_dup_ipv6 NF_DUP_IPV6
nft_reject_ipv6 NFT_REJECT_IPV6
nft_dup_ipv6 NFT_DUP_IPV6
nft_fib_ipv6 NFT_FIB_IPV6
ip6t_ah IP6_NF_MATCH_AH
ip6t_eui64 IP6_NF_MATCH_EUI64
ip6t_frag IP6_NF_MATCH_FRAG
ip6t_ipv6header IP6_NF_MATCH_IPV6HEADER
ip6t_mh IP6_NF_MATCH_MH
ip6t_hbh IP6_NF_MATCH_OPTS
ip6t_rpfilter IP6_NF_MATCH_RPFILTER
ip6t_rt IP6_NF_MATCH_RT
ip6t_srh IP6_NF_MATCH_SRH
ip6t_NPT IP6_NF_TARGET_NPT
ip6t_REJECT IP6_NF_TARGET_REJECT
ip6t_SYNPROXY IP6_NF_TARGET_SYNPROXY
nf_conntrack_ipv6 NF_CONNTRACK_IPV6
nf_nat_ipv6 NF_NAT_IPV6
ip6t_MASQUERADE IP6_NF_TARGET_MASQUERADE!NETFILTER_XT_TARGET_MASQUERADE
nft_chain_nat_ipv6 NFT_CHAIN_NAT_IPV6
nft_chain_route_ipv6 NFT_CHAIN_ROUTE_IPV6
nft_masq_ipv6 NFT_MASQ_IPV6
nft_redir_ipv6 NFT_REDIR_IPV6
# net/bridge/netfilter
nft_meta_bridge NFT_BRIDGE_META
nft_reject_bridge NFT_BRIDGE_REJECT
nf_conntrack_bridge NF_CONNTRACK_BRIDGE
ebtables BRIDGE_NF_EBTABLES_LEGACY BRIDGE_EBT_BROUTE BRIDGE_EBT_T_FILTER BRIDGE_EBT_T_NAT
ebtable_broute BRIDGE_EBT_BROUTE
ebtable_filter BRIDGE_EBT_T_FILTER
ebtable_nat BRIDGE_EBT_T_NAT
ebt_802_3 BRIDGE_EBT_802_3
ebt_among BRIDGE_EBT_AMONG
ebt_arp BRIDGE_EBT_ARP
ebt_ip BRIDGE_EBT_IP
ebt_ip6 BRIDGE_EBT_IP6
ebt_limit BRIDGE_EBT_LIMIT
ebt_mark_m BRIDGE_EBT_MARK
ebt_pkttype BRIDGE_EBT_PKTTYPE
ebt_stp BRIDGE_EBT_STP
ebt_vlan BRIDGE_EBT_VLAN
ebt_arpreply BRIDGE_EBT_ARPREPLY
ebt_mark BRIDGE_EBT_MARK_T
ebt_dnat BRIDGE_EBT_DNAT
ebt_redirect BRIDGE_EBT_REDIRECT
ebt_snat BRIDGE_EBT_SNAT
ebt_log BRIDGE_EBT_LOG
ebt_nflog BRIDGE_EBT_NFLOG
# net/netfilter/ipset
ip_set IP_SET
ip_set_bitmap_ip IP_SET_BITMAP_IP
ip_set_bitmap_ipmac IP_SET_BITMAP_IPMAC
ip_set_bitmap_port IP_SET_BITMAP_PORT
ip_set_hash_ip IP_SET_HASH_IP
ip_set_hash_ipmac IP_SET_HASH_IPMAC
ip_set_hash_ipmark IP_SET_HASH_IPMARK
ip_set_hash_ipport IP_SET_HASH_IPPORT
ip_set_hash_ipportip IP_SET_HASH_IPPORTIP
ip_set_hash_ipportnet IP_SET_HASH_IPPORTNET
ip_set_hash_mac IP_SET_HASH_MAC
ip_set_hash_net IP_SET_HASH_NET
ip_set_hash_netport IP_SET_HASH_NETPORT
ip_set_hash_netiface IP_SET_HASH_NETIFACE
ip_set_hash_netnet IP_SET_HASH_NETNET
ip_set_hash_netportnet IP_SET_HASH_NETPORTNET
ip_set_list_set IP_SET_LIST_SET
# net/netfilter/ipvs
ip_vs IP_VS
ip_vs_rr IP_VS_RR
ip_vs_wrr IP_VS_WRR
ip_vs_lc IP_VS_LC
ip_vs_wlc IP_VS_WLC
ip_vs_fo IP_VS_FO
ip_vs_ovf IP_VS_OVF
ip_vs_lblc IP_VS_LBLC
ip_vs_lblcr IP_VS_LBLCR
ip_vs_dh IP_VS_DH
ip_vs_sh IP_VS_SH
ip_vs_mh IP_VS_MH
ip_vs_sed IP_VS_SED
ip_vs_nq IP_VS_NQ
ip_vs_twos IP_VS_TWOS
ip_vs_ftp IP_VS_FTP
ip_vs_pe_sip IP_VS_PE_SIP
# net/bridge
bridge BRIDGE
br_netfilter BRIDGE_NETFILTER
# net/openvswitch
openvswitch OPENVSWITCH
vport_vxlan OPENVSWITCH_VXLAN
vport_geneve OPENVSWITCH_GENEVE
vport_gre OPENVSWITCH_GRE
# net/sched
act_ct NET_ACT_CT
act_connmark NET_ACT_CONNMARK
act_ctinfo NET_ACT_CTINFO
act_ipt NET_ACT_IPT
em_ipset NET_EMATCH_IPSET
em_ipt NET_EMATCH_IPT
`
