package nf

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestKeysAndTheirFiles(t *testing.T) {
	for key, file := range map[Key]string{
		KeyMax:                                "nf_conntrack_max",
		KeyBuckets:                            "nf_conntrack_buckets",
		KeyExpectMax:                          "nf_conntrack_expect_max",
		TimeoutKey("tcpEstablished"):          "nf_conntrack_tcp_timeout_established",
		TimeoutKey("udp"):                     "nf_conntrack_udp_timeout",
		TimeoutKey("sctpShutdownAckSent"):     "nf_conntrack_sctp_timeout_shutdown_ack_sent",
		TimeoutKey("frag6"):                   "nf_conntrack_frag6_timeout",
		SysctlKey("nf_conntrack_tcp_loose"):   "nf_conntrack_tcp_loose",
		SysctlKey("nf_conntrack_log_invalid"): "nf_conntrack_log_invalid",
	} {
		if got, ok := key.Sysctl(); !ok || got != file {
			t.Errorf("%s is %q, want %q", key, got, file)
		}
		if got, ok := SysctlFileKey(file); !ok || got != key {
			t.Errorf("%s is %q, want %q", file, got, key)
		}
	}
	for _, key := range []Key{KeyLevel, ModuleKey("nf_nat"), TimeoutKey("nonsense"), KeyRestart} {
		if file, ok := key.Sysctl(); ok {
			t.Errorf("%s has the file %q", key, file)
		}
	}
	if _, ok := SysctlFileKey("nf_log_all_netns"); ok {
		t.Error("nf_log_all_netns is not conntrack's")
	}
}

func TestEveryTimeoutHasAFileOfItsOwn(t *testing.T) {
	names := TimeoutNames()
	if len(names) != len(timeoutNames) || !slices.IsSorted(names) {
		t.Fatalf("%d names for %d files", len(names), len(timeoutNames))
	}
}

func TestModuleNames(t *testing.T) {
	if ModuleKey("nf-conntrack") != ModuleKey("nf_conntrack") {
		t.Error("- and _ are the same (kernel/params.c, dash2underscore)")
	}
	m := Modules{List: []ModuleFact{{Name: "ip_tables"}, {Name: "nf_conntrack"}}, Aliases: map[string]string{"ip_conntrack": "nf_conntrack", "ip_tables": "nf_conntrack"}}
	for name, want := range map[string]string{"nf-conntrack": "nf_conntrack", "ip_conntrack": "nf_conntrack", "ip-conntrack": "nf_conntrack", "ip_tables": "ip_tables"} {
		if f, ok := m.Find(name); !ok || f.Name != want {
			t.Errorf("%s is %v, want %s", name, f, want)
		}
	}
	if _, ok := m.Find("nf_nat"); ok {
		t.Error("found what is not there")
	}
}

func TestLevels(t *testing.T) {
	if !slices.Equal(LevelNames(), []string{"disabled", "stateless", "stateful", "full"}) {
		t.Errorf("levels %v", LevelNames())
	}
	for _, name := range []string{"", "Full", "custom(0x1)", "level(0)"} {
		if l, ok := ParseLevel(name); ok {
			t.Errorf("%q is %v", name, l)
		}
	}
}

// What uses a level: net/netfilter/nf_conntrack_proto.c (nf_ct_netns_get) for
// stateful; a chain's policy holds traffic back without any rule.
func TestRulesLevel(t *testing.T) {
	for _, test := range []struct {
		name   string
		tables []Table
		level  Level
	}{
		{"no table", nil, LevelDisabled},
		{"an empty table", []Table{{Name: "filter"}}, LevelDisabled},
		{"a policy", []Table{{Name: "filter", Guards: []string{"INPUT"}}}, LevelStateless},
		{"a rule", []Table{{Name: "filter", Rules: 1}}, LevelStateless},
		{"a rule that tracks", []Table{{Rules: 1, Uses: []Use{{Level: LevelStateful}}}, {Rules: 1}}, LevelStateful},
		{"NAT", []Table{{Rules: 1, Uses: []Use{{Level: LevelStateful}, {Level: LevelFull}}}}, LevelFull},
	} {
		if got := (Rules{Tables: test.tables}).Level(); got != test.level {
			t.Errorf("%s: %s, want %s", test.name, got, test.level)
		}
	}
}

// What nfsync does not know may need any level: below full the level is unknown then.
func TestUnknownUses(t *testing.T) {
	foreign := Use{Chain: "POSTROUTING", What: "xt target FULLCONENAT", Count: 1}
	for level := LevelUnset; level <= LevelFull; level++ {
		r := Rules{Tables: []Table{{Backend: BackendLegacy, Family: "ip", Name: "nat", Rules: 2, Uses: []Use{foreign, {Level: level, Chain: "c"}}}}}
		if v := r.Value(); (level == LevelFull) != (v == LevelFull.Value()) || level < LevelFull && !v.IsUnknown() {
			t.Errorf("beside a use of %s it is %v", level, v)
		}
	}
	r := Rules{Tables: []Table{{Backend: BackendLegacy, Family: "ip", Name: "nat", Rules: 1, Uses: []Use{foreign}}}}
	if want := "nfsync does not know which level this needs: xt target FULLCONENAT in chain POSTROUTING of the legacy table ip nat"; r.Value().Why() != want {
		t.Errorf("%q, want %q", r.Value().Why(), want)
	}
	r.Tables[0].Uses = []Use{foreign, foreign, foreign, foreign, foreign}
	if text := r.UnknownUses(); !strings.HasSuffix(text, "nat and 2 more") || strings.Count(text, "FULLCONENAT") != 3 {
		t.Errorf("%q", text)
	}
	data, err := json.Marshal(foreign)
	if want := `{"chain":"POSTROUTING","what":"xt target FULLCONENAT","count":1}`; err != nil || string(data) != want {
		t.Errorf("%s, want %s", data, want)
	}
}

func TestPlaces(t *testing.T) {
	for chain, want := range map[string]string{"input": "chain input", "set": "chain set", "set seen": "set seen", "object ftp-std": "object ftp-std", "flowtable ft": "flowtable ft"} {
		if got := (Use{Chain: chain}).Place(); got != want {
			t.Errorf("%q is %q, want %q", chain, got, want)
		}
	}
}

func TestTargetsInOrder(t *testing.T) {
	ct := func(runtime, id, name string) Target {
		return Target{Kind: TargetContainer, Runtime: runtime, ID: id, Name: name}
	}
	list := []Target{ct(RuntimeVZ, "1", "a"), ct(RuntimeNetns, "b", "b"), Node, ct(RuntimeNetns, "a", "z")}
	slices.SortFunc(list, Target.Compare)
	want := []Target{Node, ct(RuntimeNetns, "a", "z"), ct(RuntimeNetns, "b", "b"), ct(RuntimeVZ, "1", "a")}
	if !slices.Equal(list, want) {
		t.Errorf("got %v", list)
	}
	if got := ct(RuntimeVZ, "132694", "web-1").String(); got != "container vz/132694 (web-1)" {
		t.Errorf("people read %q", got)
	}
}

func TestWishes(t *testing.T) {
	for wish, want := range map[Wish]string{
		{Value: Number(5)}:         "5",
		{AtLeast: 5}:               "at least 5",
		{AtMost: 9}:                "at most 9",
		{AtLeast: 5, AtMost: 9}:    "5..9",
		Exactly(LevelFull.Value()): "full",
	} {
		if got := wish.String(); got != want {
			t.Errorf("%+v reads %q, want %q", wish, got, want)
		}
	}
}
