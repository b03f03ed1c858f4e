package source

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
)

// peak is the most memory that a child has taken, in bytes.
var peak atomic.Int64

// TestMain lets this binary be the child that fetches, and after all tests
// looks at the most memory that any of the children took: whatever the hostile
// servers of the tests have sent, it must have stayed below the bound.
func TestMain(m *testing.M) {
	RunChild()
	childEnded = func(used int64) {
		for old := peak.Load(); used > old && !peak.CompareAndSwap(old, used); old = peak.Load() {
		}
	}
	code := m.Run()
	fmt.Printf("the largest child took %d MiB\n", peak.Load()>>20)
	if most := int64(maxResident + 10<<20); peak.Load() > most {
		fmt.Fprintf(os.Stderr, "that is more than %d MiB\n", most>>20)
		code = 1
	}
	os.Exit(code)
}

// childPeak is the memory of the largest child that ends during f, in MiB.
func childPeak(f func()) int64 {
	before := peak.Swap(0)
	f()
	now := peak.Load()
	peak.Store(max(before, now))
	return now >> 20
}
