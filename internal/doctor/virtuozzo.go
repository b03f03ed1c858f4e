package doctor

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/view"
)

// without is what nfsync cannot do where one of Virtuozzo's programs is missing.
var without = map[string]string{
	"prlctl": "without prlctl states in transition (starting, migrating) are not seen",
	"vzlist": "without vzlist containers that the dispatcher does not know are not seen",
	"vzctl":  "without vzctl no level of a running container can be saved, and none can be restarted",
}

// virtuozzo checks which of Virtuozzo's programs are installed, and whether the
// kernel has levels.
func (n *Node) virtuozzo(s *nf.Snapshot) view.Check {
	found := &n.Virtuozzo
	switch {
	case !slices.Contains(n.Runtimes, nf.RuntimeVZ):
		return passed("virtuozzo", "not checked: --runtime does not name "+nf.RuntimeVZ)
	case !found.Any:
		return passed("virtuozzo", "not on this node: nothing of it is below "+cmp.Or(n.VZRoot, "/"))
	}
	c := passed("virtuozzo", strings.Join(slices.Sorted(maps.Values(found.Programs)), ", "))
	warn := func(detail, remedy string) {
		c.Status, c.Detail, c.Remedy = view.Warn, strings.TrimPrefix(c.Detail+"; "+detail, "; "), cmp.Or(c.Remedy, remedy)
	}
	for _, name := range found.Missing {
		warn(without[name], "install what is missing, or name where it is with --vz-root")
	}
	for _, w := range s.Warnings {
		if w.Code == nf.WarnRuntimeDegraded {
			warn("not all of the programs answer", "see the containers below; systemctl status prl-disp may say why")
		}
	}
	switch {
	case s.Capabilities.Masks:
		c.Detail += "; the kernel holds levels in masks, and tracking that was on stays on until a restart"
	case s.Capabilities.Latches == nf.No:
		warn("this kernel has no levels (Virtuozzo Hybrid Server 9 has none): levels of policies are refused, limits are managed", "")
	default:
		warn("it is unknown whether this kernel has levels: "+whyMasksUnknown(found.NoCgroup, s), "start a container, or run nfsync where the ve cgroup is mounted")
	}
	return c
}

func whyMasksUnknown(noCgroup string, s *nf.Snapshot) string {
	switch {
	case noCgroup != "":
		return noCgroup
	case s.Broken() != "":
		return "container list is incomplete"
	}
	for i := range s.Containers {
		if c := &s.Containers[i]; c.Runtime == nf.RuntimeVZ && c.State == nf.StateRunning {
			return c.Fact(nf.KeyLevel).Live.Why()
		}
	}
	return "no container runs"
}
