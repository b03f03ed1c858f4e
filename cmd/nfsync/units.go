package main

import (
	"context"
	"errors"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/coreos/go-systemd/v22/util"

	"nfsync.dev/nfsync/internal/doctor"
)

// unitsTimeout bounds the questions to systemd.
const unitsTimeout = 5 * time.Second

// readUnits asks systemd for the units of nfsync. It returns nil where systemd does not run.
func readUnits(ctx context.Context) ([]doctor.Unit, error) {
	if !util.IsRunningSystemd() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, unitsTimeout)
	defer cancel()
	// Root asks systemd itself. Others ask by way of the bus, which may not run.
	c, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		var other error
		if c, other = dbus.NewSystemConnectionContext(ctx); other != nil {
			return nil, errors.Join(err, other)
		}
	}
	defer c.Close()
	var units []doctor.Unit
	for _, name := range []string{doctor.AgentUnit, doctor.BootUnit} {
		properties, err := c.GetAllPropertiesContext(ctx, name)
		if err != nil {
			return nil, err
		}
		units = append(units, unitOf(name, properties))
	}
	return units, nil
}

// unitOf returns a unit from its properties. One that systemd of this version does not have is zero.
func unitOf(name string, properties map[string]any) doctor.Unit {
	u := doctor.Unit{Name: name}
	take(properties, "LoadState", &u.LoadState)
	take(properties, "ActiveState", &u.ActiveState)
	take(properties, "Result", &u.Result)
	take(properties, "UnitFileState", &u.UnitFileState)
	take(properties, "NeedDaemonReload", &u.NeedDaemonReload)
	take(properties, "NRestarts", &u.Restarts)
	var patience uint64 // microseconds
	take(properties, "WatchdogUSec", &patience)
	u.Watchdog = time.Duration(min(patience, uint64(time.Duration(1<<63-1)/time.Microsecond))) * time.Microsecond
	return u
}

func take[T any](properties map[string]any, name string, to *T) {
	if value, ok := properties[name].(T); ok {
		*to = value
	}
}
