package nf

import "time"

// KindFleetCredentials is the kind of a list of FleetCredential.
const KindFleetCredentials = "FleetCredentials"

// FleetCredential is a line of the coordinator's ledger: credentials that were handed out. Their secret is not kept.
type FleetCredential struct {
	Name      string         `json:"name"`
	Kind      CredentialKind `json:"kind"`
	PublicKey string         `json:"publicKey"`
	IssuedAt  time.Time      `json:"issuedAt"`
	ExpiresAt *time.Time     `json:"expiresAt"` // null: they do not expire
	RevokedAt *time.Time     `json:"revokedAt"` // null: they are not revoked
}

// HasExpired reports whether the credentials have expired at that time.
func (c FleetCredential) HasExpired(now time.Time) bool {
	return c.ExpiresAt != nil && !now.Before(*c.ExpiresAt)
}

// IsValid reports whether servers take the credentials at that time.
func (c FleetCredential) IsValid(now time.Time) bool {
	return c.RevokedAt == nil && !c.HasExpired(now)
}

// CredentialKind is what credentials are for.
type CredentialKind string

// The kinds of credentials.
const (
	CredentialNode     CredentialKind = "node"     // an agent
	CredentialReader   CredentialKind = "reader"   // reads what nodes have put: a CI job
	CredentialOperator CredentialKind = "operator" // reads the roll-out too, and asks the coordinator
	CredentialSite     CredentialKind = "site"     // a NATS server between the nodes of a site and the servers of the fleet
)
