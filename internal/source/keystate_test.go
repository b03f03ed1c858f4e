package source

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// statement is one signature of a key's owner about it. The times are in years after 2020,
// when the key was made.
type statement struct {
	kind     packet.SignatureType
	at       int
	use      string // of "cs": certify, sign; "-": for nothing; "": not stated
	expires  int    // 0: not stated
	lapses   int    // when the statement itself expires; 0: never
	primary  bool
	critical bool // with a critical notation
	noBackup bool // without the signature of a subkey for signing
	by       *packet.PrivateKey
}

const (
	cert    = packet.SigTypePositiveCert
	recall  = packet.SigTypeCertificationRevocation
	direct  = packet.SigTypeDirectSignature
	revoke  = packet.SigTypeKeyRevocation
	binding = packet.SigTypeSubkeyBinding
	rebuke  = packet.SigTypeSubkeyRevocation
)

// madeKey is what a key is made of. The commit is signed by the subkey if there is one.
type madeKey struct {
	direct []statement
	names  [][]statement
	photo  []statement
	sub    []statement
}

func year(n int) time.Time { return time.Date(2020+n, 1, 1, 0, 0, 0, 0, time.UTC) }

func since2020(n int) *uint32 {
	seconds := uint32(year(n).Sub(year(0)) / time.Second)
	return &seconds
}

// keyMaker makes keys and signatures packet by packet, which gpg has no options for.
type keyMaker struct {
	t       *testing.T
	out     bytes.Buffer
	primary *packet.PrivateKey
	sub     *packet.PrivateKey
	config  *packet.Config
}

func newKeyMaker(t *testing.T) *keyMaker {
	t.Helper()
	config := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, DefaultHash: crypto.SHA256, Time: func() time.Time { return year(0) }}
	e, err := openpgp.NewEntity("x", "", "x@example.com", config)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.AddSigningSubkey(config); err != nil {
		t.Fatal(err)
	}
	return &keyMaker{t: t, primary: e.PrivateKey, sub: e.Subkeys[len(e.Subkeys)-1].PrivateKey, config: config}
}

func (m *keyMaker) write(p interface{ Serialize(io.Writer) error }) {
	m.t.Helper()
	if err := p.Serialize(&m.out); err != nil {
		m.t.Fatal(err)
	}
}

// signature returns the signature packet of a statement, not signed.
func (m *keyMaker) signature(s statement) *packet.Signature {
	sig := &packet.Signature{Version: 4, SigType: s.kind, PubKeyAlgo: packet.PubKeyAlgoEdDSA, Hash: crypto.SHA256, CreationTime: year(s.at),
		IssuerKeyId: &m.primary.KeyId, IssuerFingerprint: m.primary.Fingerprint,
		FlagsValid: s.use != "", FlagCertify: strings.Contains(s.use, "c"), FlagSign: strings.Contains(s.use, "s")}
	if s.by != nil {
		sig.IssuerKeyId, sig.IssuerFingerprint = &s.by.KeyId, s.by.Fingerprint
	}
	if s.expires != 0 {
		sig.KeyLifetimeSecs = since2020(s.expires)
	}
	if s.lapses != 0 {
		seconds := uint32(year(s.lapses).Sub(year(s.at)) / time.Second)
		sig.SigLifetimeSecs = &seconds
	}
	if s.critical {
		sig.Notations = []*packet.Notation{{Name: "a@example.com", Value: []byte("x"), IsHumanReadable: true, IsCritical: true}}
	}
	if s.primary {
		sig.IsPrimaryId = &s.primary
	}
	if s.kind == revoke || s.kind == rebuke || s.kind == recall {
		reason := packet.NoReason
		sig.RevocationReason = &reason
	}
	return sig
}

