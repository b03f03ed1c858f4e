package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// The accounts of a fleet.
const (
	accountSystem    = "SYS"
	accountFleet     = "FLEET"     // the streams and the coordinators
	accountNodes     = "NODES"     // agents
	accountReaders   = "READERS"   // CI jobs: what nodes have put
	accountOperators = "OPERATORS" // people: the same, the roll-out, and questions to the coordinator
)

// accounts lists the accounts of a fleet.
func accounts() []string {
	return []string{accountSystem, accountFleet, accountNodes, accountReaders, accountOperators}
}

// share is what FLEET gives to other accounts.
type share struct {
	subject string
	as      string // the subject in these accounts; empty: the same
	kind    jwt.ExportType
	stream  bool // a service that answers with several messages
	with    []string
}

// shares is all that FLEET gives to others.
var shares = []share{
	{subject: "nfsync.v1.put.>", kind: jwt.Service, with: []string{accountNodes}},
	{subject: keyGet(fleet.StreamGrant), as: fleet.SubjectGetGrant + ">", kind: jwt.Service, with: []string{accountNodes}},
	{subject: keyGet(fleet.StreamRollout), as: fleet.SubjectGetRollout + ">", kind: jwt.Service, with: []string{accountNodes, accountOperators}},
	{subject: "nfsync.v1.wake.>", kind: jwt.Stream, with: []string{accountNodes, accountOperators}},
	{subject: fleet.DirectGet + fleet.StreamStatus, kind: jwt.Service, stream: true, with: []string{accountReaders, accountOperators}},
	{subject: fleet.DirectGet + fleet.StreamSnapshot, kind: jwt.Service, stream: true, with: []string{accountReaders, accountOperators}},
	{subject: fleet.SubjectAsk + ">", kind: jwt.Service, with: []string{accountOperators}},
}

// keyGet returns the subjects of the direct gets of single values of a stream.
func keyGet(stream string) string { return fleet.DirectGet + stream + "." + fleet.Key(stream, ">") }

// role is what the users of an account may do. A server puts the name of a user in the place of userName.
type role struct {
	account            string
	publish, subscribe []string
	limits             limits
	leaf               bool // for servers of sites, not for clients
}

// limits bound what one connection, or all of an account, can take from others.
type limits struct {
	connections   int64 // of the account, on all servers
	subscriptions int64 // of a connection
	payload       int64 // bytes of a message
}

// userName stands for the name of a user, in what a server makes of a role.
const userName = "{{name()}}"

// roles are what the kinds of credentials may do.
var roles = map[nf.CredentialKind]role{
	nf.CredentialNode: {accountNodes,
		[]string{fleet.SubjectStatus + userName, fleet.SubjectSnapshot + userName,
			fleet.SubjectGetRollout + ">", fleet.SubjectGetGrant + userName},
		[]string{fleet.Inbox(userName) + ".>", fleet.SubjectWakeRollout + ">", fleet.SubjectWakeGrant + userName},
		limits{connections: mostConnections - 2*mostOthers - 10_000, subscriptions: 20, payload: fleet.MaxSnapshot}, false},
	// What nodes put and ask goes through, and what wakes and answers them comes back. A server of a site that may listen to more
	// would hear what all other nodes put.
	nf.CredentialSite: {accountNodes,
		[]string{"nfsync.v1.put.>", "nfsync.v1.get.>"},
		[]string{fleet.Inboxes + ">", "nfsync.v1.wake.>"},
		limits{connections: mostSites, subscriptions: jwt.NoLimit, payload: fleet.MaxSnapshot}, true},
	nf.CredentialReader: {accountReaders,
		[]string{fleet.DirectGet + fleet.StreamStatus, fleet.DirectGet + fleet.StreamSnapshot},
		[]string{fleet.Inbox(userName) + ".>"},
		limits{connections: mostOthers, subscriptions: 100, payload: 4 << 10}, false},
	nf.CredentialOperator: {accountOperators,
		[]string{fleet.DirectGet + fleet.StreamStatus, fleet.DirectGet + fleet.StreamSnapshot, fleet.SubjectGetRollout + ">", fleet.SubjectAsk + ">"},
		[]string{fleet.Inbox(userName) + ".>", "nfsync.v1.wake.>"},
		limits{connections: mostOthers, subscriptions: 100, payload: 16 << 10}, false},
}

// mostOthers is the most connections of readers, and of operators. Nodes have the rest of what one server takes, but for some that
// are left to coordinators.
const mostOthers = 5000

// mostSites is the most connections of servers of sites.
const mostSites = 1000

// template returns the role as the scope of a signing key.
func (r role) template(signer string) *jwt.UserScope {
	s := jwt.NewUserScope()
	s.Key, s.Role = signer, r.account
	s.Template.Pub.Allow, s.Template.Sub.Allow = r.publish, r.subscribe
	s.Template.Subs, s.Template.Payload = r.limits.subscriptions, r.limits.payload
	// A leaf node's connection carries the messages of others.
	s.Template.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeStandard, jwt.ConnectionTypeWebsocket, jwt.ConnectionTypeInProcess}
	if r.leaf {
		s.Template.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeLeafnode}
	}
	return s
}

