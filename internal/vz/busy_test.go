package vz

import (
	"errors"
	"os/exec"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// A program that another operation keeps from the container says so by its exit status
// (VZCTL_E_LOCK in lib/vzerror.h of libvzctl, prlerr2exitcode in src/Utils.cpp of prlctl).
func TestBusy(t *testing.T) {
	for _, test := range []struct {
		program string
		status  string
		busy    bool
	}{{vzctl, "9", true}, {prlctl, "9", true}, {prlctl, "254", true}, {vzctl, "254", false}, {vzctl, "3", false}, {prlctl, "255", false}} {
		err := exec.Command("sh", "-c", "exit "+test.status).Run()
		if busy := errors.Is(&runError{program: test.program, err: err}, nf.ErrBusy); busy != test.busy {
			t.Errorf("%s, exit %s: busy %v", test.program, test.status, busy)
		}
	}
}
