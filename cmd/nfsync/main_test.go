package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host"
	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/vz/vztest"
)

// insideVariable tells a test process that it is in namespaces of its own.
const insideVariable = "NFSYNC_TEST_INSIDE"

// TestMain runs the tests in a mount and a network namespace of their own: no
// mount that a test makes can be left behind, and no value of this machine is
// in their reach. Both need root.
func TestMain(m *testing.M) {
	vztest.Main()
	source.RunChild()
	commands := map[string]func(){
		"nfsync": func() { os.Exit(withFaults(os.Args[1:])) },
		"hn-1":   func() { os.Exit(withFaults(onNode(os.Args[2:]))) },
		"hn-0":   func() { os.Exit(withFaults(onInitial(os.Args[2:]))) },
	}
	if _, isCommand := commands[filepath.Base(os.Args[0])]; !isCommand && os.Getenv(insideVariable) == "" {
		os.Exit(isolated())
	}
	testscript.Main(m, commands)
}

// isolated runs this test binary again, in namespaces of its own.
func isolated() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   unix.CLONE_NEWNET,
		Unshareflags: unix.CLONE_NEWNS, // makes / private too
		Pdeathsig:    syscall.SIGKILL,
	}
	runtime.LockOSThread() // Pdeathsig is the thread's
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "these tests make namespaces, which needs root:", err)
	return 1
}

// onNode is a command line for the node of a script: hn-1 nfsync plan …
func onNode(args []string) []string {
	work := os.Getenv("WORK")
	args = append(args, "--node", "hn-1", "--label", "role=edge",
		"--node-netns", filepath.Join(work, "node"), "--netns-dir", filepath.Join(work, "netns"))
	return append(args, onVirtuozzo()...)
}

// onInitial is a command line for the node that the tests run on, whose boot
// files are those below $WORK/root: hn-0 nfsync plan …. Its live values are not
// the script's to change.
func onInitial(args []string) []string {
	work := os.Getenv("WORK")
	return append(args, "--node", "hn-0", "--node-netns", os.Getenv("INITIAL"),
		"--netns-dir", filepath.Join(work, "netns"), "--root", filepath.Join(work, "root"))
}

// withFaults is nfsync, on a machine that does what FAULT says, or GUARDFAULT for the process that
// takes back what is not confirmed.
func withFaults(args []string) int {
	hurry()
	fault := os.Getenv("FAULT")
	if len(args) > 0 && args[0] == takeBackVerb {
		fault = os.Getenv("GUARDFAULT")
	}
	return run(context.Background(), system{
		args: args, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv,
		machine: func(c host.Config) apply.Machine {
			if fault == "" {
				return host.New(impatient(c))
			}
			return &faulty{Machine: host.New(impatient(c)), fault: fault}
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: false,
		Setup:               prepareNode,
		Cmds: with(gitCommands, map[string]func(*testscript.TestScript, bool, []string){
			"exits":        exits,
			"eventually":   eventually,
			"netns":        netnsCommand,
			"in":           in,
			"fill":         fill,
			"lock":         lock,
			"unprivileged": unprivileged,
			"mount":        mount,
			"bind":         bind,
			"look":         look,
			"vznode":       vznode(t),
			"vzin":         vzin,
		}),
	})
}

// with is both maps together.
func with[K comparable, V any](a, b map[K]V) map[K]V {
	maps.Copy(b, a)
	return b
}

// openScripts lets every user into the directory of all scripts. It is done before any of them starts an
// agent, which would fetch: a directory on the way to its configuration has changed.
var openScripts sync.Once

// prepareNode gives a script a node with no containers: a network namespace
// of its own, and directories below $WORK.
func prepareNode(env *testscript.Env) (err error) {
	openScripts.Do(func() { err = os.Chmod(filepath.Dir(env.WorkDir), 0o755) })
	if err != nil {
		return err
	}
	env.Setenv("STATE_DIRECTORY", filepath.Join(env.WorkDir, "state"))
	env.Setenv("RUNTIME_DIRECTORY", filepath.Join(env.WorkDir, "run"))
	env.Setenv("NO_COLOR", "1")
	env.Setenv("FAULT", "")
	gitEnvironment(env)
	env.Values[serverKey{}] = &server{}
	env.Values[virtuozzoKey{}] = &virtuozzo{}
	env.Setenv("VZROOT", "")
	env.Setenv("PATIENCE", "")
	// The process that waits for this one is where the tests were started.
	env.Setenv("INITIAL", fmt.Sprintf("/proc/%d/ns/net", os.Getppid()))
	if err := os.MkdirAll(filepath.Join(env.WorkDir, "netns"), 0o755); err != nil {
		return err
	}
	node := filepath.Join(env.WorkDir, "node")
	env.Defer(func() { unix.Unmount(node, unix.MNT_DETACH) })
	return netns.Create(node)
}

// exits runs a command and fails unless it ends with that code:
// exits 3 hn-1 nfsync plan policies.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// netnsCommand makes and removes containers: netns add web-1, netns del web-1.
func netnsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: netns add|del name...")
	}
	for _, name := range args[1:] {
		path := ts.MkAbs(filepath.Join("netns", name))
		if args[0] == "del" {
			ts.Check(errors.Join(unix.Unmount(path, unix.MNT_DETACH), os.Remove(path)))
			continue
		}
		ts.Check(netns.Create(path))
		ts.Defer(func() { unix.Unmount(path, unix.MNT_DETACH) })
	}
}

