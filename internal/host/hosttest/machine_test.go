package hosttest_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/host/hosttest"
	"nfsync.dev/nfsync/internal/nf"
)

func TestConformance(t *testing.T) {
	for name, scope := range map[string]hosttest.Scope{"read-only limits": hosttest.ReadOnly, "own limits": hosttest.Own, "shared limits": hosttest.Shared} {
		t.Run(name, func(t *testing.T) {
			hosttest.Run(t, func(*testing.T) hosttest.Stage {
				m := hosttest.New()
				return hosttest.Stage{
					Machine: m,
					Add:     func(name string, aliases ...string) { m.SetScope(m.AddContainer(name, aliases...), scope) },
					Remove: func(name string) {
						m.Remove(nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: name})
					},
				}
			})
		})
	}
}

func TestConformanceBoot(t *testing.T) {
	hosttest.RunBoot(t, func(*testing.T) hosttest.Stage {
		m := hosttest.New()
		m.SetBootFiles()
		return hosttest.Stage{Machine: m, Add: func(name string, _ ...string) { m.AddContainer(name) }}
	})
}

// observe lists and observes, and judges the tracking as a run does.
func observe(t *testing.T, m *hosttest.Machine, ask nf.Ask) nf.Snapshot {
	t.Helper()
	listed, err := m.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Observe(context.Background(), listed, ask)
	if err != nil {
		t.Fatal(err)
	}
	diff.JudgeTracking(&s, nf.Node)
	return s
}

func set(t *testing.T, m *hosttest.Machine, target nf.Target, k nf.Key, to nf.Value) error {
	t.Helper()
	s, err := m.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return m.Set(context.Background(), &s, nf.Change{Target: target, Key: k, Layer: nf.LayerLive, To: to})
}

// A write of a container's conntrack.max has the effect that it has in the kernel,
// for each relation to the node's.
func TestScopes(t *testing.T) {
	for _, test := range []struct {
		name  string
		scope hosttest.Scope
		node  int64
		to    int64
		err   error
		now   int64
	}{
		{"read-only", hosttest.ReadOnly, 1000, 500, syscall.EACCES, 1000},
		{"own, below the node's", hosttest.Own, 1000, 500, nil, 500},
		{"own, the node's", hosttest.Own, 1000, 1000, nil, 1000},
		{"own, above the node's", hosttest.Own, 1000, 1001, syscall.EINVAL, 1000},
		{"own, the node unlimited", hosttest.Own, 0, 500, syscall.EINVAL, 0},
		{"own, unlimited", hosttest.Own, 1000, 0, nil, 0},
		{"shared", hosttest.Shared, 1000, 500, nf.ErrNodeScope, 1000},
		{"shared, the same", hosttest.Shared, 1000, 1000, nil, 1000},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := hosttest.New()
			m.Put(nf.Node, nf.KeyMax, test.node)
			web := m.AddContainer("web")
			m.SetScope(web, test.scope)
			if err := set(t, m, web, nf.KeyMax, nf.Number(test.to)); !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
				t.Errorf("error %v, want %v", err, test.err)
			}
			if v := m.Value(web, nf.KeyMax); v != nf.Number(test.now) {
				t.Errorf("the container's is %v, want %d", v, test.now)
			}
			if v := m.Value(nf.Node, nf.KeyMax); v != nf.Number(test.node) {
				t.Errorf("the node's is %v, want %d", v, test.node)
			}
		})
	}
}

func TestMaxScopeIsObserved(t *testing.T) {
	m := hosttest.New()
	node, own, same := m.AddContainer("node"), m.AddContainer("own"), m.AddContainer("same")
	m.SetScope(own, hosttest.Own)
	m.SetScope(same, hosttest.Own)
	m.Put(own, nf.KeyMax, 5)
	s := observe(t, m, nf.Ask{Limits: true})
	for target, want := range map[nf.Target]string{node: nf.ScopeNode, own: nf.ScopeOwn, same: nf.ScopeUnknown} {
		if _, c, _ := s.Find(target); c.MaxScope != want {
			t.Errorf("%s: %s, want %s", target, c.MaxScope, want)
		}
	}
}

func TestBucketsAreRounded(t *testing.T) {
	m := hosttest.New()
	if err := set(t, m, nf.Node, nf.KeyBuckets, nf.Number(1025)); err != nil || m.Value(nf.Node, nf.KeyBuckets) != nf.Number(1536) {
		t.Errorf("%v, %v", m.Value(nf.Node, nf.KeyBuckets), err)
	}
}

