package web

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// sceneNow is the time of the scene.
var sceneNow = time.Date(2026, 3, 12, 14, 31, 7, 0, time.UTC)

func before(d time.Duration) time.Time { return sceneNow.Add(-d) }

func vzTarget(id int, name string) nf.Target {
	return nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeVZ, ID: fmt.Sprint(id), Name: name}
}

// scene is an agent that nobody runs: what the page shows of it is what a test says.
type scene struct {
	mu       sync.Mutex
	status   nf.NodeStatus
	overview apply.Overview
	report   agent.TableReport
	days     map[nf.Target]agent.Day
	receipts []apply.Receipt // the newest first
	err      error           // of the receipts
	read     int             // receipts that were read
	changes  map[chan struct{}]bool
}

func (s *scene) Status() nf.NodeStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *scene) Overview() apply.Overview {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.overview
}

func (s *scene) Report() agent.TableReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.report
}

func (s *scene) Days(targets []nf.Target) map[nf.Target]agent.Day {
	days := map[nf.Target]agent.Day{}
	for _, t := range targets {
		if d, ok := s.days[t.Nameless()]; ok {
			days[t] = d
		}
	}
	return days
}

func (s *scene) Changes() (changes <-chan struct{}, done func()) {
	c := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes[c] = true
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.changes, c)
	}
}

// change changes the scene, and tells those who watch.
func (s *scene) change(do func(*scene)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do(s)
	for c := range s.changes {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// watchers returns how many streams are open.
func (s *scene) watchers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.changes)
}

func (s *scene) ids() (ids []string, err error) {
	for _, r := range s.receipts {
		ids = append(ids, r.ID)
	}
	return ids, s.err
}

func (s *scene) receipt(id string) (apply.Receipt, error) {
	for _, r := range s.receipts {
		if r.ID == id {
			s.read++
			return r, nil
		}
	}
	return apply.Receipt{}, apply.ErrNoReceipt
}

func (s *scene) page() *Page {
	return &Page{Agent: s, Tables: s, ReceiptIDs: s.ids, Receipt: s.receipt, now: func() time.Time { return sceneNow }}
}

// emptyScene is an agent that has just started.
func emptyScene() *scene {
	return &scene{status: agent.NewStatus("hn-1.example", "https://git.example.com/policies.git", "enforce", nf.AgentInfo{Version: "0.9.0", PID: 812, StartedAt: before(time.Second)}),
		days: map[nf.Target]agent.Day{}, changes: map[chan struct{}]bool{}}
}

// add adds a container that runs, and whose table has had this many entries.
func (s *scene) add(t nf.Target, level nf.Level, limit int64, day agent.Day) *apply.Seen {
	wanted := nf.Exactly(level.Value())
	s.overview.Containers = append(s.overview.Containers, apply.Seen{Target: t, State: nf.StateRunning, Keys: 6,
		Level: apply.Setting{Live: level.Value(), Saved: level.Value(), Wanted: wanted}, Limit: apply.Setting{Live: nf.Number(limit), Wanted: nf.Exactly(nf.Number(limit))}})
	if level >= nf.LevelStateful {
		s.report.Tables = append(s.report.Tables, agent.TableReading{ConntrackTable: nf.ConntrackTable{Target: t, Count: day[agent.DaySlots-1], Max: limit}})
		s.days[t.Nameless()] = day
	}
	return &s.overview.Containers[len(s.overview.Containers)-1]
}

// dayOf returns a day whose traffic is highest at a time of the clock.
func dayOf(r *rand.Rand, base, peak, hour float64) agent.Day {
	var d agent.Day
	for i := range d {
		at := before(time.Duration(agent.DaySlots-1-i) * 10 * time.Minute)
		h := float64(at.Hour()) + float64(at.Minute())/60
		wave := math.Exp(-math.Pow(math.Mod(h-hour+36, 24)-12, 2) / 26)
		d[i] = int64((base + (peak-base)*wave) * (0.94 + 0.12*r.Float64()))
	}
	return d
}

// sceneNames are containers of a node as people have them.
var sceneNames = []string{"web-1", "web-2", "web-3", "web-4", "shop-1", "shop-2", "shop-db", "mail", "mx-1", "dns-1", "dns-2", "proxy-1", "proxy-2", "queue", "cache-1", "cache-2", "ci-runner-1", "ci-runner-2", "wiki", "git", "metrics", "backup", "staging", "vpn"}

