package kernel

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// use is how a row writes a use: "stateful input: ct x1".
func use(u nf.Use) string { return fmt.Sprintf("%s %s: %s x%d", u.Level, u.Chain, u.What, u.Count) }

// useList lists the uses above stateless, which decide the level.
func useList(tables []nf.Table) []string {
	return slices.DeleteFunc(allUses(tables), func(u string) bool { return strings.HasPrefix(u, "stateless ") })
}

func allUses(tables []nf.Table) []string {
	var list []string
	for _, t := range tables {
		for _, u := range t.Uses {
			list = append(list, use(u))
		}
	}
	return list
}

// What the expressions of nft(8) use: the rows of nftLevels and nftObjects. The
// sources are the init functions of the expressions below net/netfilter of
// Linux 6.18: those with nf_ct_netns_get make the namespace track.
func TestLevelOfNftRules(t *testing.T) {
	const input = "add table inet t; add chain inet t c {type filter hook input priority 0;};"
	const nat = "add table ip t; add chain ip t c {type nat hook prerouting priority 0;};"
	for _, c := range []struct {
		name, script string
		level        nf.Level
		uses         []string
	}{
		// Without a rule nothing calls nf_ct_netns_get: nothing is used.
		{"nothing", "", nf.LevelDisabled, nil},
		{"an empty table", "add table inet t", nf.LevelDisabled, nil},
		{"an empty base chain", input, nf.LevelDisabled, nil},
		{"an empty nat chain", nat, nf.LevelDisabled, nil},
		{"sets, maps and stateless objects", `add table inet t; add set inet t s {type ipv4_addr; counter;};
			add map inet t v {type ct_state : verdict;}; add counter inet t c; add quota inet t q {over 5 bytes;};
			add limit inet t l {rate 5/second;}`, nf.LevelDisabled, nil},
		// nft_payload.c, nft_cmp.c, nft_immediate.c …
		{"a port", input + "add rule inet t c tcp dport 22 accept", nf.LevelStateless, nil},
		{"a verdict map", input + "add rule inet t c tcp dport vmap {22: accept, 23: drop}", nf.LevelStateless, nil},
		{"fib and limit", input + "add rule inet t c fib saddr type local limit rate 3/second accept", nf.LevelStateless, nil},
		{"a named counter", input + `add counter inet t n; add rule inet t c counter name "n"`, nf.LevelStateless, nil},
		{"a dynamic set", input + `add set inet t s {type ipv4_addr; flags dynamic;};
			add rule inet t c add @s {ip saddr limit rate 3/second}`, nf.LevelStateless, nil},
		// nft_notrack_eval in nft_ct.c marks packets, and has no init.
		{"notrack", "add table ip t; add chain ip t c {type filter hook prerouting priority -300;}; add rule ip t c notrack",
			nf.LevelStateless, nil},
		{"tproxy", "add table ip t; add chain ip t c {type filter hook prerouting priority 0;}; add rule ip t c tcp dport 80 tproxy to :50000",
			nf.LevelStateless, nil}, // nft_tproxy.c: nf_defrag_ipv4_enable only
		{"a rule that drops", "add table netdev t; add chain netdev t c {type filter hook ingress device lo priority 0;}; add rule netdev t c drop",
			nf.LevelStateless, nil},
		// nft_ct_get_init, nft_ct_set_init in nft_ct.c.
		{"ct state", input + "add rule inet t c ct state established accept", nf.LevelStateful, []string{"stateful c: ct x1"}},
		{"ct state twice, in one rule and in another", input + "add rule inet t c ct state new ct mark 1 accept; add rule inet t c ct state new accept",
			nf.LevelStateful, []string{"stateful c: ct x2"}},
		{"ct in a map's key", input + "add rule inet t c ct state vmap {new: accept}", nf.LevelStateful, []string{"stateful c: ct x1"}},
		{"ct mark set", input + "add rule inet t c ct mark set 1", nf.LevelStateful, []string{"stateful c: ct x1"}},
		{"ct in IPv6", "add table ip6 t; add chain ip6 t c; add rule ip6 t c ct state new", nf.LevelStateful, []string{"stateful c: ct x1"}},
		// nft_connlimit_do_init in nft_connlimit.c; in a dynset's and a set's
		// expressions nft_dynset_init and nf_tables_newset init it as well.
		{"ct count", input + "add rule inet t c ct count over 3 drop", nf.LevelStateful, []string{"stateful c: connlimit x1"}},
		{"ct count in a dynset", input + `add set inet t s {type ipv4_addr; flags dynamic;};
			add rule inet t c add @s {ip saddr ct count over 3}`, nf.LevelStateful, []string{"stateful c: connlimit x1"}},
		{"two expressions in a dynset", input + `add set inet t s {type ipv4_addr; flags dynamic;};
			add rule inet t c add @s {ip saddr counter ct count over 3}`, nf.LevelStateful, []string{"stateful c: connlimit x1"}},
		// nft_dynset_dump leaves out what the set itself has.
		{"two expressions of a set", input + `add set inet t s {type ipv4_addr; flags dynamic; counter; ct count over 3;};
			add rule inet t c add @s {ip saddr counter ct count over 3}`, nf.LevelStateful, []string{"stateful set s: connlimit x1"}},
		{"ct count of a set, and no rule", "add table inet t; add set inet t s {type ipv4_addr; flags dynamic; ct count over 3;}",
			nf.LevelStateful, []string{"stateful set s: connlimit x1"}},
		// nft_synproxy_do_init in nft_synproxy.c.
		{"synproxy", input + "add rule inet t c tcp dport 80 synproxy mss 1460", nf.LevelStateful, []string{"stateful c: synproxy x1"}},
		{"a synproxy object", input + `add synproxy inet t p {mss 1460; wscale 7;}; add rule inet t c tcp dport 80 synproxy name "p"`,
			nf.LevelStateful, []string{"stateful c: synproxy x1", "stateful object p: synproxy x1"}},
		// nft_ct_helper_obj_init, nft_ct_timeout_obj_init, nft_ct_expect_obj_init.
		{"a ct helper", input + `add ct helper inet t h {type "ftp" protocol tcp;}; add rule inet t c tcp dport 21 ct helper set "h"`,
			nf.LevelStateful, []string{"stateful c: ct helper x1", "stateful object h: ct helper x1"}},
		{"a ct timeout", "add table ip t; add ct timeout ip t h {protocol tcp; policy = {established : 3};}",
			nf.LevelStateful, []string{"stateful object h: ct timeout x1"}},
		{"a ct expectation", "add table ip t; add ct expectation ip t h {protocol tcp; dport 5; timeout 1h; size 3;}",
			nf.LevelStateful, []string{"stateful object h: ct expectation x1"}},
		// nft_nat_init, nft_masq_init, nft_redir_init.
		{"dnat", nat + "add rule ip t c dnat to 192.0.2.1", nf.LevelFull, []string{"full c: nat x1"}},
		{"dnat by a map", nat + "add rule ip t c dnat to tcp dport map {80: 192.0.2.1}", nf.LevelFull, []string{"full c: nat x1"}},
		{"redirect", nat + "add rule ip t c tcp dport 80 redirect to :8080", nf.LevelFull, []string{"full c: redir x1"}},
		{"masquerade", "add table ip t; add chain ip t c {type nat hook postrouting priority 100;}; add rule ip t c masquerade",
			nf.LevelFull, []string{"full c: masq x1"}},
		{"the highest first", nat + "add chain ip t a; add rule ip t a ct state new; add rule ip t c ct state new dnat to 192.0.2.1",
			nf.LevelFull, []string{"full c: nat x1", "stateful a: ct x1", "stateful c: ct x1"}},
	} {
		inNetns(t, func() {
			if c.script != "" {
				nft(t, c.script)
			}
			r := live.Rules(t.Context(), netfilter, nil)
			if r.Unknown != "" || r.Level() != c.level || !slices.Equal(useList(r.Tables), c.uses) {
				t.Errorf("%s: %s %q, want %s %q; unknown: %q", c.name, r.Level(), useList(r.Tables), c.level, c.uses, r.Unknown)
			}
		})
	}
}

