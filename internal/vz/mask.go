package vz

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// The bits of a mask that stand for modules, and the masks of modules with their
// dependencies
// (include/linux/vziptable_defs.h of libvzctl).
const (
	bitIPTables, bitFilter, bitMangle    = 1 << 0, 1 << 1, 1 << 2
	bitConntrack, bitNAT                 = 1 << 14, 1 << 20
	bitIPTables6, bitFilter6, bitMangle6 = 1 << 26, 1 << 27, 1 << 28
	bitIPTableNAT, bitNFConntrack        = 1 << 29, 1 << 30

	maskIPTables     = 0x1
	maskFilter       = 0x3
	maskMangle       = 0x5
	maskConntrack    = 0x4001
	maskConntrackFTP = 0xc001
	maskConntrackIRC = 0x14001
	maskNAT          = 0x104001
	maskNATFTP       = 0x30c001
	maskNATIRC       = 0x514001

	// VE_IP_DEFAULT, the mask of a container if its ve.conf sets no level.
	maskDefault = 0x1c000007
)

// iptablesNames are the names that IPTABLES= may have (_g_iptables in
// lib/iptables.c of libvzctl).
var iptablesNames = map[string]uint64{
	"ip_tables": maskIPTables, "iptable_filter": maskFilter, "iptable_mangle": maskMangle,
	"ipt_limit": maskIPTables, "ipt_multiport": maskIPTables, "ipt_tos": maskIPTables, "ipt_TOS": maskIPTables,
	"ipt_REJECT": maskIPTables, "ipt_TCPMSS": maskIPTables, "ipt_tcpmss": maskIPTables, "ipt_ttl": maskIPTables,
	"ipt_LOG": maskIPTables, "ipt_length": maskIPTables, "ipt_owner": maskIPTables,
	"ip_conntrack": maskConntrack, "ipt_conntrack": maskConntrack, "ipt_state": maskConntrack, "ipt_helper": maskConntrack,
	"ip_conntrack_ftp": maskConntrackFTP, "ip_conntrack_irc": maskConntrackIRC,
	"iptable_nat": maskNAT, "ip_nat_ftp": maskNATFTP, "ip_nat_irc": maskNATIRC,
}

// iptablesMask returns the mask for a list of names. Unknown names are skipped. A list
// without a known name counts as no list.
func iptablesMask(list string) uint64 {
	var mask uint64
	for _, name := range strings.FieldsFunc(list, func(c rune) bool { return c == ' ' || c == '\t' || c == ',' }) {
		mask |= iptablesNames[name]
	}
	if mask == 0 {
		return maskDefault
	}
	return normalize(mask)
}

// normalize returns a mask as the kernel stores it: each of bits 26 to 30 is a copy of
// another bit (ve_setup_iptables_mask in kernel/ve/ve.c of the Virtuozzo 7 kernel).
func normalize(mask uint64) uint64 {
	for copied, bit := range map[uint64]uint64{bitIPTables6: bitIPTables, bitFilter6: bitFilter, bitMangle6: bitMangle,
		bitIPTableNAT: bitNAT, bitNFConntrack: bitConntrack} {
		mask &^= copied
		if mask&bit != 0 {
			mask |= copied
		}
	}
	return mask
}

// parseMask reads ve.iptables_mask, or a dump of it: one unsigned number of 64 bits.
func parseMask(data []byte) (uint64, error) {
	text := strings.TrimSpace(string(data))
	mask, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a mask", text)
	}
	return mask, nil
}

// hasController reports whether the kernel has a controller, by /proc/cgroups (cgroups(7)): each
// line has the name of one first.
func hasController(cgroups []byte, name string) bool {
	for line := range strings.Lines(string(cgroups)) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == name {
			return true
		}
	}
	return false
}

// cgroupMount returns the mount point of the ve cgroup hierarchy in /proc/mounts; empty if
// it is not mounted. /proc/mounts has blanks in paths as octal escapes (proc(5)).
func cgroupMount(mounts []byte) string {
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) >= 4 && f[2] == "cgroup" && slices.Contains(strings.Split(f[3], ","), "ve") {
			return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(f[1])
		}
	}
	return ""
}

// liveMask returns the level of the mask that the kernel has for a container with processes. It is
// absent if the container has a ve cgroup without a mask: that kernel has no masks.
func (n *node) liveMask(ctid string) nf.Value {
	if n.cgroup == "" {
		return nf.Unknown(n.noCgroup)
	}
	data, err := readFile(n.maskFile(ctid))
	if missing(err) {
		dir := filepath.Dir(n.maskFile(ctid))
		if isDir(dir) {
			return nf.Absent()
		}
		return nf.Unknown(dir + " does not exist")
	}
	return maskValue(data, err)
}

func (n *node) maskFile(ctid string) string { return filepath.Join(n.cgroup, ctid, "ve.iptables_mask") }

// hasMask reports whether the kernel has a mask for a container, readable or not.
func (n *node) hasMask(ctid string) bool {
	if n.cgroup == "" {
		return false
	}
	_, err := os.Lstat(n.maskFile(ctid))
	return err == nil
}

// Latches returns nf.Capabilities.Latches from the ve cgroups, without running a program. It
// is nf.MaybeUnknown if no container runs.
func (r Runtime) Latches() string {
	n := r.node()
	if n.cgroup == "" {
		return nf.No
	}
	entries, err := os.ReadDir(n.cgroup)
	latches := nf.MaybeUnknown
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if n.hasMask(e.Name()) {
			return nf.Yes
		}
		if err == nil {
			latches = nf.No // a container runs without a mask
		}
	}
	return latches
}

// dumpedMask returns the level that a suspended container has again once it is resumed
// (scripts/vz-cpt.in and vz-rst-action.in of libvzctl).
func (n *node) dumpedMask(private string) nf.Value {
	return maskValue(n.tree.read(filepath.Join(private, "dump/Dump/vz_iptables_mask.img")))
}

// maskValue returns the level of a mask file, from the result of reading it.
func maskValue(data []byte, err error) nf.Value {
	var mask uint64
	if err == nil {
		mask, err = parseMask(data)
	}
	if err != nil {
		return nf.Unknown("cannot read its mask: " + err.Error())
	}
	return nf.MaskValue(mask)
}
