package rollout

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
)

// Position returns where a node is in the order of a roll-out, from 0 to below 1: the first 8 bytes of
// SHA-256(seed, 0, node). The nodes of a group begin in this order.
func Position(seed, node string) float64 {
	text := make([]byte, 0, 160)
	text = append(text, seed...)
	text = append(text, 0)
	text = append(text, node...)
	sum := sha256.Sum256(text)
	// A float64 has 53 bits of precision. More would round some positions up to 1.
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)
}

// above returns the lowest fraction that a position is below.
func above(position float64) float64 { return math.Nextafter(position, 2) }
