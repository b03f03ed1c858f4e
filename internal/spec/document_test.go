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

// snapshotOfAll has a value in every field.
func snapshotOfAll() nf.Snapshot {
	boot, absent := nf.MaskValue(0x4c004003), nf.Absent()
	node := nf.Namespace{
		Facts: []nf.Fact{
			{Key: nf.KeyMax, Live: nf.Number(262144), Boot: &absent},
			{Key: nf.TimeoutKey("udp"), Live: nf.Unknown("cannot read: \"denied\" ü"), ReadOnly: true, Parameter: "nf_conntrack.hashsize",
				Declared: []nf.Declaration{{File: "/etc/sysctl.conf", Line: 1, Value: nf.Text("lots"), Why: "no number"}}},
			{Key: nf.KeyLevel, Live: nf.LevelStateful.Value(), Boot: &boot},
		},
		Rules: &nf.Rules{Tables: []nf.Table{{Backend: nf.BackendNft, Family: "inet", Name: "f", Rules: 3, Guards: []string{"input"},
			Uses: []nf.Use{{Level: nf.LevelStateful, Chain: "input", What: "ct", Count: 2}}, MoreGuards: 4, MoreUses: map[nf.Level]int{nf.LevelStateful: 7}}}, Unknown: "table x"},
		Tracking: &nf.Tracking{State: nf.TrackingOn, Evidence: "rules"},
		Count:    nf.Number(5),
		Keepers:  nf.Keepers{Level: nf.KeeperNobody, Limit: nf.KeeperKernel},
	}
	bare := nf.Namespace{Facts: []nf.Fact{}, Count: nf.Absent()}
	web := nf.Target{Kind: nf.TargetContainer, Runtime: nf.RuntimeNetns, ID: "web-1", Name: "web-1"}
	saved := nf.Module(nf.ModuleLoaded, nil)
	return nf.Snapshot{
		APIVersion: nf.APIVersion, Kind: nf.KindNodeSnapshot,
		Node:    nf.NodeIdentity{Name: "hn-1", Labels: map[string]string{"role": "edge", "number": "12"}},
		TakenAt: time.Date(2026, 1, 31, 12, 30, 1, 123456789, time.UTC), BootID: "2f7c", Kernel: nf.Kernel{Release: "6.1.0", Machine: "x86_64"},
		Capabilities: nf.Capabilities{Denied: map[string]string{nf.AbilityNode: "why"}, Latches: nf.No, Masks: true, BucketStep: 512, LegacyTables: true,
			BootFiles: true, BootUnknown: "x"},
		Modules: nf.Modules{Support: nf.SupportLocked, Reason: "lockdown", Complete: true, Unknown: "x", Installed: []string{"6.12.9"},
			List: []nf.ModuleFact{
				{Name: "ip_set", State: "loaded", Evidence: "/proc/modules", Refs: -1, Holders: []string{"xt_set"}, Deps: []string{"nfnetlink"},
					Parameters: map[string]nf.Parameter{"max_sets": {Value: "256", Writable: true}}, Permanent: true,
					Boot: &saved, Rereads: true, Declared: []nf.Declaration{{File: "/etc/modprobe.d/a.conf", Line: 3, Directive: nf.DirectiveBlacklist, Value: nf.Module(nf.ModuleUnloaded, nil), Overruled: true}}},
				{Name: "nf_nat", State: "unloaded", Takes: []string{}},
				{Name: "xt_LOG", State: "unloaded", Takes: []string{"a", "b"}, Barred: nf.Bar{File: "/etc/modprobe.d/a.conf", Line: 3, Says: "blacklist xt_LOG", Why: "x"}},
			},
			Aliases: map[string]string{"nf_conntrack_ipv4": "nf_conntrack"}},
		Host: node,
		Containers: []nf.Container{
			{Runtime: nf.RuntimeNetns, ID: "web-1", Name: "web-1", Aliases: []string{"w"}, State: nf.StateRunning, Instance: "4:4026532", MaxScope: nf.ScopeNode, Namespace: node},
			{Runtime: nf.RuntimeVZ, ID: "132694", UUID: "ccefa40c-5c72-4e17-94c7-d68034a1c1a5", Name: "db", State: nf.StateStopped, Instance: nf.InstanceStopped, Unobservable: "stopped", Namespace: bare},
			{Runtime: nf.RuntimePodman, ID: "9f2c", Name: "web", State: nf.StateRunning, Instance: "4:4026533", Labels: map[string]string{"app": "web", "tier": ""}, Namespace: bare},
			{Runtime: nf.RuntimePodman, ID: "a01b", Name: "web", State: nf.StateRunning, Instance: "4:4026534", LabelsUnknown: "no socket", Namespace: bare},
		},
		Warnings: []nf.Warning{{Code: nf.WarnRuntimeBroken, Target: web, Key: nf.KeyMax, Message: "m", Source: &nf.Source{Name: "n", File: "f", Line: 1, Column: 2}}},
		Memory: nf.Memory{Revision: "abc", MaxScope: map[string]string{"6.1.0": nf.ScopeNode},
			Keys: []nf.MemoryKey{
				{Target: nf.Node, Key: nf.ModuleKey("ip_set"), Asked: nf.Exactly(nf.Module(nf.ModuleLoaded, nil)), Applied: nf.Module("loaded", nil), Instance: "2f7c", Set: true},
				{Target: nf.Node, Key: nf.ModuleKey("nf_nat"), Asked: nf.Exactly(nf.Module("loaded", map[string]string{"a": "1"})), Applied: nf.Module("loaded", map[string]string{"a": "1"}), Instance: "2f7c"},
				{Target: web, Key: nf.KeyMax, Asked: nf.Wish{AtLeast: 1000, AtMost: 2000}, Applied: nf.Number(1000), Instance: "4:4026532"},
				{Target: web, Key: nf.TimeoutKey("udp"), Asked: nf.Exactly(nf.Number(30)), Applied: nf.Number(30), Instance: "4:4026532"},
			},
			Latches:  []nf.Latch{{Target: web, Instance: "4:4026532", Evidence: "rules"}},
			Restarts: []nf.RestartDone{{Target: web, UUID: "u", Asked: nf.Exactly(nf.LevelFull.Value()), Instance: "4:4026532", State: nf.RestartMade, Became: "5:4026533", Level: nf.LevelFull.Value()}},
			Failures: []nf.Failure{{Target: web, Key: nf.KeyMax, Layer: nf.LayerLive, To: nf.Number(5), Instance: "4:4026532",
				At: time.Date(2026, 1, 30, 12, 0, 0, 0, time.UTC), Why: "EINVAL", Receipt: "r1"}},
			Stuck: []nf.StuckChange{{Target: web, Key: nf.KeyMax, Layer: nf.LayerBoot, From: nf.Number(1), To: nf.Number(2), Reads: nf.Number(3),
				Run: "r2", Instance: "4:4026532", BootID: "2f7c", Why: "EIO"}}},
	}
}

