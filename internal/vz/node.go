package vz

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// node is where things of Virtuozzo are on this node now.
type node struct {
	tree tree
	// Where the directories are, as nfsync opens them; empty where there are none.
	confDir, pidDir, netnsDir string
	// cgroup is the root of the ve cgroup; where it is empty noCgroup says why.
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

// node looks for Virtuozzo's directories. One that cannot be looked at is one
// that is not there: what it would hold is unknown then.
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

// findCgroup finds the ve cgroup. Its mount point is the node's, and so below
// the root; but the mounts of an nfsync that sees the node below a directory are
// nfsync's own, and have that directory in front already.
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

// virtuozzo tells whether anything of Virtuozzo is there at all.
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

// ctids are numbers or UUIDs, of which nothing leads out of a directory or is
// taken for an option; 0 is the node itself (vzctl2_parse_ctid in libvzctl).
var ctids = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`)

func usableCTID(s string) bool { return ctids.MatchString(s) && s != "0" }

var uuids = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

// bareUUID is a UUID without braces; empty where it is none.
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

// configured are the CTIDs that have a name in the directory of configurations.
func (n *node) configured() []string { return ctidsIn(n.confDir, confExt) }

// ctidsIn are the CTIDs that files of a directory are named after.
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

// level is the fact of a container's level. In a state in which it has neither
// processes nor a dump there is no live one.
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

// dumped tells whether a container that does not run is suspended.
func (n *node) dumped(ctid string, c conf) bool {
	at, err := n.tree.resolve(c.over(n.global).private(ctid) + "/dump/Dump")
	return err == nil && isDir(at)
}
