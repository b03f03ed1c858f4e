package view

import "nfsync.dev/nfsync/internal/nf"

// Confirmations is the output of confirm, the Confirmation document.
var Confirmations = newKind(func(c nf.Confirmation) any { return confirmationJSON{headerOf(nf.KindConfirmation), c} }, (*page).confirmation)

type confirmationJSON struct {
	header
	nf.Confirmation
}

func (p *page) confirmation(c nf.Confirmation) {
	verb := "stay"
	if c.Changes == 1 {
		verb = "stays"
	}
	p.line(p.paint(green, "Confirmed"), ": ", count(c.Changes, "change"), " of run ", Clean(c.Run), " ", verb, ".")
}
