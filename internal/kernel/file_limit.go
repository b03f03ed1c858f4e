package kernel

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// RaiseFileLimit returns how many files this process may open, at most the given number. If the
// limit is lower, it is raised as far as this user may (RLIMIT_NOFILE in getrlimit(2)). The programs
// that nfsync runs have the higher limit only if the hard limit had to be raised. Otherwise they
// have the one with which nfsync was started: package syscall raises the soft limit to the hard one
// for this process only.
func RaiseFileLimit(most int) int {
	want := uint64(most)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	if limit.Cur < want { // more than the hard limit needs CAP_SYS_RESOURCE
		higher := unix.Rlimit{Cur: want, Max: max(limit.Max, want)}
		// Setrlimit would make package syscall forget the lower limit even if it fails.
		_, _, errno := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&higher)), 0, 0, 0)
		if errno == 0 {
			return most
		}
	}
	return int(min(limit.Cur, want))
}
