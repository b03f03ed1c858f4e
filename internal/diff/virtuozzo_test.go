package diff

import (
	"slices"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// second is the edit that adds a container 102 like 101, but for these edits of
// the container.
func second(edits ...func(*nf.Container)) edit {
	return func(s *nf.Snapshot) {
		c := s.Containers[0]
		c.ID, c.Name, c.Instance = "102", "web-2", "boot-1/102/4712"
		c.Facts = slices.Clone(c.Facts)
		for _, e := range edits {
			e(&c)
		}
		s.Containers = append(s.Containers, c)
	}
}

var vz102 = nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeVZ, ID: "102", Name: "web-2"}

// stopped makes a container one that has no namespace.
func stopped(c *nf.Container) {
	level := c.Fact(nf.KeyLevel)
	level.Live = nf.Absent()
	c.State, c.Instance, c.MaxScope = nf.StateStopped, nf.InstanceStopped, ""
	c.Namespace = nf.Namespace{Facts: []nf.Fact{level}}
}

func suspended(c *nf.Container) {
	level := c.Fact(nf.KeyLevel)
	c.State, c.Instance, c.MaxScope = nf.StateSuspended, nf.InstanceSuspended, ""
	c.Namespace = nf.Namespace{Facts: []nf.Fact{level}}
}

func first(e func(*nf.Container)) edit { return func(s *nf.Snapshot) { e(&s.Containers[0]) } }

func masks(seen bool, latches string) edit {
	return func(s *nf.Snapshot) { s.Capabilities.Masks, s.Capabilities.Latches = seen, latches }
}

func nodeMax(n int64) edit { return func(s *nf.Snapshot) { live(&s.Host, nf.KeyMax, nf.Number(n)) } }

func maxOf(c *nf.Container, n int64) { live(&c.Namespace, nf.KeyMax, nf.Number(n)) }

func level(t nf.Target, l nf.Level, r nf.Restart) nf.Want {
	return restart(want(t, nf.KeyLevel, l.Value()), r)
}

