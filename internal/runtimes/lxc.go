package runtimes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
)

// lxc is LXC, of root. Each container has a monitor, which knows its first process and says so on a
// socket. The name of the socket has the container's: nothing is kept in files.
var lxc = runtime{name: nf.RuntimeLXC, list: listLXC, watch: lxcCgroups, births: lxcCgroups, born: bornLXC}

// lxcPath is the directory of the containers, unless lxc.lxcpath of lxc.system.conf(5) names another.
const lxcPath = "/var/lib/lxc"

func listLXC(ctx context.Context, n Node) ([]record, error) {
	return n.listMonitored(ctx, describeLXC)
}

func bornLXC(n Node, entry string) (record, bool) { return n.bornMonitored(entry, describeLXC) }

// describeLXC returns the record of a container by its directory and its name; false if it is one of
// Incus.
func describeLXC(dir, name string) (record, bool) {
	if isIncusDir(dir) {
		return record{}, false
	}
	id := name
	if dir != lxcPath {
		id = dir + "/" + name
	}
	return namedRecord(id, name), true
}

// namedRecord returns the record of a container whose id and name are given by people. In a name that
// is not UTF-8, what is not is written as an escape.
func namedRecord(id, name string) record {
	r := record{id: id, name: name, unnamed: checkName(name)}
	if !utf8.ValidString(id) {
		r.id, r.name = strings.Trim(strconv.Quote(id), `"`), strings.Trim(strconv.Quote(name), `"`)
	}
	return r
}

// listMonitored lists the containers that a monitor of LXC has: those that describe knows by their
// directory and their name.
func (n Node) listMonitored(ctx context.Context, describe func(dir, name string) (record, bool)) ([]record, error) {
	answers, err := n.askMonitors(ctx, func(socket string) bool {
		dir, name, ok := splitSocket(socket)
		if ok {
			_, ok = describe(dir, name)
		}
		return ok || isHashed(socket)
	})
	var list []record
	for _, a := range answers {
		dir, name, _ := splitSocket(a.socket)
		var r record
		if a.err == nil {
			dir, name, r, a.err = n.confirm(a.socket, a.pid)
		}
		described, ok := describe(dir, name)
		if !ok || errors.Is(a.err, fs.ErrNotExist) {
			continue
		}
		described.pid, described.start, described.freezes, described.err = r.pid, r.start, true, a.err
		list = append(list, described)
	}
	return list, err
}

// splitSocket returns the directory and the name of the container whose monitor has a socket; false
// if the name of the socket does not have them.
func splitSocket(socket string) (dir, name string, ok bool) {
	dir, name = path.Split(strings.TrimSuffix(socket, commandName))
	return path.Clean(dir), name, path.IsAbs(dir) && name != ""
}

// isHashed reports whether a socket has a hash in its name, since the directory and the name of the
// container are too long for it.
func isHashed(socket string) bool {
	hash, isIt := strings.CutPrefix(strings.TrimSuffix(socket, commandName), "lxc/")
	return isIt && len(hash) == 16 && isHex(hash)
}

// hashedSocket returns the name of the socket of a container, with a hash
// (lxc_make_abstract_socket_name in src/lxc/commands_utils.c).
func hashedSocket(dir, name string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(dir + "/" + name)) // never fails
	return fmt.Sprintf("lxc/%016x%s", h.Sum64(), commandName)
}

// confirm makes sure that a process is the first one of the container to which a socket belongs, and
// returns the container's directory and its name. Root may listen there in a container too, if that
// has no network namespace of its own. So the process must be the child of a process of root outside
// of containers, which has the container in its command line, or be in the container's cgroup.
func (n Node) confirm(socket string, pid int) (dir, name string, r record, err error) {
	dir, name, _ = splitSocket(socket)
	p, err := n.openProcess(pid, 0)
	if err != nil {
		return dir, name, r, err
	}
	defer p.Close()
	command, err := n.monitorOf(p)
	if err != nil {
		return dir, name, r, err
	}
	cgroup, err := p.Read("cgroup", maxCgroup)
	if err != nil {
		return dir, name, r, err
	}
	r = record{pid: p.PID, start: p.Start}
	titleDir, titleName, titled := parseMonitor(command)
	switch {
	case titled && (titleDir == dir && titleName == name || isHashed(socket) && hashedSocket(titleDir, titleName) == socket):
		return titleDir, titleName, r, nil
	case isHashed(socket):
		return dir, name, r, fmt.Errorf("its name is not known: it is not in the command line of its monitor, the parent of process %d", pid)
	case inPayload(cgroup, name):
		return dir, name, r, nil
	}
	return dir, name, r, fmt.Errorf("process %d is not known to be its first: neither its cgroup nor its parent has the name of the container", pid)
}

