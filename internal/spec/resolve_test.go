package spec

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/nf"
)

func parsed(t *testing.T, files ...File) Policies {
	t.Helper()
	policies, found := Parse(files)
	if len(found) > 0 {
		t.Fatalf("refused:\n%s", format(found))
	}
	return policies
}

func policiesOf(t *testing.T, names ...string) Policies {
	t.Helper()
	var files []File
	for _, name := range names {
		files = append(files, File{Name: name, Data: read(t, "testdata/resolve/"+name)})
	}
	return parsed(t, files...)
}

var someNode = nf.Snapshot{
	Node: nf.NodeIdentity{Name: "hn-1", Labels: map[string]string{"role": "edge", "rack": "12"}},
	Containers: []nf.Container{
		{Runtime: nf.RuntimeNetns, ID: "db-1", Name: "db-1", State: nf.StateRunning},
		{Runtime: nf.RuntimeNetns, ID: "aaa", Name: "aaa", Aliases: []string{"web-9"}, State: nf.StateRunning, Unobservable: "no such file"},
		{Runtime: nf.RuntimeVZ, ID: "132694", Name: "web-1", State: nf.StateRunning},
	},
}

// TestResolve compares all wants of one node with a file that people have read.
func TestResolve(t *testing.T) {
	wants := policiesOf(t, "node.yaml", "containers.yaml").Resolve(&someNode)
	var b strings.Builder
	for _, w := range wants.List {
		fmt.Fprintf(&b, "%s: %s = %s", w.Target, w.Key, w.Wish)
		if w.Restart != "" {
			fmt.Fprintf(&b, ", restart %s", w.Restart)
		}
		fmt.Fprintf(&b, " (%s %s)\n", w.Source.Name, w.Source)
		for _, r := range w.Rivals {
			fmt.Fprintf(&b, "\tbut %s (%s %s)\n", r.Wish, r.Source.Name, r.Source)
		}
	}
	for _, w := range wants.Warnings {
		fmt.Fprintf(&b, "warning %s: %s %s %s\n", w.Code, w.Target, w.Message, w.Source)
	}
	golden(t, "testdata/resolve/wants.out", b.String())
}

func TestResolveKinds(t *testing.T) {
	wants := policiesOf(t, "node.yaml").Resolve(&someNode)
	values := map[nf.Key]nf.Wish{}
	for _, w := range wants.List {
		values[w.Key] = w.Wish
	}
	for key, want := range map[nf.Key]nf.Wish{
		nf.KeyLevel:                            nf.Exactly(nf.LevelStateless.Value()),
		nf.KeyAboveLevel:                       nf.Exactly(nf.Text("keep")),
		nf.ModuleKey("nf_conntrack_ftp"):       nf.Exactly(nf.Module("unloaded", nil)),
		nf.ModuleKey("ip_set"):                 nf.Exactly(nf.Module("loaded", map[string]string{"max_sets": "512", "hash": "a,b"})),
		nf.KeyMax:                              {AtLeast: 1000, AtMost: 2000},
		nf.KeyExpectMax:                        {AtMost: 1024},
		nf.TimeoutKey("tcpEstablished"):        nf.Exactly(nf.Number(7200)),
		nf.SysctlKey("nf_conntrack_tcp_loose"): nf.Exactly(nf.Number(0)),
	} {
		if values[key] != want {
			t.Errorf("%s: got %v, want %v", key, values[key], want)
		}
	}
}

// TestNoPolicy holds the warning for a node that nothing is wanted of.
func TestNoPolicy(t *testing.T) {
	none := Policies{}.Resolve(&someNode)
	other := policiesOf(t, "node.yaml").Resolve(&nf.Snapshot{Node: nf.NodeIdentity{Name: "x"}})
	if len(none.List) != 0 || len(none.Warnings) != 1 || none.Warnings[0].Code != nf.WarnNoPolicy {
		t.Errorf("an empty directory gives %+v", none)
	}
	if len(other.Warnings) != 0 {
		t.Errorf("a policy for every node gives %+v", other.Warnings)
	}
	text, err := json.Marshal(none)
	if err != nil || strings.Contains(string(text), "null") {
		t.Errorf("as JSON: %s, %v", text, err)
	}
}

