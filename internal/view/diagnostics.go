package view

import (
	"io"
	"strings"

	"nfsync.dev/nfsync/internal/spec"
)

type validation struct {
	Diagnostics []spec.Diagnostic `json:"diagnostics"`
	Policies    int               `json:"policies"`
}

// Diagnostics writes what validate has found: the errors, then the conflicts,
// each as a diagnostic, and how many policies were read. Text is
// file:line:column: message, one line each and nothing else, for editors and
// CI; the hints are in the other formats. Where there is nothing to report,
// text says that in one line.
func Diagnostics(w io.Writer, format string, list []spec.Diagnostic, conflicts []spec.Conflict, policies int) error {
	doc := validation{Diagnostics: filled(list), Policies: policies}
	for _, c := range conflicts {
		doc.Diagnostics = append(doc.Diagnostics, conflictDiagnostic(c))
	}
	return render(w, format, Options{}, doc, func(p *page) { p.diagnostics(doc) })
}

func conflictDiagnostic(c spec.Conflict) spec.Diagnostic {
	at := c.Second.Source
	return spec.Diagnostic{
		File: at.File, Line: at.Line, Column: at.Column,
		Message: strings.TrimPrefix(c.String(), at.String()+": "),
		Hint:    "give one of the two a higher spec.priority, or selectors of its own",
	}
}

func (p *page) diagnostics(doc validation) {
	for _, d := range doc.Diagnostics {
		p.line(clean(d.String()))
	}
	switch {
	case len(doc.Diagnostics) > 0:
	case doc.Policies == 0:
		p.line("No policies here.")
	case doc.Policies == 1:
		p.line("1 policy, valid.")
	default:
		p.line(countOf(doc.Policies, "policies"), ", all valid.")
	}
}
