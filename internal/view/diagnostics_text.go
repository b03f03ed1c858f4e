package view

import "nfsync.dev/nfsync/internal/spec"

const snippetIndent = "    "

// validation shows each diagnostic as a compiler does: file:line:column: message, for
// editors and CI, then the source line with a caret below the place, then the hint; at
// the end a total.
func (p *page) validation(doc Validation) {
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
	switch {
	case errors > 0:
		p.line(count(errors, "error"), " in ", count(len(files)+moreFiles, "file"), ".")
	case conflicts > 0:
		p.line(count(conflicts, "conflict"), " in ", count(len(files), "file"), "; ", countPolicies(doc.Policies), ", all valid.")
	case doc.Policies == 0:
		p.line("No policies here.")
	case doc.Policies == 1:
		p.line("1 policy, valid.")
	default:
		p.line(countPolicies(doc.Policies), ", all valid.")
	}
}

func countPolicies(n int) string {
	if n == 1 {
		return "1 policy"
	}
	return countOf(n, "policies")
}