func TestNodeSelector(t *testing.T) {
	node := nf.NodeIdentity{Name: "hn-1", Labels: map[string]string{"role": "edge", "rack": "12", "empty": ""}}
	tests := []struct {
		nodes string
		want  bool
	}{
		{"{}", true},
		{"{names: [hn-1]}", true},
		{"{names: [hn]}", false},
		{"{names: ['*n-?']}", true},
		{"{names: ['h[a-m]-1']}", false},
		{"{names: [x, 'hn-*']}", true},
		{"{names: ['HN-1']}", false},
		{"{labels: {role: edge}}", true},
		{"{labels: {role: edge, rack: '12'}}", true},
		{"{labels: {role: edge, rack: '13'}}", false},
		{"{labels: {role: 'e*'}}", false},
		{"{labels: {zone: a}}", false},
		{"{names: [hn-1], labels: {role: core}}", false},
		{"{names: [hn-2], labels: {role: edge}}", false},
		{"{names: [hn-1], labels: {role: edge}}", true},
	}
	for _, test := range tests {
		policies := parsed(t, File{Name: "x", Data: []byte(header + "spec: {nodes: " + test.nodes + "}")})
		if got := policies[0].Nodes.Match(node); got != test.want {
			t.Errorf("%s: got %v", test.nodes, got)
		}
	}
}

func TestContainerSelector(t *testing.T) {
	netns := nf.Container{Runtime: nf.RuntimeNetns, ID: "a", Name: "a", Aliases: []string{"web-1", "web.old"}}
	vz := nf.Container{Runtime: nf.RuntimeVZ, ID: "132694", UUID: "ccefa40c-5c72-4e17-94c7-d68034a1c1a5", Name: "web-1", Aliases: []string{"shop"}}
	tests := []struct {
		containers string
		netns, vz  bool
	}{
		{"{}", true, true},
		{"{names: ['web-*']}", true, true},
		{"{names: [web]}", false, false},
		{"{names: [shop]}", false, true},
		{"{names: ['132694']}", false, false},
		{"{ids: ['132694']}", false, true},
		{"{ids: ['ccefa40c-5c72-4e17-94c7-d68034a1c1a5']}", false, true},
		{"{ids: ['CCEFA40C-5C72-4e17-94c7-d68034a1c1a5']}", false, true},
		{"{ids: [A]}", false, false},
		{"{names: ['ccefa40c-*']}", false, false},
		{"{ids: ['13*']}", false, false},
		{"{ids: [web-1]}", true, false},
		{"{ids: [shop]}", false, false},
		{"{ids: [a], names: [shop]}", true, true},
		{"{runtimes: [vz]}", false, true},
		{"{runtimes: [netns], names: ['web-*'], ids: ['132694']}", true, false},
		{"{runtimes: [vz, netns], ids: [a]}", true, false},
	}
	for _, test := range tests {
		text := strings.Replace(header, "NodePolicy", "ContainerPolicy", 1) + "spec: {containers: " + test.containers + "}"
		selector := parsed(t, File{Name: "x", Data: []byte(text)})[0].Containers
		if got := [2]bool{selector.Match(&netns), selector.Match(&vz)}; got != [2]bool{test.netns, test.vz} {
			t.Errorf("%s: got %v", test.containers, got)
		}
	}
}

// policy makes the text of a ContainerPolicy.
func policy(name string, spec string) string {
	return "---\napiVersion: nfsync.dev/v1alpha1\nkind: ContainerPolicy\nmetadata: {name: " + name + "}\nspec: " + spec + "\n"
}

// nodePolicy makes the text of a NodePolicy.
func nodePolicy(name string, spec string) string {
	return strings.Replace(policy(name, spec), nf.KindContainerPolicy, nf.KindNodePolicy, 1)
}

