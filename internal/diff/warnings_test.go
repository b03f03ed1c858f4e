package diff

import (
	"slices"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// setLevel is the memory of a level that nfsync has set.
func setLevel(s *nf.Snapshot) {
	s.Memory.Keys = append(s.Memory.Keys, nf.MemoryKey{Target: vz101, Key: nf.KeyLevel, Asked: nf.Exactly(nf.LevelStateful.Value()),
		Applied: nf.LevelStateful.Value(), Instance: s.Containers[0].Instance, Set: true})
}

// rivals adds another wish of equal priority to a want.
func rivals(w nf.Want, v nf.Value) nf.Want {
	w.Rivals = []nf.Rival{{Wish: nf.Exactly(v)}}
	return w
}

func TestWarnings(t *testing.T) {
	stateless := want(netns("web"), nf.KeyLevel, nf.LevelStateless.Value())
	for _, test := range []struct {
		name   string
		snap   *nf.Snapshot
		wants  []nf.Want
		expect []string // code and target, in order
	}{
		{"a node that may track", mainline(), []nf.Want{want(nf.Node, nf.KeyLevel, nf.LevelStateful.Value())},
			[]string{"node-tracking node", "level-not-enforced node"}},
		{"a node that tracks although nobody asked", mainline(func(s *nf.Snapshot) { s.Host.Tracking = &nf.Tracking{State: nf.TrackingOn, Evidence: "a hook"} }), nil,
			[]string{"node-tracking node"}},
		{"a node that was seen tracking, on a kernel that latches",
			virtuozzo(func(s *nf.Snapshot) { s.Memory.Latches = []nf.Latch{{Target: nf.Node, Instance: "boot-1"}} }), nil, []string{"node-tracking node"}},
		{"a node that may track unseen, on a kernel that latches", virtuozzo(func(s *nf.Snapshot) { s.Host.Tracking = &nf.Tracking{State: nf.TrackingUnknown} }),
			[]nf.Want{want(nf.Node, nf.KeyLevel, nf.LevelStateless.Value())}, []string{"node-tracking node", "level-not-enforced node"}},
		{"a node that may track unseen, on a kernel that does not", mainline(func(s *nf.Snapshot) { s.Host.Tracking = &nf.Tracking{State: nf.TrackingUnknown} }),
			[]nf.Want{want(nf.Node, nf.KeyLevel, nf.LevelStateless.Value())}, []string{"level-not-enforced node"}},
		{"one warning for all levels that nothing enforces", mainline(),
			[]nf.Want{want(netns("db"), nf.KeyLevel, nf.LevelStateless.Value()), stateless}, []string{"level-not-enforced container netns/db"}},
		{"a mask enforces", virtuozzo(levels(nf.LevelStateless, nf.LevelStateless)), []nf.Want{want(vz101, nf.KeyLevel, nf.LevelStateless.Value())}, nil},
		{"a saved level that is neither live nor wanted", virtuozzo(levels(nf.LevelFull, nf.LevelStateful)),
			[]nf.Want{level(vz101, nf.LevelStateless, nf.RestartRefuse)}, []string{"saved-level container vz/101 (web-1)"}},
		{"a saved level that is neither, and is saved", virtuozzo(levels(nf.LevelFull, nf.LevelStateful)),
			[]nf.Want{level(vz101, nf.LevelStateless, nf.RestartStage)}, nil},
		{"a saved level that is wanted, and refused", virtuozzo(levels(nf.LevelFull, nf.LevelStateful)),
			[]nf.Want{level(vz101, nf.LevelStateful, nf.RestartRefuse)}, nil},
		{"a saved level that policies disagree about", virtuozzo(levels(nf.LevelFull, nf.LevelStateful)),
			[]nf.Want{rivals(level(vz101, nf.LevelStateless, nf.RestartStage), nf.LevelStateful.Value())}, []string{"saved-level container vz/101 (web-1)"}},
		{"a saved level that nfsync staged, and no policy wants any more", virtuozzo(levels(nf.LevelFull, nf.LevelStateful), setLevel),
			nil, []string{"saved-level container vz/101 (web-1)"}},
		{"a level that nfsync set, and no policy wants any more", virtuozzo(levels(nf.LevelStateful, nf.LevelStateful), setLevel),
			nil, []string{"no-longer-wanted container vz/101 (web-1)"}},
		{"a saved level that is nobody's", virtuozzo(levels(nf.LevelFull, nf.LevelStateful)), nil, nil},
		{"a saved level that differs, of a suspended container", virtuozzo(levels(nf.LevelFull, nf.LevelStateful), setLevel, state(nf.StateSuspended)),
			nil, []string{"saved-level container vz/101 (web-1)"}},
		{"entries that no rule explains", mainline(func(s *nf.Snapshot) { container(s, "web").Count = nf.Number(3) }), []nf.Want{stateless},
			[]string{"leftover-entries container netns/web", "level-not-enforced container netns/web"}},
		{"another file that says otherwise", mainline(func(s *nf.Snapshot) {
			bootFiles(s)
			boot(&s.Host, nf.KeyMax, nf.Number(262144))
			setFact(&s.Host, nf.KeyMax, func(f *nf.Fact) {
				f.Declared = []nf.Declaration{{File: "/etc/sysctl.conf", Line: 3, Value: nf.Number(65536)}, {File: "/etc/sysctl.d/10-same.conf", Line: 1, Value: nf.Number(262144)}}
			})
			module(s, "nf_conntrack").Boot = new(nf.Value)
			*module(s, "nf_conntrack").Boot = nf.Module(nf.ModuleLoaded, nil)
			module(s, "nf_conntrack").Declared = []nf.Declaration{{File: "/etc/modprobe.d/x.conf", Line: 1, Value: nf.Module(nf.ModuleUnloaded, nil)}}
		}), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(262144)), wantModule("nf_conntrack", nf.ModuleLoaded, nil)},
			[]string{"declared-elsewhere node", "declared-elsewhere node", "boot-order node"}},
		{"another file that has not the last word", mainline(bootModule("nf_conntrack", nf.Module(nf.ModuleLoaded, nil)), func(s *nf.Snapshot) {
			boot(&s.Host, nf.KeyMax, nf.Number(262144))
			setFact(&s.Host, nf.KeyMax, func(f *nf.Fact) {
				f.Declared = []nf.Declaration{{File: "/etc/sysctl.d/10-x.conf", Line: 3, Value: nf.Number(65536), Overruled: true}}
			})
		}), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(262144))}, nil},
		{"an options line loads nothing", mainline(bootModule("br_netfilter", nf.Module(nf.ModuleUnloaded, nil)), func(s *nf.Snapshot) {
			module(s, "br_netfilter").Declared = []nf.Declaration{{File: "/etc/modprobe.d/x.conf", Line: 1, Directive: nf.DirectiveOptions, Value: nf.Module(nf.ModuleLoaded, map[string]string{"a": "1"})}}
		}), []nf.Want{wantModule("br_netfilter", nf.ModuleUnloaded, nil)}, nil},
		{"a module that is not there to be unloaded", mainline(), []nf.Want{wantModule("xt_u32", nf.ModuleUnloaded, nil)}, []string{"module-absent node"}},
		{"a level's module that may or may not exist", mainline(func(s *nf.Snapshot) { s.Modules.Complete, s.Modules.Unknown = false, "no evidence" }),
			[]nf.Want{want(nf.Node, nf.KeyLevel, nf.LevelFull.Value())},
			[]string{"module-unknown node", "node-tracking node", "level-not-enforced node"}},
		{"another user of conntrack", mainline(func(s *nf.Snapshot) {
			s.Modules.List = append(s.Modules.List[:len(s.Modules.List)-1:len(s.Modules.List)-1], nf.ModuleFact{Name: "openvswitch", State: nf.ModuleLoaded})
			slices.SortFunc(s.Modules.List, func(a, b nf.ModuleFact) int { return strings.Compare(a.Name, b.Name) })
		}), []nf.Want{stateless}, []string{"level-not-enforced container netns/web", "conntrack-user node"}},
		{"a key that nobody wants any more", mainline(func(s *nf.Snapshot) {
			s.Memory.Keys = []nf.MemoryKey{
				{Target: nf.Node, Key: nf.KeyMax, Set: true, Applied: nf.Number(5)},
				{Target: nf.Node, Key: nf.KeyExpectMax},
				{Target: netns("gone"), Key: nf.KeyMax, Set: true},
				{Target: nf.Node, Key: nf.KeyBuckets, Set: true},
			}
		}), []nf.Want{want(nf.Node, nf.KeyBuckets, nf.Number(65536))}, []string{"no-longer-wanted node"}},
		{"a module that something loaded needs", mainline(func(s *nf.Snapshot) {
			module(s, "x_tables").State = nf.ModuleLoaded
			s.Memory.Keys = []nf.MemoryKey{
				{Target: nf.Node, Key: nf.ModuleKey("nf_conntrack"), Set: true, Applied: nf.Module(nf.ModuleLoaded, nil)},   // of nft_ct
				{Target: nf.Node, Key: nf.ModuleKey("nf_defrag_ipv4"), Set: true, Applied: nf.Module(nf.ModuleLoaded, nil)}, // of both
				{Target: nf.Node, Key: nf.ModuleKey("nft_ct"), Set: true, Applied: nf.Module(nf.ModuleLoaded, nil)},         // of none
				{Target: nf.Node, Key: nf.ModuleKey("x_tables"), Set: true, Applied: nf.Module(nf.ModuleLoaded, nil)},       // of ip_tables, which is not
			}
		}), nil, []string{"no-longer-wanted node", "no-longer-wanted node"}},
		{"what only a softdep brought", mainline(func(s *nf.Snapshot) {
			module(s, "nft_ct").Deps = append(slices.Clone(module(s, "nft_ct").Deps), "nf_defrag_ipv6")
			s.Memory.Keys = []nf.MemoryKey{{Target: nf.Node, Key: nf.ModuleKey("nf_defrag_ipv6"), Set: true, Applied: nf.Module(nf.ModuleLoaded, nil)}}
		}), nil, nil},
		{"a module that another one needs which its file does not name", mainline(func(s *nf.Snapshot) {
			module(s, "nf_defrag_ipv6").Holders = []string{"nf_conntrack"}
			s.Memory.Keys = []nf.MemoryKey{{Target: nf.Node, Key: nf.ModuleKey("nf_defrag_ipv6"), Set: true, Applied: nf.Module(nf.ModuleLoaded, nil)}}
		}), nil, nil},
		{"a module that is an alias since", mainline(func(s *nf.Snapshot) {
			s.Memory.Keys = []nf.MemoryKey{{Target: nf.Node, Key: nf.ModuleKey("ip_conntrack"), Set: true, Applied: nf.Module(nf.ModuleLoaded, nil)}}
			isolate(s, "nf_conntrack")
		}), []nf.Want{wantModule("ip_conntrack", nf.ModuleLoaded, nil)}, nil},
		{"a key that ended with the namespace that it was set in", mainline(func(s *nf.Snapshot) {
			s.Memory.Keys = []nf.MemoryKey{
				{Target: netns("web"), Key: nf.TimeoutKey("udp"), Set: true, Instance: "boot-1/an-older-one"},
				{Target: netns("db"), Key: nf.TimeoutKey("udp"), Set: true, Instance: container(s, "db").Instance},
			}
		}), nil, []string{"no-longer-wanted container netns/db"}},
		{"a container that went away before it was observed", mainline(),
			[]nf.Want{want(netns("left"), nf.KeyMax, nf.Number(5)), want(netns("left"), nf.TimeoutKey("udp"), nf.Number(5))}, []string{"vanished container netns/left"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, w := range Plan(wants(test.wants...), test.snap).Warnings {
				got = append(got, w.Code+" "+w.Target.String())
				if w.Message == "" {
					t.Errorf("%s says nothing", w.Code)
				}
				if !w.Target.IsNode() && strings.Contains(w.Message, w.Target.String()) {
					t.Errorf("the text repeats the target: %+v", w)
				}
			}
			if !slices.Equal(got, test.expect) {
				t.Errorf("got %q, want %q", got, test.expect)
			}
		})
	}
}