// TestSnapshotOfAll holds the snapshot of all to have a value in every field: what it lacks,
// no test reads.
func TestSnapshotOfAll(t *testing.T) {
	set := map[string]bool{}
	markFields(reflect.ValueOf(snapshotOfAll()), set)
	for name, isSet := range set {
		if !isSet {
			t.Errorf("no %s has a value", name)
		}
	}
}

// markFields marks the fields of a value, and of those in it, as set or not.
func markFields(v reflect.Value, set map[string]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			markFields(v.Elem(), set)
		}
	case reflect.Slice:
		for i := range v.Len() {
			markFields(v.Index(i), set)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			markFields(v.MapIndex(key), set)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Tag.Get("json") != "-" {
				name := v.Type().String() + "." + f.Name
				set[name] = set[name] || !v.Field(i).IsZero()
				markFields(v.Field(i), set)
			}
		}
	}
}

var compareValues = cmp.Comparer(func(a, b nf.Value) bool { return a == b })

// TestSnapshotRoundTrip reads back what is printed, as JSON and as the same
// text taken for YAML, of which JSON is a part.
func TestSnapshotRoundTrip(t *testing.T) {
	want := snapshotOfAll()
	normalize(&want)
	text, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"JSON": text, "YAML": append([]byte("# taken for YAML\n"), text...), "byte order mark": append([]byte("\uFEFF"), text...)} {
		got, found := ParseSnapshot(File{Name: "s.json", Data: data})
		if len(found) > 0 {
			t.Fatalf("%s: refused:\n%s", name, format(found))
		}
		if diff := cmp.Diff(want, got, compareValues); diff != "" {
			t.Errorf("%s: what was read is not what was written:\n%s", name, diff)
		}
	}
	golden(t, "testdata/snapshot.json", string(text)+"\n")
}

