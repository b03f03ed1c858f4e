package view

import "nfsync.dev/nfsync/internal/nf"

// Snapshots is the output of snapshot. Its text is YAML, which people and plan
// both read.
var Snapshots = Kind[nf.Snapshot]{
	yamlFormat(FormatText, snapshotJSON),
	jsonFormat(snapshotJSON),
	yamlFormat(FormatYAML, snapshotJSON),
}

func snapshotJSON(s nf.Snapshot) any {
	s.Modules.List = filled(s.Modules.List)
	s.Host = filledNamespace(s.Host)
	s.Containers = filled(s.Containers)
	for i := range s.Containers {
		s.Containers[i].Namespace = filledNamespace(s.Containers[i].Namespace)
	}
	s.Warnings = filled(s.Warnings)
	return s
}

func filledNamespace(n nf.Namespace) nf.Namespace {
	n.Facts = filled(n.Facts)
	if n.Rules != nil {
		rules := *n.Rules
		rules.Tables = filled(rules.Tables)
		n.Rules = &rules
	}
	return n
}
