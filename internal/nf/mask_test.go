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
		level  Level
	}{
		{0, "disabled", false, LevelDisabled},
		{469762055, "stateless", false, LevelStateless},
		{1543618567, "stateful", true, LevelStateful},
		{18446744073709551615, "full", true, LevelFull},
		{201326595, "custom(0xc000003)", false, LevelStateless}, // ip_tables iptable_filter ipt_REJECT
		{1275084803, "custom(0x4c004003)", true, LevelStateful}, // iptable_filter ipt_state
		{1678786561, "custom(0x64104001)", true, LevelFull},     // iptable_nat, which needs conntrack
		{1 << 12, "custom(0x1000)", false, LevelStateless},      // ipt_length alone
		{0x4001c001, "custom(0x4001c001)", true, LevelStateful}, // the helpers of FTP and IRC
	} {
		v := MaskValue(test.mask)
		if v.String() != test.value || v.MaskTracks() != test.tracks {
			t.Errorf("%#x is %v, tracks %v; want %s, %v", test.mask, v, v.MaskTracks(), test.value, test.tracks)
		}
		if level, ok := v.MaskLevel(); !ok || level != test.level {
			t.Errorf("%#x has the level %v, want %v", test.mask, level, test.level)
		}
		if back, ok := v.Mask(); !ok || back != test.mask {
			t.Errorf("%v stands for %#x, %v", v, back, ok)
		}
	}
}

func TestNoMask(t *testing.T) {
	for _, v := range []Value{Absent(), Unknown("EIO"), Text("custom(0x)"), Text("custom(0xfg)"), Text("Full"), Text("full"), Number(0), Number(4), LevelUnset.Value()} {
		if mask, ok := v.Mask(); ok || !v.MaskTracks() {
			t.Errorf("%v stands for %#x, tracks %v", v, mask, v.MaskTracks())
		}
		if level, ok := v.MaskLevel(); ok {
			t.Errorf("%v has the level %s", v, level)
		}
	}
}
