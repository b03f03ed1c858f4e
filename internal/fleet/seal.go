package fleet

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nkeys"
)

// What a sealed document is.
const (
	SealRollout = "rollout"
	SealGrant   = "grant"
)

// envelope is a signed document on its way. The payload is text, so that what was signed is what was sent, byte for byte.
type envelope struct {
	Payload   string `json:"payload"`
	Signature []byte `json:"signature"`
}

// Seal signs a document: what it is and its channel are signed with it, and so is the node of a grant, as GrantChannel
// returns it.
func Seal(what, channel string, document any, key nkeys.KeyPair) ([]byte, error) {
	payload, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("cannot seal the %s: %w", what, err)
	}
	signature, err := key.Sign(signed(what, channel, string(payload)))
	if err != nil {
		return nil, fmt.Errorf("cannot sign the %s: %w", what, err)
	}
	return json.Marshal(envelope{Payload: string(payload), Signature: signature})
}

// Open verifies a sealed document and reads it. The error is a *ForgedError. Nothing of the payload is read before its
// signature is verified.
func Open(what, channel string, sealed []byte, publicKey string, document any) error {
	e, err := openEnvelope(sealed)
	if err != nil {
		return err
	}
	if len(e.Signature) == 0 {
		return &ForgedError{errors.New("it has no signature")}
	}
	key, err := nkeys.FromPublicKey(publicKey)
	if err != nil {
		return &ForgedError{fmt.Errorf("the coordinator's key %q is no public key: %w", publicKey, err)}
	}
	if err := key.Verify(signed(what, channel, e.Payload), e.Signature); err != nil {
		return &ForgedError{fmt.Errorf("its signature is not that of %s, for a %s of %s", publicKey, what, channel)}
	}
	return e.read(document)
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

// signed returns what a signature covers. Channels and nodes have no spaces or newlines in their names.
func signed(what, channel, payload string) []byte {
	return []byte("nfsync " + what + " " + channel + "\n" + payload)
}
