package diff

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"pgregory.net/rapid"
)

// clone is a deep copy, by way of the public format.
func clone(t interface{ Fatal(...any) }, s *nf.Snapshot) *nf.Snapshot {
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var c nf.Snapshot
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	c.SetKinds()
	return &c
}

// randomNode draws a node with a few modules that need each other, and
// containers whose limits are their own, the node's, or not known to be either.
func randomNode(t *rapid.T) *nf.Snapshot {
	s := mainline()
	if rapid.Bool().Draw(t, "virtuozzo") {
		s = virtuozzo()
	}
	s.Capabilities.LegacyTables = rapid.Bool().Draw(t, "legacy")
	s.Capabilities.BootFiles = rapid.Bool().Draw(t, "boot files")
	node := rapid.SampledFrom([]int64{0, 0, 1, 2, 3, 4, 5, 6}).Draw(t, "node max") * 100
	live(&s.Host, nf.KeyMax, nf.Number(node))
	live(&s.Host, nf.KeyBuckets, nf.Number(512*rapid.Int64Range(1, 4).Draw(t, "buckets")))
	s.Host.Count = nf.Number(rapid.Int64Range(0, 3).Draw(t, "node count") * 100)
	base := s.Containers[0]
	s.Containers = nil
	for i := range rapid.IntRange(0, 4).Draw(t, "containers") {
		c := base
		c.ID, c.Name, c.Instance = fmt.Sprintf("c%d", i), fmt.Sprintf("c%d", i), fmt.Sprintf("boot-1/c%d", i)
		c.Facts = slices.Clone(base.Facts)
		c.Rules, c.Tracking = &nf.Rules{}, &nf.Tracking{State: nf.TrackingOff}
		c.MaxScope = rapid.SampledFrom([]string{nf.ScopeOwn, nf.ScopeNode, nf.ScopeUnknown}).Draw(t, "scope")
		max := node
		if c.MaxScope == nf.ScopeOwn {
			max = rapid.Int64Range(0, 7).Draw(t, "max") * 100
		}
		setFact(&c.Namespace, nf.KeyMax, func(f *nf.Fact) { f.Live, f.ReadOnly = nf.Number(max), c.MaxScope == nf.ScopeNode })
		c.Count = nf.Number(rapid.Int64Range(0, 3).Draw(t, "count") * 100)
		if c.Runtime == nf.RuntimeVZ {
			randomVirtuozzo(t, s, &c)
		}
		if rapid.IntRange(0, 9).Draw(t, "blind") == 0 {
			c.Unobservable = "going away"
		}
		s.Containers = append(s.Containers, c)
	}
	if latches := rapid.SampledFrom([]string{nf.Yes, nf.Yes, nf.Yes, nf.No, nf.MaybeUnknown}).Draw(t, "latches"); s.Capabilities.Masks {
		s.Capabilities.Masks, s.Capabilities.Latches = latches == nf.Yes, latches
	}
	for i := range s.Containers {
		s.Containers[i].Keepers = nf.Keepers{}
	}
	s.AddKeepers()
	randomModules(t, s)
	return s
}

// randomModules makes a consistent state: what a loaded module needs is loaded.
func randomModules(t *rapid.T, s *nf.Snapshot) {
	list := s.Modules.List
	for i := range list {
		m := &list[i]
		m.Holders, m.Refs = nil, rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "refs")
		if m.State != nf.ModuleBuiltin {
			m.State = rapid.SampledFrom([]string{nf.ModuleLoaded, nf.ModuleUnloaded}).Draw(t, "state")
		}
		m.Barred = nf.Bar{}
		if rapid.IntRange(0, 9).Draw(t, "barred") == 0 {
			m.Barred = localConf
		}
	}
	for i := range list {
		for _, dep := range list[i].Deps {
			if d := module(s, dep); list[i].State == nf.ModuleLoaded {
				d.State = nf.ModuleLoaded
			}
		}
	}
	for i := range list {
		if list[i].State == nf.ModuleUnloaded {
			list[i].Refs = 0
			continue
		}
		list[i].Barred = nf.Bar{}
		for _, dep := range list[i].Deps {
			d := module(s, dep)
			d.Holders = append(d.Holders, list[i].Name)
			d.Refs++
		}
	}
	if module(s, "nf_conntrack").State == nf.ModuleUnloaded {
		dropConntrack(&s.Host)
		for i := range s.Containers {
			// What own limits they will have when it is loaded cannot be known.
			s.Containers[i].MaxScope = nf.ScopeNode
			dropConntrack(&s.Containers[i].Namespace)
		}
	}
}