func (m *keyMaker) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// make returns the packets of a key.
func (m *keyMaker) make(k madeKey) []byte {
	m.t.Helper()
	pub := &m.primary.PublicKey
	m.write(pub)
	for _, s := range k.direct {
		sig, by := m.signature(s), m.primary
		if s.by != nil {
			by = s.by
		}
		if s.kind == revoke {
			m.must(sig.RevokeKey(pub, by, m.config))
		} else {
			m.must(sig.SignDirectKeyBinding(pub, by, m.config))
		}
		m.write(sig)
	}
	for i, statements := range k.names {
		id := fmt.Sprintf("x%d <x%d@example.com>", i, i)
		m.write(packet.NewUserId(id[:2], "", id[4:len(id)-1]))
		for _, s := range statements {
			sig := m.signature(s)
			m.must(sig.SignUserId(id, pub, m.primary, m.config))
			m.write(sig)
		}
	}
	if k.photo != nil {
		content := append([]byte{16, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, "\xff\xd8\xff\xe0 a photo"...)
		photo := packet.NewUserAttribute(&packet.OpaqueSubpacket{SubType: 1, EncodedLength: []byte{byte(len(content) + 1)}, Contents: content})
		m.write(photo)
		for _, s := range k.photo {
			sig := m.signature(s)
			digest, err := sig.PrepareSign(m.config)
			m.must(err)
			m.must(pub.SerializeForHash(digest))
			body := append([]byte{byte(len(content) + 1), 1}, content...)
			_, _ = digest.Write(append(binary.BigEndian.AppendUint32([]byte{0xd1}, uint32(len(body))), body...))
			m.must(sig.Sign(digest, m.primary, m.config))
			m.write(sig)
		}
	}
	if k.sub != nil {
		m.write(&m.sub.PublicKey)
		for _, s := range k.sub {
			sig := m.signature(s)
			if s.kind == binding && !s.noBackup {
				back := m.signature(statement{kind: packet.SigTypePrimaryKeyBinding, at: s.at, by: m.sub})
				m.must(back.CrossSignKey(&m.sub.PublicKey, pub, m.sub, m.config))
				sig.EmbeddedSignature = back
			}
			m.must(sig.SignKey(&m.sub.PublicKey, m.primary, m.config))
			m.write(sig)
		}
	}
	return m.out.Bytes()
}

// sign returns an armored signature of a text.
func (m *keyMaker) sign(text string, by *packet.PrivateKey, at time.Time) string {
	m.t.Helper()
	sig := m.signature(statement{kind: packet.SigTypeBinary, by: by})
	sig.CreationTime = at
	digest, err := sig.PrepareSign(m.config)
	m.must(err)
	_, _ = io.WriteString(digest, text)
	m.must(sig.Sign(digest, by, m.config))
	var out bytes.Buffer
	m.must(sig.Serialize(&out))
	return armorPGP(out.Bytes())
}

// names returns the statements about one name each.
func names(list ...[]statement) [][]statement { return list }

func says(list ...statement) []statement { return list }

// always is the statement of a key that signs and does not expire.
var always = statement{kind: cert, use: "cs"}

// keyStates are keys, and whether a commit signed with them is good. stricter is the reason
// why nfsync refuses a key that gpg accepts.
var keyStates = map[string]struct {
	key      madeKey
	good     bool
	stricter string
}{
	"plain":                         {madeKey{names: names(says(always))}, true, ""},
	"expired":                       {madeKey{names: names(says(statement{kind: cert, use: "cs", expires: 1}))}, false, ""},
	"expires later":                 {madeKey{names: names(says(statement{kind: cert, use: "cs", expires: 60}))}, true, ""},
	"extended":                      {madeKey{names: names(says(statement{kind: cert, use: "cs", expires: 1}, statement{kind: cert, at: 2, use: "cs", expires: 60}))}, true, ""},
	"extended without end":          {madeKey{names: names(says(statement{kind: cert, use: "cs", expires: 1}, statement{kind: cert, at: 2, use: "cs"}))}, true, ""},
	"extended, in the other order":  {madeKey{names: names(says(statement{kind: cert, at: 2, use: "cs"}, statement{kind: cert, use: "cs", expires: 1}))}, true, ""},
	"shortened":                     {madeKey{names: names(says(always, statement{kind: cert, at: 1, use: "cs", expires: 2}))}, false, ""},
	"certify only":                  {madeKey{names: names(says(statement{kind: cert, use: "c"}))}, false, ""},
	"certify only, later also sign": {madeKey{names: names(says(statement{kind: cert, use: "c"}, statement{kind: cert, at: 1, use: "cs"}))}, true, ""},
	"sign, later certify only":      {madeKey{names: names(says(always, statement{kind: cert, at: 1, use: "c"}))}, false, ""},
	"for nothing":                   {madeKey{names: names(says(statement{kind: cert, use: "-"}))}, false, ""},
	"no use stated":                 {madeKey{names: names(says(statement{kind: cert}))}, false, "gpg derives the use from the algorithm; current programs state it"},
	"statement lapsed": {madeKey{names: names(says(statement{kind: cert, use: "cs", lapses: 1}))}, false,
		"nothing that its owner states about the key is in force"},
	"newer statement lapsed": {madeKey{names: names(says(always, statement{kind: cert, at: 1, use: "cs", lapses: 2}))}, false,
		"nothing that its owner states about the key is in force"},

	"direct: expired":               {madeKey{direct: says(statement{kind: direct, expires: 1}), names: names(says(always))}, false, ""},
	"direct: expired, older":        {madeKey{direct: says(statement{kind: direct, expires: 1}), names: names(says(statement{kind: cert, at: 2, use: "cs"}))}, false, ""},
	"direct: expired, later name":   {madeKey{direct: says(statement{kind: direct, expires: 1}), names: names(says(statement{kind: cert, at: 2, use: "cs", expires: 60}))}, false, ""},
	"direct: extended":              {madeKey{direct: says(statement{kind: direct, expires: 1}, statement{kind: direct, at: 2, expires: 60}), names: names(says(always))}, true, ""},
	"direct: superseded":            {madeKey{direct: says(statement{kind: direct, expires: 1}, statement{kind: direct, at: 2, use: "cs"}), names: names(says(always))}, true, ""},
	"direct: superseded, reversed":  {madeKey{direct: says(statement{kind: direct, at: 2, use: "cs"}, statement{kind: direct, expires: 1}), names: names(says(always))}, true, ""},
	"direct: shortened":             {madeKey{direct: says(statement{kind: direct, expires: 60}, statement{kind: direct, at: 1, expires: 2}), names: names(says(always))}, false, ""},
	"direct: lapsed":                {madeKey{direct: says(statement{kind: direct, expires: 1, lapses: 1}), names: names(says(always))}, true, ""},
	"direct: extends a name":        {madeKey{direct: says(statement{kind: direct, expires: 60}), names: names(says(statement{kind: cert, use: "cs", expires: 1}))}, true, ""},
	"direct: no expiry, name's":     {madeKey{direct: says(statement{kind: direct, at: 2, use: "cs"}), names: names(says(statement{kind: cert, use: "cs", expires: 1}))}, false, ""},
	"direct: certify only":          {madeKey{direct: says(statement{kind: direct, use: "c"}), names: names(says(always))}, false, ""},
	"direct: certify only, older":   {madeKey{direct: says(statement{kind: direct, use: "c"}), names: names(says(statement{kind: cert, at: 2, use: "cs"}))}, false, ""},
	"direct: certify, later sign":   {madeKey{direct: says(statement{kind: direct, use: "c"}, statement{kind: direct, at: 1, use: "cs"}), names: names(says(always))}, true, ""},
	"direct: sign, name certifies":  {madeKey{direct: says(statement{kind: direct, use: "cs"}), names: names(says(statement{kind: cert, at: 1, use: "c"}))}, true, ""},
	"direct: by another key":        {madeKey{direct: says(statement{kind: direct, expires: 1, by: stranger}), names: names(says(always))}, true, ""},
	"direct: for nothing":           {madeKey{direct: says(statement{kind: direct, use: "-"}), names: names(says(always))}, false, ""},
	"direct: nothing stated":        {madeKey{direct: says(statement{kind: direct}), names: names(says(always))}, true, ""},
	"direct only, name lapsed":      {madeKey{direct: says(statement{kind: direct, use: "cs"}), names: names(says(statement{kind: cert, use: "cs", lapses: 1}))}, true, ""},
	"newer name: expired":           {madeKey{names: names(says(statement{kind: cert, use: "cs", primary: true}), says(statement{kind: cert, at: 1, use: "cs", expires: 2}))}, false, ""},
	"newer name: certify only":      {madeKey{names: names(says(statement{kind: cert, use: "cs", primary: true}), says(statement{kind: cert, at: 1, use: "c"}))}, false, ""},
	"newer name, first: expired":    {madeKey{names: names(says(statement{kind: cert, at: 1, use: "cs", expires: 2}), says(statement{kind: cert, use: "cs", primary: true}))}, false, ""},
	"older name: expired":           {madeKey{names: names(says(statement{kind: cert, use: "cs", expires: 1}), says(statement{kind: cert, at: 2, use: "cs", primary: true}))}, false, ""},
	"older name: expired, extended": {madeKey{names: names(says(statement{kind: cert, use: "cs", expires: 1}), says(statement{kind: cert, at: 2, use: "cs", expires: 60}))}, true, ""},
	"older name: certify only":      {madeKey{names: names(says(statement{kind: cert, use: "c"}), says(statement{kind: cert, at: 1, use: "cs"}))}, true, ""},
	"newer name: certify, revoked":  {madeKey{names: names(says(always), says(statement{kind: cert, at: 1, use: "c"}, statement{kind: recall, at: 2}))}, true, ""},
	"newer name: expired, revoked":  {madeKey{names: names(says(always), says(statement{kind: cert, at: 1, use: "cs", expires: 1}, statement{kind: recall, at: 2}))}, true, ""},
	"newer name: expired, lapsed":   {madeKey{names: names(says(always), says(statement{kind: cert, at: 1, use: "cs", expires: 1, lapses: 2}))}, true, ""},
	"three names: middle expired":   {madeKey{names: names(says(always), says(statement{kind: cert, at: 1, use: "cs", expires: 2}), says(statement{kind: cert, at: 2, use: "cs"}))}, false, ""},
	"same second: first certifies":  {madeKey{names: names(says(statement{kind: cert, at: 1, use: "c"}), says(statement{kind: cert, at: 1, use: "cs"}))}, false, ""},
	"same second: last certifies":   {madeKey{names: names(says(statement{kind: cert, at: 1, use: "cs"}), says(statement{kind: cert, at: 1, use: "c"}))}, true, ""},
	"same second: first expired":    {madeKey{names: names(says(statement{kind: cert, at: 1, use: "cs", expires: 2}), says(statement{kind: cert, at: 1, use: "cs", expires: 60}))}, false, ""},
	"same second: last expired":     {madeKey{names: names(says(statement{kind: cert, at: 1, use: "cs", expires: 60}), says(statement{kind: cert, at: 1, use: "cs", expires: 2}))}, true, ""},
	"same second: one name":         {madeKey{names: names(says(statement{kind: cert, at: 1, use: "cs"}, statement{kind: cert, at: 1, use: "c"}))}, false, ""},
	"same second: one name, swap":   {madeKey{names: names(says(statement{kind: cert, at: 1, use: "c"}, statement{kind: cert, at: 1, use: "cs"}))}, true, ""},
	"same second: direct":           {madeKey{direct: says(statement{kind: direct, at: 1, use: "cs"}, statement{kind: direct, at: 1, use: "c"}), names: names(says(always))}, false, ""},
	"same second: direct, swap":     {madeKey{direct: says(statement{kind: direct, at: 1, use: "c"}, statement{kind: direct, at: 1, use: "cs"}), names: names(says(always))}, true, ""},
	"photo: expired":                {madeKey{names: names(says(always)), photo: says(statement{kind: cert, at: 1, use: "cs", expires: 2})}, false, ""},
	"photo: certify only":           {madeKey{names: names(says(always)), photo: says(statement{kind: cert, at: 1, use: "c"})}, false, ""},
	"photo: revoked":                {madeKey{names: names(says(always)), photo: says(statement{kind: cert, at: 1, use: "c"}, statement{kind: recall, at: 2})}, true, ""},

	"name revoked":               {madeKey{names: names(says(always, statement{kind: recall, at: 1}))}, false, "its owner has withdrawn every name of the key"},
	"one of two names revoked":   {madeKey{names: names(says(always, statement{kind: recall, at: 1}), says(always))}, true, ""},
	"both names revoked":         {madeKey{names: names(says(always, statement{kind: recall, at: 1}), says(always, statement{kind: recall, at: 1}))}, false, "its owner has withdrawn every name of the key"},
	"name revoked, but photo":    {madeKey{names: names(says(always, statement{kind: recall, at: 1})), photo: says(always)}, false, "its owner has withdrawn every name of the key"},
	"name revoked, made again":   {madeKey{names: names(says(always, statement{kind: recall, at: 1}, statement{kind: cert, at: 2, use: "cs"}))}, true, ""},
	"name revoked before":        {madeKey{names: names(says(statement{kind: recall}, statement{kind: cert, at: 1, use: "cs"}))}, true, ""},
	"name revoked at that time":  {madeKey{names: names(says(statement{kind: recall, at: 1}, statement{kind: cert, at: 1, use: "cs"}))}, false, "which of two statements of the same second came last is unknown"},
	"key revoked":                {madeKey{direct: says(statement{kind: revoke, at: 1}), names: names(says(always))}, false, ""},
	"key revoked, later name":    {madeKey{direct: says(statement{kind: revoke, at: 1}), names: names(says(statement{kind: cert, at: 2, use: "cs"}))}, false, ""},
	"key revoked, later direct":  {madeKey{direct: says(statement{kind: revoke, at: 1}, statement{kind: direct, at: 2, use: "cs"}), names: names(says(always))}, false, ""},
	"key's revocation lapsed":    {madeKey{direct: says(statement{kind: revoke, at: 1, lapses: 2}), names: names(says(always))}, false, ""},
	"key revoked in the future":  {madeKey{direct: says(statement{kind: revoke, at: 50}), names: names(says(always))}, false, ""},
	"statement in the future":    {madeKey{names: names(says(statement{kind: cert, at: 50, use: "cs"}))}, false, "the clock of the node or of the key's owner is wrong"},
	"direct in the future":       {madeKey{direct: says(statement{kind: direct, at: 50, use: "cs"}), names: names(says(always))}, false, "the clock of the node or of the key's owner is wrong"},
	"certify only in the future": {madeKey{names: names(says(always, statement{kind: cert, at: 50, use: "c"}))}, false, ""},
	"expired in the future":      {madeKey{names: names(says(always, statement{kind: cert, at: 50, use: "cs", expires: 1}))}, false, ""},
	"older than the key":         {madeKey{names: names(says(statement{kind: cert, at: -1, use: "cs"}))}, false, ""},
	"certify only, older":        {madeKey{names: names(says(always)), direct: says(statement{kind: direct, at: -1, use: "c"})}, true, ""},
	"key revoked, older":         {madeKey{names: names(says(always)), direct: says(statement{kind: revoke, at: -1})}, false, "a revocation counts whatever its date is"},
	"critical notation":          {madeKey{names: names(says(statement{kind: cert, use: "cs", critical: true}))}, false, ""},
	"direct: critical notation":  {madeKey{names: names(says(always)), direct: says(statement{kind: direct, use: "c", critical: true})}, true, ""},

	"sub: older than primary":        {madeKey{names: names(says(always)), sub: says(statement{kind: binding, at: -1, use: "s"})}, false, ""},
	"sub: critical notation":         {madeKey{names: names(says(always)), sub: says(statement{kind: binding, use: "s", critical: true})}, false, ""},
	"sub":                            {madeKey{names: names(says(always)), sub: says(statement{kind: binding, use: "s"})}, true, ""},
	"sub: primary certifies only":    {madeKey{names: names(says(statement{kind: cert, use: "c"})), sub: says(statement{kind: binding, use: "s"})}, true, ""},
	"sub: expired":                   {madeKey{names: names(says(always)), sub: says(statement{kind: binding, use: "s", expires: 1})}, false, ""},
	"sub: extended":                  {madeKey{names: names(says(always)), sub: says(statement{kind: binding, use: "s", expires: 1}, statement{kind: binding, at: 2, use: "s"})}, true, ""},
	"sub: extended, reversed":        {madeKey{names: names(says(always)), sub: says(statement{kind: binding, at: 2, use: "s"}, statement{kind: binding, use: "s", expires: 1})}, true, ""},
	"sub: shortened":                 {madeKey{names: names(says(always)), sub: says(statement{kind: binding, use: "s"}, statement{kind: binding, at: 1, use: "s", expires: 2})}, false, ""},
	"sub: not for signing":           {madeKey{names: names(says(always)), sub: says(statement{kind: binding, use: "c"})}, false, ""},
	"sub: later not for signing":     {madeKey{names: names(says(always)), sub: says(statement{kind: binding, use: "s"}, statement{kind: binding, at: 1, use: "-"})}, false, ""},
	"sub: no use stated":             {madeKey{names: names(says(always)), sub: says(statement{kind: binding})}, false, "gpg derives the use from the algorithm; current programs state it"},
	"sub: no signature by it":        {madeKey{names: names(says(always)), sub: says(statement{kind: binding, use: "s", noBackup: true})}, false, ""},
	"sub: later none by it":          {madeKey{names: names(says(always)), sub: says(statement{kind: binding, use: "s"}, statement{kind: binding, at: 1, use: "s", noBackup: true})}, false, ""},
	"sub: no statement":              {madeKey{names: names(says(always)), sub: []statement{}}, false, ""},
	"sub: revoked":                   {madeKey{names: names(says(always)), sub: says(statement{kind: binding, use: "s"}, statement{kind: rebuke, at: 1})}, false, ""},
	"sub: revoked, bound again":      {madeKey{names: names(says(always)), sub: says(statement{kind: binding, use: "s"}, statement{kind: rebuke, at: 1}, statement{kind: binding, at: 2, use: "s"})}, false, ""},
	"sub: same second":               {madeKey{names: names(says(always)), sub: says(statement{kind: binding, use: "s"}, statement{kind: binding, use: "-"})}, false, ""},
	"sub: same second, swap":         {madeKey{names: names(says(always)), sub: says(statement{kind: binding, use: "-"}, statement{kind: binding, use: "s"})}, true, ""},
	"sub: binding lapsed":            {madeKey{names: names(says(always)), sub: says(statement{kind: binding, use: "s", lapses: 1})}, false, ""},
	"sub: newer binding lapsed":      {madeKey{names: names(says(always)), sub: says(statement{kind: binding, use: "s"}, statement{kind: binding, at: 1, use: "-", lapses: 2})}, false, ""},
	"sub: newer lapsed signs":        {madeKey{names: names(says(always)), sub: says(statement{kind: binding, use: "s"}, statement{kind: binding, at: 1, use: "s", lapses: 2})}, false, ""},
	"sub: bound in the future":       {madeKey{names: names(says(always)), sub: says(statement{kind: binding, at: 50, use: "s"})}, false, "the clock of the node or of the key's owner is wrong"},
	"sub: primary expired":           {madeKey{names: names(says(statement{kind: cert, use: "cs", expires: 1})), sub: says(statement{kind: binding, use: "s"})}, false, ""},
	"sub: primary expired, direct":   {madeKey{direct: says(statement{kind: direct, expires: 1}), names: names(says(always)), sub: says(statement{kind: binding, use: "s"})}, false, ""},
	"sub: primary expired, new name": {madeKey{names: names(says(statement{kind: cert, use: "cs", primary: true}), says(statement{kind: cert, at: 1, use: "cs", expires: 2})), sub: says(statement{kind: binding, use: "s"})}, false, ""},
	"sub: primary revoked":           {madeKey{direct: says(statement{kind: revoke, at: 1}), names: names(says(always)), sub: says(statement{kind: binding, use: "s"})}, false, ""},
	"sub: name revoked":              {madeKey{names: names(says(always, statement{kind: recall, at: 1})), sub: says(statement{kind: binding, use: "s"})}, false, "its owner has withdrawn every name of the key"},
}

// stranger is the private key of another person.
var stranger = func() *packet.PrivateKey {
	e, err := openpgp.NewEntity("y", "", "y@example.com", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return year(0) }})
	if err != nil {
		panic(err)
	}
	return e.PrivateKey
}()