// Each row is a Virtuozzo node at work, with every answer of the plan.
var virtuozzoTests = []struct {
	name   string
	source string
	snap   *nf.Snapshot
	wants  []nf.Want
	expect []string
}{
	// what cannot be determined or does not exist
	{"no container runs, and no tool knows levels", "the ve cgroup of a container is removed when it stops",
		virtuozzo(masks(false, nf.MaybeUnknown), first(stopped)), []nf.Want{level(vz101, nf.LevelStateless, nf.RestartAllow)}, []string{"unobservable 101 level"}},
	{"VHS 9: once for the level, limits go on", "kernel/ve/ve.c of VHS 9 has no iptables_mask",
		virtuozzo(masks(false, nf.No), func(s *nf.Snapshot) {
			live(&s.Containers[0].Namespace, nf.KeyLevel, nf.Unknown("no ve.iptables_mask"))
		}),
		[]nf.Want{level(vz101, nf.LevelStateless, nf.RestartAllow), want(vz101, nf.KeyMax, nf.Number(1000))},
		[]string{"change 101 conntrack.max", "level-unsupported 101 level"}},
	{"VHS 9: also where the saved level is the wanted one", "NETFILTER= is no key of config_param_map on VHS 9",
		virtuozzo(masks(false, nf.No), levels(nf.LevelStateful, nf.LevelStateful), first(stopped)), []nf.Want{level(vz101, nf.LevelStateful, nf.RestartRefuse)}, []string{"level-unsupported 101 level"}},
	{"a container that cannot be looked into is left alone in both layers", "namespaces(7)",
		virtuozzo(func(s *nf.Snapshot) { s.Containers[0].Unobservable = "no network namespace of its own" }),
		[]nf.Want{level(vz101, nf.LevelStateless, nf.RestartStage), want(vz101, nf.KeyMax, nf.Number(5))},
		[]string{"unobservable 101 conntrack.max", "unobservable 101 level"}},
	{"so is every key of one in transition", "prlctl(8) states",
		virtuozzo(state("starting")), []nf.Want{level(vz101, nf.LevelStateful, nf.RestartStage), want(vz101, nf.TimeoutKey("udp"), nf.Number(5))},
		[]string{"unobservable 101 conntrack.timeouts.udp", "unobservable 101 level"}},
	{"its configuration was not read", "absence of evidence",
		virtuozzo(first(stopped), func(s *nf.Snapshot) { s.Containers[0].Facts = []nf.Fact{} }), []nf.Want{level(vz101, nf.LevelStateful, nf.RestartRefuse)},
		[]string{"boot unobservable 101 level"}},
	{"conflicting levels are a conflict, whatever the state", "the policy format",
		virtuozzo(first(suspended), second(stopped)),
		[]nf.Want{rival(level(vz101, nf.LevelFull, nf.RestartStage), nf.LevelStateful.Value()), rival(level(vz102, nf.LevelFull, nf.RestartStage), nf.LevelStateful.Value())},
		[]string{"conflict 101 level", "conflict 102 level"}},
	{"without privilege nothing is saved, and nothing waits", "capabilities(7)",
		virtuozzo(denied(nf.AbilityContainers)), []nf.Want{level(vz101, nf.LevelStateless, nf.RestartStage)},
		[]string{"not-permitted 101 level", "boot not-permitted 101 level"}},
	{"what is saved needs no privilege to wait", "restart: stage",
		virtuozzo(denied(nf.AbilityContainers), levels(nf.LevelFull, nf.LevelStateless)), []nf.Want{level(vz101, nf.LevelStateless, nf.RestartStage)},
		[]string{"pending 101 level"}},
	{"a restart needs it", "capabilities(7)",
		virtuozzo(denied(nf.AbilityContainers), levels(nf.LevelFull, nf.LevelStateless)), []nf.Want{level(vz101, nf.LevelStateless, nf.RestartAllow)},
		[]string{"not-permitted 101 level"}},

	// latching
	{"a namespace by name on a kernel that latches", "net->ct.can_alloc is per namespace, whoever made it",
		virtuozzo(func(s *nf.Snapshot) {
			s.Containers = []nf.Container{space("web")}
			withRules("web", nf.LevelStateful)(s)
			container(s, "web").Tracking.State = nf.TrackingOn
		}), []nf.Want{want(netns("web"), nf.KeyLevel, nf.LevelStateless.Value())}, []string{"conntrack-latched web level"}},
	{"tracking that was seen on before the rules went", "nothing clears can_alloc",
		virtuozzo(levels(nf.LevelFull, nf.LevelFull), func(s *nf.Snapshot) {
			s.Memory.Latches = []nf.Latch{{Target: vz101.Nameless(), Instance: "boot-1/101/4711"}}
		}), []nf.Want{level(vz101, nf.LevelDisabled, nf.RestartRefuse)}, []string{"conntrack-latched 101 level"}},
	{"raising keeps conntrack", "ve.iptables_mask: EBUSY",
		virtuozzo(levels(nf.LevelStateful, nf.LevelStateful), tracking(nf.TrackingOn)), []nf.Want{level(vz101, nf.LevelFull, nf.RestartRefuse)},
		[]string{"change node module/nf_nat", "restart-required 101 level"}},

	// keys of containers that have no namespace now
	{"limits and timeouts of a stopped container wait", "a namespace is made at the start",
		virtuozzo(first(stopped)), []nf.Want{want(vz101, nf.KeyMax, nf.Number(5)), want(vz101, nf.TimeoutKey("udp"), nf.Number(5))},
		[]string{"pending 101 conntrack.max", "pending 101 conntrack.timeouts.udp"}},
	{"so do those of a suspended one", "resuming makes a new namespace",
		virtuozzo(first(suspended)), []nf.Want{want(vz101, nf.KeyMax, nf.Number(5))}, []string{"pending 101 conntrack.max"}},
	{"their conflicts do not", "the policy format",
		virtuozzo(first(stopped)), []nf.Want{rival(want(vz101, nf.KeyMax, nf.Number(5)), nf.Number(6))}, []string{"conflict 101 conntrack.max"}},

	// limits
	{"stopped and suspended containers cap nothing", "net->ct.max is of a namespace",
		virtuozzo(first(stopped), second(suspended)), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(1000))}, []string{"change node conntrack.max"}},
	{"whatever of them cannot be read", "net->ct.max is of a namespace",
		virtuozzo(first(stopped), func(s *nf.Snapshot) { s.Containers[0].Unobservable = "cannot read its ve.conf" }),
		[]nf.Want{want(nf.Node, nf.KeyMax, nf.Number(1000))}, []string{"change node conntrack.max"}},
	{"one that starts may have the node's limit of before", "net->ct.max = init_net.ct.max at creation",
		virtuozzo(state("starting")), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(1000))}, []string{"unobservable node conntrack.max"}},
	{"an unknown limit of one", "the container keeps its own",
		virtuozzo(func(s *nf.Snapshot) { live(&s.Containers[0].Namespace, nf.KeyMax, nf.Unknown("EIO")) }),
		[]nf.Want{want(nf.Node, nf.KeyMax, nf.Number(1000))}, []string{"unobservable node conntrack.max"}},
	{"an unknown number of entries of one", "ct_max = net->ct.max ? net->ct.max : init_net.ct.max",
		virtuozzo(func(s *nf.Snapshot) { s.Containers[0].Count = nf.Unknown("EIO") }),
		[]nf.Want{want(nf.Node, nf.KeyMax, nf.Number(1000))}, []string{"unobservable node conntrack.max"}},
	{"the node's limit holds for a container at 0", "ct_max = net->ct.max ? net->ct.max : init_net.ct.max",
		virtuozzo(first(func(c *nf.Container) { maxOf(c, 0); c.Count = nf.Number(700) })),
		[]nf.Want{want(nf.Node, nf.KeyMax, nf.Number(500))}, []string{"below-count node conntrack.max"}},
	{"it does not hold for one that has its own", "ct_max = net->ct.max ? net->ct.max : init_net.ct.max",
		virtuozzo(first(func(c *nf.Container) { maxOf(c, 400); c.Count = nf.Number(700) })),
		[]nf.Want{want(nf.Node, nf.KeyMax, nf.Number(500))}, []string{"change node conntrack.max"}},
	{"a container at 0 meets what the node's value meets", "0 is the node's value",
		virtuozzo(first(func(c *nf.Container) { maxOf(c, 0) })), []nf.Want{want(vz101, nf.KeyMax, nf.Number(262144))}, nil},
	{"a limit of its own for one at 0 goes down, to no less than its entries", "__nf_conntrack_alloc",
		virtuozzo(first(func(c *nf.Container) { maxOf(c, 0); c.Count = nf.Number(700) })), []nf.Want{want(vz101, nf.KeyMax, nf.Number(500))}, []string{"below-count 101 conntrack.max"}},
	{"a node at 0 takes no limit for any container", "extra2 is 0: EINVAL",
		virtuozzo(nodeMax(0), second()), []nf.Want{want(vz101, nf.KeyMax, nf.Number(1000)), want(vz102, nf.KeyMax, nf.Number(300000))},
		[]string{"above-node 101 conntrack.max", "above-node 102 conntrack.max"}},
	{"nor for a namespace by name, on that kernel", "extra2 is 0: EINVAL",
		virtuozzo(nodeMax(0), func(s *nf.Snapshot) { s.Containers = []nf.Container{space("web")} }, ownMax("web", nf.ScopeOwn)),
		[]nf.Want{want(netns("web"), nf.KeyMax, nf.Number(5))}, []string{"above-node web conntrack.max"}},
	{"a node at 0 that gets a limit comes first", "extra2 is init_net.ct.max, as it is at the write",
		virtuozzo(nodeMax(0)), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(300000)), want(vz101, nf.KeyMax, nf.Number(1000))},
		[]string{"change node conntrack.max", "change 101 conntrack.max"}},
	{"a container that has a limit of 0's time stays above no new one", "checked at the container's write only",
		virtuozzo(nodeMax(0), first(func(c *nf.Container) { maxOf(c, 400000) })), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(300000))},
		[]string{"below-container node conntrack.max"}},
	{"raising the node reaches no running container by itself", "net->ct.max is a copy of the creation's time",
		virtuozzo(second()), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(300000)), want(vz101, nf.KeyMax, nf.Number(300000)), want(vz102, nf.KeyMax, nf.Number(280000))},
		[]string{"change node conntrack.max", "change 101 conntrack.max", "change 102 conntrack.max"}},
	{"lowering goes the other way", "checked at the container's write only",
		virtuozzo(second()), []nf.Want{want(nf.Node, nf.KeyMax, nf.Number(1000)), want(vz101, nf.KeyMax, nf.Number(1000)), want(vz102, nf.KeyMax, nf.Number(500))},
		[]string{"change 101 conntrack.max", "change 102 conntrack.max", "change node conntrack.max"}},

	// restarts come last, one target at a time, the first in order
	{"after all that can be undone", "one-way and disruptive steps last",
		virtuozzo(second()), []nf.Want{level(vz101, nf.LevelStateless, nf.RestartAllow), want(vz101, nf.TimeoutKey("udp"), nf.Number(5)), want(vz102, nf.TimeoutKey("udp"), nf.Number(5))},
		[]string{"change 101 conntrack.timeouts.udp", "boot change 101 level", "change 102 conntrack.timeouts.udp", "change 101 restart"}},
	{"a mask that cannot be saved again is replaced last before the restart", "IPTABLES=",
		virtuozzo(second(), func(s *nf.Snapshot) { boot(&s.Containers[0].Namespace, nf.KeyLevel, levelValue(customPlain)) }),
		[]nf.Want{level(vz101, nf.LevelStateless, nf.RestartAllow), want(vz101, nf.TimeoutKey("udp"), nf.Number(5)), want(vz102, nf.TimeoutKey("udp"), nf.Number(5))},
		[]string{"change 101 conntrack.timeouts.udp", "change 102 conntrack.timeouts.udp", "boot change 101 level", "change 101 restart"}},
	{"one a run", "maxRestarts, default 1",
		virtuozzo(second()), []nf.Want{level(vz101, nf.LevelStateless, nf.RestartAllow), level(vz102, nf.LevelStateless, nf.RestartAllow)},
		[]string{"boot change 101 level", "boot change 102 level", "change 101 restart", "pending 102 level"}},
	{"what is refused does not use it up", "maxRestarts, default 1",
		virtuozzo(second(), func(s *nf.Snapshot) {
			boot(&s.Containers[0].Namespace, nf.KeyLevel, nf.Unknown("EIO"))
		}), []nf.Want{level(vz101, nf.LevelStateless, nf.RestartAllow), level(vz102, nf.LevelStateless, nf.RestartAllow)},
		[]string{"boot change 102 level", "change 102 restart", "conntrack-latched 101 level", "boot unobservable 101 level"}},
	{"nor does one that is paused, or had its restart", "maxRestarts, default 1",
		virtuozzo(second(), state("paused")), []nf.Want{level(vz101, nf.LevelStateless, nf.RestartAllow), level(vz102, nf.LevelStateless, nf.RestartAllow)},
		[]string{"boot change 101 level", "boot change 102 level", "change 102 restart", "pending 101 level"}},
}