func dropConntrack(n *nf.Namespace) {
	n.Facts = slices.DeleteFunc(slices.Clone(n.Facts), func(f nf.Fact) bool { return f.Key.Conntrack() && f.Boot == nil })
	for i := range n.Facts {
		if n.Facts[i].Key.Conntrack() { // a boot file outlives the module
			n.Facts[i].Live = nf.Absent()
		}
	}
	n.Count = nf.Absent()
}

func randomWants(t *rapid.T, s *nf.Snapshot) nf.Wants {
	var list []nf.Want
	add := func(w nf.Want) {
		if rapid.Bool().Draw(t, "wanted") {
			list = append(list, w)
		}
	}
	number := func(label string, most int64) nf.Value {
		return nf.Number(rapid.Int64Range(1, most).Draw(t, label) * 100)
	}
	level := func() nf.Value {
		return nf.Level(rapid.IntRange(int(nf.LevelDisabled), int(nf.LevelFull)).Draw(t, "level")).Value()
	}
	if rapid.Bool().Draw(t, "node range") {
		atLeast := rapid.Int64Range(1, 8).Draw(t, "node at least") * 100
		add(wantRange(nf.Node, nf.KeyMax, atLeast, rapid.SampledFrom([]int64{0, atLeast, 100000}).Draw(t, "node at most")))
	} else {
		add(want(nf.Node, nf.KeyMax, number("want node max", 8)))
	}
	add(want(nf.Node, nf.KeyBuckets, nf.Number(rapid.Int64Range(1, 3000).Draw(t, "want buckets"))))
	add(want(nf.Node, nf.KeyLevel, level()))
	add(want(nf.Node, nf.KeyAboveLevel, nf.Text(rapid.SampledFrom([]string{"keep", "unload"}).Draw(t, "above"))))
	for _, name := range []string{"ip_set", "iptable_filter", "ip_tables", "nf_conntrack", "nf_nat", "nft_ct", "nf_tables", "nfnetlink", "x_tables", "xt_u32"} {
		if rapid.IntRange(0, 3).Draw(t, "module") == 0 {
			add(wantModule(name, rapid.SampledFrom([]string{nf.ModuleLoaded, nf.ModuleUnloaded}).Draw(t, "want state"), nil))
		}
	}
	for i := range s.Containers {
		target := s.Containers[i].Target()
		if rapid.Bool().Draw(t, "range") {
			atLeast := rapid.Int64Range(1, 4).Draw(t, "at least") * 100
			add(wantRange(target, nf.KeyMax, atLeast, atLeast+rapid.Int64Range(0, 3).Draw(t, "width")*100))
		} else {
			add(want(target, nf.KeyMax, number("want max", 8)))
		}
		add(want(target, nf.TimeoutKey("udp"), number("want udp", 3)))
		w := want(target, nf.KeyLevel, level())
		w.Restart = rapid.SampledFrom([]nf.Restart{nf.RestartRefuse, nf.RestartStage, nf.RestartAllow, nf.RestartAllow}).Draw(t, "restart")
		add(w)
	}
	slices.SortStableFunc(list, func(a, b nf.Want) int { return a.Target.Compare(b.Target) })
	return nf.Wants{List: list, Restarts: randomRestarts(t)}
}

