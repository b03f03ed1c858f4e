package fleet

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nkeys"
)

// What a sealed document is.
const (
	SealRollout = "rollout"
	SealGrant   = "grant"
)

// envelope is a signed document on its way. The payload is text, so that what was signed is what was sent, byte for byte.
type envelope struct {
	Payload    string `json:"payload"`
	Generation uint64 `json:"generation"`
	Signature  []byte `json:"signature"`
}

// Seal signs a document in JSON with its field generation: what it is and its channel are signed with it, and so is the
// node of a grant, as GrantChannel returns it.
func Seal(what, channel string, document any, key nkeys.KeyPair) ([]byte, error) {
	payload, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("cannot seal the %s: %w", what, err)
	}
	var numbered struct {
		Generation uint64 `json:"generation"`
	}
	if err := json.Unmarshal(payload, &numbered); err != nil {
		return nil, fmt.Errorf("cannot seal the %s: it has no generation: %w", what, err)
	}
	e := envelope{Payload: string(payload), Generation: numbered.Generation}
	if e.Signature, err = key.Sign(signed(what, channel, e.Generation, digestOf(e.Payload))); err != nil {
		return nil, fmt.Errorf("cannot sign the %s: %w", what, err)
	}
	return json.Marshal(e)
}

// Open verifies a sealed document and reads it. The error is a *ForgedError. Nothing of the payload is read before its
// signature is verified.
func Open(what, channel string, sealed []byte, publicKey string, document any) error {
	e, err := openEnvelope(sealed)
	if err != nil {
		return err
	}
	if err := verify(signed(what, channel, e.Generation, digestOf(e.Payload)), e.Signature, publicKey); err != nil {
		return &ForgedError{fmt.Errorf("it is no %s of %s: %w", what, channel, err)}
	}
	return e.read(document)
}

// verify verifies a signature of a text.
func verify(text, signature []byte, publicKey string) error {
	if len(signature) == 0 {
		return errors.New("it has no signature")
	}
	key, err := nkeys.FromPublicKey(publicKey)
	if err != nil {
		return fmt.Errorf("the coordinator's key %q is no public key: %w", publicKey, err)
	}
	if err := key.Verify(text, signature); err != nil {
		return fmt.Errorf("its signature is not that of %s", publicKey)
	}
	return nil
}

// Prove returns a proof, of some 170 bytes, that a sealed document was signed with its generation: what was signed of it,
// without the document. It is empty if it is no sealed document.
func Prove(sealed []byte) string {
	e, err := openEnvelope(sealed)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d.%s.%s", e.Generation, digestOf(e.Payload), base64.RawURLEncoding.EncodeToString(e.Signature))
}

// Proven returns the generation of which a proof shows that a roll-out document of the channel was signed with it. The
// error is a *ForgedError.
func Proven(proof, channel, publicKey string) (generation uint64, err error) {
	parts := strings.Split(proof, ".")
	if len(parts) != 3 {
		return 0, &ForgedError{errors.New("it is no proof")}
	}
	generation, err = strconv.ParseUint(parts[0], 10, 64)
	if err != nil {
		return 0, &ForgedError{errors.New("the proof has no generation")}
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err == nil {
		err = verify(signed(SealRollout, channel, generation, parts[1]), signature, publicKey)
	}
	if err != nil {
		return 0, &ForgedError{fmt.Errorf("the proof is not good: %w", err)}
	}
	return generation, nil
}

// openUnverified reads a sealed document without its signature.
func openUnverified(sealed []byte, document any) error {
	e, err := openEnvelope(sealed)
	if err != nil {
		return err
	}
	return e.read(document)
}

func openEnvelope(sealed []byte) (envelope, error) {
	var e envelope
	if err := json.Unmarshal(sealed, &e); err != nil {
		return envelope{}, &ForgedError{fmt.Errorf("it is no sealed document: %w", err)}
	}
	return e, nil
}

func (e envelope) read(document any) error {
	if err := json.Unmarshal([]byte(e.Payload), document); err != nil {
		return &ForgedError{fmt.Errorf("its payload cannot be read: %w", err)}
	}
	return nil
}

// GrantChannel returns the channel that the grant of a node is sealed with.
func GrantChannel(channel, node string) string { return channel + " " + node }

// signed returns what a signature covers: not the document but its digest, so that a proof is short. Channels and nodes
// have no spaces or newlines in their names.
func signed(what, channel string, generation uint64, digest string) []byte {
	return fmt.Appendf(nil, "nfsync %s %s\n%d\n%s", what, channel, generation, digest)
}

func digestOf(payload string) string {
	sum := sha256.Sum256([]byte(payload))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