// newScene returns a node with two dozen containers on an ordinary day, with one of each trouble.
func newScene() *scene {
	s := emptyScene()
	r := rand.New(rand.NewPCG(7, 11))
	for i, name := range sceneNames {
		level, limit := nf.LevelStateful, int64(65536)
		switch {
		case i%5 == 2:
			level = nf.LevelFull
		case name == "dns-1", name == "dns-2", name == "backup":
			level = nf.LevelStateless
		case i%4 == 0:
			limit = 131072
		}
		peak := float64(limit) * (0.04 + 0.5*r.Float64()*r.Float64())
		s.add(vzTarget(101+i, name), level, limit, dayOf(r, peak*(0.1+0.3*r.Float64()), peak, 11+6*r.Float64()))
	}
	s.addTroubles(r)
	s.addNode(r)
	s.addStatus()
	s.addReceipts()
	return s
}

func (s *scene) find(name string) *apply.Seen {
	for i := range s.overview.Containers {
		if c := &s.overview.Containers[i]; c.Target.Name == name {
			return c
		}
	}
	return nil
}

func sourceOf(name string, line int) nf.Source {
	return nf.Source{Name: name, File: "policies/" + name + ".yaml", Line: line, Column: 12}
}

func (s *scene) addTroubles(r *rand.Rand) {
	dns := s.find("dns-2")
	dns.Level.Live = nf.LevelStateful.Value()
	s.status.Refusals = []nf.Refusal{{Target: dns.Target, Key: nf.KeyLevel, Layer: nf.LayerLive, From: nf.LevelStateful.Value(), To: nf.LevelStateless.Value(), Code: "conntrack-latched",
		Reason: "this kernel tracks connections in the container until it stops, whatever its level says", Remedy: "restart the container, or allow nfsync to: restart: allow",
		Until: nf.UntilContainerRestart, Source: sourceOf("dns", 11)}}

	git := s.find("git")
	git.Level.Live, git.Level.Wanted = nf.LevelFull.Value(), nf.Exactly(nf.LevelStateful.Value())
	git.Level.Saved = nf.LevelStateful.Value()
	s.status.Pending = []nf.Pending{{Target: git.Target, Key: nf.KeyLevel, From: nf.LevelFull.Value(), To: nf.LevelStateful.Value(), Until: nf.UntilContainerRestart,
		Reason: "the level is saved; the running container keeps the old one", Source: sourceOf("default", 9)}}

	proxy := s.find("proxy-1")
	day := dayOf(r, 9000, 30000, 14)
	for i := range 14 {
		day[agent.DaySlots-14+i] = int64(30000 + float64(i)*2050*(0.97+0.06*r.Float64()))
	}
	s.days[proxy.Target.Nameless()] = day
	full := sceneNow.Add(43 * time.Minute).Truncate(time.Second)
	for i := range s.report.Tables {
		if t := &s.report.Tables[i]; t.Target == proxy.Target {
			t.Count, t.Max, t.FullAt = day[agent.DaySlots-1], 65536, &full
			s.status.Tables = []nf.FillingTable{{Target: t.Target, Count: t.Count, Max: t.Max, FullAt: &full, Since: before(26 * time.Minute)}}
		}
	}
	proxy.Limit = apply.Setting{Live: nf.Number(65536), Wanted: nf.Exactly(nf.Number(65536))}

	s.status.Fights = []nf.Fight{{Target: nf.Node, Key: nf.TimeoutKey("tcpEstablished"), Layer: nf.LayerLive, From: nf.Number(86400), To: nf.Number(7200), Flips: 3, Since: before(3 * time.Hour),
		SetBy: []nf.Writer{{Where: "kube-proxy (process 2211)", Value: nf.Number(86400)}}}}
	s.status.Changes = []nf.Change{{Target: nf.Node, Key: nf.TimeoutKey("tcpEstablished"), Layer: nf.LayerLive, From: nf.Number(86400), To: nf.Number(7200), Cause: nf.CauseDrift, Source: sourceOf("node", 14)}}
	s.status.Warnings = []nf.Warning{{Code: nf.WarnNodeTracking, Target: nf.Node, Message: "the node itself tracks connections: each packet of its containers passes its table, too"}}

	staging := s.find("staging")
	staging.State, staging.Level.Live, staging.Limit.Live = nf.StateStopped, nf.Absent(), nf.Absent()
	for i, t := range s.report.Tables {
		if t.Target == staging.Target {
			s.report.Tables = append(s.report.Tables[:i], s.report.Tables[i+1:]...)
			break
		}
	}
	s.status.Pending = append(s.status.Pending, nf.Pending{Target: staging.Target, Key: nf.KeyMax, From: nf.Absent(), To: nf.Number(65536), Until: nf.UntilContainerStart,
		Reason: "the container is stopped", Source: sourceOf("default", 12)})
}