// settled marshals without what nobody wants back: the order of holders, and
// facts that say nothing.
func settled(t *rapid.T, s *nf.Snapshot) string {
	s.Host.Facts = slices.DeleteFunc(s.Host.Facts, func(f nf.Fact) bool { return f.Live.IsAbsent() && f.Boot == nil })
	for i := range s.Modules.List {
		slices.Sort(s.Modules.List[i].Holders)
	}
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := randomNode(t)
		w := randomWants(t, s)
		before := settled(t, s)
		p := Plan(w, s)
		if again := Plan(w, clone(t, s)); !reflect.DeepEqual(p, again) {
			t.Fatalf("not deterministic:\n%+v\n%+v", p, again)
		}
		if settled(t, s) != before {
			t.Fatal("planning changed its input")
		}
		checkAnsweredOnce(t, w, s, p)
		checkNoDeadlock(t, s, p)
		o, made := checkPrefixes(t, newOracle(t, s, w), p)
		checkLaps(t, w, p, o)
		checkUndo(t, newOracle(t, s, w), s, made)
	})
}

// checkAnsweredOnce: each want is in sync, a change, a refusal or pending, and
// no key of a layer is answered twice.
func checkAnsweredOnce(t *rapid.T, w nf.Wants, s *nf.Snapshot, p nf.Plan) {
	type answer struct {
		ref
		layer nf.Layer
	}
	seen := map[answer]int{}
	answered := map[ref]bool{}
	note := func(t nf.Target, k nf.Key, l nf.Layer) {
		seen[answer{ref{t, k}, l}]++
		answered[ref{t, k}] = true
	}
	for _, c := range p.Changes {
		if c.Intermediate {
			continue
		}
		key := c.Key
		if key == nf.KeyRestart {
			key = nf.KeyLevel
		}
		note(c.Target, key, c.Layer)
	}
	for _, r := range p.Refusals {
		note(r.Target, r.Key, r.Layer)
	}
	for _, q := range p.Pending {
		note(q.Target, q.Key, nf.LayerLive)
	}
	for _, i := range p.InSync {
		note(i.Target, i.Key, nf.LayerLive)
	}
	for a, n := range seen {
		if n != 1 {
			t.Fatalf("%v is answered %d times", a, n)
		}
	}
	for _, want := range w.List {
		if want.Key != nf.KeyAboveLevel && !answered[ref{want.Target, want.Key}] {
			t.Fatalf("%s of %s is not answered", want.Key, want.Target)
		}
	}
}

// checkNoDeadlock: the limits of the node and of its containers are not refused only because
// of each other, if both ends are allowed.
func checkNoDeadlock(t *rapid.T, s *nf.Snapshot, p nf.Plan) {
	refused := map[nf.Target]nf.Refusal{}
	for _, r := range p.Refusals {
		if r.Key == nf.KeyMax && r.Layer == nf.LayerLive {
			refused[r.Target] = r
		}
	}
	node, ok := refused[nf.Node]
	if !ok || node.Code != nf.BelowContainer {
		return
	}
	limit, _ := node.To.Number()
	for i := range s.Containers {
		c := &s.Containers[i]
		if n, _ := c.Fact(nf.KeyMax).Live.Number(); n <= limit || c.MaxScope == nf.ScopeNode || !nf.Runs(c.State) {
			continue
		}
		r, ok := refused[c.Target()]
		to, _ := r.To.Number()
		if entries, known := c.Count.Number(); !ok || r.Code != nf.AboveNode || to > limit || known && to > 0 && entries > to {
			return // it stays above the node, also if only its entries keep it there
		}
	}
	t.Fatalf("neither the node nor its containers can move: %v", answers(p))
}

