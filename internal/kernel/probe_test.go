package kernel

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// A kernel that is new enough, and whose configuration has what is asked for,
// does not say no: a probe that asks wrongly would.
func TestProbesOfThisKernel(t *testing.T) {
	config, _, err := live.readKconfig()
	if err != nil {
		t.Fatal(err)
	}
	m := live.Modules(nil, false)
	for _, p := range Probes() {
		answer := p.Ask(&m)
		built := p.Config == "" || config[p.Config] == 'y' || config[p.Config] == 'm'
		switch since := version(t, p.Since); {
		case answer.Can != nf.Yes && answer.Detail == "":
			t.Errorf("%s: %s, without a reason", p.Name, answer.Can)
		case version(t, live.release()) < since && answer.Can == nf.Yes:
			t.Errorf("%s: yes, before Linux %s", p.Name, p.Since)
		case version(t, live.release()) >= since && built && answer.Can == nf.No:
			t.Errorf("%s: no, with Linux %s: %s", p.Name, live.release(), answer.Detail)
		case p.module == "" && answer.Can == nf.MaybeUnknown:
			t.Errorf("%s: root cannot determine it: %s", p.Name, answer.Detail)
		}
	}
}

// version is a number that rises with the version.
func version(t *testing.T, release string) int {
	t.Helper()
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		t.Fatalf("%q: %v", release, err)
	}
	return major*1000 + minor
}

// The kernel is asked until it says yes or no, and then no more. It is not asked
// where that would load a module.
func TestAsk(t *testing.T) {
	var said error
	asked := 0
	ask := func() (string, error) { asked++; return "zstd", said }
	there, notThere := modules("x"), &nf.Modules{Complete: true}
	for _, test := range []struct {
		said   error
		m      *nf.Modules
		can    string
		detail string
		asked  int // in two turns
	}{
		{nil, there, nf.Yes, "zstd", 1},
		{fmt.Errorf("wrapped: %w", unix.ENOTTY), there, nf.No, "wrapped: inappropriate ioctl for device", 1},
		{unix.EPERM, there, nf.MaybeUnknown, "operation not permitted", 2},
		{nil, notThere, nf.MaybeUnknown, "x is not loaded, and asking would load it", 0},
		{nil, &nf.Modules{Unknown: "no evidence"}, nf.MaybeUnknown, "cannot determine whether the kernel has x: no evidence", 0},
	} {
		p := &Probe{module: "x", no: unix.ENOTTY, ask: ask}
		said, asked = test.said, 0
		first, second := p.Ask(test.m), p.Ask(test.m)
		if want := (Answer{test.can, test.detail}); first != want || second != want || asked != test.asked || p.Lacks(test.m) != (test.can == nf.No) {
			t.Errorf("%v, %+v: %+v and %+v, asked %d times", test.said, test.m, first, second, asked)
		}
		if test.can == nf.MaybeUnknown {
			said = nil
			if got := p.Ask(there); got.Can != nf.Yes {
				t.Errorf("%v: %+v once it can be determined", test.said, got)
			}
		}
	}
}

// A kernel that lacks the ids of namespaces says so as ioctl(2) does of a file
// that has no such call.
func TestNetnsIDOfAnotherFile(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	if _, err := NetnsID(pipe[0]); !errors.Is(err, NetnsIDs.no) {
		t.Errorf("%v, want %v", err, NetnsIDs.no)
	}
}
