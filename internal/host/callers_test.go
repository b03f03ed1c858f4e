package host

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// One caller observes for a status page while another makes changes. The second
// caller's snapshot has a container that was recreated since: for it the container
// is nf.ErrGone, however often the first caller observes the new instance. Its
// changes of another container go on.
func TestTwoCallers(t *testing.T) {
	const rounds = 50
	ctx := context.Background()
	dir := t.TempDir()
	m := New(Config{FS: realFS, NetnsDir: dir})
	addNamespace(t, dir, "web")
	addNamespace(t, dir, "db")

	ask := nf.Ask{Keys: map[nf.Target][]nf.Key{target("web"): {udp}, target("db"): {udp}}}
	s := observe(t, m, ask)
	removeNamespace(t, filepath.Join(dir, "web"))
	addNamespace(t, dir, "web")
	fresh := observe(t, m, ask)
	ns, _, _ := fresh.Find(target("web"))
	before, _ := ns.Fact(udp).Live.Number()

	var callers sync.WaitGroup
	callers.Go(func() {
		for range rounds {
			if now := observe(t, m, ask); len(now.Containers) != 2 {
				t.Errorf("containers %+v", now.Containers)
			}
		}
	})
	callers.Go(func() {
		for i := range rounds {
			stale := nf.Change{Target: target("web"), Key: udp, Layer: nf.LayerLive, To: nf.Number(before + 1)}
			if err := m.Set(ctx, &s, stale); !errors.Is(err, nf.ErrGone) {
				t.Errorf("a container that was recreated was changed: %v", err)
			}
			if err := m.Refresh(ctx, &s, stale); !errors.Is(err, nf.ErrGone) {
				t.Errorf("a container that was recreated was read: %v", err)
			}
			c := nf.Change{Target: target("db"), Key: udp, Layer: nf.LayerLive, To: nf.Number(int64(100 + i))}
			if err := errors.Join(m.Set(ctx, &s, c), m.Refresh(ctx, &s, c)); err != nil {
				t.Errorf("the other container: %v", err)
			}
			if ns, _, _ := s.Find(target("db")); ns.Fact(udp).Live != c.To {
				t.Errorf("the other container reads %v, want %v", ns.Fact(udp).Live, c.To)
			}
		}
	})
	callers.Wait()
	if err := m.Refresh(ctx, &fresh, nf.Change{Target: target("web"), Key: udp, Layer: nf.LayerLive}); err != nil || ns.Fact(udp).Live != nf.Number(before) {
		t.Errorf("the recreated container reads %v, want %d; %v", ns.Fact(udp).Live, before, err)
	}
}