// What the matches and targets of iptables(8) use, put in by both of its
// variants: the rows of xtMatches and xtTargets. The sources are the check
// functions below net/netfilter, net/ipv4/netfilter and net/ipv6/netfilter of
// Linux 6.18: those with nf_ct_netns_get make the namespace track.
func TestLevelOfIptablesRules(t *testing.T) {
	for _, c := range []struct {
		rule  string
		level nf.Level
		use   string
	}{
		{"-t nat -N web", nf.LevelDisabled, ""},
		{"-t mangle -N web", nf.LevelDisabled, ""},
		{"-A INPUT -p tcp --dport 22 -j ACCEPT", nf.LevelStateless, ""}, // xt_tcpudp.c
		{"-A INPUT -j REJECT", nf.LevelStateless, ""},                   // ipt_REJECT.c
		{"-A INPUT -m limit --limit 3/min -j LOG", nf.LevelStateless, ""},
		{"-t mangle -A PREROUTING -m recent --set", nf.LevelStateless, ""},
		{"-t mangle -A PREROUTING -m socket", nf.LevelStateless, ""}, // xt_socket.c: nf_defrag_ipv4_enable only
		{"-t mangle -A PREROUTING -j MARK --set-mark 1", nf.LevelStateless, ""},
		{"-t mangle -A PREROUTING -p tcp -j TPROXY --on-port 1", nf.LevelStateless, ""}, // xt_TPROXY.c
		{"-t mangle -A POSTROUTING -j HMARK --hmark-tuple src --hmark-mod 3 --hmark-rnd 1", nf.LevelStateless, ""},
		{"-t raw -A PREROUTING -j NOTRACK", nf.LevelStateless, ""},      // xt_ct_tg_check in xt_CT.c, XT_CT_NOTRACK
		{"-t raw -A PREROUTING -j CT --notrack", nf.LevelStateless, ""}, // the same
		{"-A INPUT -m conntrack --ctstate NEW", nf.LevelStateful, "INPUT: xt match conntrack"},
		{"-A INPUT -m state --state NEW", nf.LevelStateful, "INPUT: xt match conntrack"}, // as iptables 1.8 writes it
		{"-A INPUT -m connmark --mark 1", nf.LevelStateful, "INPUT: xt match connmark"},
		{"-A INPUT -m connlimit --connlimit-above 3", nf.LevelStateful, "INPUT: xt match connlimit"},
		{"-A INPUT -m connbytes --connbytes 1 --connbytes-dir both --connbytes-mode bytes", nf.LevelStateful, "INPUT: xt match connbytes"},
		{"-A INPUT -m connlabel --label 1", nf.LevelStateful, "INPUT: xt match connlabel"},
		{"-A INPUT -m helper --helper ftp", nf.LevelStateful, "INPUT: xt match helper"},
		{"-A INPUT -m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 1", nf.LevelStateful, "INPUT: xt match cluster"},
		{"-t raw -A PREROUTING -j CT --zone 3", nf.LevelStateful, "PREROUTING: xt target CT"},
		{"-t mangle -A PREROUTING -j CONNMARK --set-mark 1", nf.LevelStateful, "PREROUTING: xt target CONNMARK"},
		{"-t mangle -A PREROUTING -j CONNSECMARK --save", nf.LevelStateful, "PREROUTING: xt target CONNSECMARK"},
		{"-A INPUT -p tcp -j SYNPROXY", nf.LevelStateful, "INPUT: xt target SYNPROXY"},
		{"-t nat -A POSTROUTING -j MASQUERADE", nf.LevelFull, "POSTROUTING: xt target MASQUERADE"},
		{"-t nat -A POSTROUTING -j SNAT --to-source ADDRESS", nf.LevelFull, "POSTROUTING: xt target SNAT"},
		{"-t nat -A PREROUTING -j DNAT --to-destination ADDRESS", nf.LevelFull, "PREROUTING: xt target DNAT"},
		{"-t nat -A PREROUTING -p tcp -j REDIRECT --to-ports 1", nf.LevelFull, "PREROUTING: xt target REDIRECT"},
		{"-t nat -A PREROUTING -j NETMAP --to ADDRESS", nf.LevelFull, "PREROUTING: xt target NETMAP"},
		{"-t nat -A PREROUTING -p tcp --dport 80 -j ACCEPT", nf.LevelStateless, ""},
	} {
		for _, tool := range []struct{ name, backend, family, address string }{
			{"iptables-nft", nf.BackendNft, "ip", "192.0.2.1"}, {"iptables-legacy", nf.BackendLegacy, "ip", "192.0.2.1"},
			{"ip6tables-nft", nf.BackendNft, "ip6", "2001:db8::1"}, {"ip6tables-legacy", nf.BackendLegacy, "ip6", "2001:db8::1"},
		} {
			line := tool.name + " " + strings.ReplaceAll(c.rule, "ADDRESS", tool.address)
			inNetns(t, func() {
				run(t, line)
				r := live.Rules(t.Context(), netfilter, nil)
				if len(r.Tables) != 1 || r.Unknown != "" {
					t.Fatalf("%s: %+v", line, r)
				}
				table := r.Tables[0]
				var want []string
				if c.use != "" {
					want = []string{fmt.Sprintf("%s %s x1", c.level, c.use)}
				}
				if table.Backend != tool.backend || table.Family != tool.family || r.Level() != c.level || !slices.Equal(useList(r.Tables), want) {
					t.Errorf("%s: %s %s %s %q, want %s %q", line, table.Backend, table.Family, r.Level(), useList(r.Tables), c.level, want)
				}
				if rules := map[bool]int{true: 0, false: 1}[c.level == nf.LevelDisabled]; table.Rules != rules {
					t.Errorf("%s: %d rules, want %d", line, table.Rules, rules)
				}
			})
		}
	}
	// ip6t_NPT.c rewrites prefixes and keeps no state.
	inNetns(t, func() {
		run(t, "ip6tables-legacy -t mangle -A PREROUTING -j DNPT --src-pfx 2001:db8:1::/64 --dst-pfx 2001:db8:2::/64")
		if r := live.Rules(t.Context(), netfilter, nil); r.Level() != nf.LevelStateless {
			t.Errorf("DNPT: %+v", r)
		}
	})
}

