package policytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// policies are those of most tests; on the example node web-3 has more entries than its limit.
const policies = `apiVersion: nfsync.dev/v1alpha1
kind: ContainerPolicy
metadata: {name: web}
spec: {containers: {names: ["web-*"]}, conntrack: {max: 50000, timeouts: {tcpEstablished: 2h}}}
---
apiVersion: nfsync.dev/v1alpha1
kind: ContainerPolicy
metadata: {name: mail}
spec: {containers: {names: ["mail-*"]}, level: stateless}
`

func testText(name, body string) string {
	return "---\napiVersion: nfsync.dev/v1alpha1\nkind: PolicyTest\nmetadata: {name: " + name + "}\nspec:\n  snapshot: ../snapshots/hn-7.yaml\n" + body
}

// files returns the files of a policy path: the policies, and their tests.
func files(tests string) []spec.File { return filesOf(policies, tests) }

func filesOf(policies, tests string) []spec.File {
	return []spec.File{{Name: "policies/p.yaml", Data: []byte(policies)}, {Name: "policies/p_test.yaml", Data: []byte(tests)}}
}

func fatal(t interface{ Fatal(...any) }, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// question asks of files. The snapshots are the example ones.
func question(t interface{ Fatal(...any) }, list []spec.File) Question {
	parsed, found := spec.ParseAll(list)
	if len(found) > 0 {
		t.Fatal(found)
	}
	return Question{"policies", parsed.Policies, parsed.Tests, func(file string) (spec.File, error) { return spec.File{Name: file, Data: snapshots()[file]}, nil }}
}

// snapshots are the example ones, as JSON: reading YAML takes longer.
var snapshots = sync.OnceValue(func() map[string][]byte {
	all := map[string][]byte{}
	for _, file := range []string{"snapshots/hn-7.yaml", "snapshots/hn-9.yaml"} {
		text, err := os.ReadFile("../../examples/" + file)
		if err != nil {
			panic(err)
		}
		s, found := spec.ParseSnapshot(spec.File{Name: file, Data: text})
		if len(found) > 0 {
			panic(found[0])
		}
		if all[file], err = json.Marshal(s); err != nil {
			panic(err)
		}
	}
	return all
})

func run(t interface{ Fatal(...any) }, list []spec.File) nf.PolicyTestResults {
	results, err := Run(context.Background(), question(t, list))
	fatal(t, err)
	return results
}

// lines returns a result as one line a difference.
func lines(r nf.PolicyTestResult) string {
	if r.Passed {
		return "passed"
	}
	if r.Error != "" {
		return r.Error
	}
	side := func(e *nf.TestEntry) string {
		if e == nil {
			return "-"
		}
		return strings.Join(strings.Fields(e.Target+" "+string(e.Key)+" "+e.Code), " ")
	}
	var list []string
	for _, d := range r.Differences {
		list = append(list, fmt.Sprintf("%s %d:%d %s | %s | %s", d.List, d.Line, d.Column, side(d.Expected), side(d.Got), d.Hint))
	}
	return strings.Join(list, "\n")
}

// TestJudge: what is expected must be there, and nothing else.
func TestJudge(t *testing.T) {
	const max = "  targets: [web-*]\n  keys: [conntrack.max]\n  expect:\n    "
	for name, test := range map[string]struct{ body, want string }{
		"fields that are given": {max + "changes: [{target: web-2, key: conntrack.max, from: 0, to: 50000, layer: live, oneWay: false, policy: web}]", "passed"},
		"fewest fields":         {max + "changes: [{target: vz/1102, key: conntrack.max}]", "passed"},
		"patterns":              {max + "wants: [{target: container/w*, key: conntrack.*, wanted: 50000}]", "passed"},
		"a duration":            {"  targets: [web-1]\n  expect: {changes: [{target: web-1, key: conntrack.timeouts.tcpEstablished, from: 120h, to: 2h}]}", "passed"},
		"states":                {"  targets: [web-1]\n  expect: {wants: [{target: web-1, key: conntrack.max, state: in-sync}, {target: web-1, key: conntrack.t*, state: differs}]}", "passed"},
		"none":                  {"  targets: [db-1]\n  expect: {wants: [], changes: [], refusals: [], pending: [], warnings: []}", "passed"},
		"unknown":               {"  targets: [mail-*]\n  expect: {refusals: [{target: mail-*, key: level, to: stateless, code: conntrack-latched, until: container-restart}]}", "passed"},
		"a warning":             {"  targets: [node]\n  expect: {warnings: [{target: node, code: no-longer-wanted}]}", "passed"},

		"another value":       {max + "changes: [{target: web-2, key: conntrack.max, to: 5}]", "changes 10:15 web-2 conntrack.max | container/web-2 conntrack.max | "},
		"another layer":       {max + "changes: [{target: web-2, key: conntrack.max, layer: boot}]", ""},
		"another policy":      {max + "changes: [{target: web-2, key: conntrack.max, policy: mail}]", ""},
		"another cause":       {max + "changes: [{target: web-2, key: conntrack.max, cause: drift}]", ""},
		"absent":              {max + "changes: [{target: web-2, key: conntrack.max, from: absent}]", ""},
		"another warning":     {"  targets: [node]\n  expect: {warnings: [{target: node, code: node-tracking}]}", "warnings 8:23 node node-tracking | - | "},
		"not expected":        {max + "changes: []", "changes 10:14 - | container/web-2 conntrack.max | "},
		"in sync":             {max + "changes: [{target: web-*, key: conntrack.max}, {target: web-1, key: conntrack.max}]", "changes 10:52 web-1 conntrack.max | - | it is wanted by web, and in sync"},
		"refused":             {max + "changes: [{target: web-*, key: conntrack.max}, {target: web-3, key: conntrack.max}]", "changes 10:52 web-3 conntrack.max | - | it is refused: below-count"},
		"changed":             {max + "refusals: [{target: web-*, key: conntrack.max}, {target: web-2, key: conntrack.max}]", "refusals 10:53 web-2 conntrack.max | - | it is changed: 0 → 50000"},
		"pending":             {max + "refusals: [{target: web-*, key: conntrack.max}, {target: web-5, key: conntrack.max}]", "refusals 10:53 web-5 conntrack.max | - | it is pending, until: container-start"},
		"another code":        {max + "refusals: [{target: web-3, key: conntrack.max, code: above-node}]", "refusals 10:16 web-3 conntrack.max above-node | container/web-3 conntrack.max below-count | "},
		"wanted by nobody":    {"  expect: {pending: [{target: web-*, key: \"*\"}, {target: db-1, key: level}]}", "pending 7:49 db-1 level | - | no policy wants it"},
		"no such target":      {max + "changes: [{target: web-*, key: conntrack.max}, {target: web-9, key: conntrack.max}]", `changes 10:52 web-9 conntrack.max | - | node hn-7 has no web-9: did you mean "container/web-1"?`},
		"left out":            {max + "changes: [{target: web-*, key: conntrack.max}, {target: web-1, key: conntrack.timeouts.tcpEstablished}]", "it is there, but not among the targets and keys of the test"},
		"no target is tested": {"  targets: [web-1, web-9]\n  expect: {changes: []}", "spec.targets: this node has no container/web-9"},
		"nothing expected":    {"  keys: [level]", "it expects nothing: nfsync test --update writes what is there now"},
	} {
		r := run(t, files(testText("x", test.body+"\n")))
		if got := lines(r.Tests[0]); test.want != "" && !strings.HasPrefix(got, test.want) && !strings.HasSuffix(got, test.want) || test.want == "" && got == "passed" {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// TestNearest: of several entries of one key that one is shown, and adopted, for which the fewest
// fields differ.
func TestNearest(t *testing.T) {
	entry := func(layer nf.Layer, to int64) *found {
		value, no := nf.Number(to), false
		return &found{target: nf.Node, entry: nf.TestEntry{Target: nf.TargetNode, Key: nf.KeyMax, Layer: layer, From: &value, To: &value, OneWay: &no, Disruptive: &no}}
	}
	list := []*found{entry(nf.LayerLive, 7), entry(nf.LayerBoot, 7), entry(nf.LayerBoot, 5)}
	for layer, want := range map[nf.Layer]int{nf.LayerLive: 0, nf.LayerBoot: 2, "": 2} {
		five := nf.Number(5)
		e := expectation{TestEntry: nf.TestEntry{Target: nf.TargetNode, Key: nf.KeyMax, Layer: layer, To: &five}}
		if got := e.nearest(list, e.isAbout); got != list[want] {
			t.Errorf("the nearest to %q is %+v, want %+v", layer, got, list[want])
		}
	}
}

// TestManyTests: a snapshot is read once, however many tests are about it, and the results are in
// the order of the files.
func TestManyTests(t *testing.T) {
	var b strings.Builder
	for i := range 500 {
		b.WriteString(testText(fmt.Sprintf("x-%03d", i), "  targets: [web-1]\n  expect: {changes: [{target: web-1, key: conntrack.timeouts.*}], refusals: []}\n"))
	}
	list := append(files(b.String()), spec.File{Name: "policies/a_test.yaml", Data: []byte(strings.ReplaceAll(testText("a", ""), "hn-7", "hn-9"))})
	q := question(t, list)
	read, reads := q.Read, 0
	q.Read = func(file string) (spec.File, error) {
		reads++
		return read(file)
	}
	started := time.Now()
	results, err := Run(t.Context(), q)
	fatal(t, err)
	if took := time.Since(started); reads != 2 || took > 10*time.Second {
		t.Errorf("%d reads in %s", reads, took)
	}
	if s := results.Summary; s.Tests != 501 || s.Passed != 500 || results.Tests[0].Name != "a" || results.Tests[500].Name != "x-499" {
		t.Errorf("%+v, from %s to %s", s, results.Tests[0].Name, results.Tests[500].Name)
	}
}

// TestUnreadable: a snapshot that cannot be read fails its tests, and no others.
func TestUnreadable(t *testing.T) {
	list := files(testText("a", "  expect: {refusals: []}\n") + strings.ReplaceAll(testText("b", "  targets: [web-1]\n  expect: {refusals: []}\n"), "hn-7", "hn-9"))
	q := question(t, list)
	q.Read = func(file string) (spec.File, error) {
		if path.Base(file) == "hn-7.yaml" {
			return spec.File{}, errors.New("it is locked")
		}
		return spec.File{Name: file, Data: []byte("kind: NodeSnapshot\n")}, nil
	}
	results, err := Run(t.Context(), q)
	fatal(t, err)
	got := lines(results.Tests[0]) + "\n" + lines(results.Tests[1])
	want := "cannot read the snapshot: it is locked\nthe snapshot is not valid: snapshots/hn-9.yaml:1:1: missing key \"apiVersion\": this is not a NodeSnapshot"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	changed, results, err := Update(t.Context(), q, list)
	if len(changed) > 0 || results.Summary.Failed != 2 || err != nil {
		t.Errorf("an update changes %d files: %+v, %v", len(changed), results.Summary, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, q); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestUpdate: what holds stays as it is, and what does not gets its present values in the fields
// that it gives.
func TestUpdate(t *testing.T) {
	before := testText("a", `  targets: [web-*, node] # all
  keys: [conntrack.max]
  expect:
    wants: []
    # none is refused
    refusals:
      - {target: web-3, key: conntrack.max, code: above-node} # why
    changes:
      # gone
      - {target: web-9, key: conntrack.max}
      - target: web-2 # second
        key: conntrack.max
        policy: web
        to: 5
`) + testText("b", "  targets: [web-1]\n  expect: {changes: [{target: web-1, key: conntrack.t*}]}\n") + testText("c", "  targets: [mail-1]\n")
	want := strings.NewReplacer(
		"wants: []\n", `wants:
      - {target: container/web-1, key: conntrack.max, wanted: 50000, policy: web}
      - {target: container/web-2, key: conntrack.max, wanted: 50000, policy: web}
      - {target: container/web-3, key: conntrack.max, wanted: 50000, policy: web}
      - {target: container/web-4, key: conntrack.max, wanted: 50000, policy: web}
      - {target: container/web-5, key: conntrack.max, wanted: 50000, policy: web}
`,
		"code: above-node", "code: below-count",
		"      - {target: web-9, key: conntrack.max}\n", "",
		"to: 5\n", "to: 50000\n",
		"targets: [mail-1]\n", "targets: [mail-1]\n  expect:\n    changes: []\n    refusals:\n      - {target: container/mail-1, key: level, code: conntrack-latched, layer: live, policy: mail}\n",
	).Replace(before)
	list := files(before)
	changed, results, err := Update(t.Context(), question(t, list), list)
	fatal(t, err)
	if len(changed) != 1 || results.Summary.Passed != 3 {
		t.Fatalf("%d files, %+v", len(changed), results.Summary)
	}
	if diff := cmp.Diff(want, string(changed[0].Data)); diff != "" {
		t.Error(diff)
	}
	list[1] = changed[0]
	if changed, _, err = Update(t.Context(), question(t, list), list); len(changed) > 0 || err != nil {
		t.Errorf("a second update changes %d files: %v", len(changed), err)
	}
}

// TestNames: a test names a container so that no other one is meant.
func TestNames(t *testing.T) {
	container := func(runtime, id, name string) nf.Container { return nf.Container{Runtime: runtime, ID: id, Name: name} }
	s := nf.Snapshot{Containers: []nf.Container{
		container("vz", "1", "web"), container("netns", "db", ""), container("vz", "2", "db"), container("vz", "3", "twice"), container("vz", "4", "twice"),
		container("netns", "a/b*[", "a/b*["), container("vz", "5", "node"),
	}}
	got := names(s)
	for i, want := range []string{"container/web", "netns/db", "vz/db", "container/3", "container/4", `container/a/b\*\[`, "container/node"} {
		c := s.Containers[i]
		if name := got[c.Target().Nameless()]; name != want {
			t.Errorf("%s is named %s, want %s", c.Target(), name, want)
		}
		pattern, err := nf.ParseTarget(want)
		fatal(t, err)
		for j := range s.Containers {
			if pattern.Match(s.Containers[j].Target()) != (i == j) {
				t.Errorf("%s: does it match %s?", want, s.Containers[j].Target())
			}
		}
	}
}

// somePolicies draws policies for containers and the node, whose values no two have in common.
func somePolicies(t *rapid.T) string {
	var b strings.Builder
	for i := range rapid.IntRange(1, 5).Draw(t, "policies") {
		kind, selects := "ContainerPolicy", "containers: {names: ["+rapid.SampledFrom([]string{"web-*", "web-1", "mail-*", "ci-1", `"*"`}).Draw(t, "names")+"]}, "
		if rapid.IntRange(0, 4).Draw(t, "node") == 0 {
			kind, selects = "NodePolicy", ""
		}
		level := rapid.SampledFrom([]string{"", "level: stateless, ", "level: full, "}).Draw(t, "level")
		fmt.Fprintf(&b, "---\napiVersion: nfsync.dev/v1alpha1\nkind: %s\nmetadata: {name: p%d}\nspec: {priority: %d, %s%sconntrack: {max: %d, timeouts: {udp: %d}}}\n",
			kind, i, i, selects, level, 50001+i, rapid.IntRange(30, 90).Draw(t, "udp"))
	}
	return b.String()
}

// someTests draws tests with expectations of which most do not hold.
func someTests(t *rapid.T) string {
	var b strings.Builder
	entries := []string{"{target: web-1, key: conntrack.max, %s}", "{target: container/w*, key: conntrack.*, policy: p1%s}", "{target: node, key: level%s}", "{target: nobody, key: \"*\"%s}"}
	for i := range rapid.IntRange(1, 4).Draw(t, "tests") {
		body := rapid.SampledFrom([]string{"", "  targets: [web-*]\n", "  targets: [node, mail-1]\n"}).Draw(t, "targets") +
			rapid.SampledFrom([]string{"", "  keys: [conntrack.max]\n", "  keys: [level, conntrack.t*]\n"}).Draw(t, "keys")
		given := ""
		for _, list := range []string{"wants", "changes", "refusals", "pending", "warnings"} {
			value := map[string]string{"wants": "wanted: 5", "changes": "to: 5", "refusals": "code: missing", "pending": "to: 5"}[list]
			text := rapid.SampledFrom(append(entries, "none", "none", "")).Draw(t, list)
			switch {
			case text == "":
				continue
			case text == "none", list == "warnings":
				given += "    " + list + ": []\n"
			case !strings.Contains(text, ", %s"):
				given += "    " + list + ":\n    - " + fmt.Sprintf(text, "") + " # here\n"
			default:
				given += "    " + list + ":\n      - " + fmt.Sprintf(text, value) + "\n"
			}
		}
		if given != "" {
			body += "  expect:\n" + given
		}
		b.WriteString(testText(fmt.Sprintf("t%d", i), body))
	}
	return b.String()
}

// TestUpdateProperty: after an update all tests pass, and another one changes nothing.
func TestUpdateProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := filesOf(somePolicies(t), someTests(t))
		changed, results, err := Update(context.Background(), question(t, list), list)
		fatal(t, err)
		for _, f := range changed {
			list[1] = f
		}
		if results.Summary.Failed > 0 || run(t, list).Summary.Failed > 0 {
			t.Fatalf("%d tests fail after an update of\n%s", results.Summary.Failed, list[1].Data)
		}
		if again, _, err := Update(context.Background(), question(t, list), list); len(again) > 0 || err != nil {
			t.Fatalf("another update changes %d files: %v", len(again), err)
		}
	})
}

// TestChangeProperty: a test of wants fails after a change of one policy exactly if a want that it
// looks at has changed.
func TestChangeProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policies := somePolicies(t)
		targets, keys := []string{"web-1", "web-*", "mail-1", "node", "ci-*"}, []string{"conntrack.max", "conntrack.timeouts.udp", "level"}
		var b strings.Builder
		for _, target := range targets {
			for _, key := range keys {
				b.WriteString(testText(strings.Trim(target, "-*")+"."+strings.ToLower(key), "  targets: ["+target+"]\n  keys: ["+key+"]\n  expect: {wants: []}\n"))
			}
		}
		list := filesOf(policies, b.String())
		changed, _, err := Update(context.Background(), question(t, list), list)
		fatal(t, err)
		for _, f := range changed {
			list[1] = f
		}
		wants := func() map[nf.Target]map[nf.Key]nf.Wish {
			q := question(t, list)
			read, err := q.Read("snapshots/hn-7.yaml")
			fatal(t, err)
			s, _ := spec.ParseSnapshot(read)
			all := map[nf.Target]map[nf.Key]nf.Wish{}
			for _, w := range q.Policies.Resolve(&s).List {
				if all[w.Target] == nil {
					all[w.Target] = map[nf.Key]nf.Wish{}
				}
				all[w.Target][w.Key] = w.Wish
			}
			return all
		}
		before := wants()
		list[0].Data = []byte(strings.Replace(policies, "max: 50001", "max: 49999", 1)) // of the policy with the lowest priority
		after, tests := wants(), question(t, list).Tests
		for i, r := range run(t, list).Tests {
			looksAt := false
			for target, keys := range before {
				for key, wish := range keys {
					looksAt = looksAt || after[target][key] != wish && tests[i].Filter.Match(target, key)
				}
			}
			if r.Passed == looksAt {
				t.Fatalf("%s looks at the change: %v, and passes: %v", r.Name, looksAt, r.Passed)
			}
		}
	})
}
