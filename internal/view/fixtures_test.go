package view

import (
	"fmt"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// planID has the form of a plan's id; what it covers is package diff's matter.
const planID = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

var (
	web = nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeVZ, ID: "132694", Name: "web-1"}
	dns = nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: "dns", Name: "dns"}
	// evil is a container whose name would clear the terminal, turn the
	// reading direction and forge a line of its own.
	evil = nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: "x", Name: "\x1b[2Jx\u202egnp.exe\nnode\u0085"}
)

func edge(line int) nf.Source {
	return nf.Source{Name: "edge-nodes", File: "policies/edge.yaml", Line: line, Column: 10}
}

func webPolicy(line int) nf.Source {
	return nf.Source{Name: "web", File: "policies/web.yaml", Line: line, Column: 24}
}

func emptyPlan() nf.Plan {
	return nf.Plan{APIVersion: nf.APIVersion, Kind: nf.KindPlan, ID: planID, Node: "hn-1"}
}

func inSyncPlan() nf.Plan {
	p := emptyPlan()
	p.Summary.InSync = 17
	return p
}

func richChanges() []nf.Change {
	return []nf.Change{
		{Target: nf.Node, Key: nf.ModuleKey("nf_conntrack"), Layer: nf.LayerLive, From: nf.Module(nf.ModuleUnloaded, nil),
			To: nf.Module(nf.ModuleLoaded, nil), Cause: nf.CauseNew, Source: edge(8)},
		{Target: nf.Node, Key: nf.ModuleKey("ip_set"), Layer: nf.LayerLive, From: nf.Module(nf.ModuleUnloaded, map[string]string{}),
			To: nf.Module(nf.ModuleLoaded, map[string]string{"max_sets": "512"}), Cause: nf.CauseNew, Source: edge(12)},
		{Target: nf.Node, Key: nf.KeyMax, Layer: nf.LayerLive, From: nf.Number(0), To: nf.Number(262144), Cause: nf.CausePolicy,
			Source: edge(14), Asked: nf.Wish{AtLeast: 262144}},
		{Target: nf.Node, Key: nf.KeyMax, Layer: nf.LayerBoot, From: nf.Absent(), To: nf.Number(262144), Cause: nf.CausePolicy,
			Source: edge(14), Asked: nf.Wish{AtLeast: 262144}},
		{Target: web, Key: nf.KeyMax, Layer: nf.LayerLive, From: nf.Number(262144), To: nf.Number(50000), Cause: nf.CauseDrift,
			Source: webPolicy(12), LastFailure: &failed, Asked: nf.Wish{AtLeast: 1000, AtMost: 50000}},
		{Target: web, Key: nf.TimeoutKey("tcpEstablished"), Layer: nf.LayerLive, From: nf.Number(432000), To: nf.Number(7200),
			Cause: nf.CauseRestart, Source: webPolicy(13)},
		{Target: dns, Key: nf.TimeoutKey("udp"), Layer: nf.LayerLive, From: nf.Unknown("cannot read nf_conntrack_udp_timeout: permission denied"),
			To: nf.Number(30), Cause: nf.CausePolicy, Source: webPolicy(14)},
		{Target: evil, Key: nf.SysctlKey("nf_conntrack_tcp_loose"), Layer: nf.LayerLive, From: nf.Number(1), To: nf.Number(0),
			Cause: nf.CauseNew, Source: webPolicy(15)},
		{Target: web, Key: nf.KeyRestart, Layer: nf.LayerLive, From: nf.LevelFull.Value(), To: nf.LevelStateful.Value(), OneWay: true,
			Disruptive: true, Cause: nf.CausePolicy, Source: webPolicy(11)},
		{Target: nf.Node, Key: nf.ModuleKey("nf_conntrack_ftp"), Layer: nf.LayerLive, From: nf.Module(nf.ModuleLoaded, nil),
			To: nf.Module(nf.ModuleUnloaded, nil), OneWay: true, Disruptive: true, Cause: nf.CausePolicy, Source: edge(11)},
		{Target: evil, Key: nf.KeyMax, Layer: nf.LayerLive, From: nf.Absent(), To: nf.Number(1000), Range: nf.Wish{AtLeast: 1000},
			Cause: nf.CauseNew, Source: webPolicy(16)},
		{Target: nf.Node, Key: nf.KeyMax, Layer: nf.LayerLive, From: nf.Number(0), To: nf.Number(300000), Intermediate: true,
			Cause: nf.CausePolicy, Source: edge(14)},
	}
}

