package nf

import "testing"

func TestFilter(t *testing.T) {
	web := Target{Kind: TargetContainer, Runtime: RuntimeNetns, ID: "web-1", Name: "web-1"}
	db := Target{Kind: TargetContainer, Runtime: RuntimeVZ, ID: "132694", Name: "db"}
	for pattern, want := range map[string]string{
		"node": "node", "container/web-1": "web-1", "netns/web-1": "web-1", "vz/web-1": "", "vz/132694": "132694", "db": "132694",
		"container/*": "web-1 132694", "netns/w*": "web-1", "web-?": "web-1", "container/node": "",
	} {
		p, err := ParseTarget(pattern)
		if err != nil {
			t.Fatal(err)
		}
		f, got := Filter{Targets: []TargetPattern{p}}, ""
		for _, target := range []Target{Node, web, db} {
			if f.Match(target, KeyMax) {
				got += " " + target.ID
				if target.IsNode() {
					got += "node"
				}
			}
		}
		if got != "" {
			got = got[1:]
		}
		if got != want {
			t.Errorf("%s: %q, want %q", pattern, got, want)
		}
		s := Snapshot{Containers: []Container{{Runtime: RuntimeNetns, ID: "web-1"}, {Runtime: RuntimeVZ, ID: "132694", Name: "db"}}}
		if err := f.Check(&s); (err != nil) != (want == "") {
			t.Errorf("%s: %v", pattern, err)
		}
	}
	for _, pattern := range []string{"", "container/", "/x", "[", "vz/["} {
		if _, err := ParseTarget(pattern); err == nil {
			t.Errorf("%q is a target", pattern)
		}
	}
	f := Filter{Keys: []string{"conntrack.timeouts.*", "level"}}
	if !f.Match(web, TimeoutKey("udp")) || f.Match(web, KeyMax) || !f.Match(Node, KeyLevel) || (Filter{Keys: []string{"module/*"}}).Match(Node, KeyMax) || !(Filter{Keys: []string{"module/nf*"}}).Match(Node, ModuleKey("nf_nat")) {
		t.Error("keys")
	}
	if !(Filter{}).Match(web, KeyMax) || !(Filter{}).IsZero() {
		t.Error("the zero filter")
	}
}
