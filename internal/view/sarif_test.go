package view

import (
	"bytes"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"nfsync.dev/nfsync/internal/nf"
)

// publicSARIFSchema returns the schema of the standard, which the library has in a constant.
func publicSARIFSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	found, err := build.Import("github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif", ".", build.FindOnly)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(found.Dir, "schema.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	constant := file.Decls[0].(*ast.GenDecl).Specs[0].(*ast.ValueSpec).Values[0].(*ast.BasicLit)
	text, err := strconv.Unquote(constant.Value)
	if err != nil {
		t.Fatal(err)
	}
	return compiledText(t, text)
}

func compiledText(t *testing.T, text string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestSARIF: what is written is valid by the schema of the standard, a reader of the standard
// reads it, and each result has a rule with help and a fingerprint of its own.
func TestSARIF(t *testing.T) {
	schema := publicSARIFSchema(t)
	for _, d := range documents() {
		if !slices.Contains(d.formats, FormatSARIF) {
			continue
		}
		out := written(t, d, FormatSARIF, Options{})
		if err := schema.Validate(decoded(t, out)); err != nil {
			t.Errorf("%s: %v", d.name, err)
		}
		report, err := sarif.FromBytes(out)
		if err != nil {
			t.Fatalf("%s: %v", d.name, err)
		}
		seen := map[string]bool{}
		for _, r := range report.Runs[0].Results {
			rule := report.Runs[0].Tool.Driver.Rules[r.RuleIndex]
			id := r.PartialFingerprints[sarifFingerprint]
			if *rule.ID != *r.RuleID || *rule.Help.Text == "" || *rule.ShortDescription.Text == *rule.ID || id == "" || seen[id] {
				t.Errorf("%s: the result %s has the rule %s, the fingerprint %s", d.name, *r.RuleID, *rule.ID, id)
			}
			seen[id] = true
		}
	}
	if schema.Validate(decoded(t, []byte(`{"version":"2.1.0","runs":[{"tool":{}}]}`))) == nil {
		t.Error("the schema allows everything")
	}
}

func decoded(t *testing.T, text []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestFindingIDs: the id of a finding stays when its line moves, and when other containers have it too.
func TestFindingIDs(t *testing.T) {
	refusal := richRefusals()[0]
	p := emptyPlan()
	p.Refusals = []nf.Refusal{refusal}
	before := findings(planOutline(p, Options{foldAll: true}), Options{})
	moved := refusal
	moved.Source.Line++
	other := moved
	other.Target = foldedTarget(7)
	other.Reason = "another one"
	p.Refusals = []nf.Refusal{moved, other}
	after := findings(planOutline(p, Options{foldAll: true}), Options{})
	if len(before) != 1 || len(after) != 1 || before[0].id != after[0].id {
		t.Errorf("%+v\n%+v", before, after)
	}
	other.Key = nf.KeyMax
	p.Refusals = []nf.Refusal{moved, other}
	if two := findings(planOutline(p, Options{foldAll: true}), Options{}); len(two) != 2 || two[0].id == two[1].id {
		t.Errorf("%+v", two)
	}
}

// TestArtifact: the URI of a file is a reference that a program can resolve.
func TestArtifact(t *testing.T) {
	for in, want := range map[string]sarifArtifact{
		"policies/web.yaml": {"policies/web.yaml", "%SRCROOT%"},
		"a b/100%/ü#?.yaml": {"a%20b/100%25/%C3%BC%23%3F.yaml", "%SRCROOT%"},
		"a:b.yaml":          {"./a:b.yaml", "%SRCROOT%"},
		"/etc/a b.yaml":     {"file:///etc/a%20b.yaml", ""},
	} {
		if got := artifact(in); got != want {
			t.Errorf("%s: %+v, want %+v", in, got, want)
		}
	}
}
