package view

import (
	"encoding/json"
	"encoding/xml"
	"regexp"
	"slices"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// hostileDocuments have hostile names wherever a name can be.
func hostileDocuments() []document {
	p := hostilePlan()
	f := nf.FleetPlan{APIVersion: nf.APIVersion, Kind: nf.KindFleetPlan, Revision: hostileNames[0]}
	r := nf.Review{APIVersion: nf.APIVersion, Kind: nf.KindReview, Base: hostileNames[1], Revision: hostileNames[2]}
	receipt := apply.Receipt{APIVersion: nf.APIVersion, Kind: nf.KindReceipt, Node: hostileNames[0], TakenBack: hostileNames[1], Refusals: p.Refusals}
	for _, name := range hostileNames {
		state := nf.NodeSnapshot{Node: name, Snapshot: name, State: nf.SnapshotStale, Error: name}
		f.Nodes = append(f.Nodes, nf.NodePlan{NodeSnapshot: state, Plan: &p})
		d := nf.Differences{Changes: p.Changes, Refusals: p.Refusals}
		r.Nodes = append(r.Nodes, nf.NodeReview{NodeSnapshot: state, Brings: d, Ends: d, Anyway: d})
		receipt.Results = append(receipt.Results, apply.Result{Change: p.Changes[0], Outcome: apply.Failed, Error: name, Reason: name})
	}
	snapshot := richSnapshot()
	snapshot.Node.Name = hostileNames[3]
	for _, name := range hostileNames {
		snapshot.Node.Labels[name] = name
	}
	f.Summarize()
	r.Summarize()
	return append(hostileFleet(), documentOf("plan", "", Plans, p), documentOf("fleet", "", FleetPlans, f), documentOf("review", "", Reviews, r),
		documentOf("files", "", Validations, hostileValidation()), documentOf("receipt", "", Receipts, receipt), documentOf("snapshot", "", Snapshots, snapshot))
}

// harmless are checks of formats, beside those of all.
var harmless = map[string]func(t *testing.T, out []byte){
	FormatMarkdown: harmlessMarkdown,
	FormatGitHub:   harmlessGitHub,
	FormatJSON:     harmlessJSON,
	FormatGitLab:   harmlessJSON,
	FormatSARIF:    func(t *testing.T, out []byte) { check(t, publicSARIFSchema(t).Validate(decoded(t, out))) },
	FormatJUnit: func(t *testing.T, out []byte) {
		check(t, xml.Unmarshal(out, &junitReport{}))
		check(t, checkJUnit(out))
	},
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// TestHostileNames: in no format a name gives a command to a terminal or to the system that shows a
// log, ends the line or the string that it is in, or is anything but text.
func TestHostileNames(t *testing.T) {
	logCommands := regexp.MustCompile(`##[a-z]*\[`)
	for _, d := range hostileDocuments() {
		for _, format := range d.formats {
			t.Run(d.name+" as "+format, func(t *testing.T) {
				out := written(t, d, format, Options{})
				if i := strings.IndexFunc(string(out), unprintable); i >= 0 {
					t.Errorf("it holds %q", out[i:min(i+8, len(out))])
				}
				for line := range strings.Lines(string(out)) {
					if strings.HasPrefix(strings.TrimSpace(line), "::") && format != FormatGitHub {
						t.Errorf("a command to GitHub: %q", line)
					}
				}
				if logCommands.Match(out) {
					t.Errorf("a command to a CI system: %q", logCommands.Find(out))
				}
				if verify := harmless[format]; verify != nil {
					verify(t, out)
				}
			})
		}
	}
}

func harmlessJSON(t *testing.T, out []byte) {
	if !json.Valid(out) {
		t.Error("it is not JSON")
	}
}

func harmlessGitHub(t *testing.T, out []byte) {
	for line := range strings.Lines(string(out)) {
		if !githubLine.MatchString(strings.TrimSuffix(line, "\n")) {
			t.Errorf("%q", line)
		}
	}
}

// ourMarkdown matches the structure of a comment: what is left without it and without code is words.
var ourMarkdown = regexp.MustCompile(`(?m)^<!-- nfsync \w+ -->$|^## |^</?details( open)?>|<summary><b>.*</b> \(\d+\)</summary>$|^ *- |\*\*`)

// harmlessMarkdown holds what is not code to words and marks of which nobody makes a link, a
// mention, a reference or HTML.
func harmlessMarkdown(t *testing.T, out []byte) {
	for line := range strings.Lines(string(out)) {
		text := withoutCode(line)
		if strings.Contains(text, "`") {
			t.Errorf("code is not ended: %q", line)
		}
		if rest := ourMarkdown.ReplaceAllString(text, ""); strings.ContainsAny(rest, "<>@#|!*_~\\&$%^={}/") || strings.Contains(rest, "](") || strings.Contains(rest, "://") {
			t.Errorf("%q of %q", rest, line)
		}
	}
}

// withoutCode returns a line without its code spans, as CommonMark finds them: from a run of
// backticks to the next one of the same length.
func withoutCode(line string) string {
	runs := regexp.MustCompile("`+").FindAllStringIndex(line, -1)
	var b strings.Builder
	at := 0
	for i := 0; i < len(runs); i++ {
		length := runs[i][1] - runs[i][0]
		end := slices.IndexFunc(runs[i+1:], func(r []int) bool { return r[1]-r[0] == length })
		if end < 0 {
			continue
		}
		b.WriteString(line[at:runs[i][0]])
		i += end + 1
		at = runs[i][1]
	}
	return b.String() + line[at:]
}
