package view

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/diff"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

var update = flag.Bool("update", false, "write the golden files")

// document is one value that this package can write.
type document struct {
	name    string
	schema  string // the kind whose schema it must match; empty where it has none
	formats []string
	write   func(w io.Writer, format string, opt Options) error
}

func documentOf[T any](name, schema string, kind Kind[T], doc T) document {
	return document{name, schema, kind.Formats(), func(w io.Writer, format string, opt Options) error {
		return kind.Write(w, format, doc, opt)
	}}
}

func planDocument(name string, p nf.Plan) document { return documentOf(name, nf.KindPlan, Plans, p) }

func receiptDocument(name string, r apply.Receipt) document {
	return documentOf(name, nf.KindReceipt, Receipts, r)
}

func reportDocument(name string, r apply.Report) document {
	return documentOf(name, nf.KindRecovery, Reports, r)
}

func diagnosticsDocument(name string, list []spec.Diagnostic, policies int) document {
	return documentOf(name, nf.KindDiagnostics, Validations, Validation{Diagnostics: list, Policies: policies})
}

func documents() []document {
	accepted := leftReport()
	accepted.Accepted = true
	conflict := spec.Conflict{Kind: nf.KindContainerPolicy, Key: nf.KeyMax,
		First:  nf.Rival{Wish: nf.Exactly(nf.Number(50000)), Source: webPolicy(12)},
		Second: nf.Rival{Wish: nf.Wish{AtMost: 40000}, Source: nf.Source{Name: "web-2", File: "policies/web.yaml", Line: 30, Column: 24}}}
	interrupted := leftReport()
	interrupted.Left = interrupted.Left[1:]
	unconfirmed := interrupted
	unconfirmed.Unconfirmed = "run 00000007-x waits for nfsync confirm until 2026-03-01T12:01:00Z; then its changes are taken back"
	return append(fleetDocuments(), []document{
		planDocument("plan-rich", richPlan()),
		planDocument("plan-plain", plainPlan()),
		planDocument("plan-in-sync", inSyncPlan()),
		planDocument("plan-nothing-asked", nothingAskedPlan()),
		planDocument("plan-refused", refusedPlan()),
		planDocument("plan-thousand", thousandPlan()),
		documentOf("fleet-rich", nf.KindFleetPlan, FleetPlans, richFleet()),
		documentOf("policytests-rich", nf.KindPolicyTestResults, PolicyTests, richTests()),
		documentOf("policytests-none", nf.KindPolicyTestResults, PolicyTests, nf.PolicyTestResults{APIVersion: nf.APIVersion, Kind: nf.KindPolicyTestResults}),
		documentOf("review-rich", nf.KindReview, Reviews, richReview()),
		documentOf("effective-rich", nf.KindEffective, Effectives, richEffective()),
		documentOf("effective-nothing", nf.KindEffective, Effectives, nf.Effective{APIVersion: nf.APIVersion, Kind: nf.KindEffective, Nodes: []nf.NodeEffective{{NodeSnapshot: nf.NodeSnapshot{Node: "hn-1", State: nf.SnapshotFresh}}}}),
		documentOf("review-nothing", nf.KindReview, Reviews, nothingReview()),
		documentOf("fleet-empty", nf.KindFleetPlan, FleetPlans, nf.FleetPlan{APIVersion: nf.APIVersion, Kind: nf.KindFleetPlan}),
		receiptDocument("receipt-nothing-asked", emptyReceipt()),
		receiptDocument("receipt-in-sync", inSyncReceipt()),
		receiptDocument("receipt-applied", appliedReceipt()),
		receiptDocument("receipt-failed", failedReceipt()),
		receiptDocument("receipt-unconfirmed", unconfirmedReceipt()),
		receiptDocument("receipt-taken-back", takenBackReceipt()),
		receiptDocument("receipt-first-taken-back", firstTakenBackReceipt()),
		documentOf("receipts-none", nf.KindReceipts, StoredReceipts, apply.StoredReceipts{}),
		documentOf("receipts", nf.KindReceipts, StoredReceipts, storedReceipts()),
		documentOf("receipt-stored", nf.KindReceipt, StoredReceipt, failedReceipt()),
		documentOf("fleet-credentials-none", nf.KindFleetCredentials, FleetCredentials, nil),
		documentOf("fleet-credentials", nf.KindFleetCredentials, FleetCredentials, handedOut()),
		documentOf("forgotten", nf.KindForgotten, Forgotten, apply.Forgotten{Keys: []nf.MemoryKey{
			{Target: nf.Node, Key: nf.KeyMax, Asked: nf.Wish{AtLeast: 1000}, Applied: nf.Number(4096), Instance: "boot-1", Set: true},
			{Target: foldedTarget(1), Key: nf.TimeoutKey("icmp"), Asked: nf.Exactly(nf.Number(33)), Applied: nf.Number(33), Instance: "1:2:3"}}}),
		reportDocument("report-nothing", apply.Report{}),
		reportDocument("report-stuck", leftReport()),
		reportDocument("report-interrupted", interrupted),
		reportDocument("report-accepted", accepted),
		reportDocument("report-unconfirmed", unconfirmed),
		documentOf("status-starting", nf.KindNodeStatus, NodeStatuses, startingStatus()),
		documentOf("status-rich", nf.KindNodeStatus, NodeStatuses, richStatus()),
		documentOf("snapshot-rich", nf.KindNodeSnapshot, Snapshots, richSnapshot()),
		diagnosticsDocument("validate-errors", []spec.Diagnostic{
			{Rule: spec.RuleUnknownKey, File: "policies/a.yaml", Line: 3, Column: 5, Message: `unknown key "levle"`, Hint: `did you mean "level"?`, Text: "    levle: full"},
			{Rule: spec.RuleEncoding, File: "policies/\x1b[2J.yaml", Line: 1, Column: 1, Message: "the text is not UTF-8\nforged.yaml:1:1: ok", Text: "\x1b[2J\xff"},
			{Rule: spec.RuleUnknownKey, File: "policies/a.yaml", Line: 9, Column: 1, Message: "and 7 more errors from here on", Hint: "mend the errors above first", More: 6},
		}, 2),
		diagnosticsDocument("validate-conflict", []spec.Diagnostic{conflict.Diagnostic()}, 2),
		diagnosticsDocument("validate-valid", nil, 3),
		documentOf("validate-tests", nf.KindDiagnostics, Validations, Validation{Policies: 2, Tests: 3}),
		documentOf("explain-code", nf.KindExplanation, Explanations, ExplainRefusal(diff.Explanation{Code: nf.ConntrackLatched,
			Until:   []nf.Until{nf.UntilContainerRestart, nf.UntilNodeRestart},
			Meaning: "The want drops conntrack where tracking is on.",
			Cause:   "This kernel keeps tracking on in a namespace, once it was on, until the namespace ends: taking the bits out of the mask of a running container is not offered.",
			Remedy:  "restart the container", Sources: []string{"kernel/ve/ve.c, VZ7_ve_write_u64"}})),
		documentOf("explain-key", nf.KindExplanation, Explanations, ExplainKey(diff.KeyExplanation{Key: "conntrack.max",
			Meaning: "The most connections that are tracked at one time. Over it new connections are dropped.",
			Unit:    "entries", Where: "/proc/sys/net/netfilter/nf_conntrack_max",
			Scope: "the node; in a container Linux 5.13 and later show the node's value read-only"})),
		documentOf("explain-rule", nf.KindExplanation, Explanations, ExplainRule(spec.RuleText{Rule: spec.RuleAnchor,
			Meaning: "YAML anchors (&name) are not allowed.", Remedy: "remove the anchor, and write the value out wherever it is needed", Example: "spec: {level: &common full}"})),
		documentOf("explain-level", nf.KindExplanation, Explanations, ExplainLevel(diff.Levels()[2])),
		documentOf("explain-warning", nf.KindExplanation, Explanations, ExplainWarning(diff.Warnings()[0])),
		documentOf("doctor", nf.KindDoctor, Checks, []Check{
			{Group: GroupNode, Name: "privileges", Status: OK, Detail: "root, with CAP_NET_ADMIN and CAP_SYS_MODULE"},
			{Group: GroupNode, Name: "modules", Status: Warn, Detail: "this kernel has no module support: what is built in is all there is, and what a policy wants beyond it is refused",
				Remedy: "none on this kernel; leave spec.modules out of the policies for this node"},
			{Group: GroupState, Name: "state directory", Status: Fail, Detail: "/var/lib/nfsync: read-only file system", Remedy: "mount it writable, or name another with --state-dir"},
			{Group: GroupService, Name: "nfsync.service", Status: Unknown, Detail: "systemd does not answer: permission denied", Remedy: "sudo nfsync doctor"},
		}),
		documentOf("kinds", nf.KindSchemaList, Kinds, []string{"NodePolicy", "Plan"}),
		documentOf("schema", "", Schemas, []byte("{\n  \"title\": \"a schema\",\n  \"type\": \"object\"\n}\n")),
		documentOf("confirmation", nf.KindConfirmation, Confirmations, nf.Confirmation{Run: "00000007-x", Changes: 2}),
		documentOf("explain-senses", nf.KindExplanation, Explanations, severalSenses()),
		documentOf("vocabulary", nf.KindVocabulary, Vocabulary, []Words{{TopicLayer, TopicLayer.Title(), []string{"live", "boot"}}, {TopicVerdict, TopicVerdict.Title(), []string{"clean", "rolled back"}}}),
		documentOf("version-dirty", nf.KindVersion, Builds, Build{Version: "0.1.0", Commit: "3f2a9c4", Date: "2026-12-01T10:00:00Z", Dirty: new(true), Go: "go1.26", Platform: "linux/amd64"}),
		documentOf("version", nf.KindVersion, Builds, Build{Version: "0.1.0", Commit: "3f2a9c4", Go: "go1.26", Platform: "linux/amd64"}),
	}...)
}