func richRefusals() []nf.Refusal {
	return []nf.Refusal{
		{Target: web, Key: nf.KeyLevel, Layer: nf.LayerLive, From: nf.LevelFull.Value(), To: nf.LevelStateless.Value(), Code: nf.ConntrackLatched,
			Reason: "tracking is on in this container (ct rules seen), and this kernel keeps it on until the container stops",
			Remedy: "restart the container (restart: stage saves the level for the next start, restart: allow restarts it)",
			Until:  nf.UntilContainerRestart, Source: webPolicy(11)},
		{Target: dns, Key: nf.KeyMax, Layer: nf.LayerLive, From: nf.Number(262144), To: nf.Number(100000), Code: nf.Conflict,
			Reason: "two policies of priority 10 want different things",
			Remedy: "give one of the policies a higher spec.priority, or take the key out of one of them",
			Until:  nf.UntilPolicyChange, Source: nf.Source{Name: "dns", File: "policies/dns.yaml", Line: 9, Column: 21},
			Rivals: []nf.Rival{{Wish: nf.Wish{AtMost: 50000}, Source: webPolicy(12)}}},
		{Target: dns, Key: nf.KeyLevel, Layer: nf.LayerLive, From: nf.LevelFull.Value(), To: nf.LevelStateful.Value(), Code: nf.LevelInUse,
			Reason: `the rules use more than stateful: nft table ip "nat\u202e", chain postrouting: masquerade (2 rules)` + "\x1b[31m",
			Remedy: "remove the rules that the reason names, or want the level that they need",
			Until:  nf.UntilRulesRemoved, Source: nf.Source{Name: "dns", File: "policies/dns.yaml", Line: 8, Column: 10}},
		missing("nf_conntrack_frag6_timeout", 18), missing("nf_conntrack_helper", 19),
		{Target: nf.Node, Key: nf.ModuleKey("nf_tables"), Layer: nf.LayerLive, From: nf.Unknown("/proc/modules: permission denied"),
			To: nf.Module(nf.ModuleUnloaded, nil), Code: nf.Unobservable, Reason: "whether the module is loaded could not be read",
			Remedy: "see what the reason names (nfsync doctor checks the usual causes), then plan again", Until: nf.UntilObservable, Source: edge(10)},
	}
}

// missing are refusals that differ in their reason only: the remedy is said
// once.
func missing(name string, line int) nf.Refusal {
	return nf.Refusal{Target: nf.Node, Key: nf.SysctlKey(name), Layer: nf.LayerLive, From: nf.Absent(), To: nf.Number(1), Code: nf.Missing,
		Reason: "this kernel has no net.netfilter." + name + " here, although nf_conntrack is there",
		Remedy: "check the name, or take it out of the policy for this node",
		Until:  nf.UntilKernelChange, Source: edge(line)}
}

func richPending() []nf.Pending {
	return []nf.Pending{
		{Target: evil, Key: nf.KeyLevel, From: nf.LevelFull.Value(), To: nf.LevelStateful.Value(), Until: nf.UntilContainerRestart,
			Reason: "saved for the next start", Source: webPolicy(11)},
		{Target: nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeVZ, ID: "201"}, Key: nf.TimeoutKey("udp"), From: nf.Absent(),
			To: nf.Number(30), Until: nf.UntilContainerStart, Reason: "the container does not run", Source: webPolicy(14)},
	}
}

