package view

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// documentsIn calls check with every document in a format that only some kinds have.
func documentsIn(t *testing.T, format string, check func(name string, out []byte)) {
	t.Helper()
	n := 0
	for _, d := range documents() {
		if slices.Contains(d.formats, format) {
			check(d.name, written(t, d, format, Options{}))
			n++
		}
	}
	if n == 0 {
		t.Errorf("no document as %s", format)
	}
}

// TestGitLab: a report is valid, and each entry has a fingerprint of its own.
func TestGitLab(t *testing.T) {
	text, err := os.ReadFile("testdata/schema/gitlab-code-quality.json")
	if err != nil {
		t.Fatal(err)
	}
	schema := compiledText(t, string(text))
	documentsIn(t, FormatGitLab, func(name string, out []byte) {
		list := decoded(t, out)
		if err := schema.Validate(list); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		seen := map[any]bool{}
		for _, e := range list.([]any) {
			id := e.(map[string]any)["fingerprint"]
			if seen[id] {
				t.Errorf("%s: the fingerprint %v is of two entries", name, id)
			}
			seen[id] = true
		}
	})
}

// githubLine is a command of GitHub Actions: properties without a colon, and one line.
var githubLine = regexp.MustCompile(`^::(error|warning|notice) (file=[^:,]+,line=[1-9]\d*,col=[1-9]\d*,)?title=[^:,]+::[^\r\n]+$`)

// TestGitHub: every line is a command, and those that matter most come first.
func TestGitHub(t *testing.T) {
	order := []string{"error", "warning", "notice"}
	documentsIn(t, FormatGitHub, func(name string, out []byte) {
		last := 0
		for line := range strings.Lines(string(out)) {
			m := githubLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
			if m == nil {
				t.Errorf("%s: %q", name, line)
				continue
			}
			at := slices.Index(order, m[1])
			if at < last {
				t.Errorf("%s: %s comes after %s", name, m[1], order[last])
			}
			last = at
		}
		if !strings.Contains(string(out), "::notice title=nfsync") {
			t.Errorf("%s has no summary", name)
		}
	})
}

// junitElements are the elements of a JUnit report, after junit-10.xsd of Jenkins' xUnit plugin:
// their attributes, those that are required first, and the elements in them.
var junitElements = map[string]struct {
	required, optional, children string
}{
	"testsuites": {"", "name time tests failures errors", "testsuite"},
	"testsuite":  {"name tests failures errors", "group time skipped timestamp hostname id package file log url", "testsuite properties testcase system-out system-err"},
	"testcase":   {"name", "time classname group", "skipped error failure system-out system-err"},
	"failure":    {"", "type message", ""},
	"error":      {"", "type message", ""},
	"skipped":    {"", "type message", ""},
}

// checkJUnit returns an error if a report is not as Jenkins and GitLab read it.
func checkJUnit(report []byte) error {
	var path []string
	for d := xml.NewDecoder(bytes.NewReader(report)); ; {
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		switch x := token.(type) {
		case xml.StartElement:
			if err := checkJUnitElement(path, x); err != nil {
				return err
			}
			path = append(path, x.Name.Local)
		case xml.EndElement:
			path = path[:len(path)-1]
		}
	}
}

func checkJUnitElement(path []string, x xml.StartElement) error {
	name := x.Name.Local
	element, known := junitElements[name]
	switch {
	case !known, len(path) == 0 && name != "testsuites", len(path) > 0 && !slices.Contains(strings.Fields(junitElements[path[len(path)-1]].children), name):
		return errors.New(strings.Join(path, "/") + " has " + name)
	}
	given := map[string]bool{}
	for _, a := range x.Attr {
		given[a.Name.Local] = true
		if !slices.Contains(strings.Fields(element.required+" "+element.optional), a.Name.Local) {
			return errors.New(name + " has the attribute " + a.Name.Local)
		}
	}
	for _, a := range strings.Fields(element.required) {
		if !given[a] {
			return errors.New(name + " lacks the attribute " + a)
		}
	}
	return nil
}

// TestJUnitReports: every document is a report as Jenkins and GitLab read it, with at least one test case.
func TestJUnitReports(t *testing.T) {
	documentsIn(t, FormatJUnit, func(name string, out []byte) {
		if err := checkJUnit(out); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var report junitReport
		if err := xml.Unmarshal(out, &report); err != nil || report.Tests == 0 {
			t.Errorf("%s: %d test cases, %v", name, report.Tests, err)
		}
	})
	if checkJUnit([]byte(`<testsuites><testcase name="x"/></testsuites>`)) == nil {
		t.Error("everything is a report")
	}
}

// TestStaleSeverity: a stale snapshot is an error, and a warning where it is allowed.
func TestStaleSeverity(t *testing.T) {
	for why, want := range map[string]string{"too old": "::error ", "": "::warning "} {
		fleet := nf.FleetPlan{Nodes: []nf.NodePlan{{NodeSnapshot: nf.NodeSnapshot{Node: "hn-1", Snapshot: "hn-1.yaml", State: nf.SnapshotStale, Error: why}}}}
		var out bytes.Buffer
		if err := FleetPlans.Write(&out, FormatGitHub, fleet, Options{}); err != nil || !strings.HasPrefix(out.String(), want+"file=hn-1.yaml,") {
			t.Errorf("%q: %v, %s", why, err, &out)
		}
	}
}
