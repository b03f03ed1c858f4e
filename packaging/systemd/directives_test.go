package systemd_test

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// files are the unit files and drop-ins, with the oldest systemd that loads them.
var files = map[string]int{"nfsync.service": 219, "nfsync-boot.service": 219, "sandbox.conf": 247, "notify-reload.conf": 253,
	"../coordinator/systemd/nfsync-coordinator.service": 239}

// looser says what a systemd does that does not know a line of a sandbox.
const looser = "ignore the line: the sandbox is less strict"

// directives says since which version systemd knows each directive that the files use, and, if a file
// is loaded by older versions too, what these do with it. A directive that they would not ignore, or
// without which nfsync does not work, has no place there. The versions are those of systemd's NEWS;
// 0 is older than 219. An unknown directive is ignored with a warning, and so is a value that
// an enumeration does not have.
var directives = map[string]struct {
	since int
	older string
}{
	"Unit.Description": {}, "Unit.Documentation": {}, "Unit.DefaultDependencies": {}, "Unit.ConditionPathExists": {},
	"Unit.Wants": {}, "Unit.After": {}, "Unit.Before": {}, "Unit.Conflicts": {},
	"Install.WantedBy": {},

	"Service.Type=notify": {}, "Service.Type=oneshot": {}, "Service.Type=notify-reload": {since: 253},
	"Service.NotifyAccess=main": {}, "Service.ExecStart": {}, "Service.ExecReload": {}, "Service.WatchdogSec": {},
	"Service.TimeoutStartSec": {}, "Service.TimeoutStopSec": {}, "Service.Restart=always": {}, "Service.RestartSec": {},
	"Service.KillMode=process": {}, "Service.RemainAfterExit=yes": {}, "Service.StandardInput=null": {}, "Service.SuccessExitStatus": {},
	"Service.OOMPolicy=continue":      {since: 243, older: "know no such policy: the end of a fetch is not the end of the agent"},
	"Service.LimitNOFILE=131072":      {},
	"Service.LimitNOFILE=1024:131072": {since: 229, older: "ignore the line: the one before counts"},

	"Service.ProtectSystem=strict": {since: 232}, "Service.ExecStartPre": {since: 231}, "Service.ReadWritePaths": {since: 231},
	"Service.StateDirectory": {since: 235}, "Service.StateDirectoryMode": {since: 235}, "Service.RuntimeDirectory": {}, "Service.RuntimeDirectoryMode": {},
	"Service.RuntimeDirectoryPreserve=yes": {since: 235}, "Service.ProtectHome=read-only": {}, "Service.PrivateTmp=yes": {}, "Service.PrivateDevices=yes": {},
	"Service.ProtectControlGroups=yes": {since: 232}, "Service.UMask": {}, "Service.CapabilityBoundingSet": {}, "Service.NoNewPrivileges=yes": {},
	"Service.RestrictNamespaces": {since: 233}, "Service.RestrictAddressFamilies": {}, "Service.RestrictRealtime=yes": {since: 231}, "Service.RestrictSUIDSGID=yes": {since: 242, older: looser},
	"Service.LockPersonality=yes": {since: 235}, "Service.MemoryDenyWriteExecute=yes": {since: 231}, "Service.SystemCallArchitectures": {}, "Service.SystemCallFilter": {since: 231},
	"Service.SystemCallErrorNumber": {}, "Service.ProtectClock=yes": {since: 245, older: looser}, "Service.ProtectKernelLogs=yes": {since: 244, older: looser}, "Service.KeyringMode=private": {since: 235},

	"Service.User": {}, "Service.Group": {}, "Service.Restart=on-failure": {}, "Service.PrivateUsers=yes": {since: 232}, "Service.ProtectHome=yes": {},
	"Service.ProtectHostname=yes": {since: 242, older: looser}, "Service.ProtectKernelTunables=yes": {since: 232}, "Service.ProtectKernelModules=yes": {since: 232},
	"Service.ProtectProc=invisible": {since: 247, older: looser}, "Service.ProcSubset=pid": {since: 247, older: looser}, "Service.RemoveIPC=yes": {since: 232},
}

// enumerations are the directives whose values have versions of their own.
var enumerations = func() map[string]bool {
	names := map[string]bool{}
	for d := range directives {
		if name, _, ok := strings.Cut(d, "="); ok {
			names[name] = true
		}
	}
	return names
}()

// TestDirectives holds each line of the files against the table.
func TestDirectives(t *testing.T) {
	used := map[string]bool{}
	for file, oldest := range files {
		for _, d := range parse(t, file) {
			used[d] = true
			known, ok := directives[d]
			switch {
			case !ok:
				t.Errorf("%s: %s is not in the table: since which version does systemd know it?", file, d)
			case known.since > oldest && known.older == "":
				t.Errorf("%s: %s is known since %d only, and systemd %d loads the file", file, d, known.since, oldest)
			}
		}
	}
	for d := range directives {
		if !used[d] {
			t.Errorf("stale: no file has %s", d)
		}
	}
}

// parse returns the directives of a file as SECTION.NAME, or SECTION.NAME=VALUE if values have
// versions of their own.
func parse(t *testing.T, file string) (list []string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	section := ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		name, value, _ := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]") + "."
		case enumerations[section+name] && value != "":
			list = append(list, section+name+"="+value)
		default:
			list = append(list, section+name)
		}
	}
	return list
}
