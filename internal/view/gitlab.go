package view

// FormatGitLab is a Code Quality report of GitLab.
const FormatGitLab = "gitlab"

// gitlabIssue is an entry of the report; see "Code Quality report format" in GitLab's manual.
type gitlabIssue struct {
	Description string         `json:"description"`
	CheckName   string         `json:"check_name"`
	Fingerprint string         `json:"fingerprint"`
	Severity    string         `json:"severity"`
	Location    gitlabLocation `json:"location"`
}

type gitlabLocation struct {
	Path  string      `json:"path"`
	Lines gitlabLines `json:"lines"`
}

type gitlabLines struct {
	Begin int `json:"begin"`
}

var gitlabSeverities = map[severity]string{severityError: "major", severityWarning: "minor", severityNotice: "info"}

// encodeGitLab returns the findings but for plain changes, which are nothing to improve.
func encodeGitLab(o outline, opt Options) ([]byte, error) {
	issues := []gitlabIssue{}
	for _, f := range findings(o, opt) {
		if f.isChange() {
			continue
		}
		text, at := f.message, f.somewhere(opt)
		if f.advice != "" {
			text += " (" + f.advice + ")"
		}
		issues = append(issues, gitlabIssue{text, f.rule, f.id, gitlabSeverities[f.severity], gitlabLocation{at.File, gitlabLines{at.Line}}})
	}
	return encodeJSON(issues)
}
