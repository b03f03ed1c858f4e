package view

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// The elements of a JUnit report, as Jenkins and GitLab read them. They take names and texts as
// they are: encodeJUnit cleans them.

// junitReport is the whole report.
type junitReport struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

// junitSuite is the test cases of one node or file.
type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	File     string      `xml:"file,attr,omitempty"`
	Cases    []junitCase `xml:"testcase"`
}

// junitCase is one test case. It has passed if it has none of the outcomes.
type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Failure *junitOutcome `xml:"failure"`
	Error   *junitOutcome `xml:"error"`
	Skipped *junitOutcome `xml:"skipped"`
}

// junitOutcome says why a test case has not passed: in one line, and with details.
type junitOutcome struct {
	Type    string `xml:"type,attr,omitempty"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// encodeJUnit returns a report of these suites. It counts their cases, and cleans all names and
// texts; the lines of a Text stay lines.
func encodeJUnit(suites []junitSuite) ([]byte, error) {
	report := junitReport{}
	for _, s := range suites {
		s = s.counted()
		report.Suites = append(report.Suites, s)
		report.Tests += s.Tests
		report.Failures += s.Failures
		report.Errors += s.Errors
	}
	var buf bytes.Buffer
	buf.WriteString(xml.Header)
	enc := xml.NewEncoder(&buf)
	enc.Indent("", "  ")
	if err := enc.Encode(report); err != nil {
		return nil, fmt.Errorf("cannot encode as JUnit: %w", err)
	}
	buf.WriteByte('\n')
	return buf.Bytes(), nil
}

// counted returns a copy of the suite, clean and with its counts.
func (s junitSuite) counted() junitSuite {
	s.Name, s.File = Clean(s.Name), Clean(s.File)
	s.Tests, s.Failures, s.Errors, s.Skipped = len(s.Cases), 0, 0, 0
	cases := make([]junitCase, len(s.Cases))
	for i, c := range s.Cases {
		c.Name, c.Class = Clean(c.Name), Clean(c.Class)
		for _, o := range []struct {
			outcome **junitOutcome
			count   *int
		}{{&c.Failure, &s.Failures}, {&c.Error, &s.Errors}, {&c.Skipped, &s.Skipped}} {
			if *o.outcome != nil {
				*o.outcome = (*o.outcome).clean()
				*o.count++
			}
		}
		cases[i] = c
	}
	s.Cases = cases
	return s
}

func (o junitOutcome) clean() *junitOutcome {
	return &junitOutcome{Clean(o.Type), Clean(o.Message), cleanLines(o.Text)}
}
