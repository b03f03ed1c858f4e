package source

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// pgpKeys holds the trusted OpenPGP keys. All copies of a key are merged into one, with the
// statements of all.
type pgpKeys struct {
	files []string
	list  []*keyBlock
	// unusable maps the fingerprints of keys to the reason why a copy of them cannot be
	// read. That copy may revoke the key.
	unusable map[string]string
}

// readKeyrings reads files of public keys in the format of gpg --export, armored or binary.
// A file that is damaged or has no usable key is an error; a single key that cannot be used
// is a warning.
func readKeyrings(files []string) (keys pgpKeys, warnings []string, err error) {
	keys.files, keys.unusable = files, map[string]string{}
	for _, name := range files {
		data, err := readKeyFile(name)
		if err != nil {
			return pgpKeys{}, warnings, fmt.Errorf("cannot read keyring: %w", err)
		}
		list, skipped, err := parseKeyring(data)
		if err != nil {
			return pgpKeys{}, warnings, fmt.Errorf("cannot read keyring %s: %w", name, err)
		}
		for _, key := range skipped {
			keys.unusable[key.fingerprint] = fmt.Sprintf("a copy of it in %s cannot be read: %s", name, key.why)
			warnings = append(warnings, fmt.Sprintf("keyring %s: %s", name, key))
		}
		for _, key := range list {
			keys.add(key)
		}
	}
	return keys, warnings, nil
}

func (k *pgpKeys) add(key *keyBlock) {
	for _, known := range k.list {
		if bytes.Equal(known.primary.Fingerprint, key.primary.Fingerprint) {
			known.merge(key)
			return
		}
	}
	k.list = append(k.list, key)
}

const remedyExport = "export it again with gpg --export --armor KEY"

// skippedKey is a key that cannot be used.
type skippedKey struct{ fingerprint, why string }

func (s skippedKey) String() string {
	return fmt.Sprintf("OpenPGP key %s is not used: %s", s.fingerprint, s.why)
}

// parseKeyring reads the keys of one file.
func parseKeyring(data []byte) (keys []*keyBlock, skipped []skippedKey, err error) {
	defer func() { // the library may panic on a damaged file
		if r := recover(); r != nil {
			keys, skipped, err = nil, nil, fmt.Errorf("it is damaged: %s; %s", clean(fmt.Sprint(r)), remedyExport)
		}
	}()
	if len(data) > 12 && string(data[8:12]) == "KBXf" {
		return nil, nil, errors.New("it is a keybox, an internal file of gpg; " + remedyExport)
	}
	blocks, err := dearmorKeys(data)
	if err != nil {
		return nil, nil, fmt.Errorf("it is damaged: %s; %s", clean(err.Error()), remedyExport)
	}
	for _, block := range blocks {
		list, more, err := readKeys(block)
		if errors.Is(err, errPrivateKey) {
			return nil, nil, err
		}
		if err != nil {
			return nil, nil, fmt.Errorf("it is damaged: %s; %s", clean(err.Error()), remedyExport)
		}
		keys, skipped = append(keys, list...), append(skipped, more...)
	}
	switch {
	case len(keys) > 0:
		return keys, skipped, nil
	case len(skipped) > 0:
		return nil, nil, fmt.Errorf("it holds no key that can be used: %s; %s", skipped[0], remedyExport)
	}
	return nil, nil, errors.New("it holds no key; " + remedyExport)
}

// The types of armored blocks that hold keys (RFC 9580, section 6.2.1).
const (
	publicKeyType  = "PGP PUBLIC KEY BLOCK"
	privateKeyType = "PGP PRIVATE KEY BLOCK"
)

// dearmorKeys returns the contents of the armored blocks of a file, or the file itself if it is
// binary.
func dearmorKeys(data []byte) (blocks [][]byte, err error) {
	const begin, end = "-----BEGIN PGP ", "-----END PGP "
	text := data
	if !bytes.HasPrefix(text, []byte(begin)) {
		i := bytes.Index(text, []byte("\n"+begin))
		switch {
		case i >= 0:
		case len(bytes.TrimSpace(data)) == 0:
			return nil, nil
		case data[0]&0x80 == 0: // every packet has this bit (RFC 9580, section 4.2)
			return nil, errors.New("neither an armored block nor binary packets")
		default:
			return [][]byte{data}, nil
		}
		text = text[i+1:]
	}
	for len(text) > 0 {
		next := bytes.Index(text[1:], []byte("\n"+begin)) + 2
		if next < 2 {
			next = len(text)
		}
		part := text[:next]
		text = text[next:]
		if !bytes.Contains(part, []byte("\n"+end)) {
			return nil, errors.New("a block has no end")
		}
		block, err := armor.Decode(bytes.NewReader(part))
		if err != nil {
			return nil, fmt.Errorf("a block cannot be read: %w", err)
		}
		if block.Type != publicKeyType && block.Type != privateKeyType {
			return nil, fmt.Errorf("it holds a %s, not a %s", clean(block.Type), publicKeyType)
		}
		content, err := io.ReadAll(block.Body)
		if err != nil {
			return nil, fmt.Errorf("a block cannot be read: %w", err)
		}
		blocks = append(blocks, content)
	}
	return blocks, nil
}

