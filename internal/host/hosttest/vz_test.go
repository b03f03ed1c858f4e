package hosttest_test

import (
	"testing"

	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

func vzTarget(id string) nf.Target {
	return nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeVZ, ID: id}
}

func TestConformanceVZ(t *testing.T) {
	hosttest.RunVZ(t, func(*testing.T) hosttest.VZStage {
		m := hosttest.NewVirtuozzo()
		by := func(act func(nf.Target)) func(string) { return func(id string) { act(vzTarget(id)) } }
		return hosttest.VZStage{
			Machine: m,
			Add:     func(c hosttest.VZ) { m.AddVZ(c) },
			Start:   by(m.Start), Stop: by(m.Stop), Suspend: by(m.Suspend), Remove: by(m.Remove),
			Claim: func(string, string) {}, // it has no directory
		}
	})
}
