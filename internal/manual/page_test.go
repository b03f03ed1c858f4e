package manual

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var edition = Edition{Version: "1.2.3", Date: time.Date(2026, 2, 3, 23, 0, 0, 0, time.UTC)}

// rendered returns a page as both formatters show it, which must not complain.
func rendered(t *testing.T, p *Page) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, words := range [][]string{{"mandoc", "-T", "lint", "-W", "warning"}, {"mandoc", "-T", "utf8"}, {"groff", "-ww", "-mandoc", "-Tutf8", "-P-cbou"}} {
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Stdin = strings.NewReader(p.String())
		var text, complaints bytes.Buffer
		cmd.Stdout, cmd.Stderr = &text, &complaints
		if err := cmd.Run(); err != nil || complaints.Len() > 0 {
			t.Errorf("%s: %v\n%s%s", strings.Join(words, " "), err, complaints.String(), text.String())
		}
		if words[1] == "-T" && words[2] == "lint" {
			if text.Len() > 0 {
				t.Error(text.String())
			}
			continue
		}
		col := exec.Command("col", "-bx")
		col.Stdin = &text
		plain, err := col.Output()
		if err != nil {
			t.Fatal(err)
		}
		out[words[0]] = string(plain)
	}
	return out
}

// TestLiteral: what is to be typed is shown as it is, whatever roff takes it for.
func TestLiteral(t *testing.T) {
	lines := []string{
		".TH is no macro here", "'br neither", `back\slash \fB \n`, `--flag "a" 'b' -x=-1`, "`quoted` ^~ {} | <x> [y]", "% # ! $ & * ( )",
		"grün → 1 … é", "  indented", "a.b", "", "nfsync plan policies/ --out today.plan && nfsync apply today.plan",
	}
	p := New("x", 1, edition)
	p.Title("Nothing")
	p.Heading("EXAMPLES")
	p.Literal("    " + strings.Join(lines, "\n    "))
	for formatter, text := range rendered(t, p) {
		for _, line := range lines {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("%s does not show %q:\n%s", formatter, line, text)
			}
		}
	}
}

// TestPage holds a page to its source.
func TestPage(t *testing.T) {
	p := New("nfsync-x", 1, edition)
	p.Title("Show what\\is")
	p.Heading("SYNOPSIS")
	p.Synopsis("nfsync x", "PATH|PLAN [OPTION...]")
	p.Heading("DESCRIPTION")
	p.Text("A first sentence. A\nsecond one.\n\n.dots begin this.\n\nA list:\n  1  one\n  2  two\n\n\ttyped")
	p.Item(Tag{Bold: "--all"}, "All of it.", "", "Really.")
	p.Item(Tag{Bold: "-o, --out", Italic: "file"}, "The file.")
	p.Item(Tag{Bold: "nfsync-y", Section: 1}, "Another.")
	p.SeeAlso("nfsync(1)", "nft(8)")
	const want = `.\" nfsync man has made this page.
.TH "NFSYNC\-X" "1" "2026-02-03" "nfsync 1.2.3" ""
.nh
.ad l
.SH "NAME"
nfsync\-x \- show what\eis
.SH "SYNOPSIS"
\fBnfsync x\fR \fIPATH\fR|\fIPLAN\fR [\fIOPTION\fR...]
.SH "DESCRIPTION"
A first sentence.
A second one.
.PP
\&.dots begin this.
.PP
A list:
.PP
.RS 4
.nf
1  one
2  two
.fi
.RE
.PP
.RS 4
.nf
typed
.fi
.RE
.TP
\fB\-\-all\fR
All of it.
.IP
Really.
.TP
\fB\-o, \-\-out\fR \fIfile\fR
The file.
.TP
\fBnfsync\-y\fR(1)
Another.
.SH "SEE ALSO"
\fBnfsync\fR(1),
\fBnft\fR(8)
`
	if got := p.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if p.Name() != "nfsync-x.1" || p.Section() != 1 {
		t.Errorf("the page is %s of section %d", p.Name(), p.Section())
	}
	rendered(t, p)
}

// TestUndated: a page of a build that knows no date has none.
func TestUndated(t *testing.T) {
	if p := New("x", 1, Edition{Version: "1"}); !strings.Contains(p.String(), `.TH "X" "1" "" "nfsync 1" ""`) {
		t.Error(p.String())
	}
}

const example = `{
  "description": "A thing.",
  "required": ["kind", "z"],
  "properties": {
    "kind": {"description": "Its kind.", "const": "Thing"},
    "z": {"description": "Comes first.", "allOf": [{"$ref": "#/definitions/limit"}], "default": 7},
    "a": {"description": "Comes second.", "allOf": [{"$ref": "#/definitions/limit"}]},
    "mode": {"description": "How. Default: on.", "enum": ["on", "off"], "default": "on"},
    "list": {"description": "Many.", "type": "array", "items": {"type": "object", "required": ["x"], "properties": {"x": {"description": "X.", "type": "boolean"}}}},
    "labels": {"description": "Labels.", "type": "object", "additionalProperties": {"type": "string"}},
    "modules": {"description": "Modules.", "type": "object", "additionalProperties": false, "patternProperties": {"^.*$": {"description": "One.", "type": "integer", "maximum": 9}}},
    "wait": {"description": "How long.", "oneOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "s$"}], "examples": ["60s", 5]}
  },
  "definitions": {
    "limit": {"oneOf": [{"type": "integer", "minimum": 1, "maximum": 17179869184}, {"type": "object", "properties": {"atLeast": {"description": "The lower bound.", "type": "integer"}}}]}
  }
}`

// TestFields: each field has its path, description, type, bounds and default, in the order of the schema.
func TestFields(t *testing.T) {
	p := New("x", 5, edition)
	p.Title("a thing")
	p.Heading("Thing")
	if err := p.Fields([]byte(example)); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"kind||Its kind.||Always Thing.  Required.",
		"z||Comes first.||A number from 1 to 17179869184, or a mapping.  Required.||Default: 7.",
		"z.atLeast||The lower bound.||A number.",
		"a||Comes second.||A number from 1 to 17179869184, or a mapping.||It has the fields of z.",
		"mode||How.  Default: on.||One of on, off.",
		"list||Many.||A list; each entry: a mapping.",
		"list[].x||X.||True or false.  Required.",
		"labels||Labels.||A mapping; each value: a text.",
		"modules||Modules.||A mapping.",
		"modules.NAME||One.||A number, at most 9.",
		"wait||How long.||A number, at least 1, or a text.  Such as 60s, 5.",
	}
	for formatter, text := range rendered(t, p) {
		text = strings.Join(strings.Fields(text), " ")
		at := 0
		for _, w := range want {
			w = strings.Join(strings.Fields(strings.ReplaceAll(w, "||", " ")), " ")
			i := strings.Index(text[at:], w)
			if i < 0 {
				t.Fatalf("%s does not show %q behind the one before:\n%s", formatter, w, text[at:])
			}
			at += i
		}
	}
	if err := New("x", 5, edition).Fields([]byte("{")); err == nil {
		t.Error("a schema that is no JSON is taken")
	}
}