func TestPriority(t *testing.T) {
	one := nf.Snapshot{Containers: []nf.Container{{Runtime: nf.RuntimeNetns, ID: "c", Name: "c"}}}
	tests := []struct {
		name     string
		policies []string
		want     string
	}{
		{"the higher wins", []string{"{priority: 1, conntrack: {max: 5}}", "{priority: 2, conntrack: {max: 6}}"}, "6 by b"},
		{"negative is lower than none", []string{"{priority: -1, conntrack: {max: 5}}", "{conntrack: {max: 6}}"}, "6 by b"},
		{"equal wishes agree", []string{"{conntrack: {max: 5}}", "{conntrack: {max: 5}}"}, "5 by a"},
		{"equal priority, other wish", []string{"{conntrack: {max: 5}}", "{conntrack: {max: 6}}"}, "5 by a, but 6 by b"},
		{"a higher one ends the conflict", []string{"{conntrack: {max: 5}}", "{conntrack: {max: 6}}", "{priority: 1, conntrack: {max: 7}}"}, "7 by c"},
		{"every rival is named", []string{"{conntrack: {max: 5}}", "{conntrack: {max: 6}}", "{conntrack: {max: 5}}", "{conntrack: {max: 6}}", "{conntrack: {max: 7}}"},
			"5 by a, but 6 by b, but 6 by d, but 7 by e"},
		{"bounds differ", []string{"{conntrack: {max: {atLeast: 5}}}", "{conntrack: {max: {atMost: 5}}}"}, "at least 5 by a, but at most 5 by b"},
		{"a bound is no value", []string{"{conntrack: {max: 5}}", "{conntrack: {max: {atLeast: 5, atMost: 5}}}"}, "5 by a, but 5..5 by b"},
		{"equal bounds agree", []string{"{conntrack: {max: {atLeast: 5}}}", "{conntrack: {max: {atLeast: 5}}}"}, "at least 5 by a"},
		{"equal seconds agree", []string{"{conntrack: {timeouts: {udp: 60}}}", "{conntrack: {timeouts: {udp: 1m}}}"}, "60 by a"},
		{"key by key", []string{"{priority: 3, level: full}", "{conntrack: {max: 6}}"}, "6 by b full by a"},
		{"other containers", []string{"{containers: {names: [x]}, conntrack: {max: 5}}", "{conntrack: {max: 6}}"}, "6 by b"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var text strings.Builder
			for i, spec := range test.policies {
				text.WriteString(policy(string(rune('a'+i)), spec))
			}
			var got []string
			for _, w := range parsed(t, File{Name: "x", Data: []byte(text.String())}).Resolve(&one).List {
				s := w.Wish.String() + " by " + w.Source.Name
				for _, r := range w.Rivals {
					s += ", but " + r.Wish.String() + " by " + r.Source.Name
				}
				got = append(got, s)
			}
			if joined := strings.Join(got, " "); joined != test.want {
				t.Errorf("got %s, want %s", joined, test.want)
			}
		})
	}
}

// TestRestart: what becomes of a level that only a restart brings is said by the
// policy that wins it, and of those that agree by the most careful one, wherever
// it is.
func TestRestart(t *testing.T) {
	one := nf.Snapshot{Containers: []nf.Container{{Runtime: nf.RuntimeVZ, ID: "101", Name: "c"}}}
	for want, policies := range map[string][]string{
		"allow by a, rivals 0":  {"{level: full, restart: allow}", "{level: full, restart: allow}"},
		"stage by b, rivals 0":  {"{level: full, restart: allow}", "{level: full, restart: stage}"},
		"refuse by b, rivals 0": {"{level: full, restart: stage}", "{level: full}", "{level: full, restart: allow}"},
		"refuse by a, rivals 0": {"{level: full, restart: refuse}", "{level: full, restart: allow}", "{level: full}"},
		"allow by c, rivals 0":  {"{level: full}", "{priority: -1, level: full, restart: stage}", "{priority: 1, level: full, restart: allow}"},
		"allow by a, rivals 1":  {"{level: full, restart: allow}", "{level: stateful}"},
		"allow by b, rivals 0":  {"{conntrack: {max: 5}}", "{level: full, restart: allow}"},
	} {
		var text strings.Builder
		for i, spec := range policies {
			text.WriteString(policy(string(rune('a'+i)), spec))
		}
		for _, w := range parsed(t, File{Name: "x", Data: []byte(text.String())}).Resolve(&one).List {
			if got := fmt.Sprintf("%s by %s, rivals %d", w.Restart, w.Source.Name, len(w.Rivals)); w.Key == nf.KeyLevel && got != want {
				t.Errorf("%q: got %s, want %s", policies, got, want)
			}
		}
	}
}

