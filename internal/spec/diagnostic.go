package spec

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Diagnostic is one error in a file. Line and Column count from 1, columns in
// characters. Hint says how to mend it; it may be empty.
type Diagnostic struct {
	Rule    Rule   `json:"rule"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
	Text    string `json:"-"` // the line of the file; empty where it is not to be shown
	// More counts the errors behind this one that are not listed, and MoreFiles the other
	// files that have them.
	More      int `json:"-"`
	MoreFiles int `json:"-"`
}

// AddText adds to each diagnostic the line of its file. It is not for files that may
// hold secrets. The lines of a file share its memory: a file may be one line with
// many errors.
func AddText(list []Diagnostic, files ...File) {
	byName := map[string][]byte{}
	for _, f := range files {
		byName[f.Name] = f.Data
	}
	var lines []string
	for i := range list {
		d := &list[i]
		if i == 0 || d.File != list[i-1].File {
			lines = strings.Split(string(bytes.TrimPrefix(byName[d.File], byteOrderMark)), "\n")
		}
		if d.Line >= 1 && d.Line <= len(lines) {
			d.Text = strings.TrimSuffix(lines[d.Line-1], "\r")
		}
	}
}

// String is file:line:column: message.
func (d Diagnostic) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", d.File, d.Line, d.Column, d.Message)
}

func compareDiagnostics(a, b Diagnostic) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
		cmp.Compare(a.Message, b.Message))
}

// maxDiagnostics is how many errors are listed: hostile files could hold millions.
const maxDiagnostics = 100

// Limit returns the first hundred of a sorted list, and one more that counts the rest.
func Limit(list []Diagnostic) []Diagnostic {
	if len(list) <= maxDiagnostics {
		return list
	}
	last := list[maxDiagnostics]
	last.More = -1
	for i, d := range list[maxDiagnostics:] {
		last.More += 1 + d.More
		if i > 0 {
			last.MoreFiles += d.MoreFiles
			if d.File != list[maxDiagnostics+i-1].File {
				last.MoreFiles++
			}
		}
	}
	if last.More > 0 {
		last.Message = fmt.Sprintf("and %d more errors from here on", last.More+1)
		last.Hint = "mend the errors above first"
	}
	return append(list[:maxDiagnostics:maxDiagnostics], last)
}

// diagnostics collects the errors of one file.
type diagnostics struct {
	file string
	list []Diagnostic
	more int // errors that are only counted: those behind last
	last Diagnostic
	// secret is whether the file may hold secrets: its lines are not shown.
	secret bool
}

func (d *diagnostics) add(rule Rule, line, column int, message, hint string) {
	if d.onlyCounts(line, column) {
		return
	}
	d.list = append(d.list, Diagnostic{Rule: rule, File: d.file, Line: line, Column: column, Message: message, Hint: hint})
	if len(d.list) >= 10*maxDiagnostics {
		d.sort()
		d.more += len(d.list) - maxDiagnostics - 1
		d.list = d.list[:maxDiagnostics+1]
		d.last = d.list[maxDiagnostics]
	}
}

// onlyCounts reports whether an error at this place is only counted, and counts it then.
func (d *diagnostics) onlyCounts(line, column int) bool {
	only := d.more > 0 && (line > d.last.Line || line == d.last.Line && column > d.last.Column)
	if only {
		d.more++
	}
	return only
}

func (d *diagnostics) count() int { return len(d.list) + d.more }

func (d *diagnostics) sort() { slices.SortStableFunc(d.list, compareDiagnostics) }

// sorted returns the errors in the order of the file, the last one saying how
// many more there are.
func (d *diagnostics) sorted() []Diagnostic {
	d.sort()
	if d.more > 0 {
		d.list[len(d.list)-1].More = d.more
	}
	return Limit(d.list)
}