// Matches and targets of every level are reported, as each holds a module
// (xt_request_find_match and xt_request_find_target, net/netfilter/x_tables.c);
// what is part of x_tables itself, a verdict or a jump, is not. iptables-nft
// writes some as expressions of nf_tables instead.
func TestExtensionsAreUses(t *testing.T) {
	for line, want := range map[string][]string{
		"iptables-legacy -A INPUT -p tcp --dport 22 -m limit --limit 3/min -j LOG": {"stateless INPUT: xt match limit x1", "stateless INPUT: xt match tcp x1", "stateless INPUT: xt target LOG x1"},
		"iptables-nft -A INPUT -m recent --set -j DROP":                            {"stateless INPUT: xt match recent x1"},
		"iptables-nft -A INPUT -m conntrack --ctstate NEW -m recent --set":         {"stateful INPUT: xt match conntrack x1", "stateless INPUT: xt match recent x1"},
		"iptables-legacy -t raw -A PREROUTING -j NOTRACK":                          {"stateless PREROUTING: xt target CT x1"},
		"iptables-legacy -A INPUT -j ACCEPT":                                       nil,
		"iptables-legacy -N web":                                                   nil,
	} {
		inNetns(t, func() {
			run(t, line)
			if got := allUses(live.Rules(t.Context(), netfilter, nil).Tables); !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", line, got, want)
			}
		})
	}
}