func (s *scene) addNode(r *rand.Rand) {
	s.overview.At, s.overview.Kernel, s.overview.Level = before(38*time.Second), "3.10.0-1160.119.1.vz7.230.2", nf.LevelStateful.Value()
	key := func(k nf.Key, live, saved, wanted nf.Value, line int) nf.EffectiveKey {
		state := nf.KeyInSync
		if live != wanted {
			state = nf.KeyDiffers
		}
		return nf.EffectiveKey{Target: nf.Node, Key: k, Live: live, Saved: saved, Wanted: nf.Exactly(wanted), Source: sourceOf("node", line), State: state}
	}
	loaded := nf.Module(nf.ModuleLoaded, nil)
	s.overview.Node = []nf.EffectiveKey{
		key(nf.KeyBuckets, nf.Number(262144), nf.Number(262144), nf.Number(262144), 11), key(nf.KeyMax, nf.Number(1048576), nf.Number(1048576), nf.Number(1048576), 10),
		key(nf.TimeoutKey("tcpEstablished"), nf.Number(86400), nf.Number(7200), nf.Number(7200), 14), key(nf.TimeoutKey("udp"), nf.Number(30), nf.Number(30), nf.Number(30), 15),
		key(nf.ModuleKey("ip_set"), loaded, loaded, loaded, 18), key(nf.ModuleKey("nf_conntrack"), loaded, loaded, loaded, 19),
	}
	day := dayOf(r, 90000, 310000, 14)
	s.report.Tables = append(s.report.Tables, agent.TableReading{ConntrackTable: nf.ConntrackTable{Target: nf.Node, Count: day[agent.DaySlots-1], Max: 1048576}})
	s.days[nf.Node] = day
}

func (s *scene) addStatus() {
	fetched, success, failed := before(38*time.Second), before(38*time.Second), before(26*time.Hour)
	retry := sceneNow.Add(9 * time.Minute)
	st := &s.status
	st.Agent.StartedAt, st.UpdatedAt, st.LastSuccess = before(11*24*time.Hour), before(38*time.Second), &success
	st.URLs = []nf.SourceURL{{URL: "https://git.example.com/policies.git", LastFetch: &fetched},
		{URL: "ssh://git@mirror.example.com/policies.git", LastFetch: &failed, Error: "connect to mirror.example.com port 22: connection refused", RetryAt: &retry}}
	st.Revision = &nf.InForce{Commit: "8c1f4e2b7a90d35e6f8a1b2c3d4e5f6071829304", URL: st.URLs[0].URL, Branch: "main", Signer: "ada@example.com", Since: before(2 * time.Hour)}
	st.LastLap = &nf.LapStatus{StartedAt: before(38*time.Second + 214*time.Millisecond), FinishedAt: before(38 * time.Second), Causes: []string{"drift"}, Result: nf.LapRefused}
	st.Next = []nf.NextLap{{Cause: "interval", At: sceneNow.Add(22 * time.Second)}, {Cause: "drift", At: sceneNow.Add(4 * time.Minute)}}
	st.Summary = &nf.Summary{Changes: 1, Refusals: 1, Pending: 2, InSync: 141}
	messages := map[nf.ConditionType]nf.Condition{
		nf.Ready:          {Status: nf.ConditionTrue, Reason: "Refused", Message: "the policies are in force, but for 1 refusal"},
		nf.Reconciling:    {Status: nf.ConditionFalse, Reason: "UpToDate"},
		nf.Stalled:        {Status: nf.ConditionFalse, Reason: "Progressing"},
		nf.Drifted:        {Status: nf.ConditionTrue, Reason: "ChangedByOthers", Message: "changed by something else: node conntrack.timeouts.tcpEstablished (1d, probably kube-proxy (process 2211))"},
		nf.RestartPending: {Status: nf.ConditionTrue, Reason: "WaitsForRestart", Message: "container vz/120 (git) level"},
		nf.Suspended:      {Status: nf.ConditionFalse, Reason: "Running"},
		nf.TableFilling:   {Status: nf.ConditionTrue, Reason: "Filling", Message: "container vz/112 (proxy-1) will be full at 2026-03-12 15:14:07 UTC"},
	}
	for i := range st.Conditions {
		c := messages[st.Conditions[i].Type]
		c.Type, c.LastTransitionTime = st.Conditions[i].Type, before(time.Duration(i*i+1)*43*time.Minute)
		st.Conditions[i] = c
	}
}

