package view

import (
	"strings"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

const snippetIndent = "    "

// validation shows each diagnostic as a compiler does: file:line:column: message, for
// editors and CI, then the source line with a caret below the place, then the hint; at
// the end a total.
func (p *page) validation(doc Validation) {
	for _, d := range doc.Diagnostics {
		p.line(p.paint(bold, Clean(d.String())))
		if d.Text != "" {
			text, caret := snippet(d.Text, d.Column)
			p.line(snippetIndent, text)
			p.line(snippetIndent, p.paint(red, caret))
		}
		if d.Hint != "" {
			p.line(snippetIndent, p.paint(dim, "hint: "), Clean(d.Hint))
		}
	}
	p.line(doc.total())
}

// total returns a line with how many errors there are, and in how many files.
func (doc Validation) total() string {
	files := map[string]bool{}
	var errors, conflicts, moreFiles int
	for _, d := range doc.Diagnostics {
		files[d.File] = true
		if d.Rule == spec.RuleConflict {
			conflicts++
		} else {
			errors += 1 + d.More
			moreFiles += d.MoreFiles
		}
	}
	switch {
	case errors > 0:
		return count(errors, "error") + " in " + count(len(files)+moreFiles, "file") + "."
	case conflicts > 0:
		return count(conflicts, "conflict") + " in " + count(len(files), "file") + "; " + doc.read()
	case doc.Policies == 0 && doc.Tests == 0 && doc.Files == 0:
		return "No policies here."
	case doc.Policies == 0 && doc.Tests == 0: // a configuration, or a roll-out plan
		return "No policies here; " + count(doc.Files, "file") + ", valid."
	case doc.Policies == 0:
		return "No policies here; " + doc.read()
	}
	return doc.read()
}

// read returns how many policies and tests were read, where all are valid.
func (doc Validation) read() string {
	var counts []string
	if doc.Policies > 0 {
		counts = append(counts, countPolicies(doc.Policies))
	}
	if doc.Tests > 0 {
		counts = append(counts, count(doc.Tests, "test"))
	}
	if doc.Policies+doc.Tests > 1 {
		return strings.Join(counts, ", ") + ", all valid."
	}
	return strings.Join(counts, ", ") + ", valid."
}

// validationOutline has the diagnostics as remarks.
func validationOutline(doc Validation, _ Options) outline {
	title := "Policies"
	ch := chapter{title: "Errors", style: red}
	for _, d := range doc.Diagnostics {
		title = "Invalid files"
		if d.Rule == spec.RuleConflict {
			title, ch.title = "Policies in conflict", "Conflicts"
		}
		shown, _ := snippet(d.Text, d.Column)
		at := nf.Source{File: d.File, Line: d.Line, Column: d.Column}
		ch.remarks = append(ch.remarks, remark{label: at.String(), text: d.Message, snippet: shown, hint: d.Hint, count: 1 + d.More, severity: severityError, rule: string(d.Rule), about: d.Message, source: at})
	}
	o := outline{title: cell{{bold, title}}, summary: []cell{{{bold, doc.total()}}}}
	if len(ch.remarks) > 0 {
		o.chapters = []chapter{ch}
	}
	return o
}

func countPolicies(n int) string {
	if n == 1 {
		return "1 policy"
	}
	return countOf(n, "policies")
}
