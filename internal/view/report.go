package view

import (
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
)

// Reports is the output of recover, the Recovery document.
var Reports = newKind(reportJSON, (*page).report)

type recoveryJSON struct {
	header
	apply.Report
}

func reportJSON(r apply.Report) any {
	r.Left = filled(r.Left)
	return recoveryJSON{headerOf(nf.KindRecovery), r}
}
