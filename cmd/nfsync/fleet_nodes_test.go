package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

// snapshotDocuments returns the example snapshots as JSON, by the names of their nodes.
func snapshotDocuments(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("../../examples/snapshots/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	list := map[string][]byte{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		s, found := spec.ParseSnapshot(spec.File{Name: name, Data: text})
		var out bytes.Buffer
		if err := view.Snapshots.Write(&out, view.FormatJSON, s, view.Options{}); err != nil || len(found) > 0 {
			t.Fatal(err, found)
		}
		list[s.Node.Name] = out.Bytes()
	}
	return list
}

// putSnapshot puts a snapshot as the agent of a node does.
func (f *testFleet) putSnapshot(node string, document []byte) {
	f.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	connected := make(chan struct{}, 1)
	m, err := fleet.Join(f.Config(node), func() {
		select {
		case connected <- struct{}{}:
		default:
		}
	})
	if err != nil {
		f.Fatal(err)
	}
	defer m.Close()
	select {
	case <-connected:
	case <-ctx.Done():
		f.Fatalf("%s does not get a connection: %+v", node, m.Link())
	}
	if _, err := m.PutSnapshot(ctx, document); err != nil {
		f.Fatal(err)
	}
}

// publish publishes a snapshot to a branch of a git repository, as the agent of a node does.
func (n *agentNode) publish(node string, document []byte) {
	n.Helper()
	blob := n.gitInput(string(document), "-C", n.url, "hash-object", "-w", "--stdin")
	tree := n.gitInput("100644 blob "+blob+"\tsnapshot.json\n", "-C", n.url, "mktree")
	commit := n.gitInput("", "-C", n.url, "commit-tree", tree, "-m", node)
	n.git("-C", n.url, "update-ref", "refs/heads/"+nf.NodeBranch(nf.DefaultNodeBranch, node), commit)
}

// whereRead matches where a snapshot was read.
var whereRead = regexp.MustCompile(`"snapshot": "[^"]*"`)

// TestPlanNodesFromFleet: the snapshots that nodes have put into a fleet give the plans that they give from git.
func TestPlanNodesFromFleet(t *testing.T) {
	t.Parallel()
	f, n := newTestFleet(t), newAgentNode(t)
	snapshots := snapshotDocuments(t)
	one := ""
	for node, document := range snapshots {
		one = node
		f.putSnapshot(node, document)
		n.publish(node, document)
	}
	names := n.write("names.txt", "hn-missing\n"+one+"\n")
	const policies = "../../examples/policies"
	for i, args := range []string{
		"plan " + policies + " --max-age 0", "plan " + policies, "plan " + policies + " --allow-stale", "plan " + policies + " --max-age 0 --base-path " + policies,
		"plan " + policies + " --max-age 0 --expect-nodes " + names, "plan " + policies + " --max-age 0 --node " + one, "plan " + policies + " --node " + one, "plan " + policies + " --max-age 0 --target node",
		"show --policies " + policies, "plan " + policies + " --node hn-none",
	} {
		for _, format := range []string{"json", "text", "markdown", "sarif"} {
			if i > 0 && format != "json" {
				continue // they are made from the same document
			}
			line := append(strings.Fields(args), "--config", "none", "-o", format, "--nodes-from")
			gitCode, fromGit, gitSaid := f.verb(append(line, n.url)...)
			code, fromFleet, said := f.verb(append(line, f.URL())...)
			if code != gitCode {
				t.Errorf("%s: exit code %d, and %d from git\n%s%s", args, code, gitCode, said, gitSaid)
			}
			if strings.Contains(args, "hn-none") {
				if code != exitError || !strings.Contains(said, "the node hn-none has put no snapshot") {
					t.Errorf("%s: %d, %s", args, code, said)
				}
				continue
			}
			if diff := cmp.Diff(whereRead.ReplaceAllString(fromGit, ""), whereRead.ReplaceAllString(fromFleet, "")); diff != "" || fromFleet == "" && code == exitOK {
				t.Errorf("%s as %s: -git +fleet\n%s\n%s", args, format, diff, said)
			}
			if !strings.Contains(said, "cannot read the snapshots") && said != gitSaid {
				t.Errorf("%s says %q, and from git %q", args, said, gitSaid)
			}
		}
	}
}

// TestPlanNodesOfFleetUnreadable: a snapshot that is not what it should be is an error of its node alone.
func TestPlanNodesOfFleetUnreadable(t *testing.T) {
	t.Parallel()
	f := newTestFleet(t)
	snapshots := snapshotDocuments(t)
	var one string
	for node, document := range snapshots {
		one = node
		f.putSnapshot(node, document)
	}
	f.putSnapshot("hn-66", snapshots[one])
	f.Put(fleet.SubjectSnapshot+"hn-67", []byte("no snapshot"))
	line := "plan ../../examples/policies --config none --max-age 0 -o json --nodes-from "
	code, out, said := f.verb(strings.Fields(line + f.URL())...)
	var plan nf.FleetPlan
	if err := json.Unmarshal([]byte(out), &plan); err != nil || code != exitError {
		t.Fatalf("%v, exit code %d\n%s%s", err, code, out, said)
	}
	want := map[string]string{"hn-66": "what it has published is the snapshot of node " + one, "hn-67": "cannot decompress"}
	for _, p := range plan.Nodes {
		if (p.State == nf.SnapshotUnreadable) != (want[p.Node] != "") || !strings.Contains(p.Error, want[p.Node]) {
			t.Errorf("%s is %s: %s", p.Node, p.State, p.Error)
		}
		if (p.Plan == nil) != (want[p.Node] != "") {
			t.Errorf("%s has a plan: %v", p.Node, p.Plan != nil)
		}
	}
	if len(plan.Nodes) != len(snapshots)+2 {
		t.Errorf("%d nodes, not %d", len(plan.Nodes), len(snapshots)+2)
	}
	f.expect(exitError, line+f.URL()+" --node hn-66", "what it has published is the snapshot of node "+one)
	f.expect(exitError, line+newTestFleet(t).URL(), "no node has put a snapshot into the fleet")
	f.expect(exitError, line+f.URL()+" --nodes-branch n/{node}", "a fleet has no branches")
	f.expect(exitError, "plan ../../examples/policies --credentials x --nodes-from x.git", "--credentials is about the fleet of --nodes-from")
	// Several servers are named with commas; one that answers is enough.
	f.expect(exitError, line+"nats://127.0.0.1:1,"+strings.TrimPrefix(f.URL(), "nats://"), "hn-66")
}

// TestFleetURLs: what is a fleet, and what is a repository.
func TestFleetURLs(t *testing.T) {
	for _, test := range []struct {
		text    string
		servers string // empty: it is no fleet
	}{
		{"nats://a:4222", "nats://a:4222"},
		{"tls://a:4222,b:4222,tls://c", "tls://a:4222 tls://b:4222 tls://c"},
		{"wss://a,b", "wss://a wss://b"},
		{"nats://a:4222,b:4222", "nats://a:4222 nats://b:4222"},
		{"https://git.example.com/nodes.git", ""},
		{"git@example.com:nodes.git", ""},
		{"nats", ""},
		{"./tls://x", ""},
		{"", ""},
	} {
		if isFleetURL(test.text) != (test.servers != "") {
			t.Errorf("%s is a fleet: %v", test.text, isFleetURL(test.text))
		}
		if got := strings.Join(fleetURLs(test.text), " "); test.servers != "" && got != test.servers {
			t.Errorf("%s: %s, not %s", test.text, got, test.servers)
		}
	}
}
