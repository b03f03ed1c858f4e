package diff

import (
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// TestUnloadedWithoutFile: a loaded module whose file a package upgrade has
// removed is in no evidence any more once it is unloaded (seen on Linux 6.1:
// gone from /proc/modules, and not in modules.dep). The change took.
func TestUnloadedWithoutFile(t *testing.T) {
	s := mainline(func(s *nf.Snapshot) { isolate(s, "nf_conntrack") })
	p := Plan(wants(wantModule("nf_conntrack", nf.ModuleUnloaded, nil)), s)
	if len(p.Changes) != 1 {
		t.Fatalf("planned %v", answers(p))
	}
	c := p.Changes[0]
	world := NewWorld(s)
	if world.InSync(c) {
		t.Error("a loaded module reads as unloaded")
	}
	s.Modules.Remove("nf_conntrack")
	if !world.InSync(c) {
		t.Error("a module that is gone altogether does not read as unloaded")
	}
	c.From, c.To = c.To, c.From
	if world.InSync(c) {
		t.Error("a module that is gone altogether reads as loaded")
	}
}