func TestConflicts(t *testing.T) {
	tests := []struct {
		name string
		text string
		want []string
	}{
		{"same selectors in another order",
			policy("a", "{containers: {names: [x, y], runtimes: [netns, vz, cri, docker, podman, incus, lxc, nspawn]}, nodes: {labels: {a: b, c: d}}, level: full}") +
				policy("b", "{nodes: {labels: {c: d, a: b}}, containers: {names: [y, x, x]}, level: stateful}"),
			[]string{`x:10:78: conflict: ContainerPolicy "b" wants level stateful, but "a" at x:5:139 wants full, with the same priority and selectors`}},
		{"some runtimes", policy("a", "{containers: {runtimes: [vz, netns]}, level: full}") + policy("b", "{level: stateful}"), nil},
		{"same labels in another order",
			policy("a", "{containers: {labels: {a: b, c: d}}, conntrack: {max: 1}}") + policy("b", "{containers: {labels: {c: d, a: b}}, conntrack: {max: 2}}"),
			[]string{`x:10:61: conflict: ContainerPolicy "b" wants conntrack.max 2, but "a" at x:5:61 wants 1, with the same priority and selectors`}},
		{"other labels", policy("a", "{containers: {labels: {a: b}}, level: full}") + policy("b", "{containers: {labels: {a: c}}, level: stateful}"), nil},
		{"labels of nodes and of containers", policy("a", "{nodes: {labels: {a: b}}, level: full}") + policy("b", "{containers: {labels: {a: b}}, level: stateful}"), nil},
		{"other selectors", policy("a", "{containers: {names: [x]}, level: full}") + policy("b", "{containers: {ids: [x]}, level: stateful}"), nil},
		{"other priority", policy("a", "{priority: 1, level: full}") + policy("b", "{level: stateful}"), nil},
		{"other keys", policy("a", "{level: full}") + policy("b", "{conntrack: {max: 5}}"), nil},
		{"same wish", policy("a", "{level: full}") + policy("b", "{level: full}"), nil},
		{"settled by a third", policy("a", "{level: full}") + policy("b", "{level: stateful}") + policy("c", "{priority: 1, level: full}"), nil},
		{"other kind", policy("a", "{level: full}") + "---\n" + header + "spec: {level: stateful}", nil},
		{"three", policy("a", "{conntrack: {max: 1}}") + policy("b", "{conntrack: {max: 2}}") + policy("c", "{conntrack: {max: {atMost: 1}}}"),
			[]string{
				`x:10:25: conflict: ContainerPolicy "b" wants conntrack.max 2, but "a" at x:5:25 wants 1, with the same priority and selectors`,
				`x:15:25: conflict: ContainerPolicy "c" wants conntrack.max at most 1, but "a" at x:5:25 wants 1, with the same priority and selectors`,
			}},
		{"two keys of one value", nodePolicy("a", "{conntrack: {buckets: 65536}}") + nodePolicy("b", "{priority: 9, modules: {nf-conntrack: {state: loaded, parameters: {hashsize: 131072}}}}"),
			[]string{`x:10:45: conflict: NodePolicy "b" wants module/nf_conntrack loaded (hashsize=131072), but "a" at x:5:29 wants conntrack.buckets 65536, and both keys set one value of the kernel`}},
		{"two keys in one policy", nodePolicy("a", "{modules: {nf_conntrack: {state: loaded, parameters: {hashsize: 5}}}, conntrack: {buckets: 6}}"),
			[]string{`x:5:98: conflict: NodePolicy "a" wants conntrack.buckets 6, but "a" at x:5:32 wants module/nf_conntrack loaded (hashsize=5), and both keys set one value of the kernel`}},
		{"two keys, one wish", nodePolicy("a", "{conntrack: {buckets: 65536}}") + nodePolicy("b", `{modules: {nf_conntrack: {state: loaded, parameters: {hashsize: "0x10000"}}}}`), nil},
		{"two keys, the loser of one", nodePolicy("a", "{conntrack: {buckets: 5}}") + nodePolicy("b", "{priority: 1, conntrack: {buckets: 6}, modules: {nf_conntrack: {state: loaded, parameters: {hashsize: 6}}}}"), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, c := range parsed(t, File{Name: "x", Data: []byte(test.text)}).Conflicts() {
				got = append(got, c.Diagnostic().String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestResolveOrder holds the wants to be the same whatever the order of the
// files and containers.
func TestResolveOrder(t *testing.T) {
	turned := someNode
	turned.Containers = []nf.Container{someNode.Containers[2], someNode.Containers[0], someNode.Containers[1]}
	a := policiesOf(t, "node.yaml", "containers.yaml").Resolve(&someNode)
	b := policiesOf(t, "containers.yaml", "node.yaml").Resolve(&turned)
	if !reflect.DeepEqual(a, b) {
		t.Error("the order matters")
	}
}

// TestResolveMany holds a thousand containers and fifty policies to be no
// work.
func TestResolveMany(t *testing.T) {
	var s nf.Snapshot
	for i := range 1000 {
		name := fmt.Sprintf("c-%d-%d", i%50, i)
		s.Containers = append(s.Containers, nf.Container{Runtime: nf.RuntimeNetns, ID: name, Name: name})
	}
	var text strings.Builder
	for i := range 50 {
		text.WriteString(policy(fmt.Sprintf("p%d", i), fmt.Sprintf(
			"{priority: %d, containers: {names: [c-%d-*, other-*]}, level: full, conntrack: {max: 5, timeouts: {udp: %d, icmp: 1, generic: 2}}}", i%3, i, i+1)))
	}
	policies := parsed(t, File{Name: "x", Data: []byte(text.String())})
	start := time.Now()
	wants := policies.Resolve(&s)
	if took := time.Since(start); took > hang {
		t.Errorf("it took %s", took)
	}
	if len(wants.List) != 5000 || len(wants.Warnings) != 0 {
		t.Errorf("%d wants, %d warnings", len(wants.List), len(wants.Warnings))
	}
}