// wide are documents whose JSON and YAML are long and say nothing that
// plan-rich does not: the folding is the text's alone.
var wide = map[string]bool{"plan-thousand": true}

// TestRangeMark: the value of a change that is only the nearest bound of a range
// is marked as such.
func TestRangeMark(t *testing.T) {
	for _, c := range []struct {
		asked nf.Wish
		want  string
	}{
		{nf.Wish{AtLeast: 7}, "→ 7 (at least)"},
		{nf.Wish{AtMost: 7}, "→ 7 (at most)"},
		{nf.Wish{AtLeast: 7, AtMost: 9}, "→ 7 (of 7..9)"},
		{nf.Exactly(nf.Number(7)), "→ 7"},
		{nf.Exactly(nf.Text("at least 7")), "→ 7"},
	} {
		e := changeEntry(nf.Change{Target: nf.Node, Key: nf.KeyMax, Layer: nf.LayerLive, From: nf.Number(1), To: nf.Number(7), Asked: c.asked})
		var line string
		for _, cell := range e.cells {
			line += cell.plain() + " "
		}
		if !strings.Contains(line, c.want+" ") || strings.Contains(c.want, "(") != strings.Contains(line, "(") {
			t.Errorf("%#v: %q does not hold %q", c.asked, line, c.want)
		}
	}
}