func richWarnings() []nf.Warning {
	gone := edge(20)
	return []nf.Warning{
		{Code: nf.WarnNodeTracking, Target: nf.Node,
			Message: "the node itself tracks connections (nft table inet filter: ct), so its own table can be filled up from outside"},
		{Code: nf.WarnNoLongerWanted, Target: web, Key: nf.TimeoutKey("icmp"), Message: "nfsync has set it, and no policy names it any more: it is left as it is"},
		{Code: nf.WarnSelectsNothing, Target: nf.Node, Message: "the policy matches no container of this node", Source: &gone},
	}
}

func richPlan() nf.Plan {
	p := emptyPlan()
	p.Revision = "3f2a9c41d7be0c6a5f8e1d2b4a6978c0e1f20354"
	p.Changes, p.Refusals, p.Pending, p.Warnings, p.Stuck = richChanges(), richRefusals(), richPending(), richWarnings(), stuckChanges()
	p.Summary = nf.Summary{Changes: len(p.Changes), Refusals: len(p.Refusals), Pending: len(p.Pending), InSync: 17}
	return p
}

// plainPlan is a plan as most are: a few changes and nothing else.
func plainPlan() nf.Plan {
	p := emptyPlan()
	changes := richChanges()
	p.Changes = []nf.Change{changes[4], changes[5]}
	p.Summary = nf.Summary{Changes: 2, InSync: 21}
	return p
}

func refusedPlan() nf.Plan {
	p := emptyPlan()
	p.Refusals = richRefusals()[:1]
	p.Summary = nf.Summary{Refusals: 1, InSync: 3}
	return p
}

func foldedTarget(i int) nf.Target {
	name := fmt.Sprintf("web-%04d", i)
	return nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: name, Name: name}
}

// thousandPlan has the same two changes on 999 containers and one more on
// another, the same refusal on 30 with a text of their own, and a warning of
// each.
func thousandPlan() nf.Plan {
	p := emptyPlan()
	for i := range 1000 {
		t := foldedTarget(i)
		p.Changes = append(p.Changes, nf.Change{Target: t, Key: nf.TimeoutKey("tcpEstablished"), Layer: nf.LayerLive, From: nf.Number(432000),
			To: nf.Number(7200), Cause: nf.CauseNew, Source: webPolicy(13)},
			nf.Change{Target: t, Key: nf.TimeoutKey("udp"), Layer: nf.LayerLive, From: nf.Number(30),
				To: nf.Number(20), Cause: nf.CauseNew, Source: webPolicy(14)})
		p.Warnings = append(p.Warnings, nf.Warning{Code: nf.WarnNotEnforced, Target: t, Key: nf.KeyLevel,
			Message: "nothing but nfsync's look keeps the level of this container"})
	}
	p.Changes = append(p.Changes, nf.Change{Target: foldedTarget(500), Key: nf.TimeoutKey("icmp"), Layer: nf.LayerLive, From: nf.Number(30),
		To: nf.Number(10), Cause: nf.CauseDrift, Source: webPolicy(15)})
	for i := range 30 {
		p.Refusals = append(p.Refusals, nf.Refusal{Target: foldedTarget(i), Key: nf.KeyLevel, Layer: nf.LayerLive, From: nf.LevelFull.Value(),
			To: nf.LevelStateful.Value(), Code: nf.LevelInUse, Reason: fmt.Sprintf("the rules use more than stateful: nft table ip nat, chain postrouting: masquerade (%d rules)", i+1),
			Remedy: "remove the rules that the reason names, or want the level that they need", Until: nf.UntilRulesRemoved, Source: webPolicy(11)})
	}
	p.Summary = nf.Summary{Changes: len(p.Changes), Refusals: len(p.Refusals), InSync: 4000}
	return p
}

