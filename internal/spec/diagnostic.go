package spec

import (
	"cmp"
	"fmt"
	"slices"
)

// Diagnostic is one error in a file. Line and Column count from 1, columns in
// characters. Hint says how to mend it; it may be empty.
type Diagnostic struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

// String is file:line:column: message.
func (d Diagnostic) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", d.File, d.Line, d.Column, d.Message)
}

func compareDiagnostics(a, b Diagnostic) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
		cmp.Compare(a.Message, b.Message))
}

// maxDiagnostics is how many errors of one file are told one by one: nobody
// reads more, and a hostile file could hold half a million.
const maxDiagnostics = 100

// diagnostics collects the errors of one file.
type diagnostics struct {
	file string
	list []Diagnostic
	more int // errors that were counted only: those behind last
	last Diagnostic
}

func (d *diagnostics) add(line, column int, message, hint string) {
	if d.countsOnly(line, column) {
		d.more++
		return
	}
	d.list = append(d.list, Diagnostic{File: d.file, Line: line, Column: column, Message: message, Hint: hint})
	if len(d.list) >= 10*maxDiagnostics {
		d.sort()
		d.more += len(d.list) - maxDiagnostics - 1
		d.list = d.list[:maxDiagnostics+1]
		d.last = d.list[maxDiagnostics]
	}
}

// countsOnly tells that an error at this place would not be told.
func (d *diagnostics) countsOnly(line, column int) bool {
	return d.more > 0 && (line > d.last.Line || line == d.last.Line && column > d.last.Column)
}

func (d *diagnostics) count() int { return len(d.list) + d.more }

func (d *diagnostics) sort() { slices.SortStableFunc(d.list, compareDiagnostics) }

// sorted returns the errors in the order of the file, the last one saying how
// many more there are.
func (d *diagnostics) sorted() []Diagnostic {
	d.sort()
	if len(d.list) <= maxDiagnostics {
		return d.list
	}
	last := d.list[maxDiagnostics]
	last.Message = fmt.Sprintf("and %d more errors from here on", d.count()-maxDiagnostics)
	last.Hint = "mend the errors above first"
	return append(d.list[:maxDiagnostics:maxDiagnostics], last)
}