// extensions are those of the golden files of formats that only some kinds have.
var extensions = map[string]string{FormatMarkdown: "md", FormatGitHub: "github", FormatGitLab: "gitlab.json", FormatSARIF: "sarif", FormatHTML: "html", FormatJUnit: "junit.xml"}

// TestGolden compares every document in every format, and in colour, with its
// file below testdata. Read the files after -update.
func TestGolden(t *testing.T) {
	for _, d := range documents() {
		check := func(name, format string, opt Options) {
			t.Run(name, func(t *testing.T) {
				out := written(t, d, format, opt)
				for _, same := range []string{htmlStyle, htmlScript} { // in every page
					out = bytes.Replace(out, []byte(same), []byte("…"), 1)
				}
				golden(t, name, out)
			})
		}
		check(d.name+".txt", FormatText, Options{Apply: "nfsync apply policies"})
		check(d.name+".color.txt", FormatText, Options{Color: true, Width: 100})
		if !wide[d.name] {
			check(d.name+".json", FormatJSON, Options{})
			check(d.name+".yaml", FormatYAML, Options{})
		}
		for _, format := range d.formats[len(Formats()):] {
			if !wide[d.name] || format == FormatMarkdown {
				check(d.name+"."+extensions[format], format, Options{})
			}
		}
	}
}