// checkPrefixes makes the changes of a plan, and returns those that were made. Changes of
// ranges are decided as apply decides them; only these may be refused at the last moment.
func checkPrefixes(t *rapid.T, o oracle, p nf.Plan) (oracle, []nf.Change) {
	world := NewWorld(o.Snapshot)
	var made []nf.Change
	decided := map[ref]nf.Change{}
	for i, c := range p.Changes {
		if c.Range.IsRange() {
			if c = decide(world, decided, c); c.From == c.To || world.Check(c) != nil {
				continue
			}
		}
		made = append(made, c)
		if r := world.Check(c); r != nil {
			t.Fatalf("change %d (%s of %s) is not allowed any more: %s %s", i, c.Key, c.Target, r.Code, r.Reason)
		}
		if err := o.take(c); err != nil {
			t.Fatalf("change %d of %v is not safe: %v", i, answers(p), err)
		}
		if !world.InSync(c) && !(c.Key == nf.KeyRestart && o.stubborn[c.Target]) {
			t.Fatalf("change %d (%s to %s) does not read back as made", i, c.Key, c.To)
		}
	}
	return o, made
}

// decide decides a change of a range: the boot value by what became of the live one.
func decide(w *World, decided map[ref]nf.Change, c nf.Change) nf.Change {
	at := ref{c.Target, c.Key}
	if c.Layer == nf.LayerLive {
		decided[at] = w.Decide(c)
		return decided[at]
	}
	if c.To = decided[at].To; decided[at].From == decided[at].To {
		c.To = c.From
	}
	return c
}

// checkUndo: taking back all that can be taken back restores the machine.
func checkUndo(t *rapid.T, o oracle, s *nf.Snapshot, made []nf.Change) {
	var done []nf.Change
	for _, c := range made {
		if state, _, _ := c.To.Module(); c.OneWay || c.Disruptive || c.Layer == nf.LayerBoot && state == nf.ModuleUnloaded {
			continue // what is kept, and what is saved after it
		}
		if err := o.take(c); err != nil {
			t.Fatal(err)
		}
		done = append(done, c)
	}
	for _, c := range slices.Backward(done) {
		if c.From.IsAbsent() && c.Layer == nf.LayerLive {
			continue // the key goes with its module
		}
		c.From, c.To = c.To, c.From
		if name, ok := c.Key.Module(); ok && c.Layer == nf.LayerBoot {
			module(o.Snapshot, name).Boot = bootPointer(c.To)
			continue
		} else if ok {
			if name == "nf_conntrack" {
				dropConntrack(&o.Host)
				for i := range o.Containers {
					dropConntrack(&o.Containers[i].Namespace)
				}
			}
			o.unload(module(o.Snapshot, name))
			continue
		}
		n, _, _ := o.Find(c.Target)
		if c.Layer == nf.LayerBoot {
			setFact(n, c.Key, func(f *nf.Fact) { f.Boot = bootPointer(c.To) })
			continue
		}
		live(n, c.Key, c.To)
		if c.Target.IsNode() && c.Key == nf.KeyMax {
			for i := range o.Containers {
				if o.Containers[i].MaxScope == nf.ScopeNode && !o.Containers[i].Fact(nf.KeyMax).Live.IsAbsent() {
					live(&o.Containers[i].Namespace, nf.KeyMax, c.To)
				}
			}
		}
	}
	if got, want := settled(t, o.Snapshot), settled(t, clone(t, s)); got != want {
		t.Fatalf("undo does not restore\n got %s\nwant %s", got, want)
	}
}

// Every list of a plan is a list, however little there is to say: a receipt
// and a saved plan are read by others.
func TestEmptyPlanHasItsLists(t *testing.T) {
	p := Plan(nf.Wants{}, mainline())
	if p.Changes == nil || p.Refusals == nil || p.Pending == nil || p.Warnings == nil {
		t.Errorf("%+v", p)
	}
}

