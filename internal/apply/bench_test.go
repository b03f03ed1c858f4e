package apply_test

import (
	"fmt"
	"testing"

	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// BenchmarkRun changes one key in each container of a machine in memory, with the journal, the memory
// and the receipt on the disk: what a run costs beside the kernel.
func BenchmarkRun(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("containers=%d", n), func(b *testing.B) {
			node := newBench(b)
			var targets []nf.Target
			for i := range n {
				targets = append(targets, node.addContainer(fmt.Sprintf("c%d", i), hosttest.ReadOnly))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				node.wants, node.events = node.wants[:0], node.events[:0]
				for _, t := range targets {
					node.wantNumber(t, udp, int64(40+i%2))
				}
				if r := node.mustRun(0); r.Summary.Applied != n && i > 0 {
					b.Fatalf("%+v", r.Summary)
				}
			}
		})
	}
}
