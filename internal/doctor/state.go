package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
)

func (n *Node) memory() view.Check {
	const name = "memory"
	memory, err := state.ReadMemory(n.StateDir)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return n.denied(failed(name, err.Error(), "run nfsync as root: "+askRoot))
	case err != nil:
		return failed(name, err.Error(), "nfsync recover --accept sets a damaged file aside; nfsync then starts with an empty memory")
	case len(memory.Keys) == 0:
		return passed(name, "empty: nothing has been applied here yet")
	}
	return passed(name, fmt.Sprintf("%d keys remembered", len(memory.Keys)))
}

// state checks whether the state directory can be written, and what earlier runs
// have left. It writes nothing.
func (n *Node) state() view.Check {
	const name, damaged = "state", "nfsync recover --accept sets a damaged file aside"
	if _, err := os.Stat(n.StateDir); errors.Is(err, fs.ErrNotExist) {
		return passed(name, n.StateDir+" does not exist yet: the first apply makes it")
	}
	dir, err := state.Look(n.StateDir)
	if err != nil {
		return n.notSeen(failed(name, err.Error(), "run nfsync as its owner ("+view.CommandLine("ls", "-ld", n.StateDir)+"), or name another directory with --state-dir"), err)
	}
	stuck, err := dir.Stuck()
	if err != nil {
		return failed(name, err.Error(), damaged)
	}
	if left := len(stuck); left > 0 {
		return failed(name, fmt.Sprintf("%d changes could be neither made nor undone, and hold back their targets; the last is of run %s", left, stuck[left-1].Run), "nfsync recover shows them")
	}
	run, open, err := dir.Unfinished()
	if err != nil {
		return failed(name, err.Error(), damaged)
	}
	if why := unconfirmed(run); why != "" {
		return warned(name, why, "nfsync confirm keeps the changes of a run that waits for it")
	}
	if open {
		return warned(name, "run "+run.ID+" has not come to its end", "unless it is still at work, the next apply finishes or undoes what it has left: nfsync recover shows it")
	}
	return passed(name, n.StateDir+" can be written, no run is open")
}

// unconfirmed says what becomes of an open run that was to be confirmed.
func unconfirmed(run state.Run) string {
	bootID, _, _, err := kernel.FS{Proc: "/proc"}.Identity()
	if err != nil {
		return "" // the check of the kernel says so
	}
	return apply.OpenRun(run, bootID)
}

func (n *Node) lock() view.Check {
	const name = "lock"
	holder, err := apply.NewLock(n.RunDir, n.StateDir).Holder()
	switch {
	case err != nil:
		return n.notSeen(failed(name, "cannot try the lock: "+err.Error(), "run nfsync as its owner ("+view.CommandLine("ls", "-ld", n.RunDir)+"), or name another directory with --run-dir"), err)
	case holder != "":
		return warned(name, holder+" is at work", "wait for it to end, only one apply runs at a time: ps -ef shows it")
	}
	return passed(name, "free")
}

// lastGood checks what the agent can fall back on. It is no check where git was
// never used.
func (n *Node) lastGood() []view.Check {
	const name = "last good revision"
	good, err := state.ReadLastGood(n.StateDir)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return []view.Check{n.denied(warned(name, err.Error(), "run nfsync as root: "+askRoot))}
	case err != nil:
		return []view.Check{failed(name, err.Error(), "see "+filepath.Join(n.StateDir, "lastgood")+": nfsync agent --once replaces it once it is moved away")}
	case good.Revision == "":
		return nil
	}
	return []view.Check{passed(name, fmt.Sprintf("%s of %s, since %s", good.Revision, nf.PublicURL(good.URL), good.Since.Local().Format(time.DateTime)))}
}
