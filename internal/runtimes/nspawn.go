package runtimes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// nspawn is systemd-nspawn. Its containers are in the files of systemd-machined, unless they were
// started with --register=no.
var nspawn = runtime{name: nf.RuntimeNspawn, list: listNspawn, watch: nspawnMachines, births: nspawnMachines, born: bornNspawn}

func nspawnMachines(n Node) []string { return []string{n.path("run/systemd/machines")} }

func listNspawn(ctx context.Context, n Node) ([]record, error) {
	entries, err := os.ReadDir(nspawnMachines(n)[0])
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []record
	for _, e := range entries {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if r, ok := n.nspawnMachine(e.Name()); ok {
			list = append(list, r)
		}
	}
	return list, err
}

// nspawnMachine returns the container that a file of systemd-machined stands for; false if it stands
// for none. Beside the files are links by units (unit:NAME), and files that are being written (.#NAME).
func (n Node) nspawnMachine(file string) (record, bool) {
	if strings.HasPrefix(file, ".") || strings.Contains(file, ":") {
		return record{}, false
	}
	r := namedRecord(file, file)
	m, err := parsed(n, filepath.Join(nspawnMachines(n)[0], file), parseMachine)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return record{}, false
	case err != nil:
		r.err = err
		return r, true
	case m.service != "systemd-nspawn" || m.class != "container":
		return record{}, false
	}
	r.freezes = true
	r.pid, r.start, r.err = n.nspawnLeader(m)
	return r, !errors.Is(r.err, fs.ErrNotExist)
}

// nspawnLeader returns the first process of a container. It must be in the cgroup of the container's
// unit: the file may be older than the process.
func (n Node) nspawnLeader(m machine) (pid int, start uint64, err error) {
	p, err := n.openProcess(m.leader, 0)
	if err != nil {
		return 0, 0, err
	}
	defer p.Close()
	cgroup, err := p.Read("cgroup", maxCgroup)
	if err != nil {
		return 0, 0, err
	}
	if !inUnit(cgroup, m.unit) {
		return 0, 0, fmt.Errorf("process %d is another one now: it is not in %s: %w", m.leader, m.unit, fs.ErrNotExist)
	}
	return p.PID, p.Start, nil
}

// bornNspawn finds a container by its file, which is written before its program is let go on.
func bornNspawn(n Node, file string) (record, bool) {
	r, ok := n.nspawnMachine(file)
	return r, ok && r.err == nil && r.unnamed == ""
}

// machine is what is read of a file of systemd-machined.
type machine struct {
	unit, service, class string
	leader               int
}

// parseMachine reads a file of systemd-machined (machine_save in src/machine/machine.c of systemd). Its
// values are escaped as in C.
func parseMachine(data []byte) (machine, error) {
	var m machine
	var leader string
	fields := map[string]*string{"SCOPE": &m.unit, "UNIT": &m.unit, "SERVICE": &m.service, "CLASS": &m.class, "LEADER": &leader}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if field := fields[name]; field != nil {
			*field = strings.ReplaceAll(value, `\\`, `\`)
		}
	}
	var err error
	if m.leader, err = strconv.Atoi(leader); err != nil || m.leader <= 0 {
		return m, fmt.Errorf("it has no LEADER that is a process: %q", leader)
	}
	if m.unit == "" {
		return m, errors.New("it has no SCOPE")
	}
	return m, nil
}

// inUnit reports whether a process with these cgroups, as /proc/PID/cgroup has them, is in a unit of
// the system's systemd. Users can make cgroups with the name of any unit, but only below the service of
// their own systemd: so above the unit there must be slices alone.
func inUnit(cgroup []byte, unit string) bool {
	for line := range strings.Lines(string(cgroup)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		for name := range strings.SplitSeq(strings.TrimPrefix(f[len(f)-1], "/"), "/") {
			if name == unit {
				return true
			}
			if !strings.HasSuffix(name, ".slice") {
				break
			}
		}
	}
	return false
}