// in runs a program in the node's namespace or a container's: in web-1 nft …
func in(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: in node|container command [args...]")
	}
	path := ts.MkAbs(filepath.Join("netns", args[0]))
	if args[0] == "node" {
		path = ts.MkAbs("node")
	}
	err := ts.Exec("nsenter", append([]string{"--net=" + path}, args[1:]...)...)
	if neg && err == nil {
		ts.Fatalf("unexpected success")
	}
	if !neg {
		ts.Check(err)
	}
}

// lock holds nfsync's lock until the script ends.
func lock(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o755))
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_CREATE|os.O_RDWR, 0o644)
	ts.Check(err)
	ts.Defer(func() { f.Close() })
	ts.Check(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	ts.Check(f.Truncate(0)) // the process before may have a longer number
	_, err = fmt.Fprintln(f, os.Getpid())
	ts.Check(err)
}

// mount makes a directory read-only: mount ro DIR.
func mount(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[1])
	ts.Check(unix.Mount(path, path, "", unix.MS_BIND, ""))
	ts.Defer(func() { unix.Unmount(path, unix.MNT_DETACH) })
	ts.Check(unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
}

// bind gives a namespace a second name: bind node netns/host.
func bind(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[1])
	ts.Check(os.WriteFile(path, nil, 0o600))
	ts.Check(unix.Mount(ts.MkAbs(args[0]), path, "", unix.MS_BIND, ""))
	ts.Defer(func() { unix.Unmount(path, unix.MNT_DETACH) })
}

// look prints what a plan must leave as it is: modules, and the tables and
// values of every namespace of the script.
func look(ts *testscript.TestScript, _ bool, _ []string) {
	const script = `
cat /proc/modules 2>/dev/null
ls /sys/module
for ns in node netns/*; do
	echo "== $ns"
	nsenter --net=$ns sh -c '
		nft list ruleset
		cat /proc/self/net/ip_tables_names /proc/self/net/ip6_tables_names /proc/self/net/ip_tables_matches
		cd /proc/sys/net/netfilter && grep . nf_conntrack_*
		ls /proc/self/net'
done`
	ts.Check(ts.Exec("sh", "-c", script))
}

// nobody is a user without privileges.
const nobody = 65534

// unprivileged runs a command as nobody and fails unless it ends with that
// code: unprivileged 3 hn-1 nfsync plan policies.
func unprivileged(ts *testscript.TestScript, _ bool, args []string) {
	exits(ts, false, append([]string{args[0], "setpriv", "--reuid", strconv.Itoa(nobody), "--regid", strconv.Itoa(nobody), "--clear-groups"}, args[1:]...))
}
