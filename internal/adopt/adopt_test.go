package adopt_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nfsync.dev/nfsync/internal/adopt"
	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

// TestEmptyPlan: whatever nodes there are, the policies are valid and laid out, and a plan with them
// is empty on every node. It does not matter in which order the containers are.
func TestEmptyPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.SliceOfNDistinct(rapid.Custom(drawNode), 1, 3, func(s nf.Snapshot) string { return s.Node.Name }).Draw(t, "nodes")
		opt := adopt.Options{All: rapid.Bool().Draw(t, "all")}
		if rapid.IntRange(0, 3).Draw(t, "narrow") == 0 {
			opt.Filter.Keys = []string{rapid.SampledFrom([]string{"level", "conntrack.*", "module/*"}).Draw(t, "key")}
		}
		text := textOf(t, adopt.Nodes(nodes, opt))
		policies, found := spec.Parse([]spec.File{{Name: "import.yaml", Data: text}})
		if len(found) > 0 || len(policies) == 0 || len(policies.Conflicts()) > 0 {
			t.Fatalf("%v, %d policies\n%s", found, len(policies), text)
		}
		if again, found := spec.Format(spec.File{Name: "import.yaml", Data: text}); len(found) > 0 || !bytes.Equal(again, text) {
			t.Fatalf("not laid out: %v\n%s", found, text)
		}
		for i := range nodes {
			s := &nodes[i]
			p := diff.Plan(policies.Resolve(s), s)
			if len(p.Changes)+len(p.Refusals)+len(p.Pending) > 0 {
				t.Fatalf("changes %v\nrefusals %v\npending %v\n%s", p.Changes, p.Refusals, p.Pending, text)
			}
			for _, w := range p.Warnings {
				if w.Code == nf.WarnSelectsNothing || w.Code == nf.WarnNoPolicy && opt.Filter.IsZero() {
					t.Fatalf("%s: %s\n%s", w.Code, w.Message, text)
				}
			}
			slices.Reverse(s.Containers)
		}
		if other := textOf(t, adopt.Nodes(nodes, opt)); !bytes.Equal(text, other) {
			t.Fatalf("another order of containers gives\n%s\ninstead of\n%s", other, text)
		}
	})
}

