//go:build race

package source

import "golang.org/x/sys/unix"

// The race detector alone takes more memory than a fetch may: a program that is built
// with it is for tests, and bounded in time only.
const (
	maxResident = 4 << 30
	maxData     = unix.RLIM_INFINITY
	softMemory  = 4 << 30
)
