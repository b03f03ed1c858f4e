package view

import (
	"fmt"
	"io"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// BenchmarkRender prints a plan with four changes of each of many containers, folded, in full and
// as JSON.
func BenchmarkRender(b *testing.B) {
	for _, row := range []struct {
		name, format string
		opt          Options
	}{{"text", FormatText, Options{}}, {"full", FormatText, Options{Full: true}}, {"json", FormatJSON, Options{}}} {
		b.Run(row.name, func(b *testing.B) {
			for _, n := range []int{100, 1_000, 10_000} {
				b.Run(fmt.Sprint(n), func(b *testing.B) {
					p := planOf(n)
					b.ReportAllocs()
					for b.Loop() {
						if err := Plans.Write(io.Discard, row.format, p, row.opt); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		})
	}
}

// planOf returns a plan with the same four changes of each of many containers.
func planOf(n int) nf.Plan {
	p := emptyPlan()
	for i := range n {
		t := foldedTarget(i)
		for line, key := range []string{"generic", "tcpEstablished", "udp", "udpStream"} {
			p.Changes = append(p.Changes, nf.Change{Target: t, Key: nf.TimeoutKey(key), Layer: nf.LayerLive, From: nf.Number(30),
				To: nf.Number(60), Cause: nf.CauseNew, Source: webPolicy(line), Asked: nf.Exactly(nf.Number(60))})
		}
	}
	p.Summary = nf.Summary{Changes: len(p.Changes)}
	return p
}
