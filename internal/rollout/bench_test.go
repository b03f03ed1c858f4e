package rollout

import (
	"fmt"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// BenchmarkDecide decides in the middle of a roll-out. 100,000 nodes are to take less than 100 ms.
func BenchmarkDecide(b *testing.B) {
	for _, size := range []int{1000, 10000, 100000} {
		f := newFleet(plan(edgeAndGPU), map[string]int{"": size * 8 / 10, "edge": size / 10, "gpu": size / 10})
		f.decide()
		for f.doc.Step < 4 {
			f.all(nf.ProgressApplied)
			f.wait(time.Minute).decide()
		}
		b.Run(fmt.Sprintf("nodes=%d", size), func(b *testing.B) {
			for b.Loop() {
				if _, changed := Decide(f.doc, Heard{Nodes: f.nodes}, f.now); changed {
					b.Fatal("changed")
				}
			}
		})
		b.Run(fmt.Sprintf("begin/nodes=%d", size), func(b *testing.B) {
			for b.Loop() {
				doc := Begin(f.doc, "r2", f.doc.Plan, "seed", f.nodes, f.now)
				if doc, _ = Decide(doc, Heard{Nodes: f.nodes}, f.now); doc.Step != 0 {
					b.Fatal(doc.Step)
				}
			}
		})
	}
}