// TestKeyStates: nfsync judges each key as gpg does, or refuses it for a reason.
func TestKeyStates(t *testing.T) {
	s := newSigning(t)
	plain := s.commit("commit.gpgSign=false")
	text := s.commitText(plain)
	var all []byte
	var trust strings.Builder
	commits, keyrings := map[string]*commit{}, map[string][]byte{}
	for name, row := range keyStates {
		m := newKeyMaker(t)
		keyrings[name] = m.make(row.key)
		by := m.primary
		if row.key.sub != nil {
			by = m.sub
		}
		all = append(all, keyrings[name]...)
		fmt.Fprintf(&trust, "%X:6:\n", m.primary.Fingerprint)
		commits[name] = s.rewrite(plain, withSignature(m.sign(text, by, year(3))))
	}
	s.run("sh", "-c", "gpg --batch --import "+s.write("all.gpg", string(all))+" || true") // some keys have no usable name
	s.pipe(trust.String(), "gpg", "--batch", "--import-ownertrust")
	// Otherwise the first gpg --verify does it, and fails where a key is odd.
	s.run("sh", "-c", "gpg --batch --check-trustdb || true")
	for name, row := range keyStates {
		t.Run(name, func(t *testing.T) {
			list, skipped, err := parseKeyring(keyrings[name])
			if err == nil && len(skipped) == 0 {
				keys := pgpKeys{list: list, files: []string{"f"}}
				_, err = keys.check([]byte(text), signatureOf(commits[name]), time.Now())
			} else if err == nil {
				t.Fatalf("%q is skipped, and others are not", skipped)
			}
			if (err == nil) != row.good {
				t.Errorf("the error is %v", err)
			}
			if gpg := s.gitAccepts(commits[name], "/dev/null"); gpg != (row.good || row.stricter != "") {
				t.Errorf("gpg accepts it: %t", gpg)
			}
		})
	}
}

