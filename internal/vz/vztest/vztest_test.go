package vztest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

const uuid = "ccefa40c-5c72-4e17-94c7-d68034a1c1a5"

// run runs a program of the node as a process.
func run(t *testing.T, n *Node, program string, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), n.path(tools[program], program), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var status *exec.ExitError
	if err != nil && !errors.As(err, &status) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// `set --netfilter` behaves as in the vendor's programs: prlctl in src/PrlVm.cpp and
// src/CmdParam.cpp, vzctl in src/vzctl.c and in lib/env.c of libvzctl.
func TestSet(t *testing.T) {
	running := Container{ID: "101", UUID: uuid, Name: "web", Saved: "full", State: nf.StateRunning}
	stopped := Container{ID: "101", UUID: uuid, Name: "web", Saved: "full"}
	suspended := Container{ID: "101", UUID: uuid, Name: "web", Saved: "full", State: nf.StateSuspended}
	paused := Container{ID: "101", UUID: uuid, Name: "web", Saved: "full", State: nf.StatePaused}
	for name, test := range map[string]struct {
		add    Container
		args   string // program and arguments
		exit   int
		stderr string // part of it
		saved  string
	}{
		"prlctl, running":             {running, "prlctl set web --netfilter stateful", 255, "Unable to set netfilter for the running Container.", "full"},
		"prlctl, running, the same":   {running, "prlctl set web --netfilter full", 255, "Unable to set netfilter for the running Container.", "full"},
		"prlctl, stopped, by name":    {stopped, "prlctl set web --netfilter stateful", 0, "deprecated", "stateful"},
		"prlctl, by UUID":             {stopped, "prlctl set " + uuid + " --netfilter disabled", 0, "deprecated", "disabled"},
		"prlctl, in braces":           {stopped, "prlctl set {" + uuid + "} --netfilter disabled", 0, "deprecated", "disabled"},
		"prlctl, by CTID":             {stopped, "prlctl set 101 --netfilter stateful", 255, "could not be found", "full"},
		"prlctl, suspended":           {suspended, "prlctl set web --netfilter stateful", 0, "deprecated", "stateful"},
		"prlctl, paused":              {paused, "prlctl set web --netfilter stateful", 255, "PRL_ERR_OPERATION_FAILED", "stateful"},
		"prlctl, no level":            {stopped, "prlctl set web --netfilter Full", 1, "An incorrect netfilter mode ('Full') was specified.", "full"},
		"prlctl, no option":           {stopped, "prlctl set web --netfiltr full", 1, "Unrecognized option", "full"},
		"vzctl, running":              {running, "vzctl set 101 --netfilter stateful --save", 32, "Please consider using --setmode", "stateful"},
		"vzctl, running, by name":     {running, "vzctl set web --save --netfilter stateful", 32, "Unable to set netfilter", "stateful"},
		"vzctl, running, the same":    {running, "vzctl set 101 --netfilter full --save", 0, "", "full"},
		"vzctl, running, not saved":   {running, "vzctl set 101 --netfilter stateful", 32, "Unable to set netfilter", "full"},
		"vzctl, running, ignore":      {running, "vzctl set 101 --netfilter stateful --save --setmode ignore", 32, "", "stateful"},
		"vzctl, running, restart":     {running, "vzctl set 101 --netfilter stateful --save --setmode restart", 0, "", "stateful"},
		"vzctl, restart but not save": {running, "vzctl set 101 --netfilter stateful --setmode restart", 20, "without --save", "full"},
		"vzctl, paused":               {paused, "vzctl set 101 --netfilter stateful --save", 32, "Unable to set netfilter", "stateful"},
		"vzctl, stopped":              {stopped, "vzctl set 101 --netfilter stateful --save", 0, "", "stateful"},
		"vzctl, no level":             {stopped, "vzctl set 101 --netfilter FULL --save", 21, "An incorrect netfilter: FULL", "full"},
		"vzctl, no option":            {stopped, "vzctl set 101 --netfiltr full --save", 20, "unrecognized option", "full"},
		"vzctl, no name":              {stopped, "vzctl set mail --netfilter disabled --save", 21, "Invalid ctid is specified: mail", "full"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := New(t)
			n.Add(test.add)
			pid := n.Pid("101")
			args := strings.Fields(test.args)
			_, stderr, exit := run(t, n, args[0], args[1:]...)
			if exit != test.exit || !strings.Contains(stderr, test.stderr) || n.Saved("101") != test.saved {
				t.Errorf("exit status %d, saved %s: %s", exit, n.Saved("101"), stderr)
			}
			if restarted := n.Pid("101") != pid; restarted != (name == "vzctl, running, restart") {
				t.Errorf("restarted: %v", restarted)
			}
			if calls := n.Calls(); len(calls) != 1 || !slices.Equal(calls[0], args) {
				t.Errorf("calls %q", calls)
			}
		})
	}
}