// monitorOf returns the command line of the parent of a process. The parent must be root's, and in
// the node's PID namespace.
func (n Node) monitorOf(p *netns.Process) ([]byte, error) {
	status, err := p.Read("status", maxStatus)
	if err != nil {
		return nil, err
	}
	parent, err := strconv.Atoi(statusField(status, "PPid"))
	if err != nil {
		return nil, fmt.Errorf("process %d has no parent that can be seen", p.PID)
	}
	m, err := n.openProcess(parent, 0)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if status, err = m.Read("status", maxStatus); err != nil {
		return nil, err
	}
	if statusField(status, "Uid") != "0\t0\t0\t0" || statusField(status, "NSpid") != strconv.Itoa(parent) {
		return nil, fmt.Errorf("process %d is not known to be its first: the parent is not root's, or is in a container", p.PID)
	}
	return m.Read("cmdline", maxStatus)
}

// What is read of the files of a process, in bytes.
const (
	maxStatus = 4096
	maxCgroup = 16 << 10
)

// statusField returns a field of proc_pid_status(5); empty if it is not there.
func statusField(status []byte, name string) string {
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, name+":\t"); ok {
			return strings.TrimSuffix(value, "\n")
		}
	}
	return ""
}

// monitorTitle is the start of the command line of a monitor in the background. The directory and the
// name of the container follow (do_lxcapi_start in src/lxc/lxccontainer.c).
const monitorTitle = "[lxc monitor] "

// parseMonitor returns the directory and the name of a container from the command line of its monitor:
// the title, or that of lxc-start(1) in the foreground, as Proxmox runs it.
func parseMonitor(command []byte) (dir, name string, ok bool) {
	args := strings.Split(string(bytes.TrimRight(command, "\x00")), "\x00")
	if title, isIt := strings.CutPrefix(args[0], monitorTitle); isIt && len(args) == 1 {
		i := strings.LastIndexByte(title, ' ')
		if i <= 0 {
			return "", "", false
		}
		return path.Clean(title[:i]), title[i+1:], true
	}
	if filepath.Base(args[0]) != "lxc-start" {
		return "", "", false
	}
	dir = lxcPath
	for i, arg := range args[1:] {
		value := args[min(i+2, len(args)-1)]
		switch arg {
		case "-n", "--name":
			name = value
		case "-P", "--lxcpath":
			dir = value
		}
	}
	return path.Clean(dir), name, name != ""
}

// payloads are the cgroups below which a container of LXC is, without its name: since LXC 4.0.1, of
// 4.0.0, and of earlier ones and Proxmox (cgfsng_payload_create in src/lxc/cgroups/cgfsng.c).
var payloads = []string{"lxc.payload.", "lxc.payload/", "lxc/"}

// inPayload reports whether the cgroups of a process, as /proc/PID/cgroup has them, are those of the
// container with that name. Only root can make them where they are. LXC adds a number to the name if
// a cgroup of an earlier start is left.
func inPayload(cgroup []byte, name string) bool {
	for line := range strings.Lines(string(cgroup)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		for _, prefix := range payloads {
			if rest, ok := strings.CutPrefix(f[len(f)-1], "/"+prefix+name); ok && isEndOfName(rest) {
				return true
			}
		}
	}
	return false
}

// isEndOfName reports whether what follows the name of a container in the path of a cgroup does not
// belong to the name: nothing, a number, what is below.
func isEndOfName(rest string) bool {
	suffix, _, _ := strings.Cut(rest, "/")
	number, hasNumber := strings.CutPrefix(suffix, "-")
	return suffix == "" || hasNumber && number != "" && strings.Trim(number, "0123456789") == ""
}

// lxcCgroups returns the directories in which LXC makes a cgroup for each container, in one of the
// hierarchies.
func lxcCgroups(n Node) []string {
	var dirs []string
	for _, root := range n.cgroupRoots() {
		if root != n.path(cgroups) && filepath.Base(root) != "freezer" && filepath.Base(root) != "unified" {
			continue
		}
		for _, prefix := range payloads {
			dirs = append(dirs, filepath.Dir(filepath.Join(root, prefix+"NAME")))
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// bornMonitored finds a container of LXC that is being made by its cgroup. Its monitor answers only
// after its program has started, but has the container in its command line before. Until there is a
// process, the container may be any runtime's that uses LXC.
func (n Node) bornMonitored(entry string, describe func(dir, name string) (record, bool)) (record, bool) {
	paths := []string{"lxc.payload/" + entry, "lxc/" + entry}
	if strings.HasPrefix(entry, payloads[0]) {
		paths = []string{entry}
	}
	if !n.isCgroup(paths...) {
		return record{}, false
	}
	some := record{id: entry}
	pid, start := n.newest(n.cgroupProcesses(append(paths, "lxc/"+entry+"/ns")...))
	if pid == 0 {
		return some, false
	}
	p, err := n.openProcess(pid, start)
	if err != nil {
		return some, false
	}
	defer p.Close()
	command, err := n.monitorOf(p)
	if err != nil {
		return some, false
	}
	cgroup, err := p.Read("cgroup", maxCgroup)
	dir, name, ok := parseMonitor(command)
	if err != nil || !ok || !inPayload(cgroup, name) {
		return some, false
	}
	r, ok := describe(dir, name)
	r.pid, r.start = pid, start
	return r, ok && r.unnamed == ""
}
