package nf

// The kinds of documents of policy tests.
const (
	KindPolicyTest        = "PolicyTest"
	KindPolicyTestResults = "PolicyTestResults"
)

// ExpectList names a list of expectations, and the entries of a plan that it is about.
type ExpectList string

// The lists.
const (
	ExpectWants    ExpectList = "wants"
	ExpectChanges  ExpectList = "changes"
	ExpectRefusals ExpectList = "refusals"
	ExpectPending  ExpectList = "pending"
	ExpectWarnings ExpectList = "warnings"
)

// ExpectLists lists them in the order in which they are shown.
func ExpectLists() []ExpectList {
	return []ExpectList{ExpectWants, ExpectChanges, ExpectRefusals, ExpectPending, ExpectWarnings}
}

// TestEntry is an entry of one of the lists: of a plan, or expected of one. What is not given is
// not compared.
type TestEntry struct {
	Target     string   `json:"target"`          // as ParseTarget takes it; of an expectation it may be a pattern
	Key        Key      `json:"key,omitempty"`   // the same
	Code       string   `json:"code,omitempty"`  // of a refusal or a warning
	Layer      Layer    `json:"layer,omitempty"` // of a change or a refusal
	From       *Value   `json:"from,omitempty"`
	To         *Value   `json:"to,omitempty"`
	Wanted     *Wish    `json:"wanted,omitempty"` // of a want, as State
	State      KeyState `json:"state,omitempty"`
	Cause      Cause    `json:"cause,omitempty"` // of a change, as OneWay and Disruptive
	OneWay     *bool    `json:"oneWay,omitempty"`
	Disruptive *bool    `json:"disruptive,omitempty"`
	Until      Until    `json:"until,omitempty"`  // of a refusal or a pending entry
	Policy     string   `json:"policy,omitempty"` // metadata.name
}

// PolicyTestResults are the results of policy tests: the PolicyTestResults document. Its slices
// are never nil.
type PolicyTestResults struct {
	APIVersion string             `json:"apiVersion"`
	Kind       string             `json:"kind"`
	Path       string             `json:"path"`  // the policy path, as it was given
	Tests      []PolicyTestResult `json:"tests"` // by file and line
	// Updated are the files whose expectations were replaced by what is there now.
	Updated []string          `json:"updated"`
	Summary PolicyTestSummary `json:"summary"`
}

// PolicyTestResult is the result of one test.
type PolicyTestResult struct {
	Source          // the test's name, and its place
	Snapshot string `json:"snapshot"`
	Node     string `json:"node"` // empty if the snapshot could not be read
	Passed   bool   `json:"passed"`
	// Error is why the test could not be made; else Differences are why it failed.
	Error       string           `json:"error,omitempty"`
	Differences []TestDifference `json:"differences"`
}

// TestDifference is an expectation that does not hold, an entry of a plan that was not expected,
// or both for one key.
type TestDifference struct {
	List ExpectList `json:"list"`
	// Line and Column are those of the expectation, or of its list.
	Line     int        `json:"line"`
	Column   int        `json:"column"`
	Expected *TestEntry `json:"expected"` // null: nothing is
	Got      *TestEntry `json:"got"`      // null: there is no such entry
	Policy   *Source    `json:"policy,omitempty"`
	Hint     string     `json:"hint,omitempty"`
}

// PolicyTestSummary counts tests.
type PolicyTestSummary struct {
	Tests  int `json:"tests"`
	Passed int `json:"passed"`
	Failed int `json:"failed"`
}

// Summarize counts.
func (r *PolicyTestResults) Summarize() {
	r.Summary = PolicyTestSummary{Tests: len(r.Tests)}
	for _, t := range r.Tests {
		if t.Passed {
			r.Summary.Passed++
		} else {
			r.Summary.Failed++
		}
	}
}
