package host

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/vz/vztest"
)

// virtuozzo is a machine on a node of Virtuozzo 7, whose named namespaces are
// in the directory where Virtuozzo has its links.
func virtuozzo(n *vztest.Node) *Machine {
	return New(Config{FS: realFS, VZRoot: n.Root(), NetnsDir: filepath.Join(n.Root(), "var/run/netns")})
}

// container is a container in memory as one of the node.
func container(t *testing.T, c hosttest.VZ) vztest.Container {
	t.Helper()
	if c.State == "" {
		c.State = nf.StateRunning
	}
	out := vztest.Container{ID: c.ID, UUID: c.UUID, Name: c.Name, State: c.State}
	out.Saved, _ = c.Saved.Text()
	if mask, ok := c.Live.Mask(); ok {
		out.Mask = &mask
	} else if !c.Live.IsAbsent() {
		t.Fatalf("%v is no mask", c.Live)
	}
	return out
}

func TestConformanceVZ(t *testing.T) {
	hosttest.RunVZ(t, func(t *testing.T) hosttest.VZStage {
		n := vztest.New(t)
		m := virtuozzo(n)
		return hosttest.VZStage{
			Machine: m,
			Add:     func(c hosttest.VZ) { n.Add(container(t, c)) },
			Start:   n.Start, Stop: n.Stop, Suspend: n.Suspend, Remove: n.Remove,
			Claim: func(id, name string) { link(t, m, n.Pid(id), name) },
		}
	})
}

// link names the namespace of a process, as ln -s does; again where the name is
// there already.
func link(t *testing.T, m *Machine, pid int, name string) {
	t.Helper()
	err := os.Symlink(fmt.Sprintf("/proc/%d/ns/net", pid), filepath.Join(m.cfg.NetnsDir, name))
	if err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
}