// TestSnapshotYAML reads a snapshot as a person writes one, in any order.
func TestSnapshotYAML(t *testing.T) {
	s, found := ParseSnapshot(File{Name: "s.yaml", Data: read(t, "testdata/snapshot.yaml")})
	if len(found) > 0 {
		t.Fatalf("refused:\n%s", format(found))
	}
	if s.Node.Name != "hn-1" || s.TakenAt.Year() != 2026 || len(s.Containers) != 2 || s.Containers[0].ID != "a" {
		t.Errorf("got %+v", s)
	}
	if got := s.Containers[1].Fact(nf.KeyMax).Live; got != nf.Number(5) {
		t.Errorf("conntrack.max is %v", got)
	}
	if _, ok := s.Modules.Find("ip_set"); !ok {
		t.Error("the modules are not in order")
	}
	if state, _, ok := s.Memory.Keys[0].Applied.Module(); !ok || state != "loaded" {
		t.Errorf("memory has %v", s.Memory.Keys[0].Applied)
	}
	if s.Host.Facts[0].Live.Why() != "denied" || s.Host.Facts[1].Boot == nil || !s.Host.Facts[1].Boot.IsAbsent() {
		t.Errorf("the node has %v", s.Host.Facts)
	}
}

// edit changes the printed snapshot at one place.
func edit(t *testing.T, old, new string) []byte {
	t.Helper()
	text := string(read(t, "testdata/snapshot.json"))
	if !strings.Contains(text, old) {
		t.Fatalf("no %s in the snapshot", old)
	}
	return []byte(strings.Replace(text, old, new, 1))
}