func TestVirtuozzo(t *testing.T) {
	for _, test := range virtuozzoTests {
		t.Run(test.name, func(t *testing.T) {
			p := Plan(wants(test.wants...), test.snap)
			if got := answers(p); !slices.Equal(got, test.expect) {
				t.Errorf("answers (source: %s)\n got %q\nwant %q\n%+v", test.source, got, test.expect, p.Refusals)
			}
			for _, q := range p.Pending {
				if (q.Until == nf.UntilContainerStart) == (q.Key == nf.KeyLevel) {
					t.Errorf("%s waits for %s", q.Key, q.Until)
				}
			}
		})
	}
}

func TestRestartBounds(t *testing.T) {
	s := virtuozzo(second(), levels(nf.LevelFull, nf.LevelStateless))
	list := []nf.Want{level(vz101, nf.LevelStateless, nf.RestartAllow), level(vz102, nf.LevelStateless, nf.RestartAllow)}
	for _, test := range []struct {
		bounds   nf.Restarts
		restarts int
		reason   string
	}{
		{nf.Restarts{}, 1, "at most 1 container"},
		{nf.Restarts{Max: 1}, 1, "at most 1 container"},
		{nf.Restarts{Max: 2}, 2, ""},
		{nf.Restarts{Max: 9}, 2, ""},
		{nf.Restarts{Max: 2, Held: "outside the restart window"}, 0, "outside the restart window"},
	} {
		p := Plan(nf.Wants{List: list, Restarts: test.bounds}, s)
		restarts := 0
		for _, c := range p.Changes {
			if c.Key == nf.KeyRestart {
				restarts++
				if c.From != nf.LevelFull.Value() || c.To != nf.LevelStateless.Value() || c.Layer != nf.LayerLive || !c.OneWay || !c.Disruptive || c.Asked != nf.Exactly(nf.LevelStateless.Value()) {
					t.Errorf("%+v", c)
				}
			}
		}
		if restarts != test.restarts || restarts+len(p.Pending) != 2 || len(p.Refusals) > 0 {
			t.Errorf("%+v: %v", test.bounds, answers(p))
		}
		for _, q := range p.Pending {
			if !strings.Contains(q.Reason, test.reason) {
				t.Errorf("%+v: %s waits because %q", test.bounds, q.Target, q.Reason)
			}
		}
	}
	// The bounds are no part of the plan's id but for what they change.
	if id := Plan(nf.Wants{List: list, Restarts: nf.Restarts{Max: 2}}, s).ID; id != Plan(nf.Wants{List: list, Restarts: nf.Restarts{Max: 3}}, s).ID || id == Plan(nf.Wants{List: list}, s).ID {
		t.Error("the id is not that of what is planned")
	}
}

