package diff

import (
	"slices"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// ruled is a node with one more module, referenced twice and held by none, and
// rules of many kinds on the node and in the container web.
func ruled(name string) *nf.Snapshot {
	return mainline(func(s *nf.Snapshot) {
		s.Modules.Set(nf.ModuleFact{Name: name, State: nf.ModuleLoaded, Refs: 2})
		level := func(what string) nf.Level {
			switch {
			case slices.Contains([]string{"nat", "masq", "redir", "xt target SNAT", "xt target MASQUERADE"}, what):
				return nf.LevelFull
			case slices.Contains([]string{"ct", "flowtable", "ct helper", "xt match conntrack", "xt target CONNMARK"}, what):
				return nf.LevelStateful
			}
			return nf.LevelStateless
		}
		table := func(backend, family, name string, uses ...string) nf.Table {
			t := nf.Table{Backend: backend, Family: family, Name: name, Rules: len(uses)}
			for _, u := range uses {
				chain, what, _ := strings.Cut(u, ": ")
				t.Uses = append(t.Uses, nf.Use{Level: level(what), Chain: chain, What: what, Count: 1})
			}
			return t
		}
		s.Host.Rules = &nf.Rules{Tables: []nf.Table{
			table(nf.BackendNft, "inet", "fw", "in: ct", "object ftp: ct helper", "flowtable fast: flowtable", "post: masq", "pre: redir"),
			table(nf.BackendLegacy, "ip", "filter", "INPUT: xt match set", "INPUT: xt match tcp", "INPUT: xt target LOG"),
		}}
		container(s, "web").Rules = &nf.Rules{Tables: []nf.Table{
			table(nf.BackendNft, "ip", "nat", "POSTROUTING: nat", "POSTROUTING: xt target MASQUERADE", "POSTROUTING: xt target SNAT"),
			table(nf.BackendLegacy, "ip6", "mangle", "FORWARD: xt match conntrack", "FORWARD: xt target CONNMARK"),
		}}
		s.Containers[0].Rules = nil // of db, not read
	})
}

// The rules that hold a module are named: nft_expr_init and xt_request_find_match
// take a reference for each, and the kernel shows only how many.
func TestUsersAreNamed(t *testing.T) {
	for module, want := range map[string][]string{
		"nft_ct":             {"ct in chain in of the nft table inet fw of node", "ct helper in object ftp of the nft table inet fw of node"},
		"nft_nat":            {"nat in chain POSTROUTING of the nft table ip nat of container netns/web"},
		"nft_masq":           {"masq in chain post of the nft table inet fw of node"},
		"nft_redir":          {"redir in chain pre of the nft table inet fw of node"},
		"nf_flow_table_inet": {"flowtable in flowtable fast of the nft table inet fw of node"},
		"nft_compat": {"xt target MASQUERADE in chain POSTROUTING of the nft table ip nat of container netns/web",
			"xt target SNAT in chain POSTROUTING of the nft table ip nat of container netns/web"},
		"xt_conntrack":   {"xt match conntrack in chain FORWARD of the legacy table ip6 mangle of container netns/web"},
		"xt_connmark":    {"xt target CONNMARK in chain FORWARD of the legacy table ip6 mangle of container netns/web"},
		"xt_MASQUERADE":  {"xt target MASQUERADE in chain POSTROUTING of the nft table ip nat of container netns/web"},
		"ipt_MASQUERADE": {"xt target MASQUERADE in chain POSTROUTING of the nft table ip nat of container netns/web"},
		"xt_nat":         {"xt target SNAT in chain POSTROUTING of the nft table ip nat of container netns/web"},
		"xt_tcpudp":      {"xt match tcp in chain INPUT of the legacy table ip filter of node"},
		"xt_LOG":         {"xt target LOG in chain INPUT of the legacy table ip filter of node"},
		"xt_set":         {"xt match set in chain INPUT of the legacy table ip filter of node"},
		"ip_set_hash_ip": {"xt match set in chain INPUT of the legacy table ip filter of node"},
		// The rules that could not be read are named first.
		"nf_conntrack_ipv4": {"ct in chain in of the nft table inet fw of node", "ct helper in object ftp of the nft table inet fw of node and 8 more"},
		"xt_recent":         nil,
		"nft_limit":         nil,
		"act_police":        nil,
	} {
		s := ruled(module)
		s.Modules.Aliases = nil // nf_conntrack_ipv4 is a module here
		p := Plan(wants(wantModule(module, nf.ModuleUnloaded, nil)), s)
		if len(p.Refusals) != 1 || p.Refusals[0].Code != nf.InUse {
			t.Fatalf("%s: %+v", module, p)
		}
		_, named, _ := strings.Cut(p.Refusals[0].Reason, "sets): ")
		_, read, unread := strings.Cut(named, "were not read, ")
		if unread {
			named = read
		}
		if named != strings.Join(want, ", ") {
			t.Errorf("%s is held by\n%q, want\n%q", module, named, strings.Join(want, ", "))
		}
	}
}

// The rules tell who holds a module, not whether: without a reference it goes.
func TestUsersAreNoReference(t *testing.T) {
	s := ruled("xt_LOG")
	module(s, "xt_LOG").Refs = 0
	if got := answers(Plan(wants(wantModule("xt_LOG", nf.ModuleUnloaded, nil)), s)); !slices.Equal(got, []string{"change node module/xt_LOG"}) {
		t.Errorf("%q", got)
	}
}

// A large table is listed in part. The reason counts all uses, and those above the level
// only.
func TestUsesAreCounted(t *testing.T) {
	table := nf.Table{Backend: nf.BackendNft, Family: "inet", Name: "t", Rules: 30, Guards: []string{"a", "b", "c"}, MoreGuards: 4,
		MoreUses: map[nf.Level]int{nf.LevelStateful: 10, nf.LevelStateless: 100}}
	for _, chain := range []string{"c1", "c2", "c3", "c4"} {
		table.Uses = append(table.Uses, nf.Use{Level: nf.LevelStateful, Chain: chain, What: "ct", Count: 1})
	}
	s := mainline(withTables("web", nf.LevelStateful, &table))
	p := Plan(wants(want(netns("web"), nf.KeyLevel, nf.LevelStateless.Value())), s)
	if len(p.Refusals) != 1 || !strings.HasSuffix(p.Refusals[0].Reason, "chain c3: ct and 11 more") {
		t.Errorf("%+v", p.Refusals)
	}
	table.Uses, table.MoreUses = nil, nil
	s = mainline(withTables("web", nf.LevelStateless, &table))
	p = Plan(wants(want(netns("web"), nf.KeyLevel, nf.LevelDisabled.Value())), s)
	if len(p.Refusals) != 1 || !strings.HasSuffix(p.Refusals[0].Reason, "chain c and 5 more") {
		t.Errorf("%+v", p.Refusals)
	}
}

// What every table may hold makes no level: below stateless the rules are
// counted.
func TestStatelessUsesMakeNoLevel(t *testing.T) {
	r := &nf.Rules{Tables: []nf.Table{{Backend: nf.BackendLegacy, Family: "ip", Name: "filter", Rules: 2, Uses: []nf.Use{{Level: nf.LevelStateless, Chain: "INPUT", What: "xt target LOG", Count: 1}}}}}
	if got, _ := levelUsers(r, nf.LevelDisabled); !slices.Equal(got, []string{"legacy table ip filter: 2 rules"}) {
		t.Errorf("%q", got)
	}
}
