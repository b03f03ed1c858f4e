package view

import (
	"io"
	"slices"

	"nfsync.dev/nfsync/internal/nf"
)

// Snapshot writes a node's facts. Its text is YAML: a snapshot is read by
// people and by plan alike.
func Snapshot(w io.Writer, format string, s nf.Snapshot, opt Options) error {
	if format == FormatText {
		format = FormatYAML
	}
	return render(w, format, opt, filledSnapshot(s), nil)
}

func filledSnapshot(s nf.Snapshot) nf.Snapshot {
	s.Modules.List = filled(s.Modules.List)
	s.Host = filledNamespace(s.Host)
	s.Containers = filled(slices.Clone(s.Containers))
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
