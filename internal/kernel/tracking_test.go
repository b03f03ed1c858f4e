package kernel

import (
	"net"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// Whether a namespace tracks is held against the kernel itself: a packet is
// sent over lo, and makes an entry or not.
func TestTrackingIsWhatTheKernelDoes(t *testing.T) {
	const input = "add table ip t; add chain ip t c {type filter hook input priority 0;};"
	const nat = "add table ip t; add chain ip t c {type nat hook postrouting priority 100;};"
	for _, c := range []struct {
		name, script string
		lines        []string
		state        string
		evidence     string
	}{
		{name: "nothing", state: nf.TrackingOff, evidence: "no rule needs conntrack"},
		{name: "a stateless rule", script: input + "add rule ip t c udp dport 22 accept", state: nf.TrackingOff, evidence: "no rule needs conntrack"},
		{name: "an empty nat chain", script: nat, state: nf.TrackingOff, evidence: "no rule needs conntrack"},
		{name: "notrack", script: input + "add rule ip t c notrack", state: nf.TrackingOff, evidence: "no rule needs conntrack"},
		{name: "ct", script: input + "add rule ip t c ct state new accept", state: nf.TrackingOn, evidence: "c of nft table ip t uses ct"},
		{name: "ct in a chain that nothing jumps to", script: "add table ip t; add chain ip t c; add rule ip t c ct state new",
			state: nf.TrackingOn, evidence: "c of nft table ip t uses ct"},
		{name: "masquerade", script: nat + "add rule ip t c ip daddr 192.0.2.1 masquerade", state: nf.TrackingOn, evidence: "c of nft table ip t uses masq"},
		{name: "an empty legacy nat table", lines: []string{"iptables-legacy -t nat -N x"}, state: nf.TrackingOff, evidence: "no rule needs conntrack"},
		{name: "legacy notrack", lines: []string{"iptables-legacy -t raw -A PREROUTING -j NOTRACK"}, state: nf.TrackingOff, evidence: "no rule needs conntrack"},
		{name: "legacy conntrack", lines: []string{"iptables-legacy -A INPUT -m conntrack --ctstate NEW -j ACCEPT"},
			state: nf.TrackingOn, evidence: "INPUT of legacy table ip filter uses xt match conntrack"},
		// The last rule gone, new flows are no longer tracked; the entry stays.
		{name: "a deleted rule", script: input + "add rule ip t c ct state new accept; flush chain ip t c", state: nf.TrackingOff, evidence: "no rule needs conntrack"},
	} {
		inNetns(t, func() {
			run(t, "ip link set lo up")
			if c.script != "" {
				nft(t, c.script)
			}
			for _, line := range c.lines {
				run(t, line)
			}
			r := live.Rules(t.Context(), netfilter, nil)
			// Where nfnetlink_hook is not to be had, rules decide; the kernel of
			// the tests answers EINVAL.
			for _, m := range []*nf.Modules{netfilter, modules("nf_conntrack", "nf_tables", "nfnetlink_hook")} {
				if got := live.Tracking(t.Context(), m, &r); got.State != c.state || got.Evidence != c.evidence {
					t.Errorf("%s: %+v, want %s: %s", c.name, got, c.state, c.evidence)
				}
			}
			sendPacket(t)
			if n, _ := live.Count().Number(); (n > 0) != (c.state == nf.TrackingOn) {
				t.Errorf("%s: %d entries after a packet, want the state %s", c.name, n, c.state)
			}
		})
	}
}

// sendPacket sends one packet from and to lo of the calling thread's namespace.
func sendPacket(t *testing.T) {
	t.Helper()
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := net.Dial("udp4", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := server.ReadFrom(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestTrackingWithLeftoverEntries(t *testing.T) {
	inNetns(t, func() {
		nft(t, "add table ip t; add chain ip t c; add rule ip t c ct state new; delete table ip t")
		makeEntry(t)
		r := live.Rules(t.Context(), netfilter, nil)
		if got := live.Tracking(t.Context(), netfilter, &r); got.State != nf.TrackingOff || live.Count() != nf.Number(1) {
			t.Errorf("%+v with %v entries, want off with one", got, live.Count())
		}
	})
}

func TestTrackingWithoutPrivileges(t *testing.T) {
	inNetns(t, func() {
		withoutPrivileges(t)
		r := live.Rules(t.Context(), netfilter, nil)
		if got := live.Tracking(t.Context(), netfilter, &r); got.State != nf.TrackingUnknown || !strings.Contains(got.Evidence, "not permitted") {
			t.Errorf("%+v, want unknown", got)
		}
		if got := live.Tracking(t.Context(), modules("nf_tables"), &r); got != (nf.Tracking{State: nf.TrackingOff, Evidence: "nf_conntrack is not loaded"}) {
			t.Errorf("%+v, want off", got)
		}
	})
}

// What the modules and files of other kernels tell.
func TestTrackingOfOtherKernels(t *testing.T) {
	rules := func(level nf.Level) nf.Rules {
		r := nf.Rules{Tables: []nf.Table{{Backend: "nft", Family: "ip", Name: "t", Rules: 1}}}
		if level != nf.LevelUnset {
			r.Tables[0].Uses = []nf.Use{{Level: level, Chain: "c", What: "w", Count: 1}}
		}
		return r
	}
	foreign := rules(nf.LevelStateless)
	foreign.Tables[0].Uses = append([]nf.Use{{Chain: "c", What: "fullcone", Count: 1}}, foreign.Tables[0].Uses...)
	tracks := rules(nf.LevelStateful)
	tracks.Tables = append(tracks.Tables, foreign.Tables...)
	unloaded := func(m *nf.Modules) *nf.Modules { m.List[0].State = nf.ModuleUnloaded; return m }
	aliased := modules("nf_conntrack")
	aliased.Aliases = map[string]string{"nf_conntrack_ipv4": "nf_conntrack", "nf_conntrack_ipv6": "nf_conntrack"}
	const ipvs = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
	for _, c := range []struct {
		name     string
		modules  *nf.Modules
		files    map[string]string
		rules    nf.Rules
		state    string
		evidence string
	}{
		{"not there", modules(), nil, rules(nf.LevelUnset), nf.TrackingOff, "nf_conntrack is not loaded"},
		{"not loaded", unloaded(modules("nf_conntrack")), nil, rules(nf.LevelUnset), nf.TrackingOff, "nf_conntrack is not loaded"},
		{"not known", &nf.Modules{Unknown: "no evidence"}, nil, rules(nf.LevelUnset), nf.TrackingUnknown, "cannot determine whether the kernel has nf_conntrack: no evidence"},
		{"not known, but its sysctls are there", &nf.Modules{Unknown: "no evidence"}, map[string]string{"sys/net/netfilter/nf_conntrack_count": "0\n"},
			rules(nf.LevelFull), nf.TrackingOn, "c of nft table ip t uses w"},
		{"a nat rule", modules("nf_conntrack"), nil, rules(nf.LevelFull), nf.TrackingOn, "c of nft table ip t uses w"},
		{"not all rules read", modules("nf_conntrack"), nil, nf.Rules{Unknown: "why"}, nf.TrackingUnknown, "not all rules could be read: why"},
		{"a use, and not all rules read", modules("nf_conntrack"), nil, nf.Rules{Unknown: "why", Tables: rules(nf.LevelStateful).Tables},
			nf.TrackingOn, "c of nft table ip t uses w"},
		{"what nfsync does not know", modules("nf_conntrack"), nil, foreign, nf.TrackingUnknown,
			"nfsync does not know whether this tracks connections: fullcone in chain c of the nft table ip t"},
		{"what nfsync does not know, beside a use", modules("nf_conntrack"), nil, tracks, nf.TrackingOn, "c of nft table ip t uses w"},
		{"what nfsync does not know, without conntrack", modules(), nil, foreign, nf.TrackingOff, "nf_conntrack is not loaded"},
		// net/netfilter/nf_conntrack_standalone.c, nf_conntrack_pernet_init.
		{"enable_hooks", modules("nf_conntrack"), map[string]string{"cmdline": "quiet nf_conntrack.enable_hooks=1\n"},
			rules(nf.LevelUnset), nf.TrackingOn, "nf_conntrack.enable_hooks is on the kernel's command line"},
		{"openvswitch", modules("nf_conntrack", "openvswitch"), nil, rules(nf.LevelUnset), nf.TrackingUnknown, "the module openvswitch may track connections without a rule"},
		{"act_ct", modules("act_ct", "nf_conntrack"), nil, rules(nf.LevelUnset), nf.TrackingUnknown, "the module act_ct may track connections without a rule"},
		{"act_ct that can be loaded", unloaded(modules("act_ct", "nf_conntrack")), nil, rules(nf.LevelUnset), nf.TrackingOff, "no rule needs conntrack"},
		// Only nft rules make nf_conntrack_bridge track, nf_ct_netns_do_get.
		{"nf_conntrack_bridge", modules("nf_conntrack", "nf_conntrack_bridge"), nil, rules(nf.LevelUnset), nf.TrackingOff, "no rule needs conntrack"},
		{"IPVS without a service", modules("ip_vs", "nf_conntrack"), map[string]string{"thread-self/net/ip_vs": ipvs}, rules(nf.LevelUnset), nf.TrackingOff, "no rule needs conntrack"},
		{"IPVS elsewhere", modules("ip_vs", "nf_conntrack"), nil, rules(nf.LevelUnset), nf.TrackingOff, "no rule needs conntrack"},
		{"IPVS with a service", modules("ip_vs", "nf_conntrack"), map[string]string{"thread-self/net/ip_vs": ipvs + "TCP  C0000201:0050 rr\n"},
			rules(nf.LevelUnset), nf.TrackingUnknown, "IPVS has services, which may track connections"},
		// Linux 3.10 to 4.18: ipv4_net_init in
		// net/ipv4/netfilter/nf_conntrack_l3proto_ipv4.c, per need since 4.10.
		{"a kernel before 4.19", modules("nf_conntrack", "nf_conntrack_ipv4"), nil, rules(nf.LevelUnset), nf.TrackingUnknown,
			"old kernels track wherever nf_conntrack_ipv4 is loaded, and this one has it"},
		{"its alias, since 4.19", aliased, nil, rules(nf.LevelUnset), nf.TrackingOff, "no rule needs conntrack"},
	} {
		root := t.TempDir()
		for path, data := range c.files {
			write(t, root+"/"+path, data, 0o644)
		}
		if got := (FS{Proc: root}).Tracking(t.Context(), c.modules, &c.rules); got.State != c.state || got.Evidence != c.evidence {
			t.Errorf("%s: %+v, want %s: %s", c.name, got, c.state, c.evidence)
		}
	}
}

func TestParseEnableHooks(t *testing.T) {
	for line, want := range map[string]bool{ // kstrtobool in lib/kstrtox.c; the last one given wins
		"": false, "quiet nf_conntrack.hashsize=5": false, "nf_conntrack.enable_hooks": true, "a nf_conntrack.enable_hooks=Y b": true,
		"nf-conntrack.enable-hooks=1": true, "nf_conntrack.enable_hooks=on": true, "nf_conntrack.enable_hooks=off": false,
		"nf_conntrack.enable_hooks=0": false, "nf_conntrack.enable_hooks=": false, "nf_conntrack.enable_hooks=1 nf_conntrack.enable_hooks=n": false,
		"x.nf_conntrack.enable_hooks=1": false,
	} {
		if got := parseEnableHooks([]byte(line)); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}

// The modules as the kernel of the tests shows them are enough to read its
// rules and to report that it does not track.
func TestTrackingWithTheKernelsModules(t *testing.T) {
	m := live.Modules(nil, false)
	inNetns(t, func() {
		r := live.Rules(t.Context(), &m, nil)
		if got := live.Tracking(t.Context(), &m, &r); got.State != nf.TrackingOff || r.Unknown != "" {
			t.Errorf("a new namespace: %+v, %+v", got, r)
		}
		nft(t, "add table inet t; add chain inet t c; add rule inet t c ct state new")
		run(t, "iptables-legacy -t nat -A POSTROUTING -j MASQUERADE")
		r = live.Rules(t.Context(), &m, nil)
		if got := live.Tracking(t.Context(), &m, &r); got.State != nf.TrackingOn || len(r.Tables) != 2 || r.Level() != nf.LevelFull {
			t.Errorf("with rules: %+v, %+v", got, r)
		}
	})
}
