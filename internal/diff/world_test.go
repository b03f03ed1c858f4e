package diff

import "nfsync.dev/nfsync/internal/nf"

// edit changes a snapshot.
type edit func(*nf.Snapshot)

// mainline is a node with Linux 6.x whose containers are named network
// namespaces: web and db. Modules load; conntrack, filter and nft are there.
func mainline(edits ...edit) *nf.Snapshot {
	s := &nf.Snapshot{
		APIVersion: nf.APIVersion, Kind: nf.KindNodeSnapshot, Node: nf.NodeIdentity{Name: "hn-1"}, BootID: "boot-1",
		Kernel:       nf.Kernel{Release: "6.12.0", Machine: "x86_64"},
		Capabilities: nf.Capabilities{Latches: nf.No, BucketStep: 512},
		Modules: nf.Modules{Support: nf.SupportLoadable, Complete: true, List: []nf.ModuleFact{
			{Name: "br_netfilter", State: nf.ModuleUnloaded},
			{Name: "ip_set", State: nf.ModuleUnloaded, Deps: []string{"nfnetlink"}},
			{Name: "ip_tables", State: nf.ModuleUnloaded, Deps: []string{"x_tables"}},
			{Name: "iptable_filter", State: nf.ModuleUnloaded, Deps: []string{"x_tables", "ip_tables"}},
			{Name: "ipv6", State: nf.ModuleBuiltin},
			{Name: "nf_conntrack", State: nf.ModuleLoaded, Refs: 1, Holders: []string{"nft_ct"}, Deps: []string{"nf_defrag_ipv4"},
				Parameters: map[string]nf.Parameter{"hashsize": {Value: "65536", Writable: true}, "acct": {Value: "N"}}},
			{Name: "nf_defrag_ipv4", State: nf.ModuleLoaded, Refs: 1, Holders: []string{"nf_conntrack"}},
			{Name: "nf_defrag_ipv6", State: nf.ModuleLoaded},
			{Name: "nf_nat", State: nf.ModuleUnloaded, Deps: []string{"nf_defrag_ipv4", "nf_conntrack"}},
			{Name: "nf_tables", State: nf.ModuleLoaded, Refs: 1, Holders: []string{"nft_ct"}, Deps: []string{"nfnetlink"}},
			{Name: "nfnetlink", State: nf.ModuleLoaded, Refs: 1, Holders: []string{"nf_tables"}},
			{Name: "nft_ct", State: nf.ModuleLoaded, Deps: []string{"nf_defrag_ipv4", "nf_conntrack", "nfnetlink", "nf_tables"}},
			{Name: "x_tables", State: nf.ModuleUnloaded},
		}, Aliases: map[string]string{"nf_conntrack_ipv4": "nf_conntrack", "ip_conntrack": "nf_conntrack"}},
		Host: nf.Namespace{Facts: []nf.Fact{
			{Key: nf.KeyBuckets, Live: nf.Number(65536)},
			{Key: nf.KeyExpectMax, Live: nf.Number(1024)},
			{Key: nf.KeyMax, Live: nf.Number(262144)},
			{Key: nf.TimeoutKey("udp"), Live: nf.Number(30)},
			{Key: nf.KeyLevel, Live: nf.LevelDisabled.Value()},
		}, Rules: &nf.Rules{}, Tracking: &nf.Tracking{State: nf.TrackingOff}, Count: nf.Number(0)},
		Containers: []nf.Container{space("db"), space("web")},
	}
	for _, e := range edits {
		e(s)
	}
	s.AddKeepers()
	return s
}

// space is a named network namespace whose conntrack.max is the node's.
func space(name string) nf.Container {
	return nf.Container{Runtime: nf.RuntimeNetns, ID: name, Name: name, State: nf.StateRunning, Instance: "boot-1/" + name, MaxScope: nf.ScopeNode,
		Namespace: nf.Namespace{Facts: []nf.Fact{
			{Key: nf.KeyMax, Live: nf.Number(262144), ReadOnly: true},
			{Key: nf.TimeoutKey("udp"), Live: nf.Number(30)},
			{Key: nf.KeyLevel, Live: nf.LevelDisabled.Value()},
		}, Rules: &nf.Rules{}, Tracking: &nf.Tracking{State: nf.TrackingOff}, Count: nf.Number(0)}}
}