// A base chain that does not accept holds traffic back without a rule.
func TestGuards(t *testing.T) {
	for _, c := range []struct {
		lines  []string
		script string
		guards []string
	}{
		{script: "add table inet t; add chain inet t c {type filter hook forward priority 0; policy drop;}", guards: []string{"c (forward)"}},
		{script: "add table inet t; add chain inet t c {type filter hook input priority 0; policy accept;}; add chain inet t plain"},
		{script: "add table arp t; add chain arp t c {type filter hook output priority 0; policy drop;}", guards: []string{"c (output)"}},
		{script: "add table bridge t; add chain bridge t c {type filter hook postrouting priority 0; policy drop;}", guards: []string{"c (postrouting)"}},
		{script: "add table netdev t; add chain netdev t c {type filter hook ingress device lo priority 0; policy drop;}", guards: []string{"c (ingress)"}},
		{script: "add table netdev t; add chain netdev t c {type filter hook egress device lo priority 0; policy drop;}", guards: []string{"c (egress)"}},
		{script: "add table inet t; add chain inet t c {type filter hook ingress device lo priority 0; policy drop;}", guards: []string{"c (ingress)"}},
		{script: "add table inet t {flags dormant;}; add chain inet t c {type filter hook input priority 0; policy drop;}", guards: []string{"c (input)"}},
		{lines: []string{"iptables-legacy -P INPUT DROP"}, guards: []string{"INPUT (input)"}},
		{lines: []string{"iptables-legacy -P INPUT ACCEPT"}},
		{lines: []string{"ip6tables-legacy -t mangle -P POSTROUTING DROP", "ip6tables-legacy -t mangle -P FORWARD DROP"},
			guards: []string{"FORWARD (forward)", "POSTROUTING (postrouting)"}},
		{lines: []string{"iptables-nft -P FORWARD DROP"}, guards: []string{"FORWARD (forward)"}},
	} {
		inNetns(t, func() {
			for _, line := range c.lines {
				run(t, line)
			}
			if c.script != "" {
				nft(t, c.script)
			}
			r := live.Rules(t.Context(), netfilter, nil)
			if len(r.Tables) != 1 || !slices.Equal(r.Tables[0].Guards, c.guards) || r.Tables[0].Rules != 0 || r.Unknown != "" {
				t.Errorf("%v %s: %+v, want the guards %q", c.lines, c.script, r, c.guards)
			}
			if want := map[bool]nf.Level{true: nf.LevelDisabled, false: nf.LevelStateless}[c.guards == nil]; r.Level() != want {
				t.Errorf("%v %s: %s, want %s", c.lines, c.script, r.Level(), want)
			}
		})
	}
}

