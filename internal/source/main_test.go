package source

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
)

// peak is the largest memory of a child, in bytes.
var peak atomic.Int64

// TestMain runs this binary as the child if it was started as one. After all tests it checks
// that no child, whatever the hostile servers have sent, has exceeded the bound on memory.
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

// childPeak calls f and returns the memory of the largest child that ends during it, in MiB.
func childPeak(f func()) int64 {
	before := peak.Swap(0)
	f()
	now := peak.Load()
	peak.Store(max(before, now))
	return now >> 20
}
