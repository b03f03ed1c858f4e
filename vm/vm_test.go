//go:build vm

package vm_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// series are the kernels that the cases run on.
var series = []string{"6.1", "6.12"}

// cache is the directory of the kernels, which later runs use again.
const cache = "../.cache/vm"

// TestCases runs every case on every kernel, the kernels in parallel.
func TestCases(t *testing.T) {
	cases := readCases(t)
	tools := filepath.Join(cache, "tools")
	run(t, "../scripts/vm-systemd.sh", filepath.Join(cache, "systemd"))
	run(t, "../scripts/vm-tools.sh", tools, filepath.Join(cache, "systemd"))
	for _, s := range series {
		run(t, "../scripts/vm-kernel.sh", s, filepath.Join(cache, s))
	}
	programs := build(t)
	for _, s := range series {
		t.Run("linux-"+s, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(cache, s)
			m := machine{kernel: filepath.Join(dir, "vmlinuz"), trees: []string{tools, filepath.Join(dir, "root"), programs}}
			m.runShared(t, cases)
			for _, c := range cases {
				if c.own {
					t.Run(c.name, func(t *testing.T) { m.runOwn(t, c) })
				}
			}
		})
	}
}

// run runs a program of this machine. If it fails, the test fails with its output.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// build compiles nfsync and the helper programs, statically, and returns their tree.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "usr", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CGO_ENABLED", "0")
	run(t, "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=vm", "-o", bin+"/nfsync", "../cmd/nfsync")
	for _, tool := range []string{"pkt", "steps", "entries"} {
		run(t, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(bin, tool), "./testdata/"+tool)
	}
	units := filepath.Join(dir, "usr", "lib", "systemd", "system")
	if err := os.MkdirAll(units, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "cp", "../packaging/systemd/nfsync-boot.service", units)
	repository(t, dir)
	return dir
}

// repository makes a repository with one policy in the tree of the programs.
func repository(t *testing.T, dir string) {
	t.Helper()
	const policy = "apiVersion: nfsync.dev/v1alpha1\nkind: NodePolicy\nmetadata: {name: node}\nspec: {level: stateful, conntrack: {max: 40000}}\n"
	work := t.TempDir()
	if err := os.WriteFile(filepath.Join(work, "node.yaml"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "git", "init", "-q", "-b", "main", work)
	run(t, "git", "-C", work, "add", "-A")
	run(t, "git", "-C", work, "-c", "user.name=ada", "-c", "user.email=ada@example.com", "commit", "-q", "-m", "policy")
	run(t, "git", "clone", "-q", "--bare", work, filepath.Join(dir, "policies.git"))
}

// machine holds what all boots of one kernel share.
type machine struct {
	kernel string
	trees  []string
}

// runShared runs all cases that need no boot of their own in one boot.
func (m machine) runShared(t *testing.T, cases []vmCase) {
	var names []string
	for _, c := range cases {
		if !c.own {
			names = append(names, c.name)
		}
	}
	if len(names) == 0 {
		return
	}
	d := newDisk(t)
	results := boot(t, m.kernel, m.initramfs(t, names, start{number: 1}), d, "")
	for _, name := range names {
		t.Run(name, func(t *testing.T) { results[name].judge(t, true) })
	}
}

// runOwn runs a case in its own boots, all with the same disk.
func (m machine) runOwn(t *testing.T, c vmCase) {
	d := newDisk(t)
	for n := 1; n <= c.boots && !t.Failed(); n++ {
		initramfs := m.initramfs(t, []string{c.name}, start{number: n, own: true, systemd: c.systemd, pid1: c.pid1, copies: d.list()})
		results := boot(t, m.kernel, initramfs, d, c.append)
		results[c.name].judge(t, n == c.boots)
	}
}

// start describes one boot to the machine's init.
type start struct {
	number  int
	own     bool   // the case is the only one in this boot
	systemd bool   // run systemd's programs for boot files before the case
	pid1    bool   // systemd is the first process
	copies  []byte // the names of the disk's copies, one a line
}

// initramfs writes the initramfs of one boot, with programs, modules and cases, and
// returns its path.
func (m machine) initramfs(t *testing.T, names []string, s start) string {
	t.Helper()
	var b bytes.Buffer
	a := &archive{w: &b}
	for _, dir := range []string{"dev", "proc", "sys", "run", "tmp", "etc", "disk", "vm"} {
		a.dir(dir)
	}
	a.entry("dev/console", typeDevice|0o600, 5, 1, nil)
	for _, tree := range m.trees {
		a.tree(tree)
	}
	a.tree("testdata/guest")
	a.file("vm/list", 0o644, []byte(strings.Join(names, "\n")+"\n"))
	a.file("vm/boot", 0o644, fmt.Appendln(nil, s.number))
	a.file("vm/copies", 0o644, s.copies)
	for name, is := range map[string]bool{"vm/own": s.own, "vm/systemd": s.systemd, "vm/pid1": s.pid1} {
		if is {
			a.file(name, 0o644, nil)
		}
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join("testdata/cases", name+".sh"))
		if err != nil {
			t.Fatal(err)
		}
		a.file("vm/"+name+".sh", 0o644, data)
	}
	if err := a.end(); err != nil {
		t.Fatalf("cannot make the initramfs: %v", err)
	}
	path := filepath.Join(t.TempDir(), "initramfs")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