// TestOneRestartAWant: an entry of memory for an earlier instance forbids a
// second restart for the same want; one for the instance that still runs was
// never made.
func TestOneRestartAWant(t *testing.T) {
	allow := level(vz101, nf.LevelStateless, nf.RestartAllow)
	renamed := nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeVZ, ID: "101", Name: "old-name"}
	for name, test := range map[string]struct {
		done   []nf.RestartDone
		expect string
	}{
		"never":                            {nil, "change 101 restart"},
		"of an earlier instance":           {[]nf.RestartDone{{Target: renamed, Asked: nf.Exactly(nf.LevelStateless.Value()), Instance: "boot-1/101/17"}}, "restart-required 101 level"},
		"of before a node's restart":       {[]nf.RestartDone{{Target: renamed, Asked: nf.Exactly(nf.LevelStateless.Value()), Instance: "boot-0/101/4711"}}, "restart-required 101 level"},
		"that was not made":                {[]nf.RestartDone{{Target: renamed, Asked: nf.Exactly(nf.LevelStateless.Value()), Instance: "boot-1/101/4711"}}, "change 101 restart"},
		"for another level":                {[]nf.RestartDone{{Target: renamed, Asked: nf.Exactly(nf.LevelFull.Value()), Instance: "boot-1/101/17"}}, "change 101 restart"},
		"for a text that reads so":         {[]nf.RestartDone{{Target: renamed, Asked: nf.Exactly(nf.Module("stateless", nil)), Instance: "boot-1/101/17"}}, "change 101 restart"},
		"of another container":             {[]nf.RestartDone{{Target: vz102, Asked: nf.Exactly(nf.LevelStateless.Value()), Instance: "boot-1/101/17"}}, "change 101 restart"},
		"of the container that had its id": {[]nf.RestartDone{{Target: renamed, UUID: "aa", Asked: nf.Exactly(nf.LevelStateless.Value()), Instance: "boot-1/101/17"}}, "change 101 restart"},
	} {
		s := virtuozzo(levels(nf.LevelFull, nf.LevelStateless), func(s *nf.Snapshot) { s.Containers[0].UUID, s.Memory.Restarts = "bb", test.done })
		p := Plan(wants(allow), s)
		if got := answers(p); !slices.Equal(got, []string{test.expect}) {
			t.Errorf("a restart %s: %q", name, got)
		}
		if len(p.Refusals) == 1 && (!strings.Contains(p.Refusals[0].Reason, "once for this want") || !strings.Contains(p.Refusals[0].Reason, "full")) {
			t.Errorf("a restart %s: %s", name, p.Refusals[0].Reason)
		}
		change := Plan(wants(allow), virtuozzo(levels(nf.LevelFull, nf.LevelStateless))).Changes[0]
		if r := NewWorld(s).Check(change); (r == nil) != (test.expect == "change 101 restart") {
			t.Errorf("a restart %s: just before it, %+v", name, r)
		}
	}
}

