package vz

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
)

// configuration is the ve.conf of a container, as far as it could be read.
type configuration struct {
	conf
	err error
}

// configurations reads the configurations of containers.
func (n *node) configurations(ctids map[string]bool) map[string]configuration {
	all := map[string]configuration{}
	for ctid := range ctids {
		c, err := n.conf(ctid)
		all[ctid] = configuration{c, err}
	}
	return all
}

// without returns the configurations of the containers that no program lists.
func without(confs map[string]configuration, listed []entry) map[string]configuration {
	known := map[string]bool{}
	for _, e := range listed {
		known[strings.ToLower(e.ctid)] = true
	}
	rest := maps.Clone(confs)
	maps.DeleteFunc(rest, func(ctid string, _ configuration) bool { return known[strings.ToLower(ctid)] })
	return rest
}

// isCTID reports whether a name is a number or a UUID. Virtuozzo's programs ignore the files
// of any other name (vzctl2_parse_ctid in libvzctl).
func isCTID(s string) bool {
	return usableCTID(s) && (strings.Trim(s, "0123456789") == "" || bareUUID(s) != "")
}

// present returns the CTIDs that files name: those of configurations, of pid files and of ve
// cgroups. Its error says that a directory of them could not be read.
func (n *node) present() (all map[string]bool, errs error) {
	all = map[string]bool{}
	for dir, ext := range map[string]string{n.confDir: confExt, n.pidDir: pidExt, n.cgroup: ""} {
		if dir == "" {
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil && !missing(err) {
			errs = errors.Join(errs, err)
		}
		for _, e := range entries {
			if id, ok := strings.CutSuffix(e.Name(), ext); ok && isCTID(id) {
				all[id] = true
			}
		}
	}
	return all, errs
}

// unlistedContainers returns those of the configurations whose containers files show, as
// unobservable for the reason why. No program lists them, which does not prove that they are
// gone.
func (r Runtime) unlistedContainers(n *node, confs map[string]configuration, why string) []nf.Container {
	list := []nf.Container{}
	for _, ctid := range slices.Sorted(maps.Keys(confs)) {
		c, init := confs[ctid], r.findInit(n, ctid)
		if c.isTemplate() || init.kind != initRuns && !n.isContainer(ctid, c) && !n.cgroupRuns(ctid) {
			continue
		}
		found := n.container(entry{ctid: ctid, vzlist: stateUnknown}, c.conf, c.err)
		found.Instance, found.Unobservable = init.instance, why
		found.Facts[0].Live = nf.Unknown(why)
		list = append(list, found)
	}
	return list
}

// isContainer reports whether a configuration is that of a container: it has a private area.
// vzctl set makes a configuration without one for an unused CTID, and a removed container
// leaves a dangling link (get_ve_list in src/vzlist.c of vzctl).
func (n *node) isContainer(ctid string, c configuration) bool {
	if missing(c.err) {
		return false
	}
	_, err := n.tree.resolve(c.over(n.global).private(ctid))
	return !missing(err)
}

// The values of ve.state (ve_state_read in kernel/ve/ve.c of the Virtuozzo 7 kernel).
const (
	veStopped  = "STOPPED"
	veRunning  = "RUNNING"
	veStarting = "STARTING"
	veStopping = "STOPPING"
)

// veState returns the state of a container's ve cgroup; empty if it has none or it cannot be
// read.
func (n *node) veState(ctid string) string {
	if n.cgroup == "" {
		return ""
	}
	data, err := readFile(filepath.Join(n.cgroup, ctid, "ve.state"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// cgroupRuns reports whether a ve cgroup shows that its container has not stopped.
func (n *node) cgroupRuns(ctid string) bool {
	return slices.Contains([]string{veRunning, veStarting, veStopping}, n.veState(ctid))
}

// contradiction says how files contradict the state in which the programs list a container;
// empty if they do not. Those of its init are not considered here.
func (n *node) contradiction(ctid, state string, c configuration) string {
	ve := n.veState(ctid)
	switch {
	case nf.Rests(state) && n.cgroupRuns(ctid), nf.Runs(state) && ve != veRunning && slices.Contains([]string{veStopped, veStarting, veStopping}, ve):
		return fmt.Sprintf("it is listed as %s, but its ve cgroup is %s", state, ve)
	case state == nf.StateStopped && n.hasDump(ctid, c.conf):
		return "it is listed as stopped, but has a dump as if it were suspended"
	case state == nf.StateSuspended && !n.hasDump(ctid, c.conf):
		return "it is listed as suspended, but has no dump"
	}
	return ""
}

// mistaken says how the names that the programs and the configuration have for a container
// differ; empty if they agree. A change by one name would then change another container.
func (e entry) mistaken(c configuration) string {
	inConf, veid := bareUUID(c.conf[confUUID]), strings.Trim(c.conf[confVEID], "{}")
	differ := func(a, b string) bool { return a != "" && b != "" && !strings.EqualFold(a, b) }
	switch {
	case differ(e.uuid, inConf):
		return fmt.Sprintf("the programs list it with the UUID %s, and its configuration has %s", e.uuid, inConf)
	case differ(e.vzlistUUID, e.uuid):
		return fmt.Sprintf("%s lists it with the UUID %s, and %s with %s", vzlist, e.vzlistUUID, prlctl, e.uuid)
	case differ(e.envid, e.ctid) && differ(e.envid, e.uuid):
		return fmt.Sprintf("%s lists its UUID %s as container %s", prlctl, e.uuid, e.envid)
	case differ(veid, e.ctid):
		return fmt.Sprintf("its configuration has VEID=%s, which is another container's", veid)
	}
	return ""
}

// claims maps what must belong to one container to the CTIDs of those that have it.
type claims map[string][]string

func (c claims) add(what, ctid string) {
	if !slices.Contains(c[what], ctid) {
		c[what] = append(c[what], ctid)
	}
}

// excludeAmbiguous makes containers unobservable that share a UUID, a configuration or a
// private area with another one, or whose names differ: a change of one would change the
// other.
func (n *node) excludeAmbiguous(containers []nf.Container, entries []entry, confs map[string]configuration) {
	owners := claims{}
	byCTID := map[string]entry{}
	for _, e := range entries {
		byCTID[e.ctid] = e
	}
	for _, ctid := range slices.Sorted(maps.Keys(confs)) {
		for _, what := range n.claimed(byCTID[ctid], ctid, confs[ctid]) {
			owners.add(what, ctid)
		}
	}
	for i := range containers {
		c := &containers[i]
		if c.Unobservable != "" {
			continue
		}
		e := byCTID[c.ID]
		for _, what := range n.claimed(e, c.ID, confs[c.ID]) {
			if others := owners.others(what, c.ID); others != "" {
				c.Unobservable = fmt.Sprintf("%s is also that of container %s: a change of one may change the other", what, others)
				break
			}
		}
		if c.Unobservable == "" {
			c.Unobservable = e.mistaken(confs[c.ID])
		}
	}
}

// others returns the CTIDs that have something besides ctid, as text.
func (c claims) others(what, ctid string) string {
	list := slices.DeleteFunc(slices.Clone(c[what]), func(id string) bool { return id == ctid })
	return strings.Join(list, ", ")
}

// claimed returns what must belong to one container alone, as texts: its UUIDs, its
// configuration and its private area. A CTID that is a UUID is one for the dispatcher too.
func (n *node) claimed(e entry, ctid string, c configuration) []string {
	var list []string
	for _, uuid := range []string{e.uuid, e.vzlistUUID, bareUUID(c.conf[confUUID]), bareUUID(ctid)} {
		if uuid != "" {
			list = append(list, "its UUID "+strings.ToLower(uuid))
		}
	}
	if path := confDir + "/" + ctid + confExt; c.err == nil {
		if file := n.file(path); file != "" {
			list = append(list, "its configuration ("+file+")")
		}
		if file := n.file(c.over(n.global).private(ctid)); file != "" {
			list = append(list, "its private area ("+file+")")
		}
	}
	return list
}

// file returns the identity of a file as text; empty if it does not exist.
func (n *node) file(path string) string {
	at, err := n.tree.resolve(path)
	if err != nil {
		return ""
	}
	var s unix.Stat_t
	if unix.Stat(at, &s) != nil {
		return ""
	}
	return fmt.Sprintf("inode %d of device %d", s.Ino, s.Dev)
}