// claims returns an account as it should be: what it shares and imports, the key that signs its users, and which of them
// are revoked.
func (k *keys) claims(account string, credentials []nf.FleetCredential, now time.Time) *jwt.AccountClaims {
	c := jwt.NewAccountClaims(k.public(account))
	c.Name = account
	c.Limits.DisallowBearer = true
	c.Limits.LeafNodeConn = 0
	switch account {
	case accountSystem:
	case accountFleet:
		c.Limits.DiskStorage, c.Limits.MemoryStorage = jwt.NoLimit, jwt.NoLimit
		c.Limits.Streams, c.Limits.Consumer = jwt.NoLimit, jwt.NoLimit
		for _, s := range shares {
			c.Exports.Add(s.export())
		}
	default:
		for _, s := range shares {
			if slices.Contains(s.with, account) {
				c.Imports.Add(&jwt.Import{Name: s.subject, Subject: jwt.Subject(s.subject), LocalSubject: jwt.RenamingSubject(s.as), Account: k.public(accountFleet), Type: s.kind})
			}
		}
	}
	for kind, r := range roles {
		if r.account == account {
			c.SigningKeys.AddScopedSigner(r.template(k.public(signerOf(kind))))
			if r.leaf {
				c.Limits.LeafNodeConn = r.limits.connections
			} else {
				c.Limits.Conn = r.limits.connections
			}
		}
	}
	for _, user := range credentials {
		if roles[user.Kind].account == account && user.RevokedAt != nil && !user.HasExpired(now) {
			c.RevokeAt(user.PublicKey, *user.RevokedAt)
		}
	}
	return c
}

// siteClaims returns the account of the nodes as a server of a site has it. It imports nothing: this server does not have the
// account FLEET.
func (k *keys) siteClaims(credentials []nf.FleetCredential, now time.Time) *jwt.AccountClaims {
	c := k.claims(accountNodes, credentials, now)
	c.Imports = nil
	return c
}

// export returns the share as FLEET has it.
func (s share) export() *jwt.Export {
	e := &jwt.Export{Name: s.subject, Subject: jwt.Subject(s.subject), Type: s.kind}
	if s.kind == jwt.Service {
		e.ResponseType = jwt.ResponseTypeSingleton
	}
	if s.stream {
		e.ResponseType = jwt.ResponseTypeStream
	}
	return e
}

// sign returns an account as a server takes it.
func (k *keys) sign(c *jwt.AccountClaims) (string, error) {
	problems := jwt.CreateValidationResults()
	c.Validate(problems)
	for _, p := range problems.Issues {
		return "", fmt.Errorf("cannot sign the account %s: %s", c.Name, p.Description)
	}
	token, err := c.Encode(k.pairs[keyOperator])
	if err != nil {
		return "", fmt.Errorf("cannot sign the account %s: %w", c.Name, err)
	}
	return token, nil
}

// same reports whether a signed account says what it should.
func same(token string, want *jwt.AccountClaims) bool {
	have, err := jwt.DecodeAccountClaims(token)
	if err != nil {
		return false
	}
	return accountText(have) == accountText(want)
}

// accountText returns what an account says, in JSON, in the order in which it is signed.
func accountText(c *jwt.AccountClaims) string {
	order := func(a, b string) int { return slices.Compare([]byte(a), []byte(b)) }
	account := c.Account
	account.Version, account.Type = 0, ""
	slices.SortFunc(account.Exports, func(a, b *jwt.Export) int { return order(string(a.Subject), string(b.Subject)) })
	slices.SortFunc(account.Imports, func(a, b *jwt.Import) int { return order(string(a.Subject), string(b.Subject)) })
	text, err := json.Marshal(&account)
	if err != nil {
		return ""
	}
	return c.Name + string(text)
}

// operatorClaims returns the operator that the servers of the fleet trust.
func (k *keys) operatorClaims() *jwt.OperatorClaims {
	c := jwt.NewOperatorClaims(k.public(keyOperator))
	c.Name = "nfsync"
	c.SystemAccount = k.public(accountSystem)
	return c
}

// signUser returns a user of an account. It may do what the scope of the signing key says or, if an account itself has
// signed it, everything in this account.
func signUser(name, public, account string, signer nkeys.KeyPair, expires *time.Time) (string, error) {
	c := jwt.NewUserClaims(public)
	c.Name = name
	if key, err := signer.PublicKey(); err != nil || key != account {
		c.SetScoped(true)
		c.IssuerAccount = account
	}
	if expires != nil {
		c.Expires = expires.Unix()
	}
	return c.Encode(signer)
}