// TestRestartedReasons: the refusal says no more of the one restart than was seen of it.
func TestRestartedReasons(t *testing.T) {
	const now = "boot-1/101/4711"
	allow := level(vz101, nf.LevelStateless, nf.RestartAllow)
	for name, test := range map[string]struct {
		state, became string
		level         nf.Level
		reason        string
	}{
		"an older nfsync":             {"", "", 0, "has restarted the container once for this want, and its level is full"},
		"begun":                       {nf.RestartBegun, "", 0, "had begun to restart the container for this want, and did not see it run again"},
		"made, and not brought":       {nf.RestartMade, now, nf.LevelFull, "has restarted the container once for this want, and its level is full"},
		"made, and set back":          {nf.RestartMade, "boot-1/101/18", nf.LevelStateless, "which brought the level stateless live; it was restarted or resumed since, which was not nfsync, and its level is full"},
		"made, and restarted by hand": {nf.RestartMade, "boot-1/101/18", nf.LevelStateful, "after which its level was stateful; it was restarted or resumed since"},
	} {
		done := nf.RestartDone{Target: vz101, Asked: nf.Exactly(nf.LevelStateless.Value()), Instance: "boot-1/101/17", State: test.state, Became: test.became}
		if test.state == nf.RestartMade {
			done.Level = test.level.Value()
		}
		p := Plan(wants(allow), virtuozzo(levels(nf.LevelFull, nf.LevelStateless), func(s *nf.Snapshot) { s.Memory.Restarts = []nf.RestartDone{done} }))
		if len(p.Refusals) != 1 || p.Refusals[0].Code != nf.RestartRequired || !strings.Contains(p.Refusals[0].Reason, test.reason) {
			t.Errorf("%s: %+v", name, p.Refusals)
		}
	}
}

