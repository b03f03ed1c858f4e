package view

import (
	"testing"

	"nfsync.dev/nfsync/internal/spec"
)

// TestValidationTotal: the total counts policies and tests.
func TestValidationTotal(t *testing.T) {
	conflict := []spec.Diagnostic{{Rule: spec.RuleConflict, File: "a.yaml"}}
	for _, c := range []struct {
		doc  Validation
		want string
	}{
		{Validation{}, "No policies here."},
		{Validation{Files: 1}, "No policies here; 1 file, valid."},
		{Validation{Tests: 1}, "No policies here; 1 test, valid."},
		{Validation{Tests: 2}, "No policies here; 2 tests, all valid."},
		{Validation{Policies: 1}, "1 policy, valid."},
		{Validation{Policies: 1, Tests: 1}, "1 policy, 1 test, all valid."},
		{Validation{Policies: 2}, "2 policies, all valid."},
		{Validation{Policies: 2, Tests: 3}, "2 policies, 3 tests, all valid."},
		{Validation{Policies: 2, Tests: 3, Diagnostics: conflict}, "1 conflict in 1 file; 2 policies, 3 tests, all valid."},
		{Validation{Diagnostics: []spec.Diagnostic{{File: "a.yaml"}}}, "1 error in 1 file."},
	} {
		if got := c.doc.total(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.doc, got, c.want)
		}
	}
}
