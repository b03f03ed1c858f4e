package view

import (
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// FleetCredentials is the output of nfsync-coordinator list, the FleetCredentials document.
var FleetCredentials = newKind(fleetCredentialList, (*page).fleetCredentials)

type fleetCredentialsJSON struct {
	header
	Credentials []nf.FleetCredential `json:"credentials"`
}

func fleetCredentialList(list []nf.FleetCredential) any {
	return fleetCredentialsJSON{headerOf(nf.KindFleetCredentials), filled(list)}
}

// fleetCredentials writes a line for each of the credentials.
func (p *page) fleetCredentials(list []nf.FleetCredential) {
	if len(list) == 0 {
		p.line("No credentials have been handed out.")
		return
	}
	longest := 0
	for _, c := range list {
		longest = max(longest, len(c.Name))
	}
	for _, c := range list {
		state := []string{"since " + nf.Clock(c.IssuedAt)}
		if c.ExpiresAt != nil {
			state = append(state, "until "+nf.Clock(*c.ExpiresAt))
		}
		if c.RevokedAt != nil {
			state = append(state, p.paint(red, "revoked")+" "+nf.Clock(*c.RevokedAt))
		}
		p.line(p.paint(bold, pad(Clean(c.Name), longest)), "  ", pad(Clean(string(c.Kind)), len(nf.CredentialOperator)), "  ", strings.Join(state, ", "), "  ", p.paint(dim, Clean(c.PublicKey)))
	}
}
