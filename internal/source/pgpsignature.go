package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// pgpSignature is the OpenPGP signature of a commit. What is not covered by the signature
// itself is checked here, because go-crypto and gpg use it differently.
type pgpSignature struct {
	*packet.Signature
	hashed, unhashed []subpacket
}

// subpacket is one statement in a signature (RFC 9580, section 5.2.3.7).
type subpacket struct {
	kind     byte
	critical bool
	data     []byte
}

// The kinds of subpackets that are used here (RFC 9580, section 5.2.3.7).
const (
	subpacketCreated     = 2
	subpacketExpires     = 3
	subpacketIssuer      = 16
	subpacketNotation    = 20
	subpacketFingerprint = 33
)

var errTruncated = errors.New("it is cut off")

// readSignature reads an armored block that holds one signature and nothing else.
func readSignature(armored string) (pgpSignature, error) {
	begin := beginPGP
	if strings.HasPrefix(armored, beginPGPMessage) {
		begin = beginPGPMessage
	}
	content, err := dearmorPGP(armored, begin)
	if err != nil {
		return pgpSignature{}, err
	}
	body, err := signatureBody(content)
	if err != nil {
		return pgpSignature{}, err
	}
	p, err := packet.Read(bytes.NewReader(content))
	if err != nil {
		return pgpSignature{}, err
	}
	parsed, ok := p.(*packet.Signature)
	if !ok {
		return pgpSignature{}, errors.New("not a signature")
	}
	s := pgpSignature{Signature: parsed}
	switch {
	case s.Version != 4:
		return s, fmt.Errorf("it is of version %d; gpg makes version 4", s.Version)
	case s.IssuerKeyId == nil:
		return s, errors.New("it does not say which key made it")
	case s.SigType != packet.SigTypeBinary:
		return s, errors.New("it is not a signature of a document")
	}
	return s, s.readBody(body)
}

// signatureBody returns the body of a signature packet, which must be the whole content
// (RFC 9580, section 4.2).
func signatureBody(content []byte) ([]byte, error) {
	if len(content) < 6 {
		return nil, errTruncated
	}
	first, rest := content[0], content[1:]
	tag, length := first&0x3f, -1
	switch old := first&0xc0 == 0x80; {
	case old:
		tag >>= 2
		switch size := 1 << (first & 3); size {
		case 1:
			length, rest = int(rest[0]), rest[1:]
		case 2:
			length, rest = int(binary.BigEndian.Uint16(rest)), rest[2:]
		case 4:
			length, rest = int(binary.BigEndian.Uint32(rest)), rest[4:]
		}
	case first&0xc0 == 0xc0:
		length, rest = newLength(rest, 224)
	}
	switch {
	case tag != 2:
		return nil, errors.New("not a signature")
	case length > len(rest):
		return nil, errTruncated
	case length < len(rest):
		return nil, errors.New("more than one signature, or other data follows it")
	}
	return rest, nil
}

// newLength cuts off a length of one, two or five bytes. twoBytes is the end of the first
// bytes of a length of two. The result is -1 for any other.
func newLength(b []byte, twoBytes int) (int, []byte) {
	switch first := int(b[0]); {
	case first < 192:
		return first, b[1:]
	case first < twoBytes && len(b) >= 2:
		return (first-192)<<8 + int(b[1]) + 192, b[2:]
	case first == 255 && len(b) >= 5:
		return int(binary.BigEndian.Uint32(b[1:])), b[5:]
	}
	return -1, b
}

// readBody reads the subpackets, and checks that the numbers of the signature end where
// the packet ends (RFC 9580, section 5.2.3).
func (s *pgpSignature) readBody(body []byte) (err error) {
	if len(body) < 4 {
		return errTruncated
	}
	rest := body[4:] // the version, the type and the algorithms
	if s.hashed, rest, err = cutSubpackets(rest); err != nil {
		return err
	}
	if s.unhashed, rest, err = cutSubpackets(rest); err != nil {
		return err
	}
	if len(rest) < 2 {
		return errTruncated
	}
	rest = rest[2:] // the first bytes of the digest
	rest = skipNumber(rest)
	if s.PubKeyAlgo != packet.PubKeyAlgoRSA && s.PubKeyAlgo != packet.PubKeyAlgoRSASignOnly {
		rest = skipNumber(rest) // the other kinds that are accepted have two
	}
	if len(rest) > 0 {
		return errors.New("other data follows it")
	}
	return nil
}

// skipNumber returns what follows a number, which begins with its length in bits (RFC 9580,
// section 3.2). packet.Read has checked that it is complete.
func skipNumber(b []byte) []byte {
	if len(b) < 2 {
		return nil
	}
	return b[min(2+(int(binary.BigEndian.Uint16(b))+7)/8, len(b)):]
}

// cutSubpackets cuts off an area of subpackets, which begins with its length.
func cutSubpackets(b []byte) (list []subpacket, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, errTruncated
	}
	size := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; size > len(b) {
		return nil, nil, errTruncated
	}
	for area := b[:size]; len(area) > 0; {
		length, after := newLength(area, 255)
		if length < 1 || length > len(after) {
			return nil, nil, errTruncated
		}
		list = append(list, subpacket{after[0] & 0x7f, after[0]&0x80 != 0, after[1:length]})
		area = after[length:]
	}
	return list, b[size:], nil
}

// names reports whether each name of a key in the signature is that of key. gpg looks a key
// up by the first of them, also where the signature does not cover it.
func (s pgpSignature) names(key *packet.PublicKey) bool {
	for _, p := range slices.Concat(s.hashed, s.unhashed) {
		switch p.kind {
		case subpacketIssuer:
			if len(p.data) != 8 || binary.BigEndian.Uint64(p.data) != key.KeyId {
				return false
			}
		case subpacketFingerprint:
			if len(p.data) < 1 || !bytes.Equal(p.data[1:], key.Fingerprint) {
				return false
			}
		}
	}
	return true
}

// condition returns a critical statement of the signature that nfsync does not know, or "".
// gpg refuses such a signature, also where it does not cover the statement.
func (s pgpSignature) condition() string {
	for i, p := range slices.Concat(s.hashed, s.unhashed) {
		known := i < len(s.hashed) && (p.kind == subpacketCreated || p.kind == subpacketExpires)
		switch {
		case !p.critical || known:
		case p.kind == subpacketNotation:
			return "a critical notation"
		default:
			return fmt.Sprintf("a critical subpacket of type %d", p.kind)
		}
	}
	return ""
}

// verify returns an error unless key made the signature over the message. Like gpg it also
// compares the first bytes of the digest, which the signature does not cover.
func (s pgpSignature) verify(message []byte, key *packet.PublicKey) error {
	digest, err := s.PrepareVerify()
	if err != nil {
		return err
	}
	_, _ = digest.Write(message) // a hash returns no error
	if err := key.VerifySignature(digest, s.Signature); err != nil {
		return err
	}
	// VerifySignature has added the end of what is hashed.
	if !bytes.Equal(digest.Sum(nil)[:2], s.HashTag[:]) {
		return errors.New("it begins with other bytes of the digest")
	}
	return nil
}