func nothingAskedPlan() nf.Plan {
	p := emptyPlan()
	p.Warnings = []nf.Warning{{Code: nf.WarnNoPolicy, Target: nf.Node, Message: "no policy is for this node"}}
	return p
}

func emptyReceipt() apply.Receipt {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return apply.Receipt{APIVersion: nf.APIVersion, Kind: nf.KindReceipt, ID: "20260301T120000Z-1", Node: "hn-1", Plan: planID,
		StartedAt: start, FinishedAt: start.Add(1234567 * time.Microsecond)}
}

func inSyncReceipt() apply.Receipt {
	r := emptyReceipt()
	r.Summary.InSync = 17
	return r
}

// receiptOf has the changes with the outcomes, one each.
func receiptOf(changes []nf.Change, outcomes ...apply.Outcome) apply.Receipt {
	r := emptyReceipt()
	for i, o := range outcomes {
		res := apply.Result{Change: changes[i], Outcome: o}
		switch o {
		case apply.Failed:
			res.Error = "cannot write nf_conntrack_max: invalid argument"
		case apply.Stuck:
			res.Error = "cannot undo: nf_conntrack_udp_timeout reads 30, not 120"
		case apply.Undone, apply.Skipped:
			res.Reason = "another change of this target failed"
		case apply.Kept:
			res.Reason = "one-way: it is not undone"
		case apply.Gone:
			res.Reason = "the target is gone"
		case apply.Refused:
			res.Reason = "in-use: 3 references since the plan was made"
		}
		r.Results = append(r.Results, res)
	}
	r.Summary.InSync = 17
	return r
}

func appliedReceipt() apply.Receipt {
	r := receiptOf(richChanges(), apply.Applied, apply.Applied, apply.Applied)
	r.Revision = richPlan().Revision
	r.Summary.Applied = 3
	return r
}

func failedReceipt() apply.Receipt {
	r := receiptOf(richChanges(), apply.Applied, apply.Refused, apply.Applied, apply.Applied, apply.Undone, apply.Failed,
		apply.Stuck, apply.Gone, apply.Skipped, apply.Kept)
	r.Interrupted = true
	r.Recovered = receiptOf(richChanges()[2:], apply.Undone).Results
	r.Refusals, r.Pending, r.Warnings, r.Stuck = richRefusals(), richPending(), richWarnings(), stuckChanges()
	earlier := stuckChanges()[0]
	earlier.Target = nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeVZ, ID: "201"}
	r.Stuck = append(r.Stuck, earlier)
	r.Summary = apply.Summary{Applied: 3, Undone: 1, Failed: 1, Gone: 1, Kept: 1, Refused: 1, Skipped: 1, Stuck: 1,
		Refusals: len(r.Refusals), Pending: len(r.Pending), InSync: 17}
	return r
}

// unconfirmedReceipt waits for a confirmation; a one-way change was left out.
func unconfirmedReceipt() apply.Receipt {
	r := receiptOf(richChanges(), apply.Applied, apply.Applied, apply.Skipped)
	r.Summary.Applied, r.Summary.Skipped = 2, 1
	r.ConfirmUntil = ptr(time.Date(2026, 3, 1, 12, 1, 0, 0, time.UTC))
	return r
}

// takenBackReceipt is of nothing but a run that was not confirmed.
func takenBackReceipt() apply.Receipt {
	r := receiptOf(richChanges(), apply.Undone, apply.Undone)
	r.Summary = apply.Summary{Undone: 2}
	r.TakenBack = "00000007-x"
	return r
}

// firstTakenBackReceipt is of a run that first took back what was not confirmed.
func firstTakenBackReceipt() apply.Receipt {
	r := inSyncReceipt()
	r.Recovered, r.TakenBack = takenBackReceipt().Results, "00000007-x"
	return r
}