// readKeys reads all keys, and skips those that are malformed or of a kind that the library
// does not support.
func readKeys(data []byte) (keys []*keyBlock, skipped []skippedKey, err error) {
	packets := packet.NewReader(bytes.NewReader(data))
	for {
		fingerprint, err := nextKey(packets)
		if errors.Is(err, io.EOF) {
			return keys, skipped, nil
		}
		if err != nil {
			return nil, nil, err
		}
		key, err := readKeyBlock(packets)
		switch {
		case err == nil:
			keys = append(keys, key)
		case isKeyError(err):
			skipped = append(skipped, skippedKey{fingerprint, clean(err.Error())})
		default:
			return nil, nil, err
		}
	}
}

// isKeyError reports whether an error concerns one key and not the whole file.
func isKeyError(err error) bool {
	_, malformed := errors.AsType[pgperrors.StructuralError](err)
	_, unsupported := errors.AsType[pgperrors.UnsupportedError](err)
	return malformed || unsupported
}

var errPrivateKey = errors.New("it holds a private key, which nfsync never needs; export the public one with gpg --export --armor KEY")

// nextKey skips to the next primary key and returns its fingerprint.
func nextKey(packets *packet.Reader) (fingerprint string, err error) {
	for {
		p, err := packets.Next()
		if err != nil && !isKeyError(err) {
			return "", err
		}
		if _, ok := p.(*packet.PrivateKey); ok {
			return "", errPrivateKey
		}
		if key, ok := p.(*packet.PublicKey); ok && !key.IsSubkey {
			packets.Unread(p)
			return fmt.Sprintf("%X", key.Fingerprint), nil
		}
	}
}

// check returns who made a signature, or why it is not accepted. As with gpg and git, a key
// must be valid now: when it has expired or is revoked, its earlier signatures are refused
// too, because whoever has the key can give a signature any date.
func (k pgpKeys) check(message []byte, armored string, now time.Time) (signer string, err error) {
	signature, err := readSignature(armored)
	if err != nil {
		return "", fmt.Errorf("its OpenPGP signature cannot be read: %s; %s", clean(err.Error()), remedyTrustedKey)
	}
	key, ok := k.find(signature)
	if !ok {
		return "", k.unknownKeyError(signature)
	}
	if err := signature.verify(message, key.PublicKey); err != nil {
		return "", fmt.Errorf("its signature by %s is wrong: the commit is not what was signed; do not use it, and ask who pushed it", key)
	}
	if why, ok := k.unusable[fmt.Sprintf("%X", key.owner.primary.Fingerprint)]; ok {
		return "", fmt.Errorf("it is signed with %s, and %s; %s", key, why, remedyExport)
	}
	if why := key.refusal(signature, now); why != "" {
		return "", fmt.Errorf("it is signed with %s, %s", key, why)
	}
	return key.String(), nil
}

// clockSkew is the time by which the clock of a node may be behind that of a signer.
const clockSkew = 5 * time.Minute

func (k pgpKeys) unknownKeyError(signature pgpSignature) error {
	id := fmt.Sprintf("%016X", *signature.IssuerKeyId)
	if len(signature.IssuerFingerprint) > 0 {
		id = fmt.Sprintf("%X", signature.IssuerFingerprint)
	}
	if len(k.files) == 0 {
		return fmt.Errorf("it is signed with OpenPGP key %s, and no keyring is configured; name one, made with gpg --export --armor %s", id, id)
	}
	return fmt.Errorf("it is signed with OpenPGP key %s, which is in none of %s; if that key is to be trusted, add what gpg --export --armor %s prints",
		id, strings.Join(k.files, ", "), id)
}

