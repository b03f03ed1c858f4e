package vz

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/netns"
)

// life is what files show of a container's init.
type life struct {
	kind     lifeKind
	pid      int
	instance string         // empty if why says why there is none to work with
	ns       netns.Identity // of the instance
	why      string
	claims   []netns.Identity // the namespaces of the container, even if it cannot be worked with
}

type lifeKind int

const (
	lifeNone lifeKind = iota // no file names an init
	lifeLost                 // a file does, and the process has ended or is another one
	lifeOn                   // init runs
)

// process is one process that may be a container's init.
type process struct {
	pid   int
	start uint64 // in clock ticks since the start of the kernel
	envID string // empty if the kernel does not show it
	ns    netns.Identity
	err   error
}

func (r Runtime) proc() string {
	if r.Proc == "" {
		return "/proc"
	}
	return r.Proc
}

// life finds a container's init: by VE_RUN_DIR/CTID.init.pid (lib/common.c of libvzctl),
// and by the link to its network namespace (lib/env_nsops.c).
func (r Runtime) life(n *node, ctid string) life {
	pids, err := n.initPids(ctid)
	if err != nil {
		return life{kind: lifeOn, why: err.Error()}
	}
	if len(pids) == 0 {
		return life{why: fmt.Sprintf("no init process of it is known: neither %s nor %s is there",
			pidFile(ctid), netnsLink(ctid))}
	}
	var there []process
	l := life{kind: lifeLost}
	for _, pid := range pids {
		p := r.identifyProcess(pid)
		switch {
		case missing(p.err):
			l.why = fmt.Sprintf("its init process %d is not in %s, which must show the node's processes", pid, r.proc())
		case p.envID != "" && p.envID != ctid:
			l.why = fmt.Sprintf("process %d, which should be its init, belongs to container %s", pid, p.envID)
		default:
			there = append(there, p)
		}
	}
	if len(there) == 0 {
		return l
	}
	for _, p := range there {
		if p.err == nil && !slices.Contains(r.Own, p.ns) && !slices.Contains(l.claims, p.ns) {
			l.claims = append(l.claims, p.ns)
		}
	}
	l.kind = lifeOn
	if len(pids) > 1 {
		l.why = fmt.Sprintf("its init is process %d by %s and process %d by %s", pids[0], pidFile(ctid), pids[1], netnsLink(ctid))
		return l
	}
	return r.judge(l, there[0], ctid)
}

// judge decides whether the container can be worked with through its init.
func (r Runtime) judge(l life, p process, ctid string) life {
	l.pid, l.ns, l.why = p.pid, p.ns, ""
	switch {
	case p.err != nil:
		l.why = fmt.Sprintf("its network namespace cannot be identified: %v", p.err)
	case slices.Contains(r.Own, p.ns):
		l.why = "it has no network namespace of its own: writing there would hit the node"
	default:
		l.instance = r.instance(ctid, p)
	}
	return l
}

// instance returns the identity of one start of a container. Uptime and names survive
// suspending, and kernels before 3.19 reuse the inode numbers of namespaces.
func (r Runtime) instance(ctid string, p process) string {
	return fmt.Sprintf("%s/%s/%d/%d/%s", r.BootID, ctid, p.pid, p.start, p.ns)
}

// identifyProcess identifies a process. It reads its start again at the end, since another
// process may have its number by then.
func (r Runtime) identifyProcess(pid int) process {
	p := process{pid: pid}
	dir := filepath.Join(r.proc(), strconv.Itoa(pid))
	if p.start, p.err = startTime(dir); p.err != nil {
		return p
	}
	status, err := readFile(filepath.Join(dir, "status"))
	if err != nil {
		p.err = ended(err)
		return p
	}
	p.envID = parseEnvID(status)
	if p.ns, p.err = netns.Identify(filepath.Join(dir, "ns/net")); p.err != nil {
		return p
	}
	again, err := startTime(dir)
	if err == nil && again != p.start {
		err = os.ErrNotExist
	}
	p.err = err
	return p
}

// startTime returns when a process started: field 22 of its stat (proc(5)).
func startTime(dir string) (uint64, error) {
	data, err := readFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0, ended(err)
	}
	return parseStart(data)
}

// ended makes one error of the two that the kernel has for a process that has ended.
func ended(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return os.ErrNotExist
	}
	return err
}

// parseStart reads the start time behind the command, which may hold any character,
// parentheses too.
func parseStart(stat []byte) (uint64, error) {
	const field = 22 - 3 // fields 1 and 2 are before, 3 is the first behind
	rest := stat[bytes.LastIndexByte(stat, ')')+1:]
	f := strings.Fields(string(rest))
	if len(f) <= field {
		return 0, errors.New("a process's stat has no start time")
	}
	return strconv.ParseUint(f[field], 10, 64)
}

// parseEnvID returns the container of a process, as the Virtuozzo kernel shows it; empty
// if it does not.
func parseEnvID(status []byte) string {
	for line := range strings.Lines(string(status)) {
		if id, ok := strings.CutPrefix(line, "envID:"); ok {
			return strings.TrimSpace(id)
		}
	}
	return ""
}

func pidFile(ctid string) string   { return pidDir + "/" + ctid + pidExt }
func netnsLink(ctid string) string { return netnsDir + "/" + ctid }

// initPids returns the process ids that a container's files have for its init: none, one,
// or two that disagree, that of the pid file first.
func (n *node) initPids(ctid string) ([]int, error) {
	pid, err := n.readPid(pidFile(ctid))
	if err != nil {
		return nil, fmt.Errorf("its init cannot be found: %w", err)
	}
	pids := []int{pid}
	if n.netnsDir != "" {
		to, err := os.Readlink(filepath.Join(n.netnsDir, ctid))
		if err != nil && !missing(err) && !errors.Is(err, unix.EINVAL) { // EINVAL: no link
			return nil, fmt.Errorf("its init cannot be found: %w", err)
		}
		pids = append(pids, linkPid(to))
	}
	pids = slices.DeleteFunc(pids, func(pid int) bool { return pid == 0 })
	return slices.Compact(pids), nil
}

// readPid reads a file that holds a process id; 0 if there is none.
func (n *node) readPid(path string) (int, error) {
	data, err := n.tree.read(path)
	if missing(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("%s holds no process id", path)
	}
	return pid, nil
}

// linkPid returns the process whose network namespace a link names, /proc/PID/ns/net; 0
// if it names none.
func linkPid(to string) int {
	text, ok := strings.CutPrefix(to, "/proc/")
	text, ok2 := strings.CutSuffix(text, "/ns/net")
	pid, err := strconv.Atoi(text)
	if !ok || !ok2 || err != nil || pid <= 0 {
		return 0
	}
	return pid
}
