package systemdtest

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed start.sh
var startScript []byte

// Node is a node with systemd as its process 1.
type Node struct {
	t       testing.TB
	dir     string
	cgroup  string
	layers  []string // from the lowest to the highest, above this machine's files
	network bool     // it has a network namespace of its own
	systemd *exec.Cmd
	init    int // process 1, as this machine counts
}

// An Option says what a node has that others do not have.
type Option func(*Node)

// Layer gives the node the files of a directory, an upper layer of overlayfs, above those of this
// machine. Of several layers the last is the highest.
func Layer(dir string) Option {
	return func(n *Node) { n.layers = append(n.layers, dir) }
}

// OwnNetwork gives the node a network namespace of its own, with nothing but the loopback interface.
// The namespace is not the kernel's initial one.
func OwnNetwork() Option {
	return func(n *Node) { n.network = true }
}

// masked are the units of this machine that have nothing to do on a node of a test.
var masked = []string{
	"systemd-sysctl.service", "systemd-udevd.service", "systemd-udev-trigger.service", "systemd-timesyncd.service", "systemd-logind.service",
	"systemd-modules-load.service", "systemd-binfmt.service", "systemd-random-seed.service", "e2scrub_reap.service", "ssh.service",
	"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer", "logrotate.timer",
	"getty.target", "dev-hugepages.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount",
}

// New makes a node and starts it. It ends with the test. Files of nfsync on this machine are not
// the node's.
func New(t testing.TB, options ...Option) *Node {
	t.Helper()
	n := &Node{t: t, dir: t.TempDir()}
	for _, option := range options {
		option(n)
	}
	n.must(unix.Mount("node", n.dir, "tmpfs", 0, "mode=700"))
	t.Cleanup(func() { _ = unix.Unmount(n.dir, unix.MNT_DETACH) })
	for _, dir := range []string{"upper", "work", "root", "empty", "machine", "upper/etc/systemd/system"} {
		n.must(os.MkdirAll(filepath.Join(n.dir, dir), 0o755))
	}
	n.must(os.WriteFile(filepath.Join(n.dir, "start.sh"), startScript, 0o644))
	for _, unit := range masked {
		n.must(os.Symlink("/dev/null", filepath.Join(n.dir, "upper/etc/systemd/system", unit)))
	}
	for _, wants := range []string{"multi-user.target.wants", "timers.target.wants", "sockets.target.wants"} {
		dir := filepath.Join(n.dir, "upper/etc/systemd/system", wants)
		n.must(os.Mkdir(dir, 0o755))
		n.must(unix.Setxattr(dir, "trusted.overlay.opaque", []byte("y"), 0)) // hides that of this machine
	}
	for _, name := range []string{"etc/nfsync", "var/lib/nfsync"} {
		n.hide(name)
	}
	n.Start()
	return n
}

// hide removes a directory of this machine from the node.
func (n *Node) hide(name string) {
	if _, err := os.Lstat("/" + name); err == nil {
		file := filepath.Join(n.dir, "upper", name)
		n.must(os.MkdirAll(filepath.Dir(file), 0o755))
		n.must(unix.Mknod(file, unix.S_IFCHR, 0)) // overlayfs: a removed file
	}
}

// Start starts the node and waits until systemd has started all units.
func (n *Node) Start() {
	n.t.Helper()
	n.makeCgroup()
	// Standard input ends with the test, however that ends, and the node with it. The shell enters the
	// cgroup before its namespaces are made: it is the root of the node's.
	const start = `exec 3<&0 0</dev/null
{ cat <&3; kill -KILL $$; } >/dev/null 2>&1 &
exec 3<&-
echo $$ >"$CGROUP/cgroup.procs"
exec unshare --mount --pid --fork --kill-child --uts --ipc --cgroup $NETWORK sh "$1/start.sh" "$1"`
	n.systemd = exec.CommandContext(n.t.Context(), "sh", "-c", start, "sh", n.dir)
	n.systemd.Env = append(os.Environ(), "CGROUP="+n.cgroup, "LAYERS="+n.lower())
	if n.network {
		n.systemd.Env = append(n.systemd.Env, "NETWORK=--net")
	}
	n.systemd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var said bytes.Buffer
	n.systemd.Stdout, n.systemd.Stderr = &said, &said
	_, err := n.systemd.StdinPipe() // closed by Wait
	n.must(err)
	n.must(n.systemd.Start())
	n.t.Cleanup(n.Kill)
	n.init = n.firstProcess(&said)
	if state, err := n.Run("systemctl", "is-system-running", "--wait"); err != nil {
		failed, _ := n.Run("systemctl", "--failed", "--no-pager")
		journal, _ := n.Run("journalctl", "--no-pager", "-q", "-o", "cat", "-b", "-n", "50")
		n.t.Fatalf("the node is %s%s%s%s", state, failed, journal, &said)
	}
}

// lower returns the layers as overlayfs lists them: the highest first.
func (n *Node) lower() string {
	layers := slices.Clone(n.layers)
	slices.Reverse(layers)
	return strings.Join(layers, ":")
}