// TestRestartAtTheLastMoment: what moved since the plan keeps a restart from
// being made.
func TestRestartAtTheLastMoment(t *testing.T) {
	allow := level(vz101, nf.LevelStateless, nf.RestartAllow)
	for name, test := range map[string]struct {
		edit edit
		code nf.Code
	}{
		"nothing moved":       {func(*nf.Snapshot) {}, ""},
		"paused":              {state("paused"), nf.RestartRequired},
		"in transition":       {state("stopping"), nf.Unobservable},
		"cannot be seen":      {func(s *nf.Snapshot) { s.Containers[0].Unobservable = "EIO" }, nf.Unobservable},
		"another level saved": {levels(nf.LevelFull, nf.LevelStateful), nf.RestartRequired},
		"the live one hidden": {func(s *nf.Snapshot) { live(&s.Containers[0].Namespace, nf.KeyLevel, nf.Unknown("EIO")) }, nf.Unobservable},
		"privileges gone":     {denied(nf.AbilityContainers), nf.NotPermitted},
	} {
		s := virtuozzo(levels(nf.LevelFull, nf.LevelStateless))
		c := Plan(wants(allow), s).Changes[0]
		w := NewWorld(s)
		test.edit(s)
		r := w.Check(c)
		if (r == nil) != (test.code == "") || r != nil && (r.Code != test.code || r.Reason == "" || r.Key != nf.KeyRestart) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	s := virtuozzo(levels(nf.LevelFull, nf.LevelStateless))
	c := Plan(wants(allow), s).Changes[0]
	w := NewWorld(s)
	if w.InSync(c) {
		t.Error("the restart counts as made")
	}
	levels(nf.LevelStateless, nf.LevelStateless)(s)
	if !w.InSync(c) || w.Reads(c, c.From) {
		t.Error("the level that the restart brought does not count")
	}
}

func TestNotBrought(t *testing.T) {
	c := Plan(wants(level(vz101, nf.LevelStateless, nf.RestartAllow)), virtuozzo(levels(nf.LevelFull, nf.LevelStateless))).Changes[0]
	for _, test := range []struct {
		live nf.Value
		code nf.Code
	}{{nf.LevelFull.Value(), nf.RestartRequired}, {levelValue(customPlain), nf.RestartRequired}, {nf.Unknown("EIO"), nf.Unobservable}} {
		s := virtuozzo(func(s *nf.Snapshot) { live(&s.Containers[0].Namespace, nf.KeyLevel, test.live) })
		r := NewWorld(s).NotBrought(c)
		if r.Code != test.code || r.Key != nf.KeyLevel || r.Layer != nf.LayerLive || r.From != test.live || r.To != c.To || r.Target != vz101 ||
			r.Source != c.Source || r.Reason == "" || r.Remedy == "" || r.Until == "" {
			t.Errorf("%+v", r)
		}
	}
}

// TestStagedButNotBrought: nfsync saved the level for an instance that has ended,
// and the container runs without it.
func TestStagedButNotBrought(t *testing.T) {
	stage := level(vz101, nf.LevelStateless, nf.RestartStage)
	saved := nf.MemoryKey{Target: vz101, Key: nf.KeyLevel, Asked: nf.Exactly(nf.LevelStateless.Value()), Applied: nf.LevelStateless.Value(), Instance: "boot-1/101/17", Set: true}
	for name, test := range map[string]struct {
		change func(*nf.MemoryKey)
		said   bool
	}{
		"saved for an earlier instance": {func(*nf.MemoryKey) {}, true},
		"saved while it was stopped":    {func(m *nf.MemoryKey) { m.Instance = nf.InstanceStopped }, true},
		"saved for this instance":       {func(m *nf.MemoryKey) { m.Instance = "boot-1/101/4711" }, false},
		"another level was asked":       {func(m *nf.MemoryKey) { m.Asked = nf.Exactly(nf.LevelFull.Value()) }, false},
		"not saved by nfsync":           {func(m *nf.MemoryKey) { m.Set = false }, false},
	} {
		key := saved
		test.change(&key)
		p := Plan(wants(stage), virtuozzo(levels(nf.LevelFull, nf.LevelStateless), func(s *nf.Snapshot) { s.Memory.Keys = []nf.MemoryKey{key} }))
		if len(p.Pending) != 1 || strings.Contains(p.Pending[0].Reason, "did not bring it live") != test.said {
			t.Errorf("%s: %+v", name, p.Pending)
		}
	}
}

// TestRestartCause: a restart is made for the want of the level.
func TestRestartCause(t *testing.T) {
	for asked, cause := range map[nf.Level]nf.Cause{nf.LevelFull: nf.CausePolicy, nf.LevelStateless: nf.CauseRestart} {
		s := virtuozzo(levels(nf.LevelFull, nf.LevelStateless), func(s *nf.Snapshot) {
			s.Memory.Keys = []nf.MemoryKey{{Target: vz101, Key: nf.KeyLevel, Asked: nf.Exactly(asked.Value()), Instance: "boot-1/101/17"}}
		})
		if p := Plan(wants(level(vz101, nf.LevelStateless, nf.RestartAllow)), s); p.Changes[0].Cause != cause {
			t.Errorf("%s: %+v", asked, p.Changes)
		}
	}
}

// TestRemedyNamesWhatIsMissing: a restart alone helps only where the level is
// saved.
func TestRemedyNamesWhatIsMissing(t *testing.T) {
	for saved, helps := range map[nf.Level]bool{nf.LevelStateless: true, nf.LevelFull: false} {
		p := Plan(wants(level(vz101, nf.LevelStateless, nf.RestartRefuse)), virtuozzo(levels(nf.LevelFull, saved)))
		if got := strings.HasPrefix(p.Refusals[0].Remedy, "the level is saved: restart"); got != helps {
			t.Errorf("saved %s: %s", saved, p.Refusals[0].Remedy)
		}
		p = Plan(wants(level(vz101, nf.LevelStateless, nf.RestartRefuse)), virtuozzo(levels(nf.LevelFull, saved), first(suspended)))
		if got := strings.HasPrefix(p.Refusals[0].Remedy, "the level is saved: start"); got != helps {
			t.Errorf("suspended, saved %s: %s", saved, p.Refusals[0].Remedy)
		}
	}
}

func TestAboveLevelOnVirtuozzo(t *testing.T) {
	list := []nf.Want{want(nf.Node, nf.KeyLevel, nf.LevelStateless.Value()), want(nf.Node, nf.KeyAboveLevel, nf.Text("unload"))}
	has := func(now, saved nf.Value) edit {
		return func(s *nf.Snapshot) {
			live(&s.Containers[0].Namespace, nf.KeyLevel, now)
			boot(&s.Containers[0].Namespace, nf.KeyLevel, saved)
		}
	}
	stateless, stateful := nf.LevelStateless.Value(), nf.LevelStateful.Value()
	for _, test := range []struct {
		name    string
		snap    *nf.Snapshot
		wants   []nf.Want
		unloads bool
	}{
		{"stateless, live and saved", virtuozzo(has(stateless, stateless)), nil, true},
		{"stateful live", virtuozzo(has(stateful, stateless)), nil, false},
		{"stateful saved", virtuozzo(has(stateless, stateful)), nil, false},
		{"stateful wanted", virtuozzo(has(stateless, stateless)), []nf.Want{level(vz101, nf.LevelStateful, nf.RestartRefuse)}, false},
		{"less wanted than it has", virtuozzo(has(stateful, stateful)), []nf.Want{level(vz101, nf.LevelStateless, nf.RestartStage)}, false},
		{"unknown live", virtuozzo(has(nf.Unknown("EIO"), stateless)), nil, false},
		{"unknown saved", virtuozzo(has(stateless, nf.Unknown("EIO"))), nil, false},
		{"a custom mask with conntrack", virtuozzo(has(levelValue(customTracking), stateless)), nil, false},
		{"a custom mask without", virtuozzo(has(levelValue(customPlain), stateless)), nil, true},
		{"stopped, stateless saved", virtuozzo(has(stateless, stateless), first(stopped)), nil, true},
		{"stopped, stateful saved", virtuozzo(has(stateless, stateful), first(stopped)), nil, false},
		{"suspended, stateful in the dump", virtuozzo(has(stateful, stateless), first(suspended)), nil, false},
		{"migrating", virtuozzo(has(stateless, stateless), state("migrating")), nil, false},
		{"no masks: whatever its configuration says", virtuozzo(has(stateless, stateless), masks(false, nf.No), first(stopped)), nil, false},
	} {
		p := Plan(wants(append(test.wants, list...)...), test.snap)
		unloads := slices.ContainsFunc(p.Changes, func(c nf.Change) bool { return c.Key == nf.ModuleKey("nf_conntrack") })
		if unloads != test.unloads {
			t.Errorf("%s: %v", test.name, answers(p))
		}
	}
}

// TestUnloadBesideContainersThatDoNotRun: what has no namespace loses nothing;
// what is in a dump is not known.
func TestUnloadBesideContainersThatDoNotRun(t *testing.T) {
	unload := wantModule("iptable_filter", nf.ModuleUnloaded, nil)
	for name, test := range map[string]struct {
		edit   edit
		expect string
		reason string
	}{
		"stopped":   {first(stopped), "change node module/iptable_filter", ""},
		"suspended": {first(suspended), "in-use node module/iptable_filter", "its dump"},
		"starting":  {state("starting"), "in-use node module/iptable_filter", "starting"},
	} {
		p := Plan(wants(unload), virtuozzo(test.edit))
		if got := answers(p); !slices.Equal(got, []string{test.expect}) || test.reason != "" && !strings.Contains(p.Refusals[0].Reason, test.reason) {
			t.Errorf("%s: %q %+v", name, got, p.Refusals)
		}
	}
}

// TestSavedAtTheLastMoment rests on vzctl, which locks a container in transition.
func TestSavedAtTheLastMoment(t *testing.T) {
	s := virtuozzo()
	c := Plan(wants(level(vz101, nf.LevelStateless, nf.RestartStage)), s).Changes[0]
	w := NewWorld(s)
	if r := w.Check(c); r != nil {
		t.Errorf("refused: %+v", r)
	}
	state("migrating")(s)
	if r := w.Check(c); r == nil || r.Code != nf.Unobservable {
		t.Errorf("one that migrates: %+v", r)
	}
}

// TestNeededAboveLevel: a module that only another one needs is no listing's
// concern, also where it is loaded and above the level.
func TestNeededAboveLevel(t *testing.T) {
	s := mainline(bootFiles, func(s *nf.Snapshot) {
		isolate(s, "nf_conntrack")
		saved := nf.Module(nf.ModuleLoaded, nil)
		module(s, "nft_ct").Boot = &saved
	})
	list := wants(want(nf.Node, nf.KeyLevel, nf.LevelDisabled.Value()), want(nf.Node, nf.KeyAboveLevel, nf.Text("unload")),
		wantModule("nft_ct", nf.ModuleLoaded, nil), wantModule("nf_conntrack", nf.ModuleUnloaded, nil))
	if got, want := answers(Plan(list, s)), []string{"change node module/nft_ct", "conflict node module/nf_conntrack"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
