package nf

import "testing"

// The masks are those of lib/iptables.c of libvzctl as the cgroup file shows
// them, and what the kernel makes of IPTABLES= lines on write
// (ve_setup_iptables_mask, kernel/ve/ve.c of the Virtuozzo 7 kernel).
func TestMaskValue(t *testing.T) {
	for _, test := range []struct {
		mask   uint64
		value  string
		tracks bool
	}{
		{0, "disabled", false},
		{469762055, "stateless", false},
		{1543618567, "stateful", true},
		{18446744073709551615, "full", true},
		{201326595, "custom(0xc000003)", false},  // ip_tables iptable_filter ipt_REJECT
		{1275084803, "custom(0x4c004003)", true}, // iptable_filter ipt_state
		{1678786561, "custom(0x64104001)", true}, // iptable_nat, which needs conntrack
	} {
		v := MaskValue(test.mask)
		if v != Text(test.value) || v.MaskTracks() != test.tracks {
			t.Errorf("%#x is %v, tracks %v; want %s, %v", test.mask, v, v.MaskTracks(), test.value, test.tracks)
		}
		if back, ok := v.Mask(); !ok || back != test.mask {
			t.Errorf("%v stands for %#x, %v", v, back, ok)
		}
	}
}

func TestNoMask(t *testing.T) {
	for _, v := range []Value{Absent(), Unknown("EIO"), Text("custom(0x)"), Text("custom(0xfg)"), Text("Full"), Number(0)} {
		if mask, ok := v.Mask(); ok || !v.MaskTracks() {
			t.Errorf("%v stands for %#x, tracks %v", v, mask, v.MaskTracks())
		}
	}
}