// TestMergedKeyStates: of two copies of a key the statements of both count, in any order.
func TestMergedKeyStates(t *testing.T) {
	s := newSigning(t)
	plain := s.commit("commit.gpgSign=false")
	for name, more := range map[string]madeKey{
		"direct: expired":      {direct: says(statement{kind: direct, expires: 1}), names: names(says(always))},
		"direct: certify only": {direct: says(statement{kind: direct, use: "c"}), names: names(says(always))},
		"newer name: expired":  {names: names(says(always), says(statement{kind: cert, at: 1, use: "cs", expires: 2}))},
		"photo: certify only":  {names: names(says(always)), photo: says(statement{kind: cert, at: 1, use: "c"})},
		"revoked":              {direct: says(statement{kind: revoke, at: 1}), names: names(says(always))},
	} {
		t.Run(name, func(t *testing.T) {
			m := newKeyMaker(t)
			first := s.write("first.gpg", string(slices.Clone(m.make(madeKey{names: names(says(always))}))))
			m.out.Reset()
			second := s.write("second.gpg", string(m.make(more)))
			c := s.rewrite(plain, withSignature(m.sign(s.commitText(plain), m.primary, year(3))))
			if _, _, err := verifyAt(Verify{Keyrings: []string{first}}, only(c), time.Now()); err != nil {
				t.Error(err)
			}
			for _, files := range [][]string{{first, second}, {second, first}} {
				if _, _, err := verifyAt(Verify{Keyrings: files}, only(c), time.Now()); err == nil {
					t.Error("it is accepted")
				}
			}
		})
	}
}
