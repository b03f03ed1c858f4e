package runtimes

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"nfsync.dev/nfsync/internal/netns"
)

// conmonName returns the name that a container had when it was started, from the command line of its conmon,
// which is the parent of its first process and of the same user. Empty: that conmon has ended.
func (n Node) conmonName(r record, uid int) string {
	child, err := n.openProcess(r.pid, r.start)
	if err != nil {
		return ""
	}
	defer child.Close()
	parent, ok := statusNumber(child, "PPid")
	if !ok {
		return ""
	}
	conmon, err := netns.OpenProcess(n.proc(), parent)
	if err != nil {
		return ""
	}
	defer conmon.Close()
	if user, ok := statusNumber(conmon, "Uid"); !ok || user != uid {
		return ""
	}
	const most = 64 << 10
	line, err := conmon.Read("cmdline", most)
	if err != nil {
		return ""
	}
	return parseConmon(line, r.id)
}

// parseConmon returns the name of a container from the arguments of its conmon, each of which ends with
// a NUL: -c ID -n NAME (sharedConmonArgs in libpod/oci_conmon_common.go of podman). It is empty if they are not
// those of the conmon of that container.
func parseConmon(line []byte, id string) string {
	args := strings.Split(string(line), "\x00")
	if filepath.Base(args[0]) != "conmon" || argument(args, "-c") != id {
		return ""
	}
	return argument(args, "-n")
}

// argument returns what follows an option; empty if nothing does.
func argument(args []string, option string) string {
	if i := slices.Index(args, option); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// statusNumber returns the first number of a line of proc_pid_status(5): of Uid, that of the real user.
func statusNumber(p *netns.Process, name string) (int, bool) {
	const most = 4096 // the lines that are read here are the first ones
	status, err := p.Read("status", most)
	if err != nil {
		return 0, false
	}
	return parseStatusNumber(status, name)
}

func parseStatusNumber(status []byte, name string) (int, bool) {
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name+":" {
			number, err := strconv.Atoi(f[1])
			return number, err == nil
		}
	}
	return 0, false
}