// failed says that a change could not be made when it was last tried.
var failed = nf.LastFailure{At: time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC), Why: "cannot write nf_conntrack_max: invalid argument\x1b[2J", Receipt: "20260301T110000Z-1"}

func storedReceipts() apply.StoredReceipts {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return apply.StoredReceipts{
		Receipts: []apply.StoredReceipt{
			{ID: "00000012-20260301T120000Z", Node: "hn-1", Revision: strings.Repeat("4b825dc6", 5), StartedAt: at, FinishedAt: at.Add(time.Second), Verdict: apply.RolledBack, Summary: apply.Summary{Applied: 3, Failed: 1, InSync: 7}},
			{ID: "00000011-20260301T110000Z", Node: "hn-1", StartedAt: at.Add(-time.Hour), FinishedAt: at, Interrupted: true, Verdict: apply.Clean, Summary: apply.Summary{Applied: 1}},
			{ID: "00000009-20260301T090000Z", Node: "hn-1", StartedAt: at.Add(-3 * time.Hour), FinishedAt: at, Verdict: apply.Unsettled, Summary: apply.Summary{Stuck: 1, Refusals: 2}},
		},
		Unreadable: []apply.UnreadableReceipt{{ID: "00000010-20260301T100000Z", Error: "cannot trust /var/lib/nfsync/receipts/\x1b[2J: damaged"}},
	}
}

func stuckChanges() []nf.StuckChange {
	return []nf.StuckChange{{Target: dns, Key: nf.TimeoutKey("udp"), Layer: nf.LayerLive, From: nf.Number(120), To: nf.Number(30), Reads: nf.Number(60),
		Run: "00000007-x", Instance: "4026532000", BootID: "44877559-7580-96e7-0000-000000000000", Why: "cannot undo it: operation not permitted"}}
}

func leftReport() apply.Report {
	c := richChanges()
	return apply.Report{Run: "20260301T120000Z-1", Left: []apply.Leftover{
		{Target: c[4].Target, Key: c[4].Key, Layer: c[4].Layer, From: c[4].From, To: c[4].To, Reads: nf.Number(50000), Stuck: true,
			Why: "cannot write nf_conntrack_max: invalid argument"},
		{Target: dns, Key: nf.TimeoutKey("udp"), Layer: nf.LayerBoot, From: nf.Number(120), To: nf.Number(30),
			Reads: nf.Unknown("the container is gone"), Why: "the run was interrupted"},
	}}
}

func ptr[T any](v T) *T { return &v }

