//go:build race

package source

import "golang.org/x/sys/unix"

// The race detector alone takes more memory than a fetch may. A program that is built with
// it is for tests, and bounded only in time.
const (
	maxResident = 4 << 30
	maxData     = unix.RLIM_INFINITY
	softMemory  = 4 << 30
)
