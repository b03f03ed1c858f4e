package main

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
	"prlctl": "without prlctl states on their way (starting, migrating) are not seen",
	"vzlist": "without vzlist containers that the dispatcher does not know are not seen",
	"vzctl":  "without vzctl no level of a running container can be saved, and none can be restarted",
}

// checkVirtuozzo looks which of Virtuozzo's programs are there, and whether the
// kernel keeps levels.
func (a *app) checkVirtuozzo(s *nf.Snapshot) view.Check {
	found := a.host().Virtuozzo()
	root := cmp.Or(a.vzRoot, "/")
	switch {
	case !slices.Contains(a.runtimes, nf.RuntimeVZ):
		return passed("virtuozzo", "not looked for: --runtime does not name "+nf.RuntimeVZ)
	case !found.Any:
		return passed("virtuozzo", "not on this node: nothing of it is below "+root)
	}
	c := passed("virtuozzo", strings.Join(slices.Sorted(maps.Values(found.Programs)), ", "))
	worse := func(status view.Status, detail, remedy string) {
		if c.Status != view.Fail {
			c.Status = status
		}
		c.Detail, c.Remedy = strings.TrimPrefix(c.Detail+"; "+detail, "; "), cmp.Or(c.Remedy, remedy)
	}
	for _, name := range found.Missing {
		worse(view.Warn, without[name], "install what is missing, or name where it is with --vz-root")
	}
	for _, w := range s.Warnings {
		if w.Code == nf.WarnRuntimeDegraded {
			worse(view.Warn, "not all of the programs answer", "see the containers below; systemctl status prl-disp may say why")
		}
	}
	switch {
	case s.Capabilities.Masks:
		c.Detail += "; the kernel keeps levels in masks, and tracking that was on stays on until a restart"
	case s.Capabilities.Latches == nf.No:
		worse(view.Warn, "this kernel keeps no levels (Virtuozzo Hybrid Server 9 has none): policies' levels are refused, limits are managed", "")
	default:
		worse(view.Warn, "it cannot be told whether this kernel keeps levels"+why(found.NoCgroup, s), "start a container, or run nfsync where the ve cgroup is mounted")
	}
	return c
}

// why says why it is not known whether there are masks.
func why(noCgroup string, s *nf.Snapshot) string {
	if noCgroup != "" {
		return ": " + noCgroup
	}
	if s.Broken() != "" {
		return ": its containers cannot be listed"
	}
	for i := range s.Containers {
		if c := &s.Containers[i]; c.Runtime == nf.RuntimeVZ && c.State == nf.StateRunning {
			return ": " + c.Fact(nf.KeyLevel).Live.Why()
		}
	}
	return ": no container runs"
}
