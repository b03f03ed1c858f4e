package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/view"
	"nfsync.dev/nfsync/schemas"
)

// without are the verbs that print no document, and why.
var without = map[string]string{
	"completion": "prints a script",
	"demo":       "is a story for people",
	"help":       "is for people",
	"hook":       "is called by container runtimes, and answers with its exit code",
	cniVerb:      "is called by container runtimes, and prints what CNI asks for",
	"init":       "writes files, and prints their names",
	"fmt":        "writes files, and prints their names",
	manVerb:      "writes files",
	takeBackVerb: "is called by nfsync itself, and nobody reads what it says",
}

// printed is one call of a verb, and the document that it prints.
type printed struct {
	args     string // NODE is the directory of the node
	code     int
	kind     string
	onlyYAML bool
	before   string // a command line that prepares the node
}

var printedDocuments = []printed{
	{args: "validate NODE/ok", kind: nf.KindDiagnostics},
	{args: "validate NODE/bad.yaml", code: exitInvalid, kind: nf.KindDiagnostics},
	{args: "validate NODE/conflict", code: exitRefused, kind: nf.KindDiagnostics},
	{args: "plan NODE/ok", kind: nf.KindPlan},
	{args: "plan NODE/conflict", code: exitRefused, kind: nf.KindPlan},
	{args: "plan NODE/bad.yaml", code: exitInvalid, kind: nf.KindDiagnostics},
	{args: "plan ../../examples/policies --snapshot ../../examples/snapshots/hn-7.yaml --max-age 0", code: exitRefused, kind: nf.KindPlan},
	{args: "plan ../../examples/policies --snapshot ../../examples/snapshots --max-age 0", code: exitRefused, kind: nf.KindFleetPlan},
	{args: "plan NODE/ok --base-path NODE/conflict", kind: nf.KindReview},
	{args: "recover", kind: nf.KindRecovery},
	{args: "receipts", kind: nf.KindReceipts},
	{args: "confirm", kind: nf.KindConfirmation, before: "apply NODE/ok --yes --confirm-within 1h"},
	{args: "apply NODE/ok --yes", kind: nf.KindReceipt},
	{args: "apply NODE/bad.yaml --yes", code: exitInvalid, kind: nf.KindDiagnostics},
	{args: "receipts", kind: nf.KindReceipts},
	{args: "receipts latest", kind: nf.KindReceipt},
	{args: "recover", kind: nf.KindRecovery},
	{args: "recover --accept", kind: nf.KindRecovery},
	{args: "show --policies NODE/ok", kind: nf.KindEffective},
	{args: "show --policies NODE/conflict", kind: nf.KindEffective},
	{args: "snapshot", kind: nf.KindNodeSnapshot},
	{args: "forget conntrack.timeouts.udp", kind: nf.KindForgotten},
	{args: "test ../../examples/policies", kind: nf.KindPolicyTestResults},
	{args: "import --all", kind: "Policy", onlyYAML: true},
	{args: "explain", kind: nf.KindVocabulary},
	{args: "explain level-in-use", kind: nf.KindExplanation},
	{args: "explain conflict", kind: nf.KindExplanation},
	{args: "explain 6", kind: nf.KindExplanation},
	{args: "explain bucketStep", kind: nf.KindExplanation},
	{args: "schema", kind: nf.KindSchemaList},
	{args: "doctor --config none", kind: nf.KindDoctor},
	{args: "doctor --config NODE/bad.yaml", code: exitError, kind: nf.KindDoctor},
	{args: "version", kind: nf.KindVersion},
	{args: "agent --once NODE/ok", kind: nf.KindReceipt},
	{args: "agent --once NODE/bad.yaml", code: exitInvalid, kind: nf.KindDiagnostics},
	{args: "agent --once NODE/ok --config NODE/observe.yaml", kind: nf.KindPlan},
	{args: "fleet status --servers FLEET", kind: nf.KindFleetStatus},
	{args: "fleet nodes --servers FLEET", kind: nf.KindFleetNodes},
	{args: "fleet show hn-1 --servers FLEET", kind: nf.KindFleetNodeStatus},
	{args: "fleet rollout --servers FLEET", kind: nf.KindFleetRollout},
	{args: "fleet rollout pause --servers FLEET", kind: nf.KindFleetRollout},
	{args: "fleet rollout resume --servers FLEET", kind: nf.KindFleetRollout},
	{args: "fleet wake --servers FLEET", kind: nf.KindFleetRollout},
	{args: "fleet release hn-1 --servers FLEET", kind: nf.KindFleetRollout},
	{args: "fleet rollout halt --servers FLEET", kind: nf.KindFleetRollout},
	{args: "fleet status --servers FLEET", code: exitRefused, kind: nf.KindFleetStatus},
	{args: "fleet withdraw 1b2c --yes --servers FLEET", kind: nf.KindFleetRollout},
	{args: "fleet rollout abort --yes --servers FLEET", kind: nf.KindFleetRollout},
	// An agent runs from here on.
	{args: "status", kind: nf.KindNodeStatus, before: "agent"},
	{args: "sync", kind: nf.KindNodeStatus},
	{args: "suspend --reason test", kind: nf.KindNodeStatus},
	{args: "resume", kind: nf.KindNodeStatus},
}

