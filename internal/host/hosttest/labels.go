package hosttest

import (
	"context"
	"maps"

	"nfsync.dev/nfsync/internal/nf"
)

// labels are what a runtime says of the labels of a container.
type labels struct {
	known   map[string]string
	unknown string // why they are not known
}

// AddContainerOf adds a container of a runtime that nfsync cannot restart, as AddContainer does.
func (m *Machine) AddContainerOf(runtime, name string, aliases ...string) nf.Target {
	t := m.AddContainer(name, aliases...)
	m.mu.Lock()
	defer m.mu.Unlock()
	ns := m.mustFind(t)
	m.remove(t)
	ns.runtime = runtime
	m.add(ns)
	return ns.target()
}

// SetLabels sets the labels of a container. They stay when it is recreated.
func (m *Machine) SetLabels(t nf.Target, known map[string]string) {
	m.setLabels(t, labels{known: known})
}

// SetLabelsUnknown makes the labels of a container unknown, for a reason.
func (m *Machine) SetLabelsUnknown(t nf.Target, why string) { m.setLabels(t, labels{unknown: why}) }

func (m *Machine) setLabels(t nf.Target, l labels) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.labels == nil {
		m.labels = map[nf.Target]labels{}
	}
	m.labels[t.Nameless()] = l
}

// Label adds the labels to the containers of a listing: apply.Labeler.
func (m *Machine) Label(_ context.Context, listed *nf.Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.labelled++
	for i := range listed.Containers {
		c := &listed.Containers[i]
		l := m.labels[c.Target().Nameless()]
		c.Labels, c.LabelsUnknown = maps.Clone(l.known), l.unknown
	}
}

// Labelled returns how often Label was called.
func (m *Machine) Labelled() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.labelled
}