// What is counted is what the tools of others show.
func TestCountsAsTheToolsDo(t *testing.T) {
	inNetns(t, func() {
		nft(t, `add table inet f; add chain inet f in {type filter hook input priority 0; policy drop;}; add chain inet f sub
			add rule inet f in iif lo accept; add rule inet f in ct state vmap {established: accept, invalid: drop}
			add rule inet f in jump sub; add rule inet f sub tcp dport {22, 80} accept; add rule inet f sub return
			add table netdev n; add chain netdev n c {type filter hook ingress device lo priority 0;}; add rule netdev n c drop
			add table ip empty`)
		for _, line := range []string{
			"NAME -N sub", "NAME -N empty", "NAME -N last", "NAME -A INPUT -j sub", "NAME -A INPUT -m conntrack --ctstate NEW -j last",
			"NAME -A sub -p tcp --dport 22 -j ACCEPT", "NAME -A sub -j RETURN", "NAME -A last -j RETURN", "NAME -A last -j RETURN", "NAME -P FORWARD DROP",
			"NAME -A OUTPUT -j ACCEPT", "NAME -t nat -N x", "NAME -t nat -A POSTROUTING -j MASQUERADE", "NAME -t nat -A x -j ACCEPT", "NAME -t raw -L", "NAME -t security -L",
		} {
			for _, tool := range []string{"iptables-legacy", "ip6tables-legacy", "iptables-nft"} {
				run(t, strings.ReplaceAll(line, "NAME", tool))
			}
		}
		want := map[string]int{}
		countSave(want, "legacy ip ", run(t, "iptables-legacy-save"))
		countSave(want, "legacy ip6 ", run(t, "ip6tables-legacy-save"))
		countNft(t, want, run(t, "nft -j list ruleset"))
		got := map[string]int{}
		r := live.Rules(t.Context(), netfilter, nil)
		for _, table := range r.Tables {
			got[table.Backend+" "+table.Family+" "+table.Name] = table.Rules
		}
		if r.Unknown != "" || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("counted %v\nthe tools %v; unknown: %q", got, want, r.Unknown)
		}
		if len(want) < 12 || want["legacy ip6 filter"] != 7 || want["nft inet f"] != 5 || want["nft ip filter"] != 7 {
			t.Errorf("the tools count %v: the test has gone wrong", want)
		}
	})
}

// countSave counts what iptables-save(8) prints.
func countSave(count map[string]int, prefix, save string) {
	table := ""
	for line := range strings.Lines(save) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "*"); ok {
			table = prefix + name
			count[table] = 0
		}
		if strings.HasPrefix(line, "-A") {
			count[table]++
		}
	}
}