func textOf(t interface{ Fatal(...any) }, policies []adopt.Policy) []byte {
	var text bytes.Buffer
	if err := view.Policies.Write(&text, view.FormatYAML, policies, view.Options{}); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

// names are names that people and others give.
var names = []string{"web-1", "web-2", "web-10", "db", "132694", "yes", "a*b", "[x", `back\slash`, "two words", "new\nline", "# no comment", "ü", "\"", "'", "{a: b}", "\u202e", "- x", "~", "a/b", ""}

func drawNode(t *rapid.T) nf.Snapshot {
	s := nf.Snapshot{APIVersion: nf.APIVersion, Kind: nf.KindNodeSnapshot, BootID: "boot",
		Node:    nf.NodeIdentity{Name: rapid.SampledFrom([]string{"hn-1", "hn-2", "hn-*", "HN_3"}).Draw(t, "node")},
		TakenAt: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	s.Capabilities = nf.Capabilities{Latches: rapid.SampledFrom([]string{nf.Yes, nf.No, nf.MaybeUnknown}).Draw(t, "latches"), Masks: rapid.Bool().Draw(t, "masks"),
		BucketStep: 512, LegacyTables: rapid.Bool().Draw(t, "legacy"), BootFiles: rapid.IntRange(0, 2).Draw(t, "boot") == 0}
	s.Modules = nf.Modules{Support: nf.SupportLoadable, Complete: rapid.Bool().Draw(t, "complete"), Unknown: "modules.dep is missing"}
	state := rapid.SampledFrom([]string{nf.ModuleLoaded, nf.ModuleLoaded, nf.ModuleBuiltin, nf.ModuleUnloaded})
	for _, name := range []string{"ip_tables", "iptable_nat", "nf_conntrack", "nf_conntrack_ftp", "nf_nat", "nf_tables", "nft_ct", "xt_conntrack", "ext4"} {
		if rapid.IntRange(0, 3).Draw(t, "exists") == 0 {
			continue
		}
		m := nf.ModuleFact{Name: name, State: state.Draw(t, name)}
		if rapid.Bool().Draw(t, "saved") {
			boot := nf.Module(rapid.SampledFrom([]string{nf.ModuleLoaded, nf.ModuleUnloaded}).Draw(t, "saved"), nil)
			m.Boot = &boot
		}
		s.Modules.List = append(s.Modules.List, m)
	}
	s.Host = drawNamespace(t, true)
	seen := map[string]bool{}
	for range rapid.IntRange(0, 6).Draw(t, "containers") {
		c := nf.Container{Runtime: rapid.SampledFrom([]string{nf.RuntimeVZ, nf.RuntimeNetns}).Draw(t, "runtime"),
			ID: rapid.SampledFrom(names[:len(names)-1]).Draw(t, "id"), Name: rapid.SampledFrom(names).Draw(t, "name"),
			State:    rapid.SampledFrom([]string{nf.StateRunning, nf.StateRunning, nf.StateStopped, nf.StateSuspended, nf.StatePaused, "starting"}).Draw(t, "state"),
			MaxScope: rapid.SampledFrom([]string{nf.ScopeOwn, nf.ScopeNode, nf.ScopeUnknown}).Draw(t, "scope"), Namespace: drawNamespace(t, false)}
		if seen[c.Runtime+c.ID] {
			continue
		}
		seen[c.Runtime+c.ID] = true
		if rapid.IntRange(0, 3).Draw(t, "alias") == 0 {
			c.Aliases = []string{rapid.SampledFrom(names[:len(names)-1]).Draw(t, "alias")}
		}
		c.Instance = "instance of " + c.ID
		switch {
		case c.Runtime == nf.RuntimeNetns:
			c.State = nf.StateRunning
		case c.State == nf.StateStopped:
			c.Instance = nf.InstanceStopped
		case c.State == nf.StateSuspended:
			c.Instance = nf.InstanceSuspended
		}
		if rapid.IntRange(0, 5).Draw(t, "unobservable") == 0 {
			c.Unobservable = "no\nreason: # at all"
		}
		s.Containers = append(s.Containers, c)
	}
	nf.SortContainers(s.Containers)
	s.AddKeepers()
	return s
}

func drawNamespace(t *rapid.T, isNode bool) nf.Namespace {
	n := nf.Namespace{Rules: &nf.Rules{}, Count: nf.Number(rapid.Int64Range(0, 3).Draw(t, "count"))}
	number := rapid.SampledFrom([]int64{0, 1, 30, 50000, 65536, 1 << 40})
	for _, k := range []nf.Key{nf.KeyMax, nf.KeyBuckets, nf.KeyExpectMax, nf.TimeoutKey("udp"), nf.TimeoutKey("tcpEstablished"), nf.TimeoutKey("new"), nf.SysctlKey("nf_conntrack_acct"), nf.SysctlKey("nf_conntrack_a.b")} {
		f := nf.Fact{Key: k, Live: nf.Number(number.Draw(t, string(k))), ReadOnly: rapid.IntRange(0, 4).Draw(t, "readOnly") == 0}
		switch rapid.IntRange(0, 6).Draw(t, "how") {
		case 0:
			continue
		case 1:
			f.Live = nf.Unknown("EIO\n- x")
		case 2:
			f.Live = nf.Text("y\nes")
		}
		if isNode && rapid.Bool().Draw(t, "saved") {
			boot := f.Live
			f.Boot = &boot
		}
		n.SetFact(f)
	}
	level := rapid.SampledFrom([]nf.Value{nf.LevelDisabled.Value(), nf.LevelStateless.Value(), nf.LevelStateful.Value(), nf.LevelFull.Value(), nf.MaskValue(0x1000), nf.Unknown("EIO")})
	switch f := (nf.Fact{Key: nf.KeyLevel, Live: level.Draw(t, "level")}); rapid.IntRange(0, 2).Draw(t, "levels") {
	case 0:
		boot := f.Live
		f.Boot = &boot
		n.SetFact(f)
	case 1:
		boot := level.Draw(t, "saved level")
		f.Boot = &boot
		n.SetFact(f)
	}
	if rapid.Bool().Draw(t, "rules") {
		n.Rules.Tables = []nf.Table{{Backend: "nft", Family: "inet", Name: "t", Rules: 1, Uses: []nf.Use{{Level: rapid.SampledFrom([]nf.Level{nf.LevelUnset, nf.LevelStateful, nf.LevelFull}).Draw(t, "use"), Chain: "c", What: "x", Count: 1}}}}
	}
	n.Tracking = &nf.Tracking{State: rapid.SampledFrom([]string{nf.TrackingOn, nf.TrackingOff, nf.TrackingUnknown}).Draw(t, "tracking")}
	return n
}

// TestNodes holds what is imported of a node against the text.
func TestNodes(t *testing.T) {
	stateful, disabled := nf.LevelStateful.Value(), nf.LevelDisabled.Value()
	s := nf.Snapshot{Node: nf.NodeIdentity{Name: "hn-1"}, Capabilities: nf.Capabilities{Masks: true, Latches: nf.Yes, BucketStep: 512},
		Modules: nf.Modules{Support: nf.SupportLoadable, Complete: true}}
	s.Host = nf.Namespace{Rules: &nf.Rules{}, Facts: []nf.Fact{{Key: nf.KeyBuckets, Live: nf.Number(16384)}, {Key: nf.KeyMax, Live: nf.Number(500000)}, {Key: nf.TimeoutKey("udp"), Live: nf.Number(30)}}}
	container := func(id, name string, level nf.Value, max int64, established int64) nf.Container {
		return nf.Container{Runtime: nf.RuntimeVZ, ID: id, Name: name, State: nf.StateRunning, Instance: "1", MaxScope: nf.ScopeOwn, Namespace: nf.Namespace{Facts: []nf.Fact{
			{Key: nf.KeyMax, Live: nf.Number(max)}, {Key: nf.TimeoutKey("tcpEstablished"), Live: nf.Number(established)}, {Key: nf.KeyLevel, Live: level, Boot: &level}}}}
	}
	s.Containers = []nf.Container{
		container("101", "web-1", stateful, 50000, 7200), container("102", "web-2", stateful, 50000, 7200), container("103", "web-10", stateful, 50000, 7200),
		container("201", "web-3", stateful, 50000, 90), container("301", "db", disabled, 0, 432000), container("302", "mail*", disabled, 500000, 432000),
		container("401", "same", disabled, 1, 432000), container("402", "same", nf.MaskValue(0x1000), 2, 432000),
	}
	s.AddKeepers()
	const want = `# Found, and in no policy:
#   node: level unknown: cannot tell
apiVersion: nfsync.dev/v1alpha1
kind: NodePolicy
metadata: {name: hn-1}
spec:
  nodes: {names: [hn-1]}
  conntrack:
    max: 500000
---
apiVersion: nfsync.dev/v1alpha1
kind: ContainerPolicy
metadata: {name: web}
spec:
  nodes: {names: [hn-1]}
  containers: {names: [web-1, web-2, web-10]}
  level: stateful
  conntrack:
    max: 50000
    timeouts:
      tcpEstablished: 2h
---
apiVersion: nfsync.dev/v1alpha1
kind: ContainerPolicy
metadata: {name: web-3}
spec:
  nodes: {names: [hn-1]}
  containers: {names: [web-3]}
  level: stateful
  conntrack:
    max: 50000
    timeouts:
      tcpEstablished: 90s
---
apiVersion: nfsync.dev/v1alpha1
kind: ContainerPolicy
metadata: {name: disabled}
spec:
  nodes: {names: [hn-1]}
  containers: {names: [db, mail\*]}
  level: disabled
---
apiVersion: nfsync.dev/v1alpha1
kind: ContainerPolicy
metadata: {name: same}
spec:
  nodes: {names: [hn-1]}
  containers: {ids: ["401"]}
  level: disabled
  conntrack:
    max: 1
---
# Found, and in no policy:
#   container vz/402 (same): level custom(0x1000): it is none of the levels that a policy can want
apiVersion: nfsync.dev/v1alpha1
kind: ContainerPolicy
metadata: {name: same-2}
spec:
  nodes: {names: [hn-1]}
  containers: {ids: ["402"]}
  conntrack:
    max: 2
`
	s.Host.Rules = &nf.Rules{Unknown: "cannot tell"}
	if got := string(textOf(t, adopt.Nodes([]nf.Snapshot{s}, adopt.Options{}))); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// A second node that is alike shares its policies; an older snapshot of a node does not count.
	other, older := s, s
	other.Node.Name = "hn-2"
	older.TakenAt, older.Containers = s.TakenAt.Add(-time.Hour), nil
	got := string(textOf(t, adopt.Nodes([]nf.Snapshot{older, other, s}, adopt.Options{})))
	if strings.Count(got, "kind:") != 6 || strings.Count(got, "nodes: {names: [hn-1, hn-2]}") != 6 || !strings.Contains(got, "#   hn-1 node, hn-2 node: level unknown") {
		t.Error(got)
	}
	narrow, err := nf.ParseTarget("web-3")
	if err != nil {
		t.Fatal(err)
	}
	got = string(textOf(t, adopt.Nodes([]nf.Snapshot{s}, adopt.Options{Filter: nf.Filter{Targets: []nf.TargetPattern{narrow}, Keys: []string{"conntrack.*"}}})))
	if strings.Count(got, "kind:") != 1 || strings.Contains(got, "level") || !strings.Contains(got, "tcpEstablished: 90s") {
		t.Error(got)
	}
}

// A node with very many containers is described in a moment.
func TestManyContainers(t *testing.T) {
	level := nf.LevelStateful.Value()
	s := nf.Snapshot{Node: nf.NodeIdentity{Name: "hn-1"}, Capabilities: nf.Capabilities{Masks: true, Latches: nf.Yes, BucketStep: 512}, Modules: nf.Modules{Complete: true}}
	for i := range 10000 {
		s.Containers = append(s.Containers, nf.Container{Runtime: nf.RuntimeVZ, ID: fmt.Sprint(i), Name: fmt.Sprint("ct-", i), State: nf.StateRunning, Instance: "1", MaxScope: nf.ScopeOwn,
			Namespace: nf.Namespace{Facts: []nf.Fact{{Key: nf.KeyLevel, Live: level, Boot: &level}, {Key: nf.TimeoutKey("udp"), Live: nf.Number(int64(31 + i%1000))}}}})
	}
	s.AddKeepers()
	start := time.Now()
	if got := adopt.Nodes([]nf.Snapshot{s}, adopt.Options{}); len(got) != 1001 {
		t.Errorf("%d policies", len(got))
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}
