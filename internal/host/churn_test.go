package host

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
)

// churn makes and removes namespaces, and knows which values nfsync may have set in which
// instance.
type churn struct {
	t       *testing.T
	dir     string
	mu      sync.Mutex
	allowed map[string]map[int64]bool // by instance
	made    int
}

// allow notes that a value may be set in an instance from now on.
func (c *churn) allow(instance string, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.allowed[instance] == nil {
		c.allowed[instance] = map[int64]bool{}
	}
	c.allowed[instance][n] = true
}

// replace removes a namespace, after checking its value, and makes another one of that name.
func (c *churn) replace(name string) {
	path := filepath.Join(c.dir, name)
	c.check(path)
	removeNamespace(c.t, path)
	addNamespace(c.t, c.dir, name)
	c.made++
}

// check checks that a namespace has the kernel's value, or one that was set in this very instance.
func (c *churn) check(path string) {
	id, err := netns.Identify(path)
	if err != nil {
		c.t.Error(err)
		return
	}
	var n int64
	err = netns.Enter(path, func() error {
		n, _ = realFS.Sysctls([]nf.Key{udp}, false)[0].Live.Number()
		return nil
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if n == 30 && err == nil {
		return
	}
	for instance, values := range c.allowed {
		if strings.HasSuffix(instance, "/"+id.String()) && values[n] {
			return
		}
	}
	c.t.Errorf("%s reads %d, which was set in another namespace's name, %v", path, n, err)
}

// Namespaces are removed and made anew under their names all the time, at least fifty a second,
// while values are set. Nothing is ever written into another namespace than the one that was
// observed, whose inode number the kernel soon uses again.
func TestChurn(t *testing.T) {
	for _, open := range []*Cache{nil, NewCache()} {
		t.Run(fmt.Sprintf("open=%t", open != nil), func(t *testing.T) {
			c := &churn{t: t, dir: t.TempDir(), allowed: map[string]map[int64]bool{}}
			var names []string
			for i := range 12 {
				names = append(names, fmt.Sprintf("c%d", i))
				addNamespace(t, c.dir, names[i])
			}
			m := New(Config{FS: realFS, NetnsDir: c.dir, Cache: open})
			const lasts = 2 * time.Second
			began := time.Now()
			var churning sync.WaitGroup
			churning.Go(func() {
				for time.Since(began) < lasts {
					c.replace(names[rand.IntN(len(names))])
				}
			})
			set, gone := 0, 0
			for round := int64(100); time.Since(began) < lasts; round++ {
				s := observe(t, m, askFor(names, udp))
				for i := range s.Containers {
					at := &s.Containers[i]
					if at.Instance == "" || at.Unobservable != "" {
						continue
					}
					c.allow(at.Instance, round)
					err := setAndReadBack(m, &s, nf.Change{Target: at.Target(), Key: udp, Layer: nf.LayerLive, To: nf.Number(round)})
					switch {
					case errors.Is(err, nf.ErrGone):
						gone++
					case err != nil:
						t.Errorf("%s: %v", at.ID, err)
					default:
						set++
					}
				}
			}
			churning.Wait()
			for _, name := range names {
				c.check(filepath.Join(c.dir, name))
			}
			open.Close()
			t.Logf("%d namespaces made, %d values set, %d containers gone", c.made, set, gone)
			if perSecond := float64(c.made) / lasts.Seconds(); perSecond < 50 || set == 0 || gone == 0 {
				t.Errorf("%.0f namespaces a second, %d values set, %d containers gone", perSecond, set, gone)
			}
		})
	}
}

// setAndReadBack makes a change without looking first. A container that cannot be read any more is
// gone.
func setAndReadBack(m *Machine, s *nf.Snapshot, c nf.Change) error {
	ctx := context.Background()
	for _, step := range []func(context.Context, *nf.Snapshot, nf.Change) error{m.Set, m.Refresh} {
		if err := step(ctx, s, c); err != nil {
			return err
		}
	}
	ns, at, _ := s.Find(c.Target)
	if at.Unobservable != "" {
		return fmt.Errorf("%s: %w", at.Unobservable, nf.ErrGone)
	}
	if live := ns.Fact(c.Key).Live; live != c.To {
		return fmt.Errorf("it reads %v, want %v", live, c.To)
	}
	return nil
}
