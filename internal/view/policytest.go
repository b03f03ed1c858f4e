package view

import (
	"slices"
	"strconv"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// PolicyTests is the output of test.
var PolicyTests = newKind(policyTestsJSON, (*page).policyTests).with(junitFormat(testSuites))

func policyTestsJSON(r nf.PolicyTestResults) any {
	r.Tests, r.Updated = filled(r.Tests), filled(r.Updated)
	for i := range r.Tests {
		r.Tests[i].Differences = filled(r.Tests[i].Differences)
	}
	return r
}

// policyTests shows each test that failed, with its differences, and a total. With Options.Full it
// shows those that passed too.
func (p *page) policyTests(r nf.PolicyTestResults) {
	for _, file := range r.Updated {
		p.line(p.paint(yellow, "updated"), "  ", Clean(file))
	}
	for _, t := range r.Tests {
		switch {
		case !t.Passed:
			p.line(p.paint(red, "FAIL"), "  ", p.paint(bold, Clean(t.Source.String()+": "+t.Name)), p.ofNode(t))
			p.testFailure(t)
		case p.opt.Full:
			p.line(p.paint(green, "ok"), "    ", Clean(t.Source.String()+": "+t.Name), p.ofNode(t))
		}
	}
	p.line(p.paint(bold, count(r.Summary.Tests, "test")), ": ", countOf(r.Summary.Passed, "passed"), ", ", countOf(r.Summary.Failed, "failed"))
	if slices.ContainsFunc(r.Tests, func(t nf.PolicyTestResult) bool { return len(t.Differences) > 0 }) {
		p.commands([][2]string{{CommandLine("nfsync", "test", r.Path, "--update"), "takes what is there now as expected"}})
	}
}

// ofNode returns the node and the snapshot of a test.
func (p *page) ofNode(t nf.PolicyTestResult) string {
	text := " (" + Clean(t.Snapshot) + ")"
	if t.Node != "" {
		text = " (node " + Clean(t.Node) + ", " + Clean(t.Snapshot) + ")"
	}
	return p.paint(dim, text)
}

const testIndent = "      "

func (p *page) testFailure(t nf.PolicyTestResult) {
	if t.Error != "" {
		p.line(testIndent, Clean(t.Error))
		return
	}
	var list nf.ExpectList
	var lines []entry
	flush := func() {
		widths := columnWidths(lines)
		for _, e := range lines {
			p.line(testIndent, p.columns(e.cells, widths))
			for _, n := range e.notes {
				p.line(testIndent, "  ", p.paint(n.style, Clean(n.text)))
			}
		}
		lines = nil
	}
	for _, d := range t.Differences {
		if d.List != list {
			flush()
			list = d.List
			p.line("    ", p.paint(bold, string(list)))
		}
		lines = append(lines, differenceLines(t, d)...)
	}
	flush()
}

// differenceLines returns the lines of a difference: what was expected, and what is there.
func differenceLines(t nf.PolicyTestResult, d nf.TestDifference) (lines []entry) {
	if d.Expected != nil {
		e := testEntry(span{red, "-"}, *d.Expected, cell{{dim, Clean(t.File) + ":" + strconv.Itoa(d.Line) + ":" + strconv.Itoa(d.Column)}})
		if d.Hint != "" {
			e.notes = []note{{style: dim, text: d.Hint}}
		}
		lines = append(lines, e)
	}
	if d.Got != nil {
		place := cell{{plain, Clean(d.Got.Policy)}}
		if d.Policy != nil {
			place = origin(*d.Policy)
		}
		lines = append(lines, testEntry(span{green, "+"}, compared(*d.Got, d.Expected), place))
	}
	return lines
}

// compared returns an entry that is there without the details that are not compared.
func compared(got nf.TestEntry, expected *nf.TestEntry) nf.TestEntry {
	if expected == nil {
		expected = &nf.TestEntry{}
	}
	if expected.Cause == "" {
		got.Cause = ""
	}
	if expected.State == "" {
		got.State = ""
	}
	if expected.Until == "" && got.Code != "" {
		got.Until = ""
	}
	if expected.OneWay == nil && got.OneWay != nil && !*got.OneWay {
		got.OneWay = nil
	}
	if expected.Disruptive == nil && got.Disruptive != nil && !*got.Disruptive {
		got.Disruptive = nil
	}
	return got
}

// testEntry returns the line of an entry: its target and key, its values, its words, and its place.
func testEntry(mark span, e nf.TestEntry, place cell) entry {
	var boot span
	if e.Layer == nf.LayerBoot {
		boot = span{yellow, " (boot)"}
	}
	cells := []cell{
		columnGlyph: {mark},
		columnKey:   {{plain, Clean(strings.TrimSpace(e.Target + " " + string(e.Key)))}, boot},
		columnFrom:  nil,
		columnArrow: nil,
		columnTo:    nil,
	}
	if e.From != nil {
		cells[columnFrom] = cell{{plain, Clean(e.Key.Text(*e.From))}}
	}
	if e.To != nil {
		cells[columnArrow], cells[columnTo] = cell{{dim, "→"}}, cell{{plain, Clean(e.Key.Text(*e.To))}}
	}
	if e.Wanted != nil {
		cells[columnArrow], cells[columnTo] = cell{{dim, "="}}, cell{{plain, Clean(e.Key.WishText(*e.Wanted))}}
	}
	words := []string{e.Code, string(e.State), string(e.Cause), flagWord(e.OneWay, "one-way"), flagWord(e.Disruptive, "disruptive"), string(e.Until)}
	words = slices.DeleteFunc(words, func(w string) bool { return w == "" })
	cells = append(cells, cell{{plain, Clean(strings.Join(words, ", "))}})
	return entry{cells: append(cells, place)}
}

// flagWord returns a word, or its opposite, or nothing if neither is said.
func flagWord(set *bool, word string) string {
	switch {
	case set == nil:
		return ""
	case *set:
		return word
	}
	return "not " + word
}

// testSuites returns a suite for each file of tests. A test that could not be made is an error.
func testSuites(r nf.PolicyTestResults) (suites []junitSuite) {
	for _, t := range r.Tests {
		if len(suites) == 0 || suites[len(suites)-1].File != t.File {
			suites = append(suites, junitSuite{Name: t.File, File: t.File})
		}
		c := junitCase{Name: t.Name, Class: t.File}
		details := &page{}
		details.testFailure(t)
		switch {
		case t.Passed:
		case t.Error != "":
			c.Error = &junitOutcome{Message: t.Error, Text: t.Source.String() + ": " + t.Error}
		default:
			c.Failure = &junitOutcome{Message: count(len(t.Differences), "difference"), Text: t.Source.String() + ":\n" + details.buf.String()}
		}
		suites[len(suites)-1].Cases = append(suites[len(suites)-1].Cases, c)
	}
	if suites == nil { // many readers take a report without any case as damaged
		suites = append(suites, junitSuite{Name: "tests", Cases: []junitCase{{Name: "no tests", Class: "tests"}}})
	}
	return suites
}