// countNft counts what nft(8) prints.
func countNft(t *testing.T, count map[string]int, ruleset string) {
	var doc struct {
		Nftables []struct {
			Table, Rule *struct{ Family, Table, Name string }
		}
	}
	if err := json.Unmarshal([]byte(ruleset), &doc); err != nil {
		t.Fatal(err)
	}
	for _, o := range doc.Nftables {
		if o.Table != nil {
			count["nft "+o.Table.Family+" "+o.Table.Name] += 0
		}
		if o.Rule != nil {
			count["nft "+o.Rule.Family+" "+o.Rule.Table]++
		}
	}
}

// Observing changes nothing: no table appears, no module is loaded, in a new
// namespace and in one with tables.
func TestReadingLeavesNoTrace(t *testing.T) {
	inNetns(t, func() {
		for _, line := range []string{"true", "iptables-legacy -t raw -N x", "iptables-nft -N x"} {
			run(t, line)
			before := traces(t)
			r := live.Rules(t.Context(), netfilter, nil)
			live.Tracking(t.Context(), netfilter, &r)
			live.Sysctls(nil, true)
			if after := traces(t); after != before {
				t.Errorf("after %q: before reading\n%s\nafter\n%s", line, before, after)
			}
		}
		if before := traces(t); !strings.Contains(before, "raw\n") {
			t.Errorf("the traces have no table: the test has gone wrong: %s", before)
		}
	})
}

func traces(t *testing.T) string {
	var s strings.Builder
	for _, name := range []string{"ip_tables_names", "ip6_tables_names", "arp_tables_names"} {
		s.WriteString(name + ":" + mustRead(t, "/proc/thread-self/net/"+name))
	}
	s.WriteString(run(t, "nft list tables"))
	s.WriteString(run(t, "ls /sys/module"))
	return s.String()
}

// A module that m does not have is not asked, even if the kernel has it.
func TestModulesDecideWhatIsAsked(t *testing.T) {
	inNetns(t, func() {
		nft(t, "add table inet t")
		if r := live.Rules(t.Context(), modules(), nil); len(r.Tables) != 0 || r.Unknown != "" {
			t.Errorf("without nf_tables: %+v", r)
		}
		unloaded := modules("nf_tables")
		unloaded.List[0].State = nf.ModuleUnloaded
		if r := live.Rules(t.Context(), unloaded, nil); len(r.Tables) != 0 || r.Unknown != "" {
			t.Errorf("nf_tables unloaded: %+v", r)
		}
		if r := live.Rules(t.Context(), &nf.Modules{Unknown: "no evidence"}, nil); len(r.Tables) != 0 || r.Unknown != "cannot determine whether the kernel has nf_tables: no evidence" {
			t.Errorf("nf_tables unknown: %+v", r)
		}
		if r := live.Rules(t.Context(), netfilter, nil); len(r.Tables) != 1 {
			t.Errorf("nf_tables built in: %+v", r)
		}
		if r := (FS{Proc: t.TempDir()}).Rules(t.Context(), modules(), nil); !strings.HasPrefix(r.Unknown, "cannot list the legacy tables") {
			t.Errorf("without procfs: %+v", r)
		}
	})
}

// Before Linux 3.17 there is no /proc/thread-self.
func TestRulesWithoutThreadSelf(t *testing.T) {
	root := t.TempDir()
	if err := os.Symlink("/proc/self", root+"/self"); err != nil {
		t.Fatal(err)
	}
	inNetns(t, func() {
		run(t, "ip6tables-legacy -N x")
		r := FS{Proc: root}.Rules(t.Context(), modules(), nil)
		if len(r.Tables) != 1 || r.Tables[0].Family != "ip6" || r.Unknown != "" {
			t.Errorf("%+v, want the table of this thread's namespace", r)
		}
	})
}

