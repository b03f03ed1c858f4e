package nf

// KindEffective is the kind of an Effective.
const KindEffective = "Effective"

// Effective is the effective policy of nodes: what is wanted of each key, by which policy, and
// what became of it. It is the Effective document. Its slices are never nil.
type Effective struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Revision   string          `json:"revision"` // the policies' commit, or empty
	Nodes      []NodeEffective `json:"nodes"`    // by name
}

// NodeEffective is the effective policy of one node.
type NodeEffective struct {
	NodeSnapshot
	Keys     []EffectiveKey `json:"keys"` // by target and key
	Warnings []Warning      `json:"warnings"`
}

// EffectiveKey is a key of a target that a policy wants something of.
type EffectiveKey struct {
	Target Target `json:"target"`
	Key    Key    `json:"key"`
	Live   Value  `json:"live"`
	// Saved is what is saved for the next start; null: nothing is, or the key has no such value.
	Saved  Value  `json:"saved"`
	Wanted Wish   `json:"wanted"`
	Source Source `json:"policy"` // that has won
	// Lost are the wishes of policies with a lower priority.
	Lost  []Rival  `json:"lost"`
	State KeyState `json:"state"`
	// Code, Reason and Until are those of the refusal, or of what is pending.
	Code   Code   `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
	Until  Until  `json:"until,omitempty"`
}

// KeyState says whether a key is as wanted.
type KeyState string

// The states of keys.
const (
	KeyInSync  KeyState = "in-sync"
	KeyDiffers KeyState = "differs" // a plan would change it
	KeyRefused KeyState = "refused"
	KeyPending KeyState = "pending"
)

// KeyStates lists the states of keys.
func KeyStates() []KeyState { return []KeyState{KeyInSync, KeyDiffers, KeyRefused, KeyPending} }
