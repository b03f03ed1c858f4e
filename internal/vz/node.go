package vz

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// node has the paths of Virtuozzo on this node.
type node struct {
	tree tree
	// The paths of the directories, as nfsync opens them; empty if there are none.
	confDir, pidDir, netnsDir string
	// cgroup is the root of the ve cgroup; if it is empty noCgroup says why.
	cgroup, noCgroup string
	global           conf // vz.conf
}

const (
	confDir  = "/etc/vz/conf"
	confExt  = ".conf"
	vzConf   = "/etc/vz/vz.conf"
	pidDir   = "/var/run/ve"
	pidExt   = ".init.pid"
	netnsDir = "/var/run/netns"
)

func (r Runtime) tree() tree {
	if r.Root == "" {
		return "/"
	}
	root, err := filepath.Abs(r.Root)
	if err != nil { // no working directory
		root = filepath.Clean(r.Root)
	}
	return tree(root)
}

// node finds Virtuozzo's directories. One that cannot be reached counts as missing: what
// it would hold is then unknown.
func (r Runtime) node() *node {
	n := &node{tree: r.tree()}
	for path, at := range map[string]*string{confDir: &n.confDir, pidDir: &n.pidDir, netnsDir: &n.netnsDir} {
		if where, err := n.tree.resolve(path); err == nil {
			*at = where
		}
	}
	if data, err := n.tree.read(vzConf); err == nil {
		n.global = parseConf(data)
	}
	n.cgroup, n.noCgroup = n.findCgroup()
	return n
}

// findCgroup finds the ve cgroup. Its mount point is that of the node, below the root. If
// nfsync runs in a container with the node mounted on a directory, the mounts are
// nfsync's own, and begin with that directory.
func (n *node) findCgroup() (at, why string) {
	mounts, err := n.tree.read("/proc/mounts")
	if err != nil {
		return "", "the mounts cannot be read: " + err.Error()
	}
	point := cgroupMount(mounts)
	if point == "" {
		return "", "no ve cgroup is mounted"
	}
	if at, err := n.tree.resolve(point); err == nil {
		return at, ""
	}
	if strings.HasPrefix(point, string(n.tree)+"/") && isDir(point) {
		return point, ""
	}
	return "", "the ve cgroup's mount point " + point + " is not there"
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// virtuozzo reports whether the node has anything of Virtuozzo.
func (n *node) virtuozzo() bool {
	if n.confDir != "" || n.cgroup != "" {
		return true
	}
	for _, name := range []string{prlctl, vzctl, vzlist} {
		if n.tree.program(name) != "" {
			return true
		}
	}
	return false
}

// ctids matches numbers and UUIDs that neither leave a directory nor look like an option. 0
// is the node itself (vzctl2_parse_ctid in libvzctl).
var ctids = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`)

func usableCTID(s string) bool { return ctids.MatchString(s) && s != "0" }

var uuids = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

// bareUUID returns a UUID without braces; empty if s is none.
func bareUUID(s string) string {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "{"), "}")
	if !uuids.MatchString(s) {
		return ""
	}
	return s
}

// conf reads a container's configuration: its ve.conf, usually through a
// symbolic link into its private area.
func (n *node) conf(ctid string) (conf, error) {
	data, err := n.tree.read(confDir + "/" + ctid + confExt)
	if err != nil {
		return nil, err
	}
	return parseConf(data), nil
}

// configured returns the CTIDs that have a configuration.
func (n *node) configured() []string { return ctidsIn(n.confDir, confExt) }

// ctidsIn returns the CTIDs that are names of files of a directory.
func ctidsIn(dir, ext string) []string {
	if dir == "" {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ext); ok && usableCTID(id) {
			list = append(list, id)
		}
	}
	return list
}

// level returns the fact of a container's level. A container with neither processes nor a
// dump has no live one.
func (n *node) level(ctid, state string, c conf, confErr error) nf.Fact {
	all := c.over(n.global)
	boot := all.savedLevel()
	if confErr != nil {
		boot = nf.Unknown("its configuration cannot be read: " + confErr.Error())
	}
	f := nf.Fact{Key: nf.KeyLevel, Boot: &boot}
	switch state {
	case nf.StateStopped, nf.StateMounted:
	case nf.StateSuspended:
		f.Live = n.dumpedMask(all.private(ctid))
	default:
		f.Live = n.liveMask(ctid)
	}
	return f
}

// dumped reports whether a container that does not run is suspended.
func (n *node) dumped(ctid string, c conf) bool {
	at, err := n.tree.resolve(c.over(n.global).private(ctid) + "/dump/Dump")
	return err == nil && isDir(at)
}
