package diff

import (
	"fmt"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// BenchmarkPlan plans four timeouts for each of many containers, and limits that are to be
// lowered before that of their node.
func BenchmarkPlan(b *testing.B) {
	planning := func(of func(n int) (*nf.Snapshot, []nf.Want)) func(*testing.B) {
		return func(b *testing.B) {
			for _, n := range []int{100, 1_000, 10_000} {
				b.Run(fmt.Sprint(n), func(b *testing.B) {
					s, list := of(n)
					b.ReportAllocs()
					for b.Loop() {
						Plan(nf.Wants{List: list}, s)
					}
				})
			}
		}
	}
	b.Run("timeouts", planning(timeouts))
	b.Run("limits", planning(fleet))
}

// timeouts is a node each of whose containers has four timeouts that are to be changed.
func timeouts(n int) (*nf.Snapshot, []nf.Want) {
	s := &nf.Snapshot{Node: nf.NodeIdentity{Name: "hn-1"}, BootID: "2f7c", Capabilities: nf.Capabilities{Latches: nf.No, BucketStep: 512},
		Modules: nf.Modules{Support: nf.SupportNone, Complete: true}}
	var list []nf.Want
	for i := range n {
		name := fmt.Sprintf("web-%d", i+1)
		c := nf.Container{Runtime: nf.RuntimeNetns, ID: name, Name: name, State: nf.StateRunning, Instance: fmt.Sprintf("2f7c/4:%d", 4026532000+i)}
		for _, key := range []string{"generic", "tcpEstablished", "udp", "udpStream"} {
			c.Facts = append(c.Facts, nf.Fact{Key: nf.TimeoutKey(key), Live: nf.Number(30)})
			list = append(list, want(c.Target(), nf.TimeoutKey(key), nf.Number(60)))
		}
		s.Containers = append(s.Containers, c)
	}
	s.AddKeepers()
	return s, list
}
