package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
)

// Space is what a file system has left for root.
type Space struct {
	Bytes  uint64
	Inodes uint64
	// NoInodes reports whether the file system does not count them.
	NoInodes bool
}

// What the state directory should have left: a clone, its replacement, and receipts.
const (
	fewBytes  = 64 << 20
	noBytes   = 1 << 20
	fewInodes = 1000
	noInodes  = 20
)

// disk checks the room for the state directory.
func (n *Node) disk() view.Check {
	const name = "disk"
	dir := n.StateDir
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	s, err := n.Space(dir)
	if err != nil {
		return n.notSeen(failed(name, err.Error(), "ls -ld "+view.CommandLine(dir)), err)
	}
	detail := fmt.Sprintf("%d MiB and %d inodes are free where %s is", s.Bytes>>20, s.Inodes, n.StateDir)
	if s.NoInodes {
		detail = fmt.Sprintf("%d MiB are free where %s is", s.Bytes>>20, n.StateDir)
	}
	remedy := "make room: " + view.CommandLine("du", "-xh", "-d1", dir) + " shows what takes it"
	switch {
	case s.Bytes < noBytes, !s.NoInodes && s.Inodes < noInodes:
		return failed(name, detail, remedy)
	case s.Bytes < fewBytes, !s.NoInodes && s.Inodes < fewInodes:
		return warned(name, detail, remedy)
	}
	return passed(name, detail)
}

// earliest is before any nfsync was built: a clock that shows less was not set.
var earliest = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clockSlack is how far in the future something may be that was saved here.
const clockSlack = 5 * time.Minute

// clock checks that the time is plausible: certificates and signatures depend on it.
func (n *Node) clock() view.Check {
	const name, remedy = "clock", "set it: timedatectl set-ntp true, or chronyc makestep"
	now := n.Now()
	if now.Before(earliest) {
		return failed(name, "shows "+now.UTC().Format(time.RFC3339)+": it was not set", remedy)
	}
	good, err := state.ReadLastGood(n.StateDir)
	if err == nil && good.Since.After(now.Add(clockSlack)) {
		return warned(name, fmt.Sprintf("shows %s, and the last good revision is in force since %s", now.UTC().Format(time.RFC3339), good.Since.UTC().Format(time.RFC3339)), remedy)
	}
	if ids, err := state.ReceiptIDs(n.StateDir); err == nil && len(ids) > 0 && state.ReceiptTime(ids[0]).After(now.Add(clockSlack)) {
		return warned(name, fmt.Sprintf("shows %s, which is before the last receipt, %s", now.UTC().Format(time.RFC3339), ids[0]), remedy)
	}
	return passed(name, now.UTC().Format(time.RFC3339))
}

// bootFiles checks nfsync's own boot files.
func bootFiles(s *nf.Snapshot) view.Check {
	const name = "boot files"
	switch c := &s.Capabilities; {
	case c.BootUnknown != "":
		return warned(name, c.BootUnknown, "see /etc/modules-load.d/nfsync.conf, /etc/modprobe.d/nfsync.conf and /etc/sysctl.d/90-nfsync.conf; nfsync plan names what it cannot read")
	case !c.BootFiles:
		return passed(name, "none: nfsync writes them for the initial network namespace only")
	}
	return passed(name, "can be read. nfsync plan names other files that set the same values")
}