// --setmode restart does not restart if the level is already saved, whatever the live mask is
// (check_setmode, lib/env.c of libvzctl).
func TestSetModeRestartIgnoresTheLiveMask(t *testing.T) {
	n := New(t)
	mask := uint64(maskDefault)
	n.Add(Container{ID: "101", Saved: "full", State: nf.StateRunning, Mask: &mask})
	pid := n.Pid("101")
	if _, stderr, exit := n.Run("vzctl", "set", "101", "--netfilter", "full", "--setmode", "restart", "--save"); exit != 0 || n.Pid("101") != pid {
		t.Errorf("exit status %d, %s, restarted %v", exit, stderr, n.Pid("101") != pid)
	}
	if n.Mask("101") != mask {
		t.Errorf("mask %#x", n.Mask("101"))
	}
}

// vzctl creates a ve.conf for a CTID that no container has. vzlist does not list it, as it has no
// private area.
func TestSetCreatesAConf(t *testing.T) {
	n := New(t)
	stdout, stderr, exit := n.Run("vzctl", "set", "999", "--netfilter", "full", "--save")
	if exit != 0 {
		t.Error(exit, stdout, stderr)
	}
	if text, err := os.ReadFile(n.path(confDir, "999.conf")); err != nil || string(text) != "NETFILTER=\"full\"\n" {
		t.Errorf("%q, %v", text, err)
	}
	if stdout, _, _ := n.Run("vzlist", "-a", "-H", "-o", "ctid"); stdout != "" {
		t.Errorf("vzlist lists %q", stdout)
	}
}

// Saving a level changes only its own lines, and the link stays.
func TestSetChangesOnlyItsOwnLines(t *testing.T) {
	n := New(t)
	n.Add(Container{ID: "101", Saved: "full"})
	link := n.path(confDir, "101.conf")
	target, err := os.Readlink(link)
	if err != nil || target != "/vz/private/101/ve.conf" {
		t.Fatalf("%s leads to %s, %v", link, target, err)
	}
	const before = "# NETFILTER=\"no\"\nNETFILTER=\"full\"\nONBOOT=yes\n NETFILTER = x\nNETFILTER=disabled"
	const after = "# NETFILTER=\"no\"\nNETFILTER=\"stateful\"\nONBOOT=yes\n NETFILTER = x\nNETFILTER=\"stateful\"\n"
	n.must(os.WriteFile(n.path(target), []byte(before), 0o644))
	if saved := n.Saved("101"); saved != "disabled" {
		t.Errorf("saved %q, want the last line", saved)
	}
	n.Run("vzctl", "set", "101", "--netfilter", "stateful", "--save")
	if text, err := os.ReadFile(n.path(target)); err != nil || string(text) != after {
		t.Errorf("%s, %v", text, err)
	}
	if again, err := os.Readlink(link); err != nil || again != target {
		t.Errorf("the link now leads to %s, %v", again, err)
	}
}

