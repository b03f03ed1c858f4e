package doctor

import (
	"context"
	"fmt"
	"time"

	"nfsync.dev/nfsync/internal/view"
)

// The units of nfsync.
const (
	AgentUnit = "nfsync.service"
	BootUnit  = "nfsync-boot.service"
)

// Unit is a unit of systemd, by the names of its properties (org.freedesktop.systemd1(5)).
type Unit struct {
	Name             string
	LoadState        string // loaded, not-found, masked, …
	ActiveState      string // active, failed, …
	Result           string // success, or why it failed
	UnitFileState    string // enabled, disabled, …
	NeedDaemonReload bool   // its file has changed since it was loaded
	Watchdog         time.Duration
	Restarts         uint32 // by systemd, since it was last started
}

// service checks the units of nfsync, if systemd runs here.
func (n *Node) service(ctx context.Context) []view.Check {
	const name = "systemd"
	units, err := n.Units(ctx)
	switch {
	case err != nil:
		return []view.Check{unknown(name, "systemd does not answer: "+err.Error(), "systemctl is-system-running, or "+askRoot)}
	case units == nil:
		return []view.Check{passed(name, "does not run here: nothing starts nfsync by itself")}
	}
	var checks []view.Check
	for i := range units {
		checks = append(checks, n.unit(&units[i]))
		if u := &units[i]; u.Name == AgentUnit && u.ActiveState == "active" {
			checks = append(checks, watchdog(u))
		}
	}
	return checks
}

// unit checks whether a unit is there, starts with the node, and has not failed.
func (n *Node) unit(u *Unit) view.Check {
	name := u.Name
	reload, enable := "systemctl daemon-reload", "systemctl enable "+name
	switch {
	case u.LoadState == "not-found" && !n.Config.isThere():
		return passed(name, "is not installed")
	case u.LoadState == "not-found":
		return warned(name, "is not installed: nothing starts nfsync with the node", "install the package of nfsync, or its units as docs/systemd.md shows, then "+enable)
	case u.LoadState == "masked":
		return warned(name, "is masked", "systemctl unmask "+name)
	case u.LoadState != "loaded":
		return failed(name, "cannot be loaded: "+u.LoadState, "systemctl status "+name)
	case u.ActiveState == "failed":
		return failed(name, "has failed: "+u.Result, "journalctl -u "+name+" -e, then systemctl restart "+name)
	case u.NeedDaemonReload:
		return warned(name, "its file has changed since systemd has read it", reload)
	case u.UnitFileState == "disabled" && n.Config.isThere():
		return warned(name, u.ActiveState+", and does not start with the node", enable)
	case name == AgentUnit && !n.Config.isThere():
		return passed(name, u.UnitFileState+", and starts once "+n.Config.File+" exists")
	case name == AgentUnit && u.ActiveState == "inactive":
		return warned(name, "is not running", "systemctl start "+name)
	case name == AgentUnit && u.Restarts > 0:
		return warned(name, fmt.Sprintf("%s, and was started again %d times after it had ended by itself", u.ActiveState, u.Restarts), seeJournal)
	}
	return passed(name, u.ActiveState+", "+u.UnitFileState)
}

func watchdog(u *Unit) view.Check {
	const name = "watchdog"
	if u.Watchdog == 0 {
		return warned(name, "systemd does not notice when the agent hangs", "systemctl edit "+AgentUnit+", and set WatchdogSec=15min below [Service]")
	}
	return passed(name, "systemd starts the agent again when it gives no sign of life for "+u.Watchdog.String())
}
