package main

import (
	"math"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/doctor"
)

// TestUnitOf: properties of the types that systemd has, of others, and none.
func TestUnitOf(t *testing.T) {
	for name, test := range map[string]struct {
		properties map[string]any
		want       doctor.Unit
	}{
		"all": {map[string]any{"LoadState": "loaded", "ActiveState": "active", "Result": "success", "UnitFileState": "enabled",
			"NeedDaemonReload": true, "NRestarts": uint32(3), "WatchdogUSec": uint64(900_000_000)},
			doctor.Unit{Name: "u", LoadState: "loaded", ActiveState: "active", Result: "success", UnitFileState: "enabled", NeedDaemonReload: true, Restarts: 3, Watchdog: 15 * time.Minute}},
		"none":        {nil, doctor.Unit{Name: "u"}},
		"other types": {map[string]any{"LoadState": 7, "NRestarts": "3"}, doctor.Unit{Name: "u"}},
		"infinity":    {map[string]any{"WatchdogUSec": uint64(math.MaxUint64)}, doctor.Unit{Name: "u", Watchdog: (1<<63 - 1) / time.Microsecond * time.Microsecond}},
	} {
		if got := unitOf("u", test.properties); got != test.want {
			t.Errorf("%s: %+v, not %+v", name, got, test.want)
		}
	}
}