// virtuozzo is a Virtuozzo 7 node with one container, 101: masks, latching, a
// limit per container.
func virtuozzo(edits ...edit) *nf.Snapshot {
	saved := nf.LevelFull.Value()
	ct := nf.Container{Runtime: nf.RuntimeVZ, ID: "101", Name: "web-1", State: nf.StateRunning, Instance: "boot-1/101/4711", MaxScope: nf.ScopeOwn,
		Namespace: nf.Namespace{Facts: []nf.Fact{
			{Key: nf.KeyMax, Live: nf.Number(262144)},
			{Key: nf.TimeoutKey("udp"), Live: nf.Number(30)},
			{Key: nf.KeyLevel, Live: nf.LevelFull.Value(), Boot: &saved},
		}, Rules: &nf.Rules{}, Tracking: &nf.Tracking{State: nf.TrackingUnknown}, Count: nf.Number(0)}}
	return mainline(append([]edit{func(s *nf.Snapshot) {
		s.Capabilities.Latches, s.Capabilities.Masks = nf.Yes, true
		s.Host.Tracking.State = nf.TrackingUnknown
		for _, name := range []string{"x_tables", "ip_tables", "iptable_filter"} {
			module(s, name).State = nf.ModuleLoaded
		}
		s.Containers = []nf.Container{ct}
	}}, edits...)...)
}

func container(s *nf.Snapshot, id string) *nf.Container {
	for i := range s.Containers {
		if s.Containers[i].ID == id {
			return &s.Containers[i]
		}
	}
	panic("no container " + id)
}

func setFact(n *nf.Namespace, k nf.Key, change func(*nf.Fact)) {
	for i := range n.Facts {
		if n.Facts[i].Key == k {
			change(&n.Facts[i])
			return
		}
	}
	f := nf.Fact{Key: k}
	change(&f)
	n.Facts = append(n.Facts, f)
}

func live(n *nf.Namespace, k nf.Key, v nf.Value) {
	setFact(n, k, func(f *nf.Fact) { f.Live = v })
}

func boot(n *nf.Namespace, k nf.Key, v nf.Value) {
	setFact(n, k, func(f *nf.Fact) { f.Boot = &v })
}

func module(s *nf.Snapshot, name string) *nf.ModuleFact {
	m, ok := s.Modules.Find(name)
	if !ok {
		panic("no module " + name)
	}
	return m
}

func isolate(s *nf.Snapshot, name string) { // nothing else refers to the module
	module(s, name).Holders, module(s, name).Refs = nil, 0
	module(s, "nft_ct").State = nf.ModuleUnloaded
}

// want is a want from line 1 of a policy.
func want(t nf.Target, k nf.Key, v nf.Value) nf.Want {
	return nf.Want{Target: t, Key: k, Wish: nf.Exactly(v), Source: nf.Source{Name: "p", File: "p.yaml", Line: 1, Column: 1}}
}

func wantRange(t nf.Target, k nf.Key, atLeast, atMost int64) nf.Want {
	w := want(t, k, nf.Absent())
	w.Wish.AtLeast, w.Wish.AtMost = atLeast, atMost
	return w
}

func wantModule(name, state string, params map[string]string) nf.Want {
	return want(nf.Node, nf.ModuleKey(name), nf.Module(state, params))
}

func restart(w nf.Want, r nf.Restart) nf.Want {
	w.Restart = r
	return w
}

func rival(w nf.Want, v nf.Value) nf.Want {
	w.Rivals = append(w.Rivals, nf.Rival{Wish: nf.Exactly(v), Source: nf.Source{Name: "q", File: "q.yaml", Line: 2, Column: 1}})
	return w
}

func netns(name string) nf.Target {
	return nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: name, Name: name}
}

var vz101 = nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeVZ, ID: "101", Name: "web-1"}

func wants(list ...nf.Want) nf.Wants { return nf.Wants{List: list} }

// answers writes a plan down as one word a difference: "~ KEY" for a change,
// "CODE KEY" for a refusal, "pending KEY", each with its target and layer.
func answers(p nf.Plan) []string {
	var list []string
	line := func(what string, t nf.Target, k nf.Key, l nf.Layer) {
		where := "node"
		if !t.IsNode() {
			where = t.ID
		}
		if l == nf.LayerBoot {
			what = "boot " + what
		}
		list = append(list, what+" "+where+" "+string(k))
	}
	for _, c := range p.Changes {
		line("change", c.Target, c.Key, c.Layer)
	}
	for _, r := range p.Refusals {
		line(string(r.Code), r.Target, r.Key, r.Layer)
	}
	for _, q := range p.Pending {
		line("pending", q.Target, q.Key, nf.LayerLive)
	}
	return list
}
