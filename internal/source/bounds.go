//go:build !race

package source

// The bounds on the memory of a fetch, in bytes.
const (
	// maxResident is the resident memory above which the parent kills the child.
	maxResident = 140 << 20
	// maxData is the child's RLIMIT_DATA. Go's heap grows by arenas of 64 MiB, and two of
	// them fit. Before Linux 4.7 RLIMIT_DATA does not count what Go allocates; there only
	// maxResident holds.
	maxData = 200 << 20
	// softMemory is the child's GOMEMLIMIT, above which it collects garbage more often.
	softMemory = 90 << 20
)