func TestModules(t *testing.T) {
	load, unload := nf.Module(nf.ModuleLoaded, nil), nf.Module(nf.ModuleUnloaded, nil)
	m := hosttest.New()
	steps := []struct {
		name string
		to   nf.Value
		err  error
	}{
		{"nft_masq", load, syscall.ENOENT}, // nf_nat is not loaded yet
		{"nf_nat", load, nil},
		{"nft_masq", load, nil},
		{"nf_nat", unload, syscall.EWOULDBLOCK}, // nft_masq holds it
		{"nft_masq", unload, nil},
		{"nf-nat", unload, nil},
		{"nf_nat", unload, nil}, // already
		{"ip_set", nf.Module(nf.ModuleLoaded, map[string]string{"max_sets": "512"}), nil},
		{"ip_set", nf.Module(nf.ModuleLoaded, map[string]string{"max_sets": "9"}), syscall.EACCES}, // only a reload sets it
		{"nf_conntrack", nf.Module(nf.ModuleLoaded, map[string]string{"hashsize": "512"}), nil},
		{"nothing", load, syscall.ENOENT},
		{"ip_conntrack", unload, nil}, // an alias of nf_conntrack
	}
	for _, s := range steps {
		if err := set(t, m, nf.Node, nf.ModuleKey(s.name), s.to); !errors.Is(err, s.err) || (err == nil) != (s.err == nil) {
			t.Errorf("%s %s: %v, want %v", s.name, s.to, err, s.err)
		}
	}
	if v, want := m.Value(nf.Node, nf.ModuleKey("ip_set")), nf.Module(nf.ModuleLoaded, map[string]string{"max_sets": "512"}); v != want {
		t.Errorf("ip_set %v, want %v", v, want)
	}
	if v := m.Value(nf.Node, nf.KeyMax); !v.IsAbsent() {
		t.Errorf("without nf_conntrack its value is %v, want absent", v)
	}
	if n := len(m.Calls()); n != len(steps) {
		t.Errorf("%d calls, want %d", n, len(steps))
	}
}

// To unload a module removes its tables in every namespace.
func TestUnloadRemovesTables(t *testing.T) {
	m := hosttest.New()
	web := m.AddContainer("web")
	m.SetModule(nf.ModuleFact{Name: "iptable_filter", State: nf.ModuleLoaded})
	filter := nf.Table{Backend: nf.BackendLegacy, Family: "ip", Name: "filter", Rules: 1}
	other := nf.Table{Backend: nf.BackendNft, Family: "ip", Name: "filter", Rules: 1}
	m.SetRules(web, filter, other)
	if err := set(t, m, nf.Node, nf.ModuleKey("iptable_filter"), nf.Module(nf.ModuleUnloaded, nil)); err != nil {
		t.Fatal(err)
	}
	s := observe(t, m, nf.Ask{Rules: true})
	if len(s.Containers[0].Rules.Tables) != 1 || s.Containers[0].Rules.Tables[0].Backend != nf.BackendNft {
		t.Errorf("%+v", s.Containers[0].Rules)
	}
}

func TestFaults(t *testing.T) {
	udp := nf.TimeoutKey("udp")
	for _, test := range []struct {
		name  string
		fault hosttest.Fault
		err   error
		now   int64
	}{
		{"fail", hosttest.Fault{Kind: hosttest.Fail}, syscall.EIO, 30},
		{"fail with", hosttest.Fault{Kind: hosttest.Fail, Err: syscall.EINVAL}, syscall.EINVAL, 30},
		{"fail after", hosttest.Fault{Kind: hosttest.FailAfter}, syscall.EIO, 60},
		{"swallow", hosttest.Fault{Kind: hosttest.Swallow}, nil, 30},
		{"block", hosttest.Fault{Kind: hosttest.Block}, context.DeadlineExceeded, 30},
		{"vanish", hosttest.Fault{Kind: hosttest.Vanish}, nf.ErrGone, 0},
		{"another key", hosttest.Fault{Kind: hosttest.Fail, Key: nf.KeyMax}, nil, 60},
		{"another target", hosttest.Fault{Kind: hosttest.Fail, Target: nf.Node}, nil, 60},
		{"another call", hosttest.Fault{Kind: hosttest.Fail, Skip: 1}, nil, 60},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := hosttest.New()
			web := m.AddContainer("web")
			s, err := m.List(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			test.fault.Op = hosttest.OpSet
			m.Inject(test.fault)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			err = m.Set(ctx, &s, nf.Change{Target: web, Key: udp, To: nf.Number(60)})
			if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
				t.Errorf("error %v, want %v", err, test.err)
			}
			if test.now != 0 && m.Value(web, udp) != nf.Number(test.now) {
				t.Errorf("value %v, want %d", m.Value(web, udp), test.now)
			}
		})
	}
}

func TestFaultTimes(t *testing.T) {
	m := hosttest.New()
	m.Inject(hosttest.Fault{Op: hosttest.OpList, Skip: 1, Times: 2})
	var got []bool
	for range 5 {
		_, err := m.List(context.Background())
		got = append(got, err == nil)
	}
	for i, ok := range []bool{true, false, false, true, true} {
		if got[i] != ok {
			t.Fatalf("calls that succeeded: %v", got)
		}
	}
	m.Inject(hosttest.Fault{Op: hosttest.OpList})
	m.Heal()
	if _, err := m.List(context.Background()); err != nil {
		t.Error(err)
	}
}