func TestPlanID(t *testing.T) {
	base := func(edits ...edit) string {
		return Plan(wants(want(nf.Node, nf.KeyMax, nf.Number(300000)), want(netns("web"), nf.KeyMax, nf.Number(5))), mainline(edits...)).ID
	}
	moved := want(nf.Node, nf.KeyMax, nf.Number(300000))
	moved.Source.Line = 99
	if got := Plan(wants(moved, want(netns("web"), nf.KeyMax, nf.Number(5))), mainline()).ID; got != base() {
		t.Error("the line of a policy counts")
	}
	for name, e := range map[string]edit{
		"the number of entries": func(s *nf.Snapshot) { container(s, "web").Count = nf.Number(7) },
		"the time":              func(s *nf.Snapshot) { s.TakenAt = time.Unix(1, 0) },
		"another value":         func(s *nf.Snapshot) { live(&s.Host, nf.KeyExpectMax, nf.Number(7)) },
	} {
		if base(e) != base() {
			t.Errorf("%s counts", name)
		}
	}
	for name, e := range map[string]edit{
		"a from value":       func(s *nf.Snapshot) { live(&s.Host, nf.KeyMax, nf.Number(7)) },
		"a container's life": func(s *nf.Snapshot) { container(s, "web").Instance = "boot-1/web-again" },
		"the node's life":    func(s *nf.Snapshot) { s.BootID = "boot-2" },
		"a verdict":          func(s *nf.Snapshot) { s.Capabilities.Denied = map[string]string{nf.AbilityNode: "no"} },
	} {
		if base(e) == base() {
			t.Errorf("%s does not count", name)
		}
	}
}

func TestCause(t *testing.T) {
	wanted := want(netns("web"), nf.TimeoutKey("udp"), nf.Number(60))
	remember := func(asked int64, instance string) edit {
		return func(s *nf.Snapshot) {
			s.Memory.Keys = []nf.MemoryKey{{Target: nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: "web", Name: "old-name"},
				Key: wanted.Key, Asked: nf.Exactly(nf.Number(asked)), Instance: instance}}
		}
	}
	for _, test := range []struct {
		edit  edit
		cause nf.Cause
	}{
		{func(*nf.Snapshot) {}, nf.CauseNew},
		{remember(30, "boot-0/web"), nf.CausePolicy},
		{remember(60, "boot-0/web"), nf.CauseRestart},
		{remember(60, "boot-1/web"), nf.CauseDrift},
	} {
		p := Plan(wants(wanted), mainline(test.edit))
		if len(p.Changes) != 1 || p.Changes[0].Cause != test.cause {
			t.Errorf("cause %v, want %s", p.Changes, test.cause)
		}
	}
}

func TestModulesAboveLevel(t *testing.T) {
	above := want(nf.Node, nf.KeyAboveLevel, nf.Text("unload"))
	stateless := want(nf.Node, nf.KeyLevel, nf.LevelStateless.Value())
	unloads := []string{"change node module/nft_ct", "change node module/nf_conntrack"}
	for _, test := range []struct {
		name   string
		edit   edit
		wants  []nf.Want
		expect []string
	}{
		{"nobody needs more", func(*nf.Snapshot) {}, []nf.Want{stateless, above}, unloads},
		{"a container wants more", func(*nf.Snapshot) {}, []nf.Want{stateless, above, want(netns("web"), nf.KeyLevel, nf.LevelStateful.Value())}, nil},
		{"a container has more", withRules("web", nf.LevelStateful), []nf.Want{stateless, above}, nil},
		{"what a container has is unknown", func(s *nf.Snapshot) { live(&s.Containers[0].Namespace, nf.KeyLevel, nf.Unknown("EPERM")) }, []nf.Want{stateless, above}, nil},
		{"a broken runtime hides what containers have", broken, []nf.Want{stateless, above}, nil},
		{"keep", func(*nf.Snapshot) {}, []nf.Want{stateless, want(nf.Node, nf.KeyAboveLevel, nf.Text("keep"))}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := answers(Plan(wants(test.wants...), mainline(test.edit))); !slices.Equal(got, test.expect) {
				t.Errorf("got %q, want %q", got, test.expect)
			}
		})
	}
}

