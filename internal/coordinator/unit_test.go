package coordinator

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

func TestAheadOf(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	ended := began.Add(time.Second)
	for put, want := range map[time.Duration]time.Duration{0: 0, time.Second / 2: 0, time.Second: 0, -time.Hour: -time.Hour, time.Hour + time.Second: time.Hour} {
		if got := aheadOf(began.Add(put), began, ended); got != want {
			t.Errorf("put %s after it began: %s, not %s", put, got, want)
		}
	}
}

// TestHeardKeepsWhatCanBeRead is a node that has begun and then puts what cannot be read, and one of another channel.
func TestHeardKeepsWhatCanBeRead(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	value := func(n nf.FleetNode) fleet.Stored {
		data, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		return fleet.Stored{Data: data, Put: began}
	}
	good := nf.FleetNode{Node: "hn-1", Channel: "main", Progress: &nf.NodeProgress{State: nf.ProgressBegun}}
	h := newHeard()
	take := func(node string, v fleet.Stored) { h.take(node, v, "main", "") }
	take("hn-1", value(good))
	take("hn-2", value(nf.FleetNode{Node: "hn-2", Channel: "other"}))
	take("hn-3", value(nf.FleetNode{Node: "hn-3"}))
	if list := h.list(); len(list) != 2 || list[0].Node != "hn-1" || list[1].Node != "hn-3" {
		t.Errorf("the nodes are %+v", list)
	}
	for what, v := range map[string]fleet.Stored{
		"no JSON":             {Data: []byte("{")},
		"another node's":      value(nf.FleetNode{Node: "hn-3", Channel: "main"}),
		"an unknown progress": value(nf.FleetNode{Node: "hn-1", Progress: &nf.NodeProgress{State: "well"}}),
	} {
		v.Put = began.Add(time.Hour)
		take("hn-1", v)
		if n := h.nodes["hn-1"]; h.unread["hn-1"] == "" || n.Progress.State != nf.ProgressBegun || !n.Heard.Equal(began) {
			t.Errorf("%s: unread %q, the node is %+v", what, h.unread["hn-1"], n)
		}
	}
	take("hn-1", value(good))
	if len(h.unread) != 0 {
		t.Errorf("unread are %v", h.unread)
	}
}

// TestClaims: a generation is believed of a node that proves it. What else an unproven one says of itself counts.
func TestClaims(t *testing.T) {
	t.Parallel()
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	proof := func(channel string, generation uint64) string {
		sealed, err := fleet.Seal(fleet.SealRollout, channel, nf.RolloutDocument{Generation: generation}, key)
		if err != nil {
			t.Fatal(err)
		}
		return fleet.Prove(sealed)
	}
	for what, c := range map[string]struct {
		claim uint64
		proof string
		want  uint64
		why   string
	}{
		"none":                     {0, "", 0, ""},
		"proven":                   {7, proof("main", 7), 7, ""},
		"no proof":                 {7, "", 0, "generation 7"},
		"of a lower one":           {8, proof("main", 7), 0, "is of generation 7"},
		"of a higher one":          {6, proof("main", 7), 0, "is of generation 7"},
		"of another channel":       {7, proof("test", 7), 0, "signature"},
		"no proof of the highest":  {1<<64 - 1, "7.x.y", 0, "without a proof"},
		"a lower one without any":  {1, "", 0, "without a proof"},
		"none, and a proof of one": {0, proof("main", 7), 0, ""},
	} {
		data, err := json.Marshal(nf.FleetNode{Node: "hn-1", Channel: "main", Generation: c.claim, Proof: c.proof, Progress: &nf.NodeProgress{State: nf.ProgressBegun}})
		if err != nil {
			t.Fatal(err)
		}
		h := newHeard()
		h.take("hn-1", fleet.Stored{Data: data, Put: time.Now()}, "main", public)
		n, why := h.nodes["hn-1"], h.unread["hn-1"]
		if n.Generation != c.want || (why == "") != (c.why == "") || !strings.Contains(why, c.why) || n.Progress == nil {
			t.Errorf("%s: %+v, unread %q", what, n, why)
		}
	}
}

func TestShorten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", "ab": "ab", "a\x1b[2Jb": "a [2Jb", "a\nb\u2028c\u009bd": "a b c d", "ääää": "ää…", "abcdef": "abcde…"} {
		most := 5
		if got := shorten(text, most); got != want && !strings.ContainsAny(text, "\n\x1b") {
			t.Errorf("%q: %q, not %q", text, got, want)
		}
		if got := shorten(text, 50); strings.ContainsAny(got, "\x1b\n\u2028\u009b") {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// TestTheBranchIsNamed refuses what a coordinator cannot follow.
func TestTheBranchIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := w.config("a")
	good.Conn = w.nc
	for what, change := range map[string]func(*Config){
		"no branch":   func(c *Config) { c.Branch.Source.Branch = "" },
		"a tag":       func(c *Config) { c.Branch.Source.Tag = "v1" },
		"a commit":    func(c *Config) { c.Branch.Source.Commit = commit(1) },
		"no interval": func(c *Config) { c.Branch.Interval = 0 },
		"no URL":      func(c *Config) { c.Branch.Source.URLs = nil },
		"no name":     func(c *Config) { c.Name = "" },
		"no channel":  func(c *Config) { c.Channel = "a b" },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}

// TestKeptPlacesAreNamed: nodes that are not heard of and keep a place for restarts are named, with what ends that.
func TestKeptPlacesAreNamed(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	heard := func(node string, ago time.Duration) nf.HeardNode {
		return nf.HeardNode{FleetNode: nf.FleetNode{Node: node}, Heard: now.Add(-ago)}
	}
	v := &View{Now: now, Connected: true, Nodes: []nf.HeardNode{heard("back", 0), heard("gone", time.Hour), heard("new", time.Hour), heard("ended", time.Hour)}, Grants: map[string]nf.RestartGrant{
		"back": {Until: now.Add(-time.Minute)}, "gone": {Until: now.Add(-time.Minute)}, "lost": {Until: now.Add(-time.Minute)}, "new": {Until: now.Add(time.Minute)}, "ended": {},
	}}
	list := (&Coordinator{}).problems(v)
	if len(list) != 1 || !strings.Contains(list[0], "2 nodes that are not heard of") || !strings.Contains(list[0], ": gone, lost") || !strings.Contains(list[0], "nfsync fleet release") {
		t.Errorf("the problems are %q", list)
	}
}
