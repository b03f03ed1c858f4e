package view

import (
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
)

// Validation is the errors and conflicts of files, and how many policies and tests were read.
type Validation struct {
	Diagnostics []spec.Diagnostic `json:"diagnostics"`
	Policies    int               `json:"policies"`
	Tests       int               `json:"tests"`
	Files       int               `json:"-"` // that were read, of any kind
}

// Validations is the output of validate, the Diagnostics document. Commands that cannot use a
// file print it too.
var Validations = newKind(validationJSON, (*page).validation).with(reportFormats(validationOutline, validationSuites, "validate")...)

type diagnosticsJSON struct {
	header
	Validation
}

func validationJSON(v Validation) any {
	v.Diagnostics = filled(v.Diagnostics)
	return diagnosticsJSON{headerOf(nf.KindDiagnostics), v}
}