func (s *scene) addReceipts() {
	result := func(t nf.Target, k nf.Key, from, to nf.Value, cause nf.Cause) apply.Result {
		return apply.Result{Change: nf.Change{Target: t, Key: k, Layer: nf.LayerLive, From: from, To: to, Cause: cause}, Outcome: apply.Applied}
	}
	receipt := func(n int, ago time.Duration, results ...apply.Result) apply.Receipt {
		r := apply.Receipt{Kind: nf.KindReceipt, ID: fmt.Sprintf("%06d-%s", n, before(ago).Format("20060102T150405Z")), Revision: s.status.Revision.Commit, StartedAt: before(ago),
			FinishedAt: before(ago - 310*time.Millisecond), Results: results}
		r.Summary = apply.Summary{Applied: len(results), Refusals: 1, Pending: 2, InSync: 141}
		return r
	}
	failed := result(s.find("shop-db").Target, nf.KeyMax, nf.Number(65536), nf.Number(131072), nf.CausePolicy)
	failed.Outcome, failed.Error = apply.Failed, "write nf_conntrack_max: invalid argument"
	s.receipts = []apply.Receipt{
		receipt(418, 12*time.Minute, result(s.find("web-3").Target, nf.TimeoutKey("udp"), nf.Number(120), nf.Number(30), nf.CauseDrift)),
		receipt(417, 2*time.Hour, result(s.find("git").Target, nf.KeyLevel, nf.LevelFull.Value(), nf.LevelStateful.Value(), nf.CausePolicy),
			result(s.find("mail").Target, nf.KeyMax, nf.Number(32768), nf.Number(65536), nf.CausePolicy), result(s.find("mx-1").Target, nf.KeyMax, nf.Number(32768), nf.Number(65536), nf.CausePolicy)),
		receipt(416, 26*time.Hour, failed),
		receipt(415, 27*time.Hour, result(s.find("vpn").Target, nf.KeyMax, nf.Number(0), nf.Number(65536), nf.CauseNew)),
	}
	s.receipts[2].Summary.Applied, s.receipts[2].Summary.Failed = 0, 1
}

// largeScene returns a node with many containers.
func largeScene(t testing.TB, n int) *scene {
	t.Helper()
	s := emptyScene()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		limit := int64(65536)
		peak := float64(limit) * r.Float64() * 0.8
		s.add(vzTarget(1000+i, fmt.Sprintf("web-%d", i+1)), nf.LevelStateful, limit, dayOf(r, peak/4, peak, 14))
	}
	s.overview.At = before(time.Minute)
	return s
}

// scenePlan is a plan for the node of the scene, as a review has it.
func scenePlan() nf.Plan {
	s := newScene()
	p := nf.Plan{APIVersion: nf.APIVersion, Kind: nf.KindPlan, ID: "sha256:1", Node: s.status.Node, Revision: s.status.Revision.Commit, Refusals: s.status.Refusals, Pending: s.status.Pending[:1],
		Warnings: s.status.Warnings}
	change := func(t nf.Target, k nf.Key, from, to nf.Value, cause nf.Cause, source nf.Source) {
		p.Changes = append(p.Changes, nf.Change{Target: t, Key: k, Layer: nf.LayerLive, From: from, To: to, Cause: cause, Source: source})
	}
	change(nf.Node, nf.ModuleKey("ip_set"), nf.Module(nf.ModuleUnloaded, nil), nf.Module(nf.ModuleLoaded, nil), nf.CauseNew, sourceOf("node", 18))
	change(nf.Node, nf.TimeoutKey("tcpEstablished"), nf.Number(86400), nf.Number(7200), nf.CauseDrift, sourceOf("node", 14))
	for _, name := range []string{"web-1", "web-2", "web-3", "web-4"} {
		change(s.find(name).Target, nf.KeyMax, nf.Number(65536), nf.Number(131072), nf.CausePolicy, sourceOf("web", 12))
	}
	change(s.find("mail").Target, nf.TimeoutKey("udp"), nf.Number(120), nf.Number(30), nf.CauseNew, sourceOf("default", 14))
	p.Summary = nf.Summary{Changes: len(p.Changes), Refusals: len(p.Refusals), Pending: len(p.Pending), InSync: 134}
	return p
}