// The masks of IPTABLES= lines are those that ve_setup_iptables_mask of the kernel stores.
// Without a line the mask is VE_IP_DEFAULT.
func TestMaskAfterStart(t *testing.T) {
	for _, test := range []struct {
		saved, names string
		mask         uint64
	}{
		{"disabled", "", 0}, {"stateless", "", 469762055}, {"stateful", "", 1543618567}, {"full", "", 18446744073709551615},
		{"", "", 469762055},
		{"", "ip_tables iptable_filter ipt_REJECT", 201326595},
		{"", "iptable_filter,ipt_state", 1275084803},
		{"", "iptable_nat", 1678786561},
		{"", "nonsense", 469762055},
		{"stateful", "iptable_nat", 1543618567},
		{"Full", "", 469762055},
	} {
		n := New(t)
		n.Add(Container{ID: "101", Saved: test.saved, IPTables: test.names})
		n.Start("101")
		if got := n.Mask("101"); got != test.mask {
			t.Errorf("NETFILTER=%q IPTABLES=%q: %d, want %d", test.saved, test.names, got, test.mask)
		}
	}
}

// files has which files of a container exist.
type files struct {
	pid, link, cgroup, dump bool
}

func (n *Node) filesOf(id string) files {
	exists := func(path string) bool {
		_, err := os.Lstat(path)
		return !errors.Is(err, fs.ErrNotExist)
	}
	return files{
		pid: exists(n.path(pidDir, id+".init.pid")), link: exists(n.path(netnsDir, id)), cgroup: exists(n.path(cgroupDir, id)),
		dump: exists(n.path(privDir, id, "dump/Dump/vz_iptables_mask.img")),
	}
}

// Cold starts and restarts bring the level that was saved meanwhile; resuming does not
// (scripts/vz-cpt.in and vz-rst.in of libvzctl; ACTION_START of src/vzctl.c). Each step leaves
// the files of its state.
func TestLifecycle(t *testing.T) {
	n := New(t)
	n.Add(Container{ID: "101", Saved: "full"})
	seen := map[int]bool{}
	for _, step := range []struct {
		do    string
		level string // live
		state string
		files files
		exit  int
	}{
		{"vzctl status 101", "", "stopped", files{}, 0},
		{"vzctl stop 101", "", "stopped", files{}, 0},
		{"vzctl suspend 101", "", "stopped", files{}, 31},
		{"vzctl resume 101", "", "stopped", files{}, 17},
		{"vzctl start 101", "full", "running", files{pid: true, link: true, cgroup: true}, 0},
		{"vzctl start 101", "full", "running", files{pid: true, link: true, cgroup: true}, 32},
		{"vzctl set 101 --netfilter stateful --save", "full", "running", files{pid: true, link: true, cgroup: true}, 32},
		{"vzctl suspend 101", "", "suspended", files{dump: true}, 0},
		{"vzctl resume 101", "full", "running", files{pid: true, link: true, cgroup: true}, 0},
		{"prlctl suspend 101", "", "suspended", files{dump: true}, 0},
		{"prlctl start 101", "full", "running", files{pid: true, link: true, cgroup: true}, 0},
		{"vzctl suspend 101", "", "suspended", files{dump: true}, 0},
		{"vzctl restart 101", "stateful", "running", files{pid: true, link: true, cgroup: true}, 0},
		{"vzctl set 101 --netfilter disabled --save --setmode restart", "disabled", "running", files{pid: true, link: true, cgroup: true}, 0},
		{"prlctl stop 101", "", "stopped", files{}, 0},
		{"prlctl stop 101", "", "stopped", files{}, 0},
		{"vzctl restart 101", "disabled", "running", files{pid: true, link: true, cgroup: true}, 0},
	} {
		program, args, _ := strings.Cut(step.do, " ")
		if _, stderr, exit := n.Run(program, strings.Fields(args)...); exit != step.exit {
			t.Errorf("%s: exit status %d, %s", step.do, exit, stderr)
		}
		if files := n.filesOf("101"); files != step.files || n.State("101") != step.state {
			t.Errorf("%s: %s, %+v", step.do, n.State("101"), files)
		}
		if step.level != "" && nf.MaskValue(n.Mask("101")) != nf.Text(step.level).As(nf.KeyLevel) {
			t.Errorf("%s: mask %#x", step.do, n.Mask("101"))
		}
		if step.state == nf.StateRunning {
			namespace(t, n, "101")
			seen[n.Pid("101")] = true
		}
	}
	if len(seen) != 6 { // one for each start and resume
		t.Errorf("init processes %v", seen)
	}
}

