package vz

import (
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
)

// The masks are those that the kernel returns for IPTABLES= lines: get_iptables_mask in
// lib/iptables.c of libvzctl, then ve_setup_iptables_mask in kernel/ve/ve.c.
func TestIPTablesMask(t *testing.T) {
	for list, want := range map[string]uint64{
		"ip_tables iptable_filter ipt_REJECT": 201326595,
		"iptable_filter ipt_state":            1275084803,
		"iptable_nat":                         1678786561,
		"iptable_filter,\tiptable_mangle":     469762055, // stateless
		"ipt_tos ipt_TOS":                     0x4000001,
		"ip_nat_ftp ip_conntrack_irc":         0x6431c001,
		"iptable_filter nonsense":             201326595,
		"ipt_REDIRECT xt_mac":                 maskDefault, // not compiled in
		"":                                    maskDefault,
	} {
		if got := iptablesMask(list); got != want {
			t.Errorf("%q: %#x, want %#x", list, got, want)
		}
	}
}

// The kernel returns the masks of the four levels as they were written.
func TestLevelsAreFixpoints(t *testing.T) {
	for level := nf.LevelDisabled; level <= nf.LevelFull; level++ {
		mask, ok := level.Value().Mask()
		if !ok || normalize(mask) != mask {
			t.Errorf("%s: %#x becomes %#x", level, mask, normalize(mask))
		}
	}
}

// The kernel sets bits 26 to 30 itself.
func TestNormalize(t *testing.T) {
	for mask, want := range map[uint64]uint64{
		0x7c000000: 0, 0x1: 0x4000001, 0x8000001: 0x4000001, 0x4000: 0x40004000, 0x100000: 0x20100000, ^uint64(0x7): ^uint64(0x1c000007),
	} {
		if got := normalize(mask); got != want {
			t.Errorf("%#x becomes %#x, want %#x", mask, got, want)
		}
	}
}

// ve.iptables_mask has one decimal number (ve_read_u64). cgget writes the same number into
// the dump.
func TestParseMask(t *testing.T) {
	for text, want := range map[string]uint64{
		"0\n": 0, "469762055\n": 0x1c000007, "1543618567": 0x5c01c007, "18446744073709551615\n": ^uint64(0), "0x4001\n": 0x4001,
	} {
		if got, err := parseMask([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %#x, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "\n", "-1", "18446744073709551616", "full", "1 2"} {
		if got, err := parseMask([]byte(text)); err == nil {
			t.Errorf("%q: %#x", text, got)
		}
	}
}

// The lines have the format of /proc/mounts (proc(5)).
func TestCgroupMount(t *testing.T) {
	for mounts, want := range map[string]string{
		"cgroup /sys/fs/cgroup/ve cgroup rw,nosuid,nodev,noexec,relatime,ve 0 0\n":                                          "/sys/fs/cgroup/ve",
		"tmpfs /sys/fs/cgroup tmpfs ro,mode=755 0 0\ncgroup /a cgroup rw,memory 0 0\ncgroup /cgroup/a\\040b cgroup rw,ve\n": "/cgroup/a b",
		"cgroup /a cgroup rw,name=ve 0 0\n":             "",
		"cgroup2 /sys/fs/cgroup cgroup2 rw,ve 0 0\n":    "",
		"ve /ve ext4 rw,ve 0 0\nproc /proc proc rw 0 0": "",
		"":         "",
		"cgroup\n": "",
	} {
		if got := cgroupMount([]byte(mounts)); got != want {
			t.Errorf("%q: %q, want %q", mounts, got, want)
		}
	}
}

// The lines have the format of /proc/cgroups (cgroups(7)).
func TestHasController(t *testing.T) {
	const cgroups = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t3\t1\t1\nve\t17\t5\t1\n"
	if !hasController([]byte(cgroups), "ve") || hasController([]byte(cgroups), "vet") || hasController([]byte(strings.ReplaceAll(cgroups, "\nve\t", "\nves\t")), "ve") || hasController(nil, "ve") {
		t.Error("ve")
	}
}
