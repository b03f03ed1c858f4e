package nf

import (
	"strconv"
	"strings"
)

// The masks by which the Virtuozzo 7 kernel keeps the level of a container
// (ve.iptables_mask; the levels are VE_NF_STATELESS, VE_NF_STATEFUL and their
// IPv6 twins in lib/iptables.c of libvzctl, full is VE_IP_ALL).
var levelMasks = map[Level]uint64{
	LevelDisabled:  0,
	LevelStateless: 0x1c000007,
	LevelStateful:  0x5c01c007,
	LevelFull:      0xffffffffffffffff,
}

// conntrackBits are VE_IP_CONNTRACK_MOD and VE_NF_CONNTRACK_MOD
// (include/linux/vziptable_defs.h of libvzctl): a mask with neither keeps
// connections from being tracked.
const conntrackBits = 1<<14 | 1<<30

// natBits are VE_IP_NAT_MOD, those of its FTP and IRC helpers and of REDIRECT,
// and VE_IP_IPTABLE_NAT_MOD.
const natBits = 1<<20 | 1<<21 | 1<<22 | 1<<23 | 1<<29

const customPrefix, customSuffix = "custom(0x", ")"

// MaskValue returns a mask as a value: the level that has it, or custom(0x...) for any
// other, which IPTABLES= lines cause.
func MaskValue(mask uint64) Value {
	for level, m := range levelMasks {
		if m == mask {
			return level.Value()
		}
	}
	return Value{kind: kindMask, number: int64(mask)}
}

// parseCustom returns the mask of a text custom(0x...).
func parseCustom(text string) (uint64, bool) {
	hex, custom := strings.CutPrefix(text, customPrefix)
	hex, closed := strings.CutSuffix(hex, customSuffix)
	mask, err := strconv.ParseUint(hex, 16, 64)
	return mask, custom && closed && err == nil
}

// Mask returns the mask of a level or a custom mask; false for any other value.
func (v Value) Mask() (uint64, bool) {
	if level, ok := v.Level(); ok {
		return levelMasks[level], true
	}
	if v.kind != kindMask {
		return 0, false
	}
	return uint64(v.number), true
}

// MaskTracks reports whether the mask of a value lets connections be tracked. It is true
// for a value without a mask: unknown never reads as off.
func (v Value) MaskTracks() bool {
	mask, ok := v.Mask()
	return !ok || mask&conntrackBits != 0
}

// MaskLevel returns the highest level of which the mask of a value has a bit; false for a
// value without a mask.
func (v Value) MaskLevel() (Level, bool) {
	mask, ok := v.Mask()
	switch {
	case !ok:
		return LevelUnset, false
	case mask&natBits != 0:
		return LevelFull, true
	case mask&conntrackBits != 0:
		return LevelStateful, true
	case mask != 0:
		return LevelStateless, true
	}
	return LevelDisabled, true
}
