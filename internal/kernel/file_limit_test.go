package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// limitedRole is set in the process of TestRaiseFileLimit that has a low limit.
const limitedRole = "NFSYNC_TEST_LIMITED"

// The limit of open files is raised for this process, as far as its user may. The programs that it
// runs keep theirs, unless more than the hard limit was needed.
func TestRaiseFileLimit(t *testing.T) {
	if os.Getenv(limitedRole) == "" { // in a process that was started with a low limit
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		c := exec.Command("sh", "-c", `ulimit -Sn 1000 && exec "$0" "-test.run=^$1$" -test.v`, self, t.Name())
		c.Env = append(os.Environ(), limitedRole+"=1")
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	var hard, limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &hard); err != nil {
		t.Fatal(err)
	}
	const most = 100_000
	got := RaiseFileLimit(most)
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if got > int(limit.Cur) || got < int(min(hard.Max-1, most)) {
		t.Errorf("the limit was %+v, and now it is %+v: %d", hard, limit, got)
	}
	want := "1000\n"
	if hard.Max < most && got == most {
		want = fmt.Sprintln(most)
	}
	if now, err := exec.Command("sh", "-c", "ulimit -Sn").Output(); err != nil || string(now) != want {
		t.Errorf("a program has %q, want %q, %v", now, want, err)
	}
}