// TestEveryVerbPrintsDocuments runs each verb on a node, and holds what it prints as JSON and as YAML to the
// schema of its kind.
func TestEveryVerbPrintsDocuments(t *testing.T) {
	n := newAgentNode(t)
	n.add("web-1")
	for _, dir := range []string{"ok", "conflict"} {
		n.check(os.Mkdir(n.path(dir), 0o755))
	}
	n.write("ok/a.yaml", udpPolicy(45))
	n.write("conflict/a.yaml", udpPolicy(45))
	n.write("conflict/b.yaml", strings.Replace(udpPolicy(46), "web", "other", 1))
	n.write("bad.yaml", "apiVersion: nfsync.dev/v1alpha1\nkind: NodePolicy\n")
	n.write("observe.yaml", "apiVersion: nfsync.dev/v1alpha1\nkind: AgentConfig\nmode: observe\nlisten: none\n")
	f := newTestFleet(t)
	f.put(fleetNode(1))
	f.begin(groupedPlan())
	f.coordinate()
	called := map[string]bool{}
	for _, c := range printedDocuments {
		c.args = strings.ReplaceAll(c.args, "FLEET", f.URL())
		verb, _, _ := strings.Cut(c.args, " ")
		called[verb] = true
		if c.before == "agent" {
			n.commit(udpPolicy(45))
			n.start()
			n.awaitReady(n.tip)
		} else if c.before != "" {
			if code, out := n.verb(n.words(c.before)...); code != exitOK {
				t.Fatalf("%s: exit code %d\n%s", c.before, code, out)
			}
		}
		n.printsDocument(c)
	}
	for _, verb := range testApp(nil).command().Commands() {
		if why := without[verb.Name()]; called[verb.Name()] == (why != "") {
			t.Errorf("%s: called %v, and prints no document because it %q", verb.Name(), called[verb.Name()], why)
		}
	}
}

// words returns the words of a command line, with the directory of the node for NODE.
func (n *agentNode) words(line string) []string {
	return strings.Fields(strings.ReplaceAll(line, "NODE", n.dir))
}

// printsDocument runs a verb, and fails unless it prints a document of its kind, as JSON and as YAML.
func (n *agentNode) printsDocument(c printed) {
	n.Helper()
	cmd := exec.Command("nfsync", append(n.words(c.args), "-o", "yaml="+n.path("out.yaml"))...)
	if !c.onlyYAML {
		cmd.Args = append(cmd.Args, "-o", "json")
	}
	if !strings.Contains(c.args, "--snapshot") {
		cmd.Args = append(cmd.Args, n.flagsOf()...)
	}
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != c.code {
		n.Errorf("%s: %v, want exit code %d\n%s%s", c.args, err, c.code, out.String(), complaints.String())
		return
	}
	if !c.onlyYAML {
		d, err := jsonschema.UnmarshalJSON(&out)
		n.check(err)
		n.isDocument(c, d)
	}
	text, err := os.ReadFile(n.path("out.yaml"))
	n.check(err)
	documents, err := parsed(text)
	if err != nil || len(documents) == 0 {
		n.Errorf("%s: %d documents, %v\n%s", c.args, len(documents), err, text)
	}
	for _, d := range documents {
		n.isDocument(c, d)
	}
}

// isDocument fails unless a document is of that kind.
func (n *agentNode) isDocument(c printed, d any) {
	n.Helper()
	if err := schemaOf(n.TB, c.kind).Validate(d); err != nil {
		n.Errorf("%s: %v\n%v", c.args, err, d)
	}
	if head, ok := d.(map[string]any); !ok || head["apiVersion"] != nf.APIVersion || head["kind"] != c.kind && c.kind != "Policy" {
		n.Errorf("%s is no %s:\n%v", c.args, c.kind, d)
	}
}

// parsed returns the documents of a text of YAML as the values of JSON.
func parsed(text []byte) (list []any, err error) {
	for in := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var d any
		if err := in.Decode(&d); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		if d == nil {
			continue // comments only
		}
		asJSON, err := json.Marshal(d)
		if err != nil {
			return nil, err
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
}

// schemaOf returns the schema of a kind, as nfsync publishes it.
func schemaOf(t testing.TB, kind string) *jsonschema.Schema {
	t.Helper()
	text, ok := schemas.Get(kind)
	if !ok {
		t.Fatalf("no schema of %s", kind)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(kind, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(kind)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestBuildOf: what a build does not know is empty, and never a guess.
func TestBuildOf(t *testing.T) {
	yes, no := true, false
	commit := []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "3f2a"}, {Key: "vcs.time", Value: "2026-02-03T04:05:06Z"}}
	for _, test := range []struct {
		name, linked string
		info         *debug.BuildInfo
		want         view.Build
	}{
		{"nothing known", "", nil, view.Build{Version: "devel"}},
		{"without git", "", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, view.Build{Version: "devel"}},
		{"without git, by make", "devel", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, view.Build{Version: "devel"}},
		{"a module", "", &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, view.Build{Version: "v1.2.3"}},
		{"a commit", "v1.2.3", &debug.BuildInfo{Main: debug.Module{Version: "v0.0.0-2026"}, Settings: append(slices.Clone(commit), debug.BuildSetting{Key: "vcs.modified", Value: "false"})},
			view.Build{Version: "v1.2.3", Commit: "3f2a", Date: "2026-02-03T04:05:06Z", Dirty: &no}},
		{"changed files", "v1.2.3-dirty", &debug.BuildInfo{Settings: append(slices.Clone(commit), debug.BuildSetting{Key: "vcs.modified", Value: "true"})},
			view.Build{Version: "v1.2.3-dirty", Commit: "3f2a", Date: "2026-02-03T04:05:06Z", Dirty: &yes}},
	} {
		test.want.Go, test.want.Platform = runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH
		if diff := cmp.Diff(test.want, buildOf(test.info, test.linked)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

// TestVersionFlag: --version says what version says.
func TestVersionFlag(t *testing.T) {
	flag, err := exec.Command("nfsync", "--version").Output()
	verb, other := exec.Command("nfsync", "version").Output()
	if err != nil || other != nil || !bytes.Equal(flag, verb) || len(flag) == 0 {
		t.Errorf("%s, %v; %s, %v", flag, err, verb, other)
	}
}