// namespace returns the network namespace of a container's init, and checks its pid file and its
// link.
func namespace(t *testing.T, n *Node, id string) string {
	t.Helper()
	text, err := os.ReadFile(n.path(pidDir, id+".init.pid"))
	if err != nil || string(text) != fmt.Sprint(n.Pid(id)) {
		t.Fatalf("%q, %v; the init is %d", text, err, n.Pid(id))
	}
	link, err := os.Readlink(n.path(netnsDir, id))
	if err != nil || link != fmt.Sprintf("/proc/%s/ns/net", text) {
		t.Fatal(link, err)
	}
	ns, err := os.Readlink(link)
	own, ownErr := os.Readlink("/proc/self/ns/net")
	if err != nil || ownErr != nil || ns == own {
		t.Fatalf("namespace %s, the node's %s, %v, %v", ns, own, err, ownErr)
	}
	return ns
}

func TestStates(t *testing.T) {
	n := New(t)
	n.Add(
		Container{ID: "1", State: nf.StateRunning}, Container{ID: "2", State: nf.StatePaused}, Container{ID: "3", State: nf.StateMounted},
		Container{ID: "4", State: nf.StateSuspended}, Container{ID: "5"},
		Container{ID: "6", State: "starting"}, Container{ID: "7", State: "migrating", Runs: true},
		Container{ID: "8", VM: true, State: nf.StateRunning}, Container{ID: "9", Template: true}, Container{ID: "10", Unregistered: true},
	)
	stdout, _, exit := n.Run("vzlist", "-a", "-H", "-o", "ctid,status")
	if got := strings.Join(strings.Fields(stdout), " "); exit != 0 ||
		got != "1 running 10 stopped 2 paused 3 mounted 4 suspended 5 stopped 6 stopped 7 running 9 stopped" {
		t.Errorf("vzlist prints %s", got)
	}
	stdout, _, exit = n.Run("prlctl", "list", "-a", "-H", "-o", "name,status,type")
	if got := strings.Join(strings.Fields(stdout), " "); exit != 0 ||
		got != "1 running CT 2 paused CT 3 mounted CT 4 suspended CT 5 stopped CT 6 starting CT 7 migrating CT 8 running VM" {
		t.Errorf("prlctl prints %s", got)
	}
	if _, stderr, exit := n.Run("prlctl", "set", "8", "--netfilter", "full"); exit != 255 || !strings.Contains(stderr, "Containers only") {
		t.Error(exit, stderr)
	}
}

// prlctl escapes some characters of a name (src/PrlOutFormatter.cpp), vzlist escapes none
// (print_json_str of src/vzlist.c). JSON results only if no other character needs it.
func TestOddNames(t *testing.T) {
	for name, want := range map[string]struct{ prlctl, vzlist bool }{
		`plain`: {true, true}, `a"b`: {true, false}, `a\b`: {true, true}, `a\c`: {true, false}, "a\x01b": {false, false},
	} {
		n := New(t)
		n.Add(Container{ID: "101", Name: name})
		prl, _, _ := n.Run("prlctl", "list", "-a", "-j", "-o", "uuid,envid,type,name,status")
		vz, _, _ := n.Run("vzlist", "-a", "-j", "-o", "ctid,name")
		if json.Valid([]byte(prl)) != want.prlctl || json.Valid([]byte(vz)) != want.vzlist {
			t.Errorf("%q: prlctl %s, vzlist %s", name, prl, vz)
		}
	}
}