func TestSnapshotErrors(t *testing.T) {
	tests := []struct {
		name string
		text []byte
		want string
	}{
		{"unknown keys", edit(t, `"bootID"`, `"sinceThen": [{"x": 1.5}], "bootID"`), ""},
		{"empty", nil, "no-document s:1:1: the file holds no document"},
		{"a list", []byte("[]"), "wrong-kind s:1:1: not a NodeSnapshot but a list"},
		{"another kind", edit(t, `"NodeSnapshot"`, `"Plan"`), `wrong-kind s:3:11: kind must be NodeSnapshot, not the text "Plan"`},
		{"another version", edit(t, `v1alpha1`, `v2`), `wrong-kind s:2:17: apiVersion must be nfsync.dev/v1alpha1, not the text "nfsync.dev/v2"`},
		{"no kind", []byte(`{"apiVersion": "nfsync.dev/v1alpha1"}`), `missing-key s:1:1: missing key "kind": this is not a NodeSnapshot`},
		{"cut off", edit(t, `"takenAt"`, "\x00")[:100], "syntax s:6:1: not JSON: unexpected end of JSON input"},
		{"not JSON", edit(t, `"takenAt":`, `"takenAt"`), `syntax s:11:13: not JSON: invalid character '"' after object key`},
		{"text for a number", edit(t, `"rules": 3`, `"rules": "3"`), `wrong-type s:126:20: host.rules.tables[0].rules must be a whole number, not the text "3"`},
		{"fraction", edit(t, `"rules": 3`, `"rules": 3.5`), "wrong-type s:126:20: host.rules.tables[0].rules must be a whole number, not 3.5"},
		{"huge number", edit(t, `"live": 262144`, `"live": 99999999999999999999`), "wrong-type s:95:17: host.facts[0].live must be a whole number, not 99999999999999999999"},
		{"number for a text", edit(t, `"release": "6.1.0"`, `"release": 6.1`), "wrong-type s:14:16: kernel.release must be a text, not 6.1"},
		{"text for a boolean", edit(t, `"masks": true`, `"masks": "yes"`), `wrong-type s:22:14: capabilities.masks must be true or false, not the text "yes"`},
		{"text for a list", edit(t, `"holders": [`, `"holders": "xt_set", "x": [`), `wrong-type s:42:20: modules.list[0].holders must be a list, not the text "xt_set"`},
		{"list for a mapping", edit(t, `"kernel": {`, `"kernel": [], "x": {`), "wrong-type s:13:13: kernel must be a mapping, not a list"},
		{"null for a text", edit(t, `"bootID": "2f7c"`, `"bootID": null`), "wrong-type s:12:13: bootID must be a text, not null"},
		{"asked of nothing", edit(t, `"asked": 30`, `"asked": null`), "wrong-type s:352:18: memory.keys[3].asked must be a number, a text, {state: …} or {atLeast: N, atMost: N}, not null"},
		{"asked of what is unknown", edit(t, `"asked": 30`, `"asked": {"unknown": "why"}`), "wrong-type s:352:18: memory.keys[3].asked must be a number, a text, {state: …} or {atLeast: N, atMost: N}, not a mapping"},
		{"a bound of zero", edit(t, `"atLeast": 1000`, `"atLeast": 0`), "out-of-range s:338:22: memory.keys[2].asked.atLeast must be 1 or more, not 0"},
		{"a bound in words", edit(t, `"atLeast": 1000`, `"atLeast": "few"`), `wrong-type s:338:22: memory.keys[2].asked.atLeast must be a whole number, not the text "few"`},
		{"no time", edit(t, `2026-01-31T`, `31.1.2026 `), `invalid-value s:11:14: takenAt must be a time such as 2026-01-31T12:00:00Z, not the text "31.1.2026 12:30:01.123456789Z"`},
		{"list for a value", edit(t, `"live": 262144`, `"live": [1]`), "wrong-type s:95:17: host.facts[0].live must be a number, a text, null, {unknown: why} or {state: …}, not a list"},
		{"empty mapping for a value", edit(t, `"live": 262144`, `"live": {}`), "wrong-type s:95:17: host.facts[0].live must be a number, a text, null, {unknown: why} or {state: …}, not a mapping"},
		{"a fact without a value", edit(t, `"live": 262144`, `"alive": 262144`), `missing-key s:93:7: missing key "live" in host.facts[0]`},
		{"no name", edit(t, `"name": "hn-1"`, `"name": ""`), `empty-value s:5:13: node.name must be the name of a node, not the text ""`},
		{"a use of no level", edit(t, `"level": "stateful"`, `"level": "Stateful"`), `unknown-word s:132:24: host.rules.tables[0].uses[0].level must be one of disabled, stateless, stateful, full, not the text "Stateful"`},
		{"more uses of no level", edit(t, `"stateful": 7`, `"Stateful": 7`), `unknown-word s:140:13: host.rules.tables[0].moreUses.Stateful must be one of disabled, stateless, stateful, full, not the text "Stateful"`},
		{"unknown state of tracking", edit(t, `"state": "on"`, `"state": "perhaps"`), `unknown-word s:147:16: host.tracking.state must be one of on, off, unknown, not the text "perhaps"`},
		{"the same container twice", edit(t, "\"runtime\": \"vz\",\n      \"id\": \"132694\"", "\"runtime\": \"netns\", \"id\": \"web-1\""), `duplicate-name s:262:5: containers: "netns/web-1" is already defined at line 157`},
		{"the same fact twice", edit(t, `"level"`, `"conntrack.max"`), `duplicate-name s:114:7: host.facts: "conntrack.max" is already defined at line 93`},
		{"the same module twice", edit(t, `"nf_nat"`, `"ip_set"`), `duplicate-name s:67:7: modules.list: "ip_set" is already defined at line 37`},
		{"duplicate key", edit(t, `"masks": true`, `"latches": "yes"`), `duplicate-key s:22:5: duplicate key "latches": already defined at line 21`},
		{"too deep", edit(t, `"bootID"`, `"x": `+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`, "bootID"`), "nesting s:12:39: " + messageNesting},
		{"deeper than JSON goes", edit(t, `"bootID"`, `"x": `+strings.Repeat("[", 200000)), "syntax s:12:10007: not JSON: invalid character '[' exceeded max depth"},
		{"not UTF-8", edit(t, `hn-1`, "hn\xff"), "encoding s:5:16: the text is not UTF-8 from here on"},
		{"behind wide characters", []byte(`{"ä": "日本😀", "apiVersion": 5, "kind": "NodeSnapshot"}`), "wrong-kind s:1:28: apiVersion must be nfsync.dev/v1alpha1, not 5"},
		{"second document", []byte("a: b\n---\nc: d\n"), "several-documents s:3:1: the file holds a second document"},
		{"alias", []byte("a: &b c\nd: *b\n"), "anchor s:1:4: an anchor is not allowed"},
		{"YAML syntax", []byte("a: b: c\n"), "syntax s:1:5: not YAML: mapping values are not allowed in this context"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if _, found := ParseSnapshot(File{Name: "s", Data: test.text}); len(found) > 0 {
				got = string(found[0].Rule) + " " + found[0].String()
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// TestSnapshotMissing holds every key without which a snapshot says something
// else to be named.
func TestSnapshotMissing(t *testing.T) {
	_, found := ParseSnapshot(File{Name: "s", Data: []byte(`{"apiVersion": "nfsync.dev/v1alpha1", "kind": "NodeSnapshot", "node": {}, "host": {}}`)})
	want := []string{
		`s:1:1: missing key "bootID" in the document`, `s:1:1: missing key "capabilities" in the document`,
		`s:1:1: missing key "containers" in the document`, `s:1:1: missing key "kernel" in the document`,
		`s:1:1: missing key "modules" in the document`,
		`s:1:71: missing key "name" in node`, `s:1:83: missing key "facts" in host`,
	}
	if diff := cmp.Diff(want, texts(found)); diff != "" {
		t.Error(diff)
	}
}

// TestSnapshotLarge holds a document of many values to end soon, and one of too
// many to be refused.
func TestSnapshotLarge(t *testing.T) {
	_, found := ParseSnapshot(File{Name: "s", Data: []byte(`{"x":[` + strings.Repeat("0,", maxValues+1) + `0]}`)})
	if len(found) != 1 || found[0].Message != "the file holds more than 2097152 values, or one part of it more than 200000" {
		t.Errorf("got %v", found)
	}
	_, found = ParseSnapshot(File{Name: "s", Data: []byte(`{"containers":[` + strings.Repeat("0,", maxValues+1) + `0]}`)})
	if len(found) != 1 || !strings.HasPrefix(found[0].Message, "the file holds more than") {
		t.Errorf("got %v", found)
	}
	_, found = ParseSnapshot(File{Name: "s", Data: make([]byte, maxJSONDocument+1)})
	if len(found) != 1 || found[0].Message != "the file is larger than 64 MiB" {
		t.Errorf("got %v", found)
	}
	_, found = ParseSnapshot(File{Name: "s", Data: []byte("x: [" + strings.Repeat("0,", maxYAMLNodes) + "0]\n")})
	if len(found) != 1 || found[0].Message != "the file may hold more than 300000 values and keys" {
		t.Errorf("got %v", found)
	}
}

const someID = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

const savedPlan = `{"apiVersion": "nfsync.dev/v1alpha1", "kind": "Plan", "id": "` + someID + `", "node": "hn-1", "revision": "abc",
 "changes": [{"key": "x"}], "policies": [{"file": "p/a.yaml", "text": "a\n\u00e9\ud83d\ude00"}, {"file": "p/b.yaml", "text": ""}]}
`

func TestSavedPlan(t *testing.T) {
	got, found := ParseSavedPlan(File{Name: "p", Data: []byte(savedPlan)})
	files := []File{{Name: "p/a.yaml", Data: []byte("a\né😀")}, {Name: "p/b.yaml", Data: []byte{}}}
	if diff := cmp.Diff(files, got.Files); diff != "" || len(found) > 0 || got.ID != someID || got.Node != "hn-1" || got.Revision != "abc" || !got.Edited {
		t.Errorf("%+v, %v\n%s", got, found, diff)
	}
	for _, test := range []struct{ old, new, want string }{
		{`"abc",`, `"abc", "later": [1.5],`, ""},
		{`nfsync.dev/v1alpha1`, `nfsync.dev/v2`, `p:1:1: wrong-kind: apiVersion must be nfsync.dev/v1alpha1, not "nfsync.dev/v2"`},
		{`"kind"`, `"x"`, `p:1:1: wrong-kind: kind must be Plan, not ""`},
		{`"Plan"`, `"Receipt"`, `p:1:1: wrong-kind: kind must be Plan, not "Receipt"`},
		{`"policies"`, `"x"`, "p:1:1: missing-key: this plan holds no policies: it was printed, not saved"},
		{`[{"file"`, `null, "x": [{"file"`, "p:1:1: missing-key: this plan holds no policies: it was printed, not saved"},
		{`"hn-1"`, `5`, "p:1:144: wrong-type: node: unexpected number"},
		{`"node"`, `"x"`, `p:1:1: missing-key: missing key "node"`},
		{someID, "sha256:1", `p:1:1: invalid-value: id must be sha256: and 64 hexadecimal digits, not "sha256:1"`},
		{`p/b.yaml`, `p/a.yaml`, `p:1:1: duplicate-name: policies[1]: "p/a.yaml" is already defined`},
		{`"file": "p/b.yaml"`, `"x": ""`, `p:1:1: missing-key: missing key "file" in policies[1]`},
		{`"text": ""`, `"txt": ""`, `p:1:1: missing-key: missing key "text" in policies[1]`},
		{`"text": ""`, `"text": null`, `p:1:1: missing-key: missing key "text" in policies[1]`},
		{`[{"file"`, `["x", {"file"`, "p:2:44: wrong-type: policies: unexpected string"},
		{savedPlan, "[]", "p:1:1: wrong-type: the document: unexpected array"},
		{savedPlan, "apiVersion: nfsync.dev/v1alpha1\n", "p:1:1: syntax: not JSON: invalid character 'a' looking for beginning of value"},
		{`"changes":`, `"changes"`, "p:2:12: syntax: not JSON: invalid character '[' after object key"},
		{"\"\"}]}\n", "", "p:2:125: syntax: not JSON: unexpected end of JSON input"},
		{`hn-1`, "hn\xff", "p:1:147: encoding: the text is not UTF-8 from here on"},
	} {
		text := strings.Replace(savedPlan, test.old, test.new, 1)
		if text == savedPlan {
			t.Errorf("no %s in the plan", test.old)
		}
		plan, found := ParseSavedPlan(File{Name: "p", Data: []byte(text)})
		var got []string
		for _, d := range found {
			got = append(got, fmt.Sprintf("%s:%d:%d: %s: %s", d.File, d.Line, d.Column, d.Rule, d.Message))
		}
		if strings.Join(got, "\n") != test.want || (plan.ID == "") != (test.want != "") {
			t.Errorf("%s: got %v, want %s", test.new, got, test.want)
		}
	}
}

// The digest covers every key of a saved plan, and not its layout.
func TestSavedPlanDigest(t *testing.T) {
	digest, err := Digest([]byte(savedPlan))
	if err != nil {
		t.Fatal(err)
	}
	sealed := strings.Replace(savedPlan, "{", `{"digest": "`+digest+`", `, 1)
	for text, edited := range map[string]bool{
		sealed: false,
		strings.ReplaceAll(sealed, ", ", ",\n    "):                    false,
		strings.Replace(sealed, `"abc"`, `"abd"`, 1):                   true,
		strings.Replace(sealed, `{"key": "x"}`, ``, 1):                 true,
		strings.Replace(sealed, `"node"`, `"warnings": [], "node"`, 1): true,
		strings.Replace(sealed, "a\\n", "b\\n", 1):                     true,
		strings.Replace(sealed, digest, someID, 1):                     true,
	} {
		if text == sealed && edited {
			t.Fatal("nothing was replaced")
		}
		if got, found := ParseSavedPlan(File{Name: "p", Data: []byte(text)}); got.Edited != edited || len(found) > 0 {
			t.Errorf("edited %v, want %v, %v: %s", got.Edited, edited, found, text)
		}
	}
}
