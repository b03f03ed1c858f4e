package apply_test

import (
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// unloadConntrack unloads nf_conntrack, whose own value of conntrack.max is 262144 here.
func (b *bench) unloadConntrack() {
	b.machine.SetModule(nf.ModuleFact{Name: "nf_conntrack", State: nf.ModuleUnloaded, Deps: []string{"nf_defrag_ipv4", "nf_defrag_ipv6"}})
	b.want(nf.Node, ct, loaded)
}

// A range is judged against the value that is there once its module is loaded: one that is
// in it stays, and is not saved for the next start, which would lower what the kernel gives
// then. The second run has nothing to do.
func TestRangeOfAValueThatAModuleBrings(t *testing.T) {
	for name, test := range map[string]struct {
		atLeast, atMost int64
		live            int64
		saved           nf.Value
	}{
		"far below":     {1000, 0, 262144, nf.Absent()},
		"in the range":  {1000, 500000, 262144, nf.Absent()},
		"at the bounds": {262144, 262144, 262144, nf.Absent()},
		"raised":        {300000, 0, 300000, nf.Number(300000)},
		"lowered":       {0, 1000, 1000, nf.Number(1000)},
		"to the top":    {10, 1000, 1000, nf.Number(1000)},
		"unbounded":     {0, 300000, 262144, nf.Absent()},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.addBootLayer()
			b.unloadConntrack()
			b.wantRange(nf.Node, nf.KeyMax, test.atLeast, test.atMost)
			r := b.mustRun(0)
			b.checkValue(nf.Node, nf.KeyMax, test.live)
			b.checkSaved(nf.KeyMax, test.saved)
			result := b.checkOutcome(r, nf.Node, nf.KeyMax, apply.Applied)
			if result.From != nf.Number(262144) || result.To != nf.Number(test.live) || !result.Range.IsRange() {
				t.Errorf("the receipt has %+v", result)
			}
			if test.live == 262144 && !strings.Contains(result.Reason, "in the range") {
				t.Errorf("the reason is %q", result.Reason)
			}
			calls := len(b.machine.Calls())
			if r := b.mustRun(0); len(r.Results) != 0 || len(b.machine.Calls()) != calls {
				t.Errorf("the second run: %+v", r.Results)
			}
			b.checkSaved(nf.KeyMax, test.saved)
		})
	}
}

// The same for the limits of containers, which have no boot layer.
func TestRangesOfContainersThatAModuleBrings(t *testing.T) {
	b := newBench(t)
	b.unloadConntrack()
	within, above := b.addContainer("db", hosttest.ReadOnly), b.addContainer("web", hosttest.Own)
	b.wantRange(within, nf.KeyMax, 1000, 0)
	b.wantRange(above, nf.KeyMax, 10, 1000)
	b.mustRun(0)
	b.checkValue(within, nf.KeyMax, 262144)
	b.checkValue(above, nf.KeyMax, 1000)
	if r := b.mustRun(0); len(r.Results) != 0 {
		t.Errorf("the second run: %+v", r.Results)
	}
}

// A rule is tried on the decided value: the container shows the node's limit, which is outside
// its range.
func TestRangeThatIsRefusedOnceItIsDecided(t *testing.T) {
	b := newBench(t)
	b.unloadConntrack()
	web := b.addContainer("web", hosttest.ReadOnly)
	b.wantRange(web, nf.KeyMax, 0, 1000)
	r := b.mustRun(3)
	if result := b.checkOutcome(r, web, nf.KeyMax, apply.Refused); !strings.Contains(result.Reason, string(nf.ReadOnly)) {
		t.Errorf("%+v", result)
	}
	b.checkValue(web, nf.KeyMax, 262144)
}

// If the module cannot be loaded nothing is decided, and nothing is saved.
func TestRangeOfAModuleThatCannotBeLoaded(t *testing.T) {
	b := newBench(t)
	b.addBootLayer()
	b.unloadConntrack()
	b.wantRange(nf.Node, nf.KeyMax, 1000, 0)
	b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: nf.Node, Key: ct})
	b.mustRun(5)
	b.checkSaved(nf.KeyMax, nf.Absent())
}

// What nfsync has saved and somebody has removed is saved again: the kernel's own value was
// outside the range.
func TestSavedRangeIsMended(t *testing.T) {
	b := newBench(t)
	b.addBootLayer()
	b.wantRange(nf.Node, nf.KeyMax, 300000, 0)
	b.mustRun(0)
	b.checkSaved(nf.KeyMax, nf.Number(300000))
	b.machine.PutBoot(nf.KeyMax, nf.Absent())
	b.mustRun(0)
	b.checkSaved(nf.KeyMax, nf.Number(300000))
}

// A container that shows the node's limit is judged once that has changed.
func TestRangeOfAContainerBehindTheNode(t *testing.T) {
	for want, code := range map[int64]int{300000: 0, 500: 3} {
		b := newBench(t)
		b.unloadConntrack()
		web := b.addContainer("web", hosttest.ReadOnly)
		b.wantNumber(nf.Node, nf.KeyMax, want)
		b.wantRange(web, nf.KeyMax, 1000, 0)
		b.mustRun(code)
		b.checkValue(web, nf.KeyMax, want)
	}
}
