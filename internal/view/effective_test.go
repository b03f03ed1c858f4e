package view

import "nfsync.dev/nfsync/internal/nf"

// richEffective has a key in each state.
func richEffective() nf.Effective {
	web := nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeVZ, ID: "132694", Name: "web-1"}
	source := nf.Source{Name: "web", File: "policies/web.yaml", Line: 13, Column: 24}
	lost := nf.Rival{Wish: nf.Exactly(nf.Number(3600)), Source: nf.Source{Name: "default\u202e", File: "policies/default.yaml", Line: 4, Column: 9}}
	keys := []nf.EffectiveKey{
		{Target: nf.Node, Key: nf.KeyMax, Live: nf.Number(262144), Saved: nf.Number(131072), Wanted: nf.Wish{AtLeast: 1000}, Source: source, State: nf.KeyInSync},
		{Target: web, Key: nf.TimeoutKey("tcpEstablished"), Live: nf.Number(432000), Wanted: nf.Exactly(nf.Number(7200)), Source: source, Lost: []nf.Rival{lost}, State: nf.KeyDiffers},
		{Target: web, Key: nf.KeyMax, Live: nf.Number(65536), Wanted: nf.Exactly(nf.Number(500000)), Source: source, State: nf.KeyRefused, Code: nf.AboveNode, Reason: "the node's limit is 262144", Until: nf.UntilPolicyChange},
		{Target: web, Key: nf.KeyLevel, Live: nf.LevelFull.Value(), Saved: nf.LevelStateful.Value(), Wanted: nf.Exactly(nf.LevelStateful.Value()), Source: source, State: nf.KeyPending, Reason: "saved for the next start", Until: nf.UntilContainerRestart},
	}
	return nf.Effective{APIVersion: nf.APIVersion, Kind: nf.KindEffective, Nodes: []nf.NodeEffective{{NodeSnapshot: nf.NodeSnapshot{Node: "hn-1", State: nf.SnapshotFresh}, Keys: keys}}}
}
