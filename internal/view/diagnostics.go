package view

import "nfsync.dev/nfsync/internal/spec"

// Validation is the errors and conflicts of files, and how many policies were read.
type Validation struct {
	Diagnostics []spec.Diagnostic `json:"diagnostics"`
	Policies    int               `json:"policies"`
}

// Validations is the output of validate. Commands that cannot use a file print their
// text.
var Validations = newKind(validationJSON, (*page).validation)

func validationJSON(v Validation) any {
	v.Diagnostics = filled(v.Diagnostics)
	return v
}
