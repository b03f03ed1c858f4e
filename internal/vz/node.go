package vz

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// node has the paths of Virtuozzo on this node, and the settings of vz.conf.
type node struct {
	tree tree
	// The directories, as nfsync opens them; empty if they do not exist.
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
	root, err := filepath.Abs(cmp.Or(r.Root, "/"))
	if err != nil { // no working directory
		root = filepath.Clean(r.Root)
	}
	return tree(root)
}

// node finds Virtuozzo's directories and reads vz.conf. A directory that cannot be reached
// counts as missing, and its contents as unknown.
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

// findCgroup finds the ve cgroup. Its mount point in /proc/mounts is a path of the node,
// which is below the root. If nfsync runs in a container that has the node mounted on a
// directory, /proc/mounts has nfsync's own mounts. Their paths begin with that directory.
func (n *node) findCgroup() (at, why string) {
	const none = "no ve cgroup is mounted"
	// The mounts of a node with a thousand namespaces take milliseconds to read.
	if controllers, err := n.tree.read("/proc/cgroups"); err == nil && !hasController(controllers, "ve") {
		return "", none
	}
	mounts, err := n.tree.read("/proc/mounts")
	if err != nil {
		return "", "cannot read the mounts: " + err.Error()
	}
	point := cgroupMount(mounts)
	if point == "" {
		return "", none
	}
	if at, err := n.tree.resolve(point); err == nil {
		return at, ""
	}
	if strings.HasPrefix(point, string(n.tree)+"/") && isDir(point) {
		return point, ""
	}
	return "", "the ve cgroup's mount point " + point + " does not exist"
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// virtuozzo reports whether the node has anything of Virtuozzo.
func (n *node) virtuozzo() bool {
	return n.confDir != "" || n.cgroup != "" ||
		slices.ContainsFunc(programs, func(name string) bool { return n.tree.program(name) != "" })
}

// ctidPattern matches a CTID, which is a number or a UUID (vzctl2_parse_ctid in libvzctl). It
// matches neither a path out of a directory nor an option.
var ctidPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`)

// usableCTID reports whether s can be the CTID of a container; 0 is the node itself.
func usableCTID(s string) bool { return ctidPattern.MatchString(s) && s != "0" }

var uuidPattern = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

// bareUUID returns a UUID without braces; empty if s is not a UUID.
func bareUUID(s string) string {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "{"), "}")
	if !uuidPattern.MatchString(s) {
		return ""
	}
	return s
}

// conf reads the ve.conf of a container, usually through a symbolic link into its private
// area.
func (n *node) conf(ctid string) (conf, error) {
	data, err := n.tree.read(confDir + "/" + ctid + confExt)
	if err != nil {
		return nil, err
	}
	return parseConf(data), nil
}

// configured returns the CTIDs that have a configuration.
func (n *node) configured() []string { return ctidsIn(n.confDir, confExt) }

// ctidsIn returns the CTIDs of the files CTID+ext in a directory.
func ctidsIn(dir, ext string) []string {
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

// level returns the fact of a container's level. The live value is absent if the container
// has neither processes nor a dump.
func (n *node) level(ctid, state string, c conf, confErr error) nf.Fact {
	all := c.over(n.global)
	boot := all.savedLevel()
	if confErr != nil {
		boot = nf.Unknown("cannot read its configuration: " + confErr.Error())
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

// hasDump reports whether a container that does not run is suspended, which its dump shows.
func (n *node) hasDump(ctid string, c conf) bool {
	at, err := n.tree.resolve(c.over(n.global).private(ctid) + "/dump/Dump")
	return err == nil && isDir(at)
}
