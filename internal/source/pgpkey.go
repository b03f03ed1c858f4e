package source

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// keyBlock is a primary key with what its owner states about it: all self-signatures, in
// the order of the file, each of them verified. go-crypto's own type drops the direct-key
// signatures of version 4 keys and all but one self-signature of each name.
type keyBlock struct {
	primary     *packet.PublicKey
	revocations []*packet.Signature // of the key
	direct      []*packet.Signature // statements about the key itself
	names       []*pgpName
	subkeys     []*subkey
}

// pgpName is a user ID or a user attribute of a key, such as a photo.
type pgpName struct {
	id         string              // of an attribute, its content
	statements []*packet.Signature // certifications and their revocations
	attribute  bool
}

// subkey is a subkey with the statements of its owner.
type subkey struct {
	*packet.PublicKey
	bindings    []*packet.Signature
	revocations []*packet.Signature
}

// readKeyBlock reads a primary key and all that belongs to it. A self-signature that is
// wrong or of a kind that cannot be verified is an error: it may revoke the key.
func readKeyBlock(packets *packet.Reader) (*keyBlock, error) {
	first, err := packets.Next()
	if err != nil {
		return nil, err
	}
	primary, ok := first.(*packet.PublicKey)
	switch {
	case !ok || !primary.PubKeyAlgo.CanSign():
		return nil, pgperrors.StructuralError("the primary key cannot make signatures")
	case primary.Version != 4:
		return nil, pgperrors.UnsupportedError("it is of version " + strconv.Itoa(primary.Version) + "; gpg makes version 4")
	}
	k := &keyBlock{primary: primary}
	attach := k.attachToKey // attaches a signature to the packet before it
	for {
		p, err := packets.NextWithUnsupported()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if isPrimary(p) {
			packets.Unread(p)
			break
		}
		switch p := p.(type) {
		case *packet.Signature:
			err = attach(p)
		case *packet.UserId:
			attach = k.addName(p.Id, false)
		case *packet.UserAttribute:
			attach = k.addName(attributeContent(p), true)
		case *packet.PublicKey:
			attach = k.addSubkey(p)
		case *packet.UnsupportedPacket:
			switch unsupported := p.IncompletePacket.(type) {
			case *packet.Signature:
				err = unsupportedStatement(unsupported, p.Error)
			case *packet.PublicKey, *packet.UserAttribute:
				attach = func(*packet.Signature) error { return nil }
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if k.names = slices.DeleteFunc(k.names, func(n *pgpName) bool { return len(n.statements) == 0 }); !slices.ContainsFunc(k.names, isUserID) {
		return nil, pgperrors.StructuralError("it has no name with a self-signature")
	}
	return k, nil
}

func isUserID(n *pgpName) bool { return !n.attribute }

// isPrimary reports whether another key begins with a packet.
func isPrimary(p packet.Packet) bool {
	if unsupported, ok := p.(*packet.UnsupportedPacket); ok {
		p = unsupported.IncompletePacket
	}
	switch p := p.(type) {
	case *packet.PublicKey:
		return !p.IsSubkey
	case *packet.PrivateKey:
		return true
	}
	return false
}

// unsupportedStatement returns an error for a signature that cannot be verified, unless it
// certifies a name: such signatures are mostly those of other people.
func unsupportedStatement(s *packet.Signature, why error) error {
	switch s.SigType {
	case packet.SigTypeGenericCert, packet.SigTypePersonaCert, packet.SigTypeCasualCert, packet.SigTypePositiveCert:
		if s.Version == 4 {
			return nil
		}
	}
	return why
}

// find returns the name with that content, or nil.
func (k *keyBlock) find(id string, attribute bool) *pgpName {
	for _, n := range k.names {
		if n.id == id && n.attribute == attribute {
			return n
		}
	}
	return nil
}

// addName adds a name that is new, and returns the function that attaches a signature to it.
func (k *keyBlock) addName(id string, attribute bool) func(*packet.Signature) error {
	n := k.find(id, attribute)
	if n == nil {
		n = &pgpName{id: id, attribute: attribute}
		k.names = append(k.names, n)
	}
	return func(s *packet.Signature) error { return k.attachToName(n, s) }
}

// addSubkey adds a subkey, and returns the function that attaches a signature to it.
func (k *keyBlock) addSubkey(key *packet.PublicKey) func(*packet.Signature) error {
	sub := &subkey{PublicKey: key}
	k.subkeys = append(k.subkeys, sub)
	return func(s *packet.Signature) error { return k.attachToSubkey(sub, s) }
}

// ignores reports whether gpg takes a self-signature for invalid though it verifies: it is
// older than the key, or has a critical notation (sig-check.c). Revocations always count.
func (k *keyBlock) ignores(s *packet.Signature) bool {
	return s.CreationTime.Before(k.primary.CreationTime) || hasCriticalNotation(s)
}

func hasCriticalNotation(s *packet.Signature) bool {
	return slices.ContainsFunc(s.Notations, func(n *packet.Notation) bool { return n.IsCritical })
}

// attachToKey adds a statement about the primary key. A revocation by another key is an
// error, because whether the owner named that key as a revoker is not checked.
func (k *keyBlock) attachToKey(s *packet.Signature) (err error) {
	switch s.SigType {
	case packet.SigTypeKeyRevocation:
		if !s.CheckKeyIdOrFingerprint(k.primary) {
			return pgperrors.StructuralError("another key revokes it")
		}
		k.revocations = append(k.revocations, s)
		err = k.primary.VerifyRevocationSignature(s)
	case packet.SigTypeDirectSignature:
		if !s.CheckKeyIdOrFingerprint(k.primary) || k.ignores(s) {
			return nil
		}
		k.direct = append(k.direct, s)
		err = k.primary.VerifyDirectKeySignature(s)
	}
	return wrongStatement("key", err)
}

func (k *keyBlock) attachToName(n *pgpName, s *packet.Signature) error {
	switch s.SigType {
	case packet.SigTypeGenericCert, packet.SigTypePersonaCert, packet.SigTypeCasualCert, packet.SigTypePositiveCert,
		packet.SigTypeCertificationRevocation:
	default:
		return k.attachToKey(s)
	}
	if !s.CheckKeyIdOrFingerprint(k.primary) || k.ignores(s) {
		return nil
	}
	n.statements = append(n.statements, s)
	if n.attribute {
		return wrongStatement("attribute", verifyAttribute(k.primary, n.id, s))
	}
	return wrongStatement("name", k.primary.VerifyUserIdSignature(n.id, k.primary, s))
}

func (k *keyBlock) attachToSubkey(sub *subkey, s *packet.Signature) (err error) {
	switch s.SigType {
	case packet.SigTypeSubkeyBinding:
		if back := s.EmbeddedSignature; k.ignores(s) || back != nil && back.CreationTime.Before(sub.CreationTime) {
			return nil
		}
		sub.bindings = append(sub.bindings, s)
		err = k.primary.VerifyKeySignature(sub.PublicKey, s) // with the signature by the subkey
	case packet.SigTypeSubkeyRevocation:
		sub.revocations = append(sub.revocations, s)
		err = k.primary.VerifySubkeyRevocationSignature(s, sub.PublicKey)
	default:
		return k.attachToKey(s)
	}
	return wrongStatement("subkey", err)
}

func wrongStatement(about string, err error) error {
	if err == nil {
		return nil
	}
	return pgperrors.StructuralError("a self-signature about its " + about + " is wrong: " + err.Error())
}

// attributeContent returns the content of a user attribute packet.
func attributeContent(a *packet.UserAttribute) string {
	var all bytes.Buffer
	for _, part := range a.Contents {
		_ = part.Serialize(&all) // a buffer returns no error
	}
	return all.String()
}

// verifyAttribute verifies a self-signature about a user attribute (RFC 9580, section
// 5.2.4), which go-crypto does not.
func verifyAttribute(key *packet.PublicKey, content string, s *packet.Signature) error {
	digest, err := s.PrepareVerify()
	if err != nil {
		return err
	}
	if err := key.SerializeForHash(digest); err != nil {
		return err
	}
	n := len(content)
	_, _ = digest.Write([]byte{0xd1, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) // a hash returns no error
	_, _ = io.WriteString(digest, content)
	return key.VerifySignature(digest, s)
}

// merge adds the statements of another copy of the key.
func (k *keyBlock) merge(other *keyBlock) {
	k.revocations = append(k.revocations, other.revocations...)
	k.direct = append(k.direct, other.direct...)
	for _, name := range other.names {
		if known := k.find(name.id, name.attribute); known != nil {
			known.statements = append(known.statements, name.statements...)
		} else {
			k.names = append(k.names, name)
		}
	}
	for _, sub := range other.subkeys {
		i := slices.IndexFunc(k.subkeys, func(s *subkey) bool { return bytes.Equal(s.Fingerprint, sub.Fingerprint) })
		if i < 0 {
			k.subkeys = append(k.subkeys, sub)
			continue
		}
		k.subkeys[i].bindings = append(k.subkeys[i].bindings, sub.bindings...)
		k.subkeys[i].revocations = append(k.subkeys[i].revocations, sub.revocations...)
	}
}

// newest returns the newest signature for which use holds, or nil. Of two with the same
// date it is the later one, as in gpg.
func newest(list []*packet.Signature, use func(*packet.Signature) bool) *packet.Signature {
	var found *packet.Signature
	for _, s := range list {
		if use(s) && (found == nil || !s.CreationTime.Before(found.CreationTime)) {
			found = s
		}
	}
	return found
}

// current returns the newest statement about a name. A revocation goes before a
// certification with the same date.
func (n *pgpName) current() *packet.Signature {
	last := newest(n.statements, func(*packet.Signature) bool { return true })
	if same := newest(n.statements, isRevocation); same != nil && same.CreationTime.Equal(last.CreationTime) {
		return same
	}
	return last
}

func isRevocation(s *packet.Signature) bool {
	return s.SigType == packet.SigTypeCertificationRevocation
}

func hasFlags(s *packet.Signature) bool { return s.FlagsValid }

// lapsed reports whether a statement has expired. One with a date in the future has not:
// SigExpired says so, and an older statement would count in its place.
func lapsed(s *packet.Signature, at time.Time) bool {
	return !at.Before(s.CreationTime) && s.SigExpired(at)
}

func hasExpiry(s *packet.Signature) bool { return s.KeyLifetimeSecs != nil && *s.KeyLifetimeSecs != 0 }

// revokedNames returns the revocations of the names if every user ID is revoked.
func (k *keyBlock) revokedNames() []*packet.Signature {
	var list []*packet.Signature
	for _, n := range k.names {
		switch s := n.current(); {
		case isRevocation(s):
			list = append(list, s)
		case !n.attribute:
			return nil
		}
	}
	return list
}

// name returns the name of the key's owner: of those that are not revoked the one that is
// marked as primary, or else the newest.
func (k *keyBlock) name() string {
	ids := slices.DeleteFunc(slices.Clone(k.names), func(n *pgpName) bool { return n.attribute })
	return slices.MaxFunc(ids, func(a, b *pgpName) int {
		x, y := a.current(), b.current()
		return cmp.Or(
			compareBools(!isRevocation(x), !isRevocation(y)),
			compareBools(isMarked(x), isMarked(y)),
			x.CreationTime.Compare(y.CreationTime))
	}).id
}

// isMarked reports whether a certification marks its name as the primary one.
func isMarked(s *packet.Signature) bool { return s.IsPrimaryId != nil && *s.IsPrimaryId }

// compareBools orders false before true.
func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// keyState is what the statements about a key add up to at one time.
type keyState struct {
	signs   bool
	expires time.Time   // zero: never
	made    []time.Time // when the statements were made; none if no statement is valid
}

// expired reports whether the key has expired.
func (s keyState) expired(at time.Time) bool { return !s.expires.IsZero() && at.After(s.expires) }

// newKeyState returns the state by all valid statements. flags and expiry are those of them
// that hold the key's use and its expiry, or nil.
func newKeyState(key *packet.PublicKey, all []*packet.Signature, flags, expiry *packet.Signature) keyState {
	var s keyState
	for _, statement := range all {
		s.made = append(s.made, statement.CreationTime)
	}
	s.signs = flags != nil && flags.FlagSign
	if expiry != nil {
		s.expires = key.CreationTime.Add(time.Duration(*expiry.KeyLifetimeSecs) * time.Second)
	}
	return s
}

// state returns the state of the primary key as gpg finds it (merge_selfsigs_main in
// getkey.c). The newest direct-key signature goes before all names. What it does not state is
// taken from the newest of the names that state it, whichever is the primary one. A key of
// which nothing states the use does not sign; gpg derives the use from the algorithm, for
// keys older than the statement.
func (k *keyBlock) state(at time.Time) keyState {
	valid := func(s *packet.Signature) bool { return !lapsed(s, at) }
	var live []*packet.Signature
	for _, n := range k.names {
		if s := n.current(); !isRevocation(s) && valid(s) {
			live = append(live, s)
		}
	}
	slices.Reverse(live) // of two names with the same date the first one counts
	flags, expiry := newest(live, hasFlags), newest(live, hasExpiry)
	if direct := newest(k.direct, valid); direct != nil {
		live = append(live, direct)
		if hasFlags(direct) {
			flags = direct
		}
		if hasExpiry(direct) {
			expiry = direct
		}
	}
	return newKeyState(k.primary, live, flags, expiry)
}

// state returns the state of the subkey: that of the newest binding signature (merge_selfsigs_subkey
// in getkey.c). If that one has expired, no older one counts.
func (s *subkey) state(at time.Time) keyState {
	binding := newest(s.bindings, func(*packet.Signature) bool { return true })
	if binding == nil || lapsed(binding, at) {
		return keyState{}
	}
	expiry := binding
	if !hasExpiry(binding) {
		expiry = nil
	}
	return newKeyState(s.PublicKey, []*packet.Signature{binding}, binding, expiry)
}
