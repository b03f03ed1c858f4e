package apply_test

import (
	"syscall"

	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

// scenario is a node and the wants for it.
type scenario struct {
	name    string
	prepare func(*bench)
	code    int // exit code of a run that does not crash
}

func scenarios() []scenario {
	conntrackUnloaded := func(b *bench) {
		b.machine.SetModule(nf.ModuleFact{Name: "nf_conntrack", State: nf.ModuleUnloaded, Deps: []string{"nf_defrag_ipv4", "nf_defrag_ipv6"}})
	}
	return []scenario{
		{"raise", func(b *bench) {
			b.wantNumber(nf.Node, nf.KeyMax, 300000)
			b.wantNumber(nf.Node, udp, 60)
			for _, name := range []string{"db", "web"} {
				c := b.addContainer(name, hosttest.Own)
				b.wantNumber(c, nf.KeyMax, 290000)
				b.wantNumber(c, udp, 60)
			}
		}, 0},
		{"raise, then a one-way change", func(b *bench) {
			b.wantNumber(nf.Node, nf.KeyMax, 300000)
			c := b.addContainer("web", hosttest.Own)
			b.wantNumber(c, nf.KeyMax, 290000)
			b.wantNumber(c, udp, 60)
			b.machine.SetModule(nf.ModuleFact{Name: "xt_extra", State: nf.ModuleLoaded})
			b.want(nf.Node, nf.ModuleKey("xt_extra"), unloaded)
		}, 0},
		{"lower", func(b *bench) {
			b.wantNumber(nf.Node, nf.KeyMax, 1000)
			b.wantNumber(nf.Node, nf.KeyBuckets, 1000)
			b.wantNumber(nf.Node, udp, 60)
			for _, name := range []string{"db", "web"} {
				c := b.addContainer(name, hosttest.Own)
				b.wantNumber(c, nf.KeyMax, 900)
				b.wantNumber(c, udp, 60)
			}
		}, 0},
		{"modules that bring values", func(b *bench) {
			conntrackUnloaded(b)
			b.want(nf.Node, ct, loaded)
			b.want(nf.Node, nf.ModuleKey("nf_conntrack_ftp"), loaded)
			b.wantNumber(nf.Node, icmp, 20)
			b.wantNumber(nf.Node, udp, 60)
			c := b.addContainer("web", hosttest.ReadOnly)
			b.wantNumber(c, icmp, 20)
			b.wantNumber(c, udp, 60)
		}, 0},
		{"both layers", func(b *bench) {
			b.addBootLayer()
			b.machine.PutBoot(nf.KeyMax, nf.Number(100))
			b.machine.PutBoot(nf.ModuleKey("nf_conntrack_ftp"), unloaded)
			b.want(nf.Node, nf.ModuleKey("nf_conntrack_ftp"), loaded)
			b.want(nf.Node, nf.ModuleKey("nf_nat"), loaded)
			b.wantNumber(nf.Node, nf.KeyMax, 300000)
			b.wantNumber(nf.Node, udp, 60)
			c := b.addContainer("web", hosttest.ReadOnly)
			b.wantNumber(c, udp, 60)
		}, 0},
		{"ranges of values that a module brings", func(b *bench) {
			b.addBootLayer()
			conntrackUnloaded(b)
			b.want(nf.Node, ct, loaded)
			b.wantNumber(nf.Node, icmp, 20)
			b.wantRange(nf.Node, nf.KeyMax, 300000, 400000)
			b.wantRange(b.addContainer("db", hosttest.ReadOnly), nf.KeyMax, 1000, 0)
			b.wantRange(b.addContainer("web", hosttest.Own), nf.KeyMax, 0, 1000)
		}, 0},
		{"a range in which the value is that a module brings", func(b *bench) {
			b.addBootLayer()
			conntrackUnloaded(b)
			b.want(nf.Node, ct, loaded)
			b.wantNumber(nf.Node, icmp, 20)
			b.wantRange(nf.Node, nf.KeyMax, 1000, 0)
		}, 0},
		{"an intermediate limit", func(b *bench) {
			b.lowerFromNoLimit()
			b.wantNumber(nf.Node, udp, 60)
		}, 0},
		{"an intermediate limit, and a container that fails", func(b *bench) {
			web := b.lowerFromNoLimit()
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: web, Key: nf.KeyMax, Err: syscall.EINVAL})
		}, 5},
		{"a module that is kept out", func(b *bench) {
			b.addBootLayer()
			b.machine.SetModule(nf.ModuleFact{Name: "xt_extra", State: nf.ModuleLoaded})
			b.machine.PutBoot(nf.ModuleKey("xt_extra"), loaded)
			b.want(nf.Node, nf.ModuleKey("xt_extra"), unloaded)
			b.wantNumber(nf.Node, udp, 60)
		}, 0},
		{"a boot file that cannot be written", func(b *bench) {
			b.addBootLayer()
			b.wantNumber(nf.Node, nf.KeyMax, 300000)
			b.wantNumber(nf.Node, udp, 60)
			b.wantNumber(b.addContainer("web", hosttest.ReadOnly), udp, 60)
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Key: udp, Layer: nf.LayerBoot, Err: syscall.EROFS})
		}, 5},
		{"a failure", func(b *bench) {
			c := b.addContainer("web", hosttest.ReadOnly)
			b.wantNumber(nf.Node, udp, 60)
			b.wantNumber(c, generic, 500)
			b.wantNumber(c, icmp, 20)
			b.wantNumber(c, udp, 60)
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: c, Key: udp, Kind: hosttest.Fail, Err: syscall.EINVAL})
		}, 5},
		{"a failure after its effect", func(b *bench) {
			c := b.addContainer("web", hosttest.ReadOnly)
			b.wantNumber(c, icmp, 20)
			b.wantNumber(c, udp, 60)
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: c, Key: udp, Kind: hosttest.FailAfter, Times: 1})
		}, 5},
		{"a failure that cannot be undone", func(b *bench) {
			c := b.addContainer("web", hosttest.ReadOnly)
			b.wantNumber(nf.Node, udp, 60)
			b.wantNumber(c, icmp, 20)
			b.wantNumber(c, udp, 60)
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: c, Key: udp, Err: syscall.EINVAL})
			b.machine.Inject(hosttest.Fault{Op: hosttest.OpSet, Target: c, Key: icmp, Skip: 1, Err: syscall.EPERM})
		}, 6},
	}
}
