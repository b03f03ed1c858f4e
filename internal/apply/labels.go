package apply

import (
	"context"
	"fmt"

	"nfsync.dev/nfsync/internal/nf"
)

// Labeler is a machine that knows the labels of containers. Asking for them may cost more than
// to list the containers: a program, or a request to a runtime.
type Labeler interface {
	// Label adds Labels, or LabelsUnknown, to the containers of a listing.
	Label(ctx context.Context, listed *nf.Snapshot)
}

// Label adds the labels of the containers of a listing, if the machine is a Labeler.
func Label(ctx context.Context, m Observer, listed *nf.Snapshot) {
	if labeler, ok := m.(Labeler); ok {
		labeler.Label(ctx, listed)
	}
}

// LabelUse reports whether the labels of a node's containers are needed; nil: they are not.
// spec.Policies.UseLabels is one.
type LabelUse func(nf.NodeIdentity) bool

func (use LabelUse) of(s *nf.Snapshot) bool { return use != nil && use(s.Node) }

// AllLabels is the LabelUse of who needs the labels whatever the policies are.
func AllLabels(nf.NodeIdentity) bool { return true }

// List lists the containers of a machine, with their labels if these are needed.
func List(ctx context.Context, m Observer, labels LabelUse) (nf.Snapshot, error) {
	listed, err := m.List(ctx)
	if err != nil {
		return listed, fmt.Errorf("cannot list the node's containers: %w", err)
	}
	if labels.of(&listed) {
		Label(ctx, m, &listed)
	}
	return listed, nil
}

// markLabelsUnknown says of each container that may have labels that these were not asked for,
// so that policies which are planned later do not take it for one without labels.
func markLabelsUnknown(s *nf.Snapshot) {
	for i := range s.Containers {
		if c := &s.Containers[i]; nf.HasLabels(c.Runtime) && len(c.Labels) == 0 && c.LabelsUnknown == "" {
			c.LabelsUnknown = "the snapshot was taken without labels: no policy of the node selected by them"
		}
	}
}