func TestListsAsJSON(t *testing.T) {
	n := New(t)
	n.Add(Container{ID: "132694", UUID: uuid, Saved: "full", State: nf.StateRunning}, Container{ID: "0c1e4c3b-6d8c-4c5b-9a6b-3f2d1e0a9b8c"})
	for _, test := range []struct{ call, want string }{
		{"vzlist -a -j -o ctid,status,netfilter", `[
  {
    "ctid": "0c1e4c3b-6d8c-4c5b-9a6b-3f2d1e0a9b8c",
    "status": "stopped",
    "netfilter": "-"
  },
  {
    "ctid": "132694",
    "status": "running",
    "netfilter": "full"
  }
]
`},
		{"prlctl list -j -o uuid,ctid,envid,status", `[
	{
		"uuid": "` + uuid + `",
		"ctid": "{` + uuid + `}",
		"envid": "132694",
		"status": "running"
	}
]
`},
		{"vzlist -S -j -o uuid", "[\n  {\n    \"uuid\": \"0c1e4c3b-6d8c-4c5b-9a6b-3f2d1e0a9b8c\"\n  }\n]\n"},
	} {
		args := strings.Fields(test.call)
		if got, stderr, exit := n.Run(args[0], args[1:]...); got != test.want || exit != 0 {
			t.Errorf("%s: %d, %s%s", test.call, exit, got, stderr)
		}
	}
	full, _, _ := n.Run("prlctl", "list", "-a", "-i", "-f", "-j")
	if strings.Count(full, `"Netfilter"`) != 1 || !strings.Contains(full, `"Netfilter": "full"`) {
		t.Errorf("%s", full)
	}
	if brief, _, _ := n.Run("prlctl", "list", "-a", "-i", "-j"); strings.Contains(brief, "Netfilter") {
		t.Errorf("%s", brief)
	}
}

func TestRemoveMasks(t *testing.T) {
	n := New(t)
	n.Add(Container{ID: "101", Saved: "full", State: nf.StateRunning})
	if stdout, _, _ := n.Run("vzlist", "-L"); !strings.Contains(stdout, "netfilter ") {
		t.Errorf("%s", stdout)
	}
	n.RemoveMasks()
	n.Restart("101")
	if stdout, _, _ := n.Run("vzlist", "-L"); strings.Contains(stdout, "netfilter ") {
		t.Errorf("%s", stdout)
	}
	for call, want := range map[string]int{
		"vzlist -a -o netfilter": 1, "prlctl set 101 --netfilter full": 1, "vzctl set 101 --netfilter full --save": 20,
	} {
		args := strings.Fields(call)
		if _, stderr, exit := n.Run(args[0], args[1:]...); exit != want {
			t.Errorf("%s: %d, %s", call, exit, stderr)
		}
	}
	entries, err := os.ReadDir(n.path(cgroupDir, "101"))
	if err != nil || slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "ve.iptables_mask" }) {
		t.Error(entries, err)
	}
}

func TestFaults(t *testing.T) {
	n := New(t)
	n.Add(Container{ID: "101", Saved: "full"}, Container{ID: "102", Saved: "full"})
	n.Misbehave(Fault{Program: "vzctl", Verb: "set", Arg: "101", Times: 1, Exit: 8, Stderr: "noise\n"})
	if _, stderr, exit := run(t, n, "vzctl", "set", "101", "--netfilter", "disabled", "--save"); exit != 8 || stderr != "noise\n" || n.Saved("101") != "disabled" {
		t.Errorf("exit status 8 after the change: %d, %s, %s", exit, stderr, n.Saved("101"))
	}
	end := n.Misbehave(Fault{Verb: "set", Skip: true})
	if _, _, exit := run(t, n, "vzctl", "set", "101", "--netfilter", "full", "--save"); exit != 0 || n.Saved("101") != "disabled" {
		t.Errorf("exit status 0 without the change: %d, %s", exit, n.Saved("101"))
	}
	end()
	n.Misbehave(Fault{Program: "vzlist", Times: 1, Stdout: "<html>"})
	if stdout, _, exit := run(t, n, "vzlist", "-a", "-j"); stdout != "<html>" || exit != 0 {
		t.Error(stdout, exit)
	}
	n.Misbehave(Fault{Verb: "set", Times: 1, Before: func() { n.Remove("101") }})
	if _, stderr, exit := run(t, n, "prlctl", "set", "101", "--netfilter", "full"); exit != 255 {
		t.Error(stderr, exit)
	}
	n.Lock("102", true)
	if _, _, exit := run(t, n, "vzctl", "restart", "102"); exit != 9 {
		t.Error(exit)
	}
	n.StopDispatcher()
	for _, verb := range []string{"list", "set", "start"} {
		if _, _, exit := run(t, n, "prlctl", verb, "102"); exit != 253 {
			t.Error(verb, exit)
		}
	}
	n.Lock("102", false)
	n.FailStart("102", true)
	if _, _, exit := run(t, n, "vzctl", "start", "102"); exit != 3 || n.Pid("102") != 0 {
		t.Error(exit)
	}
	n.FailStart("102", false)
	n.RefuseMask("102", true)
	if _, _, exit := run(t, n, "vzctl", "start", "102"); exit != 0 || n.Mask("102") != maskDefault {
		t.Errorf("%d, %#x", exit, n.Mask("102"))
	}
}