func TestRulesWithoutPrivileges(t *testing.T) {
	inNetns(t, func() {
		nft(t, "add table inet t")
		run(t, "iptables-legacy -N x")
		withoutPrivileges(t)
		r := live.Rules(t.Context(), netfilter, nil)
		for _, part := range []string{"nf_tables: netlink receive: operation not permitted", "ip_tables_names: permission denied"} {
			if !strings.Contains(r.Unknown, part) {
				t.Errorf("unknown is %q, want %q in it", r.Unknown, part)
			}
		}
		if strings.Count(r.Unknown, "legacy") != 1 {
			t.Errorf("the same reason more than once: %q", r.Unknown)
		}
	})
	// With the user root, who may read ip_tables_names, but no capability.
	inNetns(t, func() {
		run(t, "iptables-legacy -N x")
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			t.Fatal(err)
		}
		if r := live.Rules(t.Context(), modules(), nil); r.Unknown != "cannot read the legacy ip table filter: operation not permitted" {
			t.Errorf("unknown is %q", r.Unknown)
		}
	})
}

// Rules that change all the time are read right or not at all. Each commit of the
// writer replaces a table: by one with a policy and no rule, or by one with
// three rules and no policy.
func TestRulesThatChange(t *testing.T) {
	inNetns(t, func() {
		ns := threadNetns(t)
		defer unix.Close(ns)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			runtime.LockOSThread() // and ends with the thread
			if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
				t.Errorf("setns: %v", err)
				return
			}
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					replaceTables(t, i)
				}
			}
		}()
		for range 100 {
			r := live.Rules(t.Context(), netfilter, nil)
			for _, table := range r.Tables {
				empty := table.Rules == 0 && len(table.Guards) == 1 && len(table.Uses) == 0
				full := table.Rules == 3 && len(table.Guards) == 0 && len(table.Uses) == 1 && table.Uses[0].Count == 2
				if !empty && !full {
					t.Errorf("half of one table and half of another: %+v", table)
				}
			}
			if r.Unknown != "" && !strings.Contains(r.Unknown, errInterrupted.Error()) {
				t.Errorf("unknown is %q", r.Unknown)
			}
		}
		close(stop)
		<-stopped
	})
}

// The kernel takes the commit mutex before it refuses a batch for another generation
// (nf_tables_valid_genid in net/netfilter/nf_tables_api.c), and changes nothing.
func TestAwaitCommit(t *testing.T) {
	inNetns(t, func() {
		nft(t, "add table inet t")
		conn, err := openNfnetlink()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		before, err := conn.generation(t.Context())
		if err != nil || before == 0 {
			t.Fatalf("generation %d, %v", before, err)
		}
		if err := conn.beginBatch(unix.NFNL_SUBSYS_NFTABLES, math.MaxUint32); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Receive(); !errors.Is(err, unix.ERESTART) {
			t.Errorf("the kernel answers %v, want %v", err, unix.ERESTART)
		}
		if err := awaitCommit(t.Context()); err != nil {
			t.Error(err)
		}
		if after, err := conn.generation(t.Context()); after != before || err != nil {
			t.Errorf("generation %d is now %d, %v", before, after, err)
		}
	})
}

// replaceTables replaces one table after the other, a hundred times, each in a
// commit of its own.
func replaceTables(t *testing.T, turn int) {
	var script strings.Builder
	for i := range 100 {
		fmt.Fprintf(&script, "add table inet t%[1]d; delete table inet t%[1]d; add table inet t%[1]d; ", i%7)
		if (i+turn)%2 == 0 {
			fmt.Fprintf(&script, "add chain inet t%d c {type filter hook input priority 0; policy drop;}\n", i%7)
			continue
		}
		fmt.Fprintf(&script, "add chain inet t%[1]d c {type filter hook input priority 0;}; add rule inet t%[1]d c ct state new; "+
			"add rule inet t%[1]d c ct mark 1; add rule inet t%[1]d c accept\n", i%7)
	}
	cmd := exec.Command("nft", "-i") // a line is a commit
	cmd.Stdin = strings.NewReader(script.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("nft: %v: %s", err, out)
	}
}

// threadNetns is an open file of the network namespace of the calling thread.
func threadNetns(t *testing.T) int {
	t.Helper()
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func BenchmarkRulesOfAnEmptyNamespace(b *testing.B) {
	inNetns(b, func() {
		for b.Loop() {
			if r := live.Rules(b.Context(), netfilter, nil); r.Unknown != "" {
				b.Fatal(r.Unknown)
			}
		}
	})
}