func written(t *testing.T, d document, format string, opt Options) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := d.write(&buf, format, opt); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; go test -update writes it\n--- got ---\n%s\n--- want ---\n%s", path, got, want)
	}
}

// TestDocumentedRefusals: docs/refusals.md has the rows of the rules, in their order.
func TestDocumentedRefusals(t *testing.T) {
	text, err := os.ReadFile("../../docs/refusals.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| code | meaning | ends when |\n| --- | --- | --- |\n")
	for _, code := range nf.Codes() {
		e, _ := diff.Explain(code)
		var events []string
		for _, u := range e.Until {
			events = append(events, UntilText(u))
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", code, e.Meaning, strings.Join(events, ", or "))
	}
	if !strings.Contains(string(text), "\n\n"+table.String()+"\n") {
		t.Errorf("docs/refusals.md does not have the table\n%s", table.String())
	}
}

// TestDocumentedWarnings: docs/refusals.md has the rows of the warnings, in their order.
func TestDocumentedWarnings(t *testing.T) {
	text, err := os.ReadFile("../../docs/refusals.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| code | meaning | cause | what to do |\n| --- | --- | --- | --- |\n")
	for _, w := range diff.Warnings() {
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", w.Code, w.Meaning, w.Cause, w.Remedy)
	}
	if !strings.Contains(string(text), "\n\n"+table.String()) {
		t.Errorf("docs/refusals.md does not have the table\n%s", table.String())
	}
}

// TestFormats: every kind of document has the formats that all have, text first, and
// names its own where it is asked for another.
func TestFormats(t *testing.T) {
	for _, d := range documents() {
		if len(d.formats) < len(Formats()) || !slices.Equal(d.formats[:len(Formats())], Formats()) {
			t.Errorf("%s has the formats %v", d.name, d.formats)
		}
		want := `unknown output format "xml": must be one of ` + strings.Join(d.formats, ", ")
		if err := d.write(io.Discard, "xml", Options{}); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", d.name, err, want)
		}
	}
	more := append(newKind(planJSON, outlined(planOutline)), format[nf.Plan]{name: "id", encode: func(p nf.Plan, _ Options) ([]byte, error) { return []byte(p.ID), nil }})
	var buf bytes.Buffer
	if err := more.Write(&buf, "id", emptyPlan(), Options{}); err != nil || buf.String() != planID {
		t.Errorf("a format of its own writes %q, %v", buf.String(), err)
	}
	const want = `unknown output format "xml": must be one of text, json, yaml, id`
	if err := more.Write(io.Discard, "xml", emptyPlan(), Options{}); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

type fullDisk struct{}

var errFull = errors.New("no space left on device")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestWriteError(t *testing.T) {
	for _, f := range Plans.Formats() {
		if err := Plans.Write(fullDisk{}, f, richPlan(), Options{}); !errors.Is(err, errFull) {
			t.Errorf("%s: got %v, want %v", f, err, errFull)
		}
	}
}

// TestNothingObeyed holds every byte of every document to the rule that a
// terminal is never handed anything to obey, but for our own colours.
func TestNothingObeyed(t *testing.T) {
	for _, d := range documents() {
		for _, f := range d.formats {
			out := string(written(t, d, f, Options{}))
			if i := strings.IndexFunc(out, unprintable); i >= 0 {
				t.Errorf("%s as %s holds %q", d.name, f, out[i:min(i+8, len(out))])
			}
			if !strings.HasSuffix(out, "\n") || strings.HasSuffix(out, "\n\n") {
				t.Errorf("%s as %s does not end with one newline", d.name, f)
			}
		}
	}
}

// TestNoColorLost holds coloured text to the words of the plain one.
func TestNoColorLost(t *testing.T) {
	for _, d := range documents() {
		coloured := string(written(t, d, FormatText, Options{Color: true}))
		for {
			before, after, ok := strings.Cut(coloured, "\x1b[")
			if !ok {
				break
			}
			_, after, _ = strings.Cut(after, "m")
			coloured = before + after
		}
		if want := string(written(t, d, FormatText, Options{})); coloured != want {
			t.Errorf("%s: without its colours it reads\n%s\nnot\n%s", d.name, coloured, want)
		}
	}
}

// TestWidth holds prose to the width, but never a table.
func TestWidth(t *testing.T) {
	for _, width := range []int{40, 60, 100} {
		var buf bytes.Buffer
		if err := Plans.Write(&buf, FormatText, refusedPlan(), Options{Width: width}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(buf.String()) {
			if strings.HasPrefix(line, "      ") && len(strings.TrimRight(line, "\n")) > width {
				t.Errorf("wider than %d: %q", width, line)
			}
		}
	}
}

// TestColumns: the columns of a target stay below each other, however long its
// keys and the names of its policies' files are.
func TestColumns(t *testing.T) {
	long := nf.SysctlKey("nf_conntrack_tcp_ignore_invalid_rst")
	far := nf.Source{Name: "hosting-defaults", File: "examples/policies/all/hosting.yaml", Line: 100, Column: 10}
	p := emptyPlan()
	p.Changes = []nf.Change{
		{Target: nf.Node, Key: long, Layer: nf.LayerLive, From: nf.Number(1), To: nf.Number(0), Cause: nf.CauseNew, Source: edge(1)},
		{Target: nf.Node, Key: nf.KeyMax, Layer: nf.LayerLive, From: nf.Number(1), To: nf.Number(2), Cause: nf.CauseDrift, Source: far},
		{Target: nf.Node, Key: long, Layer: nf.LayerBoot, From: nf.Absent(), To: nf.Number(0), Cause: nf.CauseNew, Source: edge(1)},
	}
	p.Summary.Changes = 3
	var b bytes.Buffer
	if err := Plans.Write(&b, FormatText, p, Options{}); err != nil {
		t.Fatal(err)
	}
	arrows, causes := map[int]bool{}, map[int]bool{}
	for _, line := range strings.Split(b.String(), "\n") {
		if before, _, change := strings.Cut(line, "→"); change {
			arrows[utf8.RuneCountInString(before)] = true
			causes[utf8.RuneCountInString(line[:strings.LastIndex(line, " ")])] = true
		}
	}
	if len(arrows) != 1 || len(causes) != 1 {
		t.Errorf("the arrows are at %d columns, the causes at %d:\n%s", len(arrows), len(causes), b.String())
	}
}

// TestElsewhere: what to type for another node is said to be of that node.
func TestElsewhere(t *testing.T) {
	var b bytes.Buffer
	if err := Plans.Write(&b, FormatText, richPlan(), Options{Apply: "nfsync apply policies", Elsewhere: true}); err != nil {
		t.Fatal(err)
	}
	if want := "makes the changes, on hn-1\n"; !strings.Contains(b.String(), want) {
		t.Errorf("no %q in\n%s", want, b.String())
	}
}

// TestLongCommand: a long command line does not push what the others do to the
// right.
func TestLongCommand(t *testing.T) {
	var b bytes.Buffer
	opt := Options{Apply: "nfsync apply policies " + strings.Repeat("--label a=b ", 9)}
	if err := Plans.Write(&b, FormatText, richPlan(), opt); err != nil {
		t.Fatal(err)
	}
	if regexp.MustCompile(`nfsync explain \S+ {30}`).MatchString(b.String()) {
		t.Error(b.String())
	}
}