func richSnapshot() nf.Snapshot {
	s := nf.Snapshot{
		APIVersion: nf.APIVersion, Kind: nf.KindNodeSnapshot,
		Node:    nf.NodeIdentity{Name: "hn-1", Labels: map[string]string{"role": "edge", "0x10": "no"}},
		TakenAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), BootID: "44877559-7580-96e7-0000-000000000000",
		Kernel: nf.Kernel{Release: "6.18.0", Machine: "x86_64"},
		Capabilities: nf.Capabilities{Denied: map[string]string{nf.AbilityModules: "no CAP_SYS_MODULE"}, Latches: nf.No,
			BucketStep: 512, LegacyTables: true},
		Modules: nf.Modules{Support: nf.SupportLocked, Reason: "kernel.modules_disabled is 1", Unknown: "modules.dep: permission denied",
			List: []nf.ModuleFact{
				{Name: "ip_set", State: nf.ModuleUnloaded, Evidence: "modules.dep", Deps: []string{"nfnetlink"}, Takes: []string{},
					Barred: nf.Bar{File: "/etc/modprobe.d/a.conf", Line: 3, Says: "blacklist ip_set"}},
				{Name: "nf_conntrack", State: nf.ModuleLoaded, Evidence: "/proc/modules", Refs: 4, Holders: []string{"nf_nat"}, Permanent: true,
					Parameters: map[string]nf.Parameter{"hashsize": {Value: "65536", Writable: true}, "acct": {Value: "N"}}},
			},
			Aliases: map[string]string{"nf_conntrack_ipv4": "nf_conntrack"}},
		Host: nf.Namespace{
			Facts: []nf.Fact{
				{Key: nf.KeyMax, Live: nf.Number(262144), Boot: ptr(nf.Number(131072))},
				{Key: nf.SysctlKey("nf_conntrack_acct"), Live: nf.Unknown("permission denied"), ReadOnly: true},
				{Key: nf.KeyLevel, Live: nf.LevelStateful.Value()},
			},
			Rules: &nf.Rules{Unknown: "table nat: operation not permitted", Tables: []nf.Table{
				{Backend: nf.BackendNft, Family: "inet", Name: "filter: \"main\"\n# not a comment", Rules: 3, Guards: []string{"input"},
					Uses: []nf.Use{{Chain: "input", What: "fullcone", Count: 1}, {Level: nf.LevelStateful, Chain: "input", What: "ct", Count: 2}}},
			}},
			Tracking: &nf.Tracking{State: nf.TrackingOn, Evidence: "rules"},
			Count:    nf.Number(12),
		},
		Containers: []nf.Container{
			{Runtime: nf.RuntimeNetns, ID: evil.ID, Name: evil.Name, Aliases: []string{"yes", "1e3"}, State: nf.StateRunning, Instance: "4026532201",
				MaxScope: nf.ScopeNode, Namespace: nf.Namespace{Facts: []nf.Fact{{Key: nf.TimeoutKey("udp"), Live: nf.Absent()}}, Count: nf.Number(0)}},
			{Runtime: nf.RuntimeVZ, ID: "132694", Name: "web-1", State: "stopped", Instance: "none", Unobservable: "no network namespace of its own"},
		},
		Warnings: richWarnings()[:1],
		Memory: nf.Memory{
			Revision: "3f2a9c41d7be0c6a5f8e1d2b4a6978c0e1f20354",
			Keys:     []nf.MemoryKey{{Target: web, Key: nf.KeyMax, Asked: nf.Wish{AtMost: 50000}, Applied: nf.Number(50000), Instance: "i-1", Set: true}},
			MaxScope: map[string]string{"6.18.0": nf.ScopeNode},
			Latches:  []nf.Latch{{Target: web, Instance: "i-1", Evidence: "ct rule"}},
			Restarts: []nf.RestartDone{{Target: web, UUID: "u-1", Asked: nf.Exactly(nf.LevelStateless.Value()), Instance: "i-0", State: nf.RestartMade, Became: "i-1", Level: nf.LevelStateless.Value()}},
			Failures: []nf.Failure{{Target: web, Key: nf.KeyMax, Layer: nf.LayerLive, To: nf.Number(50000), Instance: "i-1",
				At: failed.At, Why: failed.Why, Receipt: failed.Receipt}},
			Stuck: stuckChanges(),
		},
	}
	s.AddKeepers()
	return s
}

// severalSenses is a word that is the code of a refusal and a rule of files.
func severalSenses() Explanation {
	e, _ := diff.Explain(nf.Conflict)
	r, _ := spec.ExplainRule("conflict")
	both := ExplainRefusal(e)
	both.Also = []Sense{ExplainRule(r).Sense}
	return both
}

// handedOut are credentials of each kind: valid ones, those that expire, and revoked ones.
func handedOut() []nf.FleetCredential {
	at := time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC)
	later := at.Add(90 * 24 * time.Hour)
	return []nf.FleetCredential{
		{Name: "ann", Kind: nf.CredentialOperator, PublicKey: "UDYQ", IssuedAt: at, ExpiresAt: &later},
		{Name: "ci", Kind: nf.CredentialReader, PublicKey: "UB3X", IssuedAt: at},
		{Name: "hn-1.example", Kind: nf.CredentialNode, PublicKey: "UAAA", IssuedAt: at, RevokedAt: &later},
	}
}
