package view

import "nfsync.dev/nfsync/internal/apply"

// Reports is the output of recover.
var Reports = newKind(reportJSON, (*page).report)

func reportJSON(r apply.Report) any {
	r.Left = filled(r.Left)
	return r
}