func TestRanges(t *testing.T) {
	for _, test := range []struct {
		key             nf.Key
		have            int64
		atLeast, atMost int64
		to              nf.Value // absent: in sync
	}{
		{nf.KeyExpectMax, 100, 200, 300, nf.Number(200)},
		{nf.KeyExpectMax, 400, 200, 300, nf.Number(300)},
		{nf.KeyExpectMax, 250, 200, 300, nf.Absent()},
		{nf.KeyExpectMax, 400, 200, 0, nf.Absent()},
		{nf.KeyExpectMax, 100, 0, 300, nf.Absent()},
		{nf.KeyMax, 0, 200, 0, nf.Absent()},         // no limit is at least anything
		{nf.KeyMax, 0, 0, 300, nf.Number(300)},      // and not at most anything
		{nf.KeyBuckets, 1024, 0, 1000, nf.Absent()}, // 1000 is kept as 1024
		{nf.KeyBuckets, 1024, 1025, 0, nf.Number(1025)},
	} {
		s := mainline(func(s *nf.Snapshot) { live(&s.Host, test.key, nf.Number(test.have)) })
		p := Plan(wants(wantRange(nf.Node, test.key, test.atLeast, test.atMost)), s)
		got := nf.Absent()
		if len(p.Changes) == 1 {
			got = p.Changes[0].To
		}
		if got != test.to || len(p.Refusals) > 0 {
			t.Errorf("%s %d in %d..%d: to %s, want %s (%v)", test.key, test.have, test.atLeast, test.atMost, got, test.to, p.Refusals)
		}
	}
}

// TestCauseComparesWishes: the policy is the cause where the wishes differ, and
// only there, whatever people read of them.
func TestCauseComparesWishes(t *testing.T) {
	wish := rapid.Custom(func(t *rapid.T) nf.Wish {
		n := rapid.Int64Range(1, 3).Draw(t, "number")
		return rapid.SampledFrom([]nf.Wish{
			nf.Exactly(nf.Number(n)), {AtLeast: n}, {AtMost: n}, {AtLeast: n, AtMost: 3},
			nf.Exactly(nf.Text(nf.Number(n).String())), nf.Exactly(nf.Text(nf.Wish{AtLeast: n}.String())),
		}).Draw(t, "wish")
	})
	rapid.Check(t, func(t *rapid.T) {
		was, now := wish.Draw(t, "was"), want(nf.Node, nf.KeyMax, nf.Absent())
		now.Wish = wish.Draw(t, "now")
		s := mainline(func(s *nf.Snapshot) {
			s.Memory.Keys = []nf.MemoryKey{{Target: nf.Node, Key: nf.KeyMax, Asked: was, Instance: s.BootID}}
		})
		if cause := NewWorld(s).cause(&now); (cause == nf.CauseDrift) != (was == now.Wish) {
			t.Fatalf("%#v, then %#v: the cause is %s", was, now.Wish, cause)
		}
	})
}

// TestParameterWithSpaces: what the kernel shows for one parameter says nothing
// of another.
func TestParameterWithSpaces(t *testing.T) {
	s := mainline(func(s *nf.Snapshot) {
		m := module(s, "nf_conntrack")
		m.State, m.Parameters = nf.ModuleLoaded, map[string]nf.Parameter{"note": {Value: "a acct=1"}, "acct": {Value: "0"}}
	})
	p := Plan(wants(wantModule("nf_conntrack", nf.ModuleLoaded, map[string]string{"acct": "1", "note": "a acct=1"})), s)
	from := nf.Module(nf.ModuleLoaded, map[string]string{"acct": "0", "note": "a acct=1"})
	if i := slices.IndexFunc(p.Refusals, func(r nf.Refusal) bool { return r.Layer == nf.LayerLive }); i < 0 || p.Refusals[i].From != from {
		t.Errorf("want a refusal from %v: %+v", from, p)
	}
}