// A program that hangs has a child that holds its output open. Killing the program leaves the
// child; killing the process group ends both.
func TestHang(t *testing.T) {
	n := New(t)
	n.Misbehave(Fault{Program: "prlctl", Hang: true})
	cmd := exec.CommandContext(t.Context(), n.path(tools["prlctl"], "prlctl"), "list")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !n.AwaitHang(t.Context()) {
		t.Fatal("the program does not hang")
	}
	soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := cmd.Process.Kill(); err != nil || n.AwaitNoHang(soon) {
		t.Error("the child ended with its parent", err)
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if !n.AwaitNoHang(t.Context()) {
		t.Error("the child still runs")
	}
	_, _ = stdout.Read(make([]byte, 1))
	_ = cmd.Wait()
}

// The processes and files of a node end with its test.
func TestNodeEndsWithItsTest(t *testing.T) {
	var root string
	var pids []int
	t.Run("node", func(t *testing.T) {
		n := New(t)
		root = n.Root()
		for i := range 20 {
			id := fmt.Sprint(100 + i)
			n.Add(Container{ID: id, State: nf.StateRunning})
			pids = append(pids, n.Pid(id))
		}
		n.Crash("101")
		n.Reboot()
		pids = append(pids, n.Pid("102"))
	})
	for _, pid := range pids {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
			t.Errorf("process %d still runs", pid)
		}
	}
	if _, err := os.Stat(root); err == nil {
		t.Errorf("%s is left", root)
	}
}

// The processes of a node end with the test's process, even if that ends by a panic, without the
// cleanup of the test.
func TestProcessesEndWithAPanic(t *testing.T) {
	const inside = "NFSYNC_TEST_PANIC"
	if os.Getenv(inside) != "" {
		n := New(t)
		n.Add(Container{ID: "101", State: nf.StateRunning})
		fmt.Fprintf(os.Stdout, "%s\n%d\n", n.Root(), n.Pid("101"))
		go panic("not in the test's goroutine")
		select {}
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"=1")
	out, err := cmd.Output()
	var root string
	var pid int
	if _, scanErr := fmt.Sscan(string(out), &root, &pid); err == nil || scanErr != nil {
		t.Fatalf("%s, %v, %v", out, err, scanErr)
	}
	defer os.RemoveAll(filepath.Dir(root))
	for ended := false; !ended; { // killed, but perhaps not yet reaped
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		ended = err != nil || !bytes.Contains(stat, []byte("(sleep)")) || bytes.Contains(stat, []byte(") Z"))
		if t.Context().Err() != nil {
			t.Fatalf("process %d still runs", pid)
		}
	}
}

// A program that lingers ends, and its child holds the output open.
func TestLinger(t *testing.T) {
	n := New(t)
	n.Misbehave(Fault{Program: "vzlist", Linger: true})
	cmd := exec.CommandContext(t.Context(), n.path(tools["vzlist"], "vzlist"), "-a", "-j")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Run(); err != nil || !n.AwaitHang(t.Context()) {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if n.AwaitNoHang(soon) {
		t.Error("the child ended with the program")
	}
}

func TestProcShowsEnvID(t *testing.T) {
	n := New(t)
	n.Add(Container{ID: "101", State: nf.StateRunning})
	dir := filepath.Join(n.Proc(), fmt.Sprint(n.Pid("101")))
	if status, err := os.ReadFile(filepath.Join(dir, "status")); err != nil || !bytes.HasSuffix(status, []byte("\nenvID:\t101\n")) {
		t.Errorf("%s, %v", status, err)
	}
	ns, err := os.Readlink(filepath.Join(dir, "ns/net"))
	if err != nil || ns != namespace(t, n, "101") {
		t.Error(ns, err)
	}
	n.Stop("101")
	if _, err := os.Stat(dir); err == nil {
		t.Error("procfs still has the process")
	}
}