// pgpKey is one key that can sign: a primary key, or a subkey of it.
type pgpKey struct {
	*packet.PublicKey
	owner  *keyBlock
	subkey *subkey // nil for the primary key
}

// find returns the key that a signature names.
func (k pgpKeys) find(signature pgpSignature) (pgpKey, bool) {
	for _, owner := range k.list {
		if signature.names(owner.primary) {
			return pgpKey{owner.primary, owner, nil}, true
		}
		for _, s := range owner.subkeys {
			if signature.names(s.PublicKey) {
				return pgpKey{s.PublicKey, owner, s}, true
			}
		}
	}
	return pgpKey{}, false
}

// String returns the fingerprint and the owner of the key.
func (k pgpKey) String() string {
	return fmt.Sprintf("OpenPGP key %X of %s", k.Fingerprint, clean(k.owner.name()))
}

// refusal returns why a signature by the key is not accepted at a time, or "".
func (k pgpKey) refusal(signature pgpSignature, now time.Time) string {
	if why := weakness(k.PublicKey, signature.Signature); why != "" {
		return why
	}
	if why := k.revoked(); why != "" {
		return why
	}
	at := now
	if signature.CreationTime.After(at) { // by at most clockSkew
		at = signature.CreationTime
	}
	primary := k.owner.state(at)
	own := primary
	if k.subkey != nil {
		own = k.subkey.state(at)
	}
	for _, made := range slices.Concat([]time.Time{signature.CreationTime}, primary.made, own.made) {
		if made.After(now.Add(clockSkew)) {
			return fmt.Sprintf("with a date in the future, %s: this node's clock says %s; correct the clock that is wrong", formatTime(made), formatTime(now))
		}
	}
	const extend = "extend it and export it again, or " + remedyTrustedKey
	switch {
	case len(primary.made) == 0 || len(own.made) == 0:
		return "which has no self-signature that is valid now; " + remedyExport
	case signature.CreationTime.Before(k.CreationTime):
		return "before that key was made; " + remedyTrustedKey
	case !own.signs:
		return "which is not meant for signing; " + remedyTrustedKey
	case primary.expired(at):
		return fmt.Sprintf("which has expired at %s; %s", formatTime(primary.expires), extend)
	case own.expired(at):
		return fmt.Sprintf("which has expired at %s; %s", formatTime(own.expires), extend)
	case signature.SigExpired(at):
		return "and that signature has expired; " + remedySign
	}
	if condition := signature.condition(); condition != "" {
		return fmt.Sprintf("under a condition that nfsync does not know (%s); %s", condition, remedyTrustedKey)
	}
	return ""
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// revoked returns why the key is refused if it, its primary key or every name of its owner
// is revoked, or "". The time and the reason of the revocation do not matter: whoever has
// the key can date a signature before it. gpg accepts a key without a valid name; nfsync
// does not, because its owner has withdrawn it from all of them.
func (k pgpKey) revoked() string {
	revocations := slices.Concat(k.owner.revocations, k.owner.revokedNames())
	if k.subkey != nil {
		revocations = append(revocations, k.subkey.revocations...)
	}
	if len(revocations) == 0 {
		return ""
	}
	why := ""
	if text := clean(revocations[0].RevocationReasonText); text != "" {
		why = fmt.Sprintf(" (%q)", text)
	}
	return fmt.Sprintf("which was revoked at %s%s; %s", formatTime(revocations[0].CreationTime), why, remedyTrustedKey)
}

// minRSABits is the least length of an RSA key (NIST SP 800-131A).
const minRSABits = 2048

// weakness returns why the kind of key or digest makes the signature worthless, or "".
func weakness(key *packet.PublicKey, signature *packet.Signature) string {
	switch key.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		if bits, err := key.BitLength(); err != nil || bits < minRSABits {
			return fmt.Sprintf("an RSA key of %d bits, which is too short to be trusted; %s", bits, remedyTrustedKey)
		}
	case packet.PubKeyAlgoDSA:
		return "a DSA key, which is not trusted; " + remedyTrustedKey
	case packet.PubKeyAlgoECDSA, packet.PubKeyAlgoEdDSA:
	default:
		return fmt.Sprintf("a key of algorithm %d, which gpg does not know; %s", key.PubKeyAlgo, remedyTrustedKey)
	}
	switch signature.Hash {
	case crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512:
		return ""
	}
	return fmt.Sprintf("with the digest %s, for which collisions can be made; set personal-digest-preferences SHA512 in gpg.conf, and %s", signature.Hash, remedySign)
}
