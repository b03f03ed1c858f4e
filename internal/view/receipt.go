package view

import "nfsync.dev/nfsync/internal/apply"

// Receipts is the output of apply.
var Receipts = newKind(receiptJSON, outlined(receiptOutline)).with(markdownFormat(receiptOutline, "apply"), htmlFormat(receiptOutline))

func receiptJSON(r apply.Receipt) any {
	r.Recovered = filled(r.Recovered)
	r.Results = filled(r.Results)
	r.Refusals = filled(r.Refusals)
	r.Pending = filled(r.Pending)
	r.Warnings = filled(r.Warnings)
	return r
}
