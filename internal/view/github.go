package view

import (
	"bytes"
	"fmt"
	"strings"
)

// FormatGitHub is commands for GitHub Actions that make annotations.
const FormatGitHub = "github"

// githubCommands are the commands of the severities. GitHub shows ten annotations of each in a
// step: the findings are in the order of their severity.
var githubCommands = map[severity]string{severityError: "error", severityWarning: "warning", severityNotice: "notice"}

// encodeGitHub returns a line for each finding, and one with the summary.
func encodeGitHub(o outline, opt Options) ([]byte, error) {
	var out bytes.Buffer
	summary := o.title.plain()
	for _, line := range o.summary {
		summary += "\n" + line.plain()
	}
	annotate := func(f finding) {
		text := f.message
		if f.advice != "" {
			text += "\n" + f.advice
		}
		at := ""
		if f.source.File != "" {
			at = fmt.Sprintf("file=%s,line=%d,col=%d,", githubProperty(f.source.File), f.source.Line, f.source.Column)
		}
		fmt.Fprintf(&out, "::%s %stitle=%s::%s\n", githubCommands[f.severity], at, githubProperty("nfsync "+f.rule), githubData(text))
	}
	rest := findings(o, opt)
	for len(rest) > 0 && rest[0].severity > severityNotice {
		annotate(rest[0])
		rest = rest[1:]
	}
	fmt.Fprintf(&out, "::notice title=%s::%s\n", githubProperty(strings.TrimSpace("nfsync "+opt.Command)), githubData(summary))
	for _, f := range rest {
		annotate(f)
	}
	return out.Bytes(), nil
}

// githubData escapes a text as the toolkit of GitHub Actions does.
func githubData(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

// githubProperty escapes the value of a property.
func githubProperty(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(githubData(Clean(s)))
}