func TestAsk(t *testing.T) {
	ask := Ask(wants(want(nf.Node, nf.KeyMax, nf.Number(5)), want(netns("web"), nf.KeyLevel, nf.LevelFull.Value()),
		want(netns("web"), nf.KeyMax, nf.Number(5)), wantModule("ip_set", nf.ModuleLoaded, map[string]string{"max_sets": "1"})))
	if got := ask.Keys[netns("web")]; !slices.Equal(got, []nf.Key{nf.KeyLevel, nf.KeyMax}) || len(ask.Keys) != 1 {
		t.Errorf("keys %v", ask.Keys)
	}
	if !ask.Declared || !ask.Limits || ask.Rules || ask.All || !slices.Equal(ask.Modules, []string{"ip_set"}) {
		t.Errorf("ask %+v", ask)
	}
	for _, w := range []nf.Want{wantModule("ip_set", nf.ModuleUnloaded, nil), want(nf.Node, nf.KeyAboveLevel, nf.Text("unload"))} {
		if !Ask(wants(w)).Rules {
			t.Errorf("unloading by %s does not ask for the rules", w.Key)
		}
	}
	if Ask(wants(want(netns("web"), nf.KeyMax, nf.Number(5)))).Declared {
		t.Error("the lines of other boot files are asked for a container, which has none")
	}
}

func TestExplainKey(t *testing.T) {
	for _, key := range []string{"level", "modulesAboveLevel", "restart", "conntrack.max", "conntrack.buckets", "conntrack.expectMax",
		"module/nf_conntrack", "conntrack.timeouts.tcpEstablished", "conntrack.sysctls.nf_conntrack_tcp_loose"} {
		e, ok := ExplainKey(key)
		if !ok || e.Key != key || e.Meaning == "" || e.Unit == "" || e.Where == "" || e.Scope == "" {
			t.Errorf("%s: %+v", key, e)
		}
	}
	for _, key := range []string{"", "module/", "conntrack", "conntrack.timeouts.tcpestablished", "conntrack.sysctls.", "max"} {
		if e, ok := ExplainKey(key); ok {
			t.Errorf("%q is explained: %+v", key, e)
		}
	}
}