// newBootID returns an id in the form that the kernel has it.
func newBootID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x\n", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// makeCgroup makes the cgroup whose descendants are the node's, and no other node's. It is in the
// unified hierarchy: systemd would use those of the old ones that this machine has for itself.
func (n *Node) makeCgroup() {
	root := "/sys/fs/cgroup/unified"
	var fs unix.Statfs_t
	if n.must(unix.Statfs("/sys/fs/cgroup", &fs)); fs.Type == unix.CGROUP2_SUPER_MAGIC {
		root = "/sys/fs/cgroup"
	}
	var err error
	n.cgroup, err = os.MkdirTemp(root, "nfsync-systemdtest-*")
	n.must(err)
	n.must(os.Chmod(n.cgroup, 0o755)) // it is the node's /sys/fs/cgroup, which users read
}

// startTimeout is how long a node may take to start, on a busy machine.
const startTimeout = time.Minute

// firstProcess returns systemd's process, once it answers.
func (n *Node) firstProcess(said *bytes.Buffer) int {
	n.t.Helper()
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		list, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", n.systemd.Process.Pid))
		for _, child := range strings.Fields(string(list)) {
			pid, err := strconv.Atoi(child)
			if err != nil {
				continue
			}
			if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/run/systemd/private", pid)); err == nil && isSystemd(pid) {
				return pid
			}
		}
	}
	n.Kill()
	n.t.Fatalf("systemd does not start: %s", said)
	return 0
}

// isSystemd reports whether a process is systemd, and not one that watches it.
func isSystemd(pid int) bool {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(name)) == "systemd"
}

// Kill ends all processes of the node at once, as a power cut does.
func (n *Node) Kill() {
	if n.systemd == nil {
		return
	}
	if n.init > 0 {
		_ = unix.Kill(n.init, unix.SIGKILL)
	}
	_ = n.systemd.Process.Kill()
	_ = n.systemd.Wait()
	n.systemd, n.init = nil, 0
	removeCgroup(n.cgroup)
}

// removeCgroup removes a cgroup and those below it, once the kernel has ended their processes.
func removeCgroup(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			removeCgroup(filepath.Join(dir, e.Name()))
		}
	}
	for deadline := time.Now().Add(10 * time.Second); errors.Is(os.Remove(dir), unix.EBUSY) && time.Now().Before(deadline); {
		<-time.After(10 * time.Millisecond)
	}
}

// Restart kills the node and starts it again, with what is on its disk and with a new boot id. A
// service with a procfs of its own, as some settings of a sandbox bring, sees that of this machine
// all the same.
func (n *Node) Restart() {
	n.t.Helper()
	n.Kill()
	n.must(os.RemoveAll(filepath.Join(n.dir, "work")))
	n.must(os.Mkdir(filepath.Join(n.dir, "work"), 0o755))
	n.must(os.WriteFile(filepath.Join(n.dir, "boot_id"), []byte(newBootID()), 0o644))
	n.Start()
}

// Command returns a command that runs on the node.
func (n *Node) Command(name string, args ...string) *exec.Cmd {
	enter := []string{"-t", strconv.Itoa(n.init), "-m", "-p", "-u", "-i", "-C", "--root", "--wd"}
	if n.network {
		enter = append(enter, "-n")
	}
	enter = append(append(enter, "--", name), args...)
	cmd := exec.CommandContext(n.t.Context(), "nsenter", enter...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "NO_COLOR=1", "SYSTEMD_PAGER=", "DEBIAN_FRONTEND=noninteractive"}
	return cmd
}

// Run runs a program on the node, and returns what it prints on both streams.
func (n *Node) Run(name string, args ...string) (string, error) {
	out, err := n.Command(name, args...).CombinedOutput()
	return string(out), err
}

// Must is Run for a program that must succeed.
func (n *Node) Must(name string, args ...string) string {
	n.t.Helper()
	out, err := n.Run(name, args...)
	if err != nil {
		n.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// Path returns where a file of the node is on this machine, while the node runs.
func (n *Node) Path(name string) string {
	return filepath.Join(fmt.Sprintf("/proc/%d/root", n.init), name)
}

// Write writes a file of the node.
func (n *Node) Write(name, text string, mode os.FileMode) {
	n.t.Helper()
	n.must(os.MkdirAll(filepath.Dir(n.Path(name)), 0o755))
	n.must(os.WriteFile(n.Path(name), []byte(text), mode))
}

// Read returns a file of the node; empty if it does not exist.
func (n *Node) Read(name string) string {
	n.t.Helper()
	text, err := os.ReadFile(n.Path(name))
	if !errors.Is(err, os.ErrNotExist) {
		n.must(err)
	}
	return string(text)
}

// Written lists what is on the node's disk and not on this machine's, or differs there: what was made
// or changed since the node began to exist.
func (n *Node) Written() []string {
	n.t.Helper()
	upper := filepath.Join(n.dir, "upper")
	var list []string
	n.must(filepath.WalkDir(upper, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeCharDevice == 0 { // overlayfs: a removed file
			list = append(list, strings.TrimPrefix(file, upper))
		}
		return nil
	}))
	return list
}

// Copy copies a file of this machine to the node.
func (n *Node) Copy(from, to string, mode os.FileMode) {
	n.t.Helper()
	data, err := os.ReadFile(from)
	n.must(err)
	n.Write(to, string(data), mode)
}

func (n *Node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}
