package kernel

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// live is the kernel that the tests run on.
var live = FS{Proc: "/proc", Sys: "/sys", Root: "/"}

// inNetns runs f on a thread that has a network namespace of its own. The thread
// is never used again: it ends with f.
func inNetns(t testing.TB, f func()) {
	t.Helper()
	onThread(t, func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Errorf("unshare: %v", err)
			return
		}
		f()
	})
}

// onThread runs f on a thread of its own, which ends with f. A t.Fatal in f ends
// f only, and then the test.
func onThread(t testing.TB, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
	if t.Failed() {
		t.FailNow()
	}
}

// run runs a command line in the namespace of the calling thread.
func run(t testing.TB, line string) string {
	t.Helper()
	words := strings.Fields(line)
	return command(t, exec.Command(words[0], words[1:]...))
}

// nft feeds nft(8) a script, in the namespace of the calling thread.
func nft(t testing.TB, script string) {
	t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	command(t, cmd)
}

func command(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(cmd.Args, " "), err, stderr.String())
	}
	return string(out)
}

// modules are modules of these names, built in, and no others.
func modules(names ...string) *nf.Modules {
	m := &nf.Modules{Support: nf.SupportNone, Complete: true}
	for _, name := range names {
		m.List = append(m.List, nf.ModuleFact{Name: name, State: nf.ModuleBuiltin})
	}
	return m
}

// netfilter are the modules that the tests of rules need, sorted.
var netfilter = modules("nf_conntrack", "nf_tables")

// withoutPrivileges makes the calling thread, and it alone, nobody's: the
// functions of package syscall would change all threads.
func withoutPrivileges(t testing.TB) {
	t.Helper()
	const nobody = 65534
	for _, call := range []struct{ number, a, b, c uintptr }{
		{unix.SYS_SETGROUPS, 0, 0, 0},
		{unix.SYS_SETRESGID, nobody, nobody, nobody},
		{unix.SYS_SETRESUID, nobody, nobody, nobody},
	} {
		if _, _, errno := unix.RawSyscall(call.number, call.a, call.b, call.c); errno != 0 {
			t.Fatalf("system call %d: %v", call.number, errno)
		}
	}
}

func mustRead(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
