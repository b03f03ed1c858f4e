package view

import (
	"encoding/xml"
	"strings"
	"testing"
)

// TestJUnit: a report is XML whatever its names are, and its counts are those of its cases.
func TestJUnit(t *testing.T) {
	const hostile = "a\x1b[2J\x00\u202e]]></failure>&\"'\n::error::"
	suites := []junitSuite{
		{Name: hostile, File: hostile, Cases: []junitCase{
			{Name: "passes", Class: "hn-1"},
			{Name: hostile, Class: hostile, Failure: &junitOutcome{Type: hostile, Message: hostile, Text: "two\nlines\x1b"}},
			{Name: "errs", Class: "hn-1", Error: &junitOutcome{Message: "no snapshot"}},
			{Name: "skips", Class: "hn-1", Skipped: &junitOutcome{Message: "not here"}},
		}},
		{Name: "empty"},
	}
	out, err := encodeJUnit(suites)
	if err != nil {
		t.Fatal(err)
	}
	var read junitReport
	if err := xml.Unmarshal(out, &read); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if read.Tests != 4 || read.Failures != 1 || read.Errors != 1 || read.Suites[0].Skipped != 1 || read.Suites[0].Tests != 4 {
		t.Errorf("the counts are wrong:\n%s", out)
	}
	failed := read.Suites[0].Cases[1]
	if failed.Name != Clean(hostile) || read.Suites[0].File != Clean(hostile) || *failed.Failure != (junitOutcome{Clean(hostile), Clean(hostile), "two\nlines\\x1b"}) {
		t.Errorf("read back: %+v", failed)
	}
	if i := strings.IndexFunc(string(out), unprintable); i >= 0 {
		t.Errorf("it holds %q", out[i:i+1])
	}
	if suites[0].Tests != 0 || suites[0].Cases[1].Name != hostile {
		t.Error("the suites were changed")
	}
}
