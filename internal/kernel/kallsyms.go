package kernel

import (
	"bytes"
	"strings"
)

// kallsymsModules are functions that only the named module has, in every kernel from
// 3.10 to 6.18 that has the module. Functions whose name several modules share are left
// out (masquerade_tg_init, nft_chain_nat_init).
var kallsymsModules = map[string]string{
	"ip_tables_init":                 "ip_tables",
	"iptable_filter_init":            "iptable_filter",
	"iptable_mangle_init":            "iptable_mangle",
	"iptable_raw_init":               "iptable_raw",
	"iptable_nat_init":               "iptable_nat",
	"ip6_tables_init":                "ip6_tables",
	"ip6table_filter_init":           "ip6table_filter",
	"ip6table_mangle_init":           "ip6table_mangle",
	"ip6table_raw_init":              "ip6table_raw",
	"ip6table_nat_init":              "ip6table_nat",
	"nf_tables_module_init":          "nf_tables",
	"nf_conntrack_standalone_init":   "nf_conntrack",
	"nf_conntrack_l3proto_ipv4_init": "nf_conntrack_ipv4",
	"nf_conntrack_l3proto_ipv6_init": "nf_conntrack_ipv6",
	"conntrack_mt_init":              "xt_conntrack",
	"nft_ct_module_init":             "nft_ct",
	"nf_nat_init":                    "nf_nat",
	"nf_nat_l3proto_ipv4_init":       "nf_nat_ipv4",
	"nf_nat_l3proto_ipv6_init":       "nf_nat_ipv6",
	"xt_nat_init":                    "xt_nat",
	"redirect_tg_init":               "xt_REDIRECT",
	"nft_nat_module_init":            "nft_nat",
	"nft_masq_module_init":           "nft_masq",
	"nft_redir_module_init":          "nft_redir",
	"ctnetlink_init":                 "nf_conntrack_netlink",
	"ip_set_init":                    "ip_set",
	"ip_vs_init":                     "ip_vs",
	"br_netfilter_init":              "br_netfilter",
}

// kallsymsBuiltin finds built-in modules by their functions in /proc/kallsyms. It does
// not prove absence: the list may lack a function.
func (fs FS) kallsymsBuiltin() map[string]bool {
	data, _ := readFile(fs.proc("kallsyms"))
	return parseKallsyms(data)
}

// parseKallsyms reads "ADDRESS TYPE SYMBOL", followed by a tab and "[MODULE]" if the
// symbol belongs to a loaded module (s_show in kernel/kallsyms.c).
func parseKallsyms(data []byte) map[string]bool {
	found := map[string]bool{}
	for line := range bytes.Lines(data) {
		symbol := strings.TrimSpace(string(line[bytes.LastIndexByte(bytes.TrimSpace(line), ' ')+1:]))
		if module, ok := kallsymsModules[symbol]; ok {
			found[module] = true
		}
	}
	return found
}
