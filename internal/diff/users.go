package diff

import (
	"fmt"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// users names the rules of all namespaces that may hold a module: the kernel counts a
// reference for each and does not show its owner. Of a large table only the first uses
// are known.
func (w *World) users(module string) []string {
	holds := usersOf(module)
	if holds == nil {
		return nil
	}
	var found []string
	for _, t := range append([]nf.Target{nf.Node}, w.order...) {
		rules := w.at(t).Rules
		if rules == nil {
			continue
		}
		for _, table := range rules.Tables {
			for _, u := range table.Uses {
				if holds(table, u) {
					found = append(found, fmt.Sprintf("%s in %s of the %s of %s", u.What, u.Place(), table.Title(), t))
				}
			}
		}
	}
	return found
}

// usersOf returns the function that reports whether a statement holds a reference to
// a module; nil if rules hold none. Expressions of nf_tables hold the module of their type
// (nft_expr_init, nf_tables_api.c), matches and targets theirs
// (xt_request_find_match, x_tables.c), with nf_tables nft_compat as well.
func usersOf(module string) func(nf.Table, nf.Use) bool {
	if what, ok := expressions[module]; ok {
		return func(_ nf.Table, u nf.Use) bool { return slices.Contains(what, u.What) }
	}
	switch {
	case module == "nft_compat":
		return func(t nf.Table, u nf.Use) bool { return t.Backend == nf.BackendNft && strings.HasPrefix(u.What, "xt ") }
	case module == "nf_conntrack_ipv4", module == "nf_conntrack_ipv6": // nf_ct_l3proto_try_module_get, before Linux 4.19
		return func(_ nf.Table, u nf.Use) bool { return u.Level != nf.LevelStateless }
	case strings.HasPrefix(module, "ip_set_"): // held by sets, and these by the rules that name them
		return usersOf("xt_set")
	}
	kind, name, _ := strings.Cut(module, "_")
	if !slices.Contains([]string{"xt", "ipt", "ip6t", "arpt"}, kind) {
		return nil
	}
	what := []string{"xt match " + name, "xt target " + name}
	for _, part := range extensions[module] {
		what = append(what, "xt "+part)
	}
	return func(_ nf.Table, u nf.Use) bool { return slices.Contains(what, u.What) }
}

// expressions are the expressions that a module of nf_tables provides, as rules show
// them.
var expressions = map[string][]string{
	"nft_ct":           {"ct", "ct helper", "ct timeout", "ct expectation"},
	"nft_connlimit":    {"connlimit", "ct count"},
	"nft_synproxy":     {"synproxy"},
	"nft_flow_offload": {"flow_offload"},
	"nft_nat":          {"nat"},
	"nft_masq":         {"masq"},
	"nft_masq_ipv4":    {"masq"}, // modules of their own before Linux 5.2
	"nft_masq_ipv6":    {"masq"},
	"nft_redir":        {"redir"},
	"nft_redir_ipv4":   {"redir"},
	"nft_redir_ipv6":   {"redir"},
	"nf_flow_table":    {"flowtable"},
	// One for each family of a flowtable (nft_flowtable_type_get).
	"nf_flow_table_inet": {"flowtable"},
	"nf_flow_table_ipv4": {"flowtable"},
	"nf_flow_table_ipv6": {"flowtable"},
}

// extensions are the matches and targets of a module that does not have their
// name (net/netfilter/xt_*.c).
var extensions = map[string][]string{
	"xt_CT":       {"target NOTRACK"},
	"xt_connmark": {"target CONNMARK"},
	"xt_mark":     {"target MARK"},
	"xt_nat":      {"target SNAT", "target DNAT"},
	"xt_set":      {"target SET"},
	"xt_tcpudp":   {"match tcp", "match udp", "match udplite", "match icmp", "match icmp6"},
	"xt_dscp":     {"match tos"},
	"xt_DSCP":     {"target TOS"},
}
