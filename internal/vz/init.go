package vz

import (
	"cmp"
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

// initState is the state of a container's init, as files show it.
type initState struct {
	kind       initKind
	pid        int
	instance   string         // empty if nfsync cannot enter the container; why has the reason
	ns         netns.Identity // of the instance
	why        string
	namespaces []netns.Identity // the namespaces of the container, even if instance is empty
}

type initKind int

const (
	initNone initKind = iota // no file names an init
	initLost                 // files name a process that has ended, or one of another container
	initRuns                 // init runs, or its files cannot be read
)

// process is one process that may be a container's init.
type process struct {
	pid   int
	start uint64 // in clock ticks since the start of the kernel
	envID string // empty if the kernel does not show it
	ns    netns.Identity
	err   error
}

func (r Runtime) proc() string { return cmp.Or(r.Proc, "/proc") }

// findInit finds a container's init: by VE_RUN_DIR/CTID.init.pid (lib/common.c of libvzctl),
// and by the link to its network namespace (lib/env_nsops.c).
func (r Runtime) findInit(n *node, ctid string) initState {
	pids, err := n.initPids(ctid)
	if err != nil {
		return initState{kind: initRuns, why: err.Error()}
	}
	if len(pids) == 0 {
		return initState{why: fmt.Sprintf("its init process is unknown: neither %s nor %s exists",
			pidFile(ctid), netnsLink(ctid))}
	}
	var found []process
	s := initState{kind: initLost}
	for _, pid := range pids {
		p := r.identifyProcess(pid)
		switch {
		case missing(p.err):
			s.why = fmt.Sprintf("its init process %d is not in %s, which must show the node's processes", pid, r.proc())
		case p.envID != "" && p.envID != ctid:
			s.why = fmt.Sprintf("process %d, named as its init, belongs to container %s", pid, p.envID)
		default:
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		return s
	}
	for _, p := range found {
		if p.err == nil && !slices.Contains(r.NodeNamespaces, p.ns) && !slices.Contains(s.namespaces, p.ns) {
			s.namespaces = append(s.namespaces, p.ns)
		}
	}
	s.kind = initRuns
	if len(pids) > 1 {
		s.why = fmt.Sprintf("its init is process %d according to %s, and process %d according to %s", pids[0], pidFile(ctid), pids[1], netnsLink(ctid))
		return s
	}
	return r.withInstance(s, found[0], ctid)
}

// withInstance adds the instance that init belongs to, or why nfsync cannot enter the
// container.
func (r Runtime) withInstance(s initState, p process, ctid string) initState {
	s.pid, s.ns, s.why = p.pid, p.ns, ""
	switch {
	case p.err != nil:
		s.why = fmt.Sprintf("cannot identify its network namespace: %v", p.err)
	case slices.Contains(r.NodeNamespaces, p.ns):
		s.why = "it has no network namespace of its own: writing there would hit the node"
	default:
		s.instance = r.instance(ctid, p)
	}
	return s
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
	if p.start, p.err = netns.StartTime(dir); p.err != nil {
		return p
	}
	var status []byte
	if status, p.err = readOfProcess(dir, "status"); p.err != nil {
		return p
	}
	p.envID = parseEnvID(status)
	if p.ns, p.err = netns.Identify(filepath.Join(dir, "ns/net")); p.err != nil {
		return p
	}
	again, err := netns.StartTime(dir)
	if err == nil && again != p.start {
		err = os.ErrNotExist
	}
	p.err = err
	return p
}

// readOfProcess reads a file of a process. ESRCH becomes os.ErrNotExist: the kernel returns
// either for a process that has ended.
func readOfProcess(dir, name string) ([]byte, error) {
	data, err := readFile(filepath.Join(dir, name))
	if errors.Is(err, unix.ESRCH) {
		err = os.ErrNotExist
	}
	return data, err
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

// initPids returns the process ids that files name as the container's init: none, one, or
// two if the files disagree, that of the pid file first.
func (n *node) initPids(ctid string) ([]int, error) {
	pid, err := n.readPid(pidFile(ctid))
	if err != nil {
		return nil, fmt.Errorf("cannot find its init process: %w", err)
	}
	pids := []int{pid}
	if n.netnsDir != "" {
		to, err := os.Readlink(filepath.Join(n.netnsDir, ctid))
		if err != nil && !missing(err) && !errors.Is(err, unix.EINVAL) { // EINVAL: not a link
			return nil, fmt.Errorf("cannot find its init process: %w", err)
		}
		pids = append(pids, pidOfLink(to))
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
		return 0, fmt.Errorf("%s has no process id", path)
	}
	return pid, nil
}

// pidOfLink returns PID of a link to /proc/PID/ns/net; 0 for any other link.
func pidOfLink(to string) int {
	text, ok := strings.CutPrefix(to, "/proc/")
	text, ok2 := strings.CutSuffix(text, "/ns/net")
	pid, err := strconv.Atoi(text)
	if !ok || !ok2 || err != nil || pid <= 0 {
		return 0
	}
	return pid
}
