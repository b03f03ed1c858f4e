package fleet

import (
	"time"

	"github.com/nats-io/nkeys"
)

// SealRetired is what a node has put, once it is gone for good: the coordinator's word for it. Its channel is the node.
const SealRetired = "retired"

type retirement struct {
	Node      string    `json:"node"`
	RetiredAt time.Time `json:"retiredAt"`
}

// Retired returns the value that takes the place of all that a node has put. Streams delete nothing.
func Retired(node string, at time.Time, key nkeys.KeyPair) ([]byte, error) {
	return Seal(SealRetired, node, retirement{node, at}, key)
}

// IsRetired reports whether a value says that its node is retired. Without the coordinator's key it is believed to whoever has
// put it: the node itself, which so hides only itself, or the coordinator.
func IsRetired(node string, value []byte, coordinatorKey string) bool {
	var r retirement
	var err error
	if coordinatorKey == "" {
		err = openUnverified(value, &r)
	} else {
		err = Open(SealRetired, node, value, coordinatorKey, &r)
	}
	return err == nil && r.Node == node && !r.RetiredAt.IsZero()
}
