package vz

import "cmp"

// exitUnknownField is the exit status of prlctl list for a field that it does not know
// (src/PrlList.cpp of prlctl).
const exitUnknownField = 1

// The exit statuses of an operation that another one keeps from the container.
const (
	exitLocked = 9   // of vzctl, passed on by prlctl
	exitFrozen = 254 // of prlctl
)

// vzctlExits has the meanings of the exit statuses of vzctl (lib/vzerror.h of libvzctl,
// vzctl(8)). prlctl passes them on.
var vzctlExits = map[int]string{
	3:          "a system call failed",
	5:          "the kernel does not support it",
	8:          "a command in the container failed",
	exitLocked: "locked: another operation on the container is under way; the next lap tries again",
	10:         "the node's configuration /etc/vz/vz.conf cannot be read",
	14:         "the container has no configuration file",
	15:         "a command in the container took too long",
	20:         "a bad option",
	21:         "a bad value",
	31:         "the container is not running",
	32:         "the container is running",
	40:         "the container is not mounted",
	105:        "starting the container is disabled",
	106:        "the netfilter level could not be set",
	139:        "the configuration could not be saved",
	141:        "the container belongs to another node",
	203:        "an unknown parameter",
}

// prlctlExits has the meanings of the exit statuses of prlctl itself (prlerr2exitcode in
// src/Utils.cpp of prlctl).
var prlctlExits = map[int]string{
	1:          "a bad option or value",
	253:        "the dispatcher is not running: see prl-disp.service",
	exitFrozen: "the container is frozen by another operation; the next lap tries again",
	255:        "the dispatcher refused",
}

// exitMeaning returns the meaning of an exit status of a program; empty if it is unknown.
func exitMeaning(program string, code int) string {
	switch program {
	case vzlist:
		return ""
	case prlctl:
		return cmp.Or(prlctlExits[code], vzctlExits[code])
	}
	return vzctlExits[code]
}
