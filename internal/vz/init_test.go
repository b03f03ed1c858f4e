package vz

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/netns"
)

// The Virtuozzo kernel adds the line (cg_env_check_init_pid in libvzctl).
func TestParseEnvID(t *testing.T) {
	for status, want := range map[string]string{
		"Name:\tinit\nenvID:\t132694\nVPid:\t1\n": "132694",
		"envID:\t0\n":       "0",
		"Name:\tenvID:\t7":  "",
		"Name:\tinit\n":     "",
		"xenvID:\t132694\n": "",
	} {
		if got := parseEnvID([]byte(status)); got != want {
			t.Errorf("%q: %q, want %q", status, got, want)
		}
	}
}

func TestPidOfLink(t *testing.T) {
	for to, want := range map[string]int{
		"/proc/42/ns/net": 42, "/proc/0/ns/net": 0, "/proc/-1/ns/net": 0, "/proc/self/ns/net": 0, "/proc/42/ns/mnt": 0,
		"/run/netns/x": 0, "": 0, "/proc/42": 0, "42/ns/net": 0,
	} {
		if got := pidOfLink(to); got != want {
			t.Errorf("%q: %d, want %d", to, got, want)
		}
	}
}

// fakeProc makes a procfs with processes, by their ids and containers. All are in nfsync's
// own network namespace.
func fakeProc(t *testing.T, processes map[int]string) string {
	t.Helper()
	dir := t.TempDir()
	for pid, envID := range processes {
		at := fmt.Sprint(pid)
		write(t, dir, at+"/stat", at+" (init) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 500 20 21\n")
		status := "Name:\tinit\n"
		if envID != "" {
			status += "envID:\t" + envID + "\n"
		}
		write(t, dir, at+"/status", status)
		link(t, dir, at+"/ns/net", "/proc/self/ns/net")
	}
	return dir
}

// The pid file is VE_RUN_DIR/CTID.init.pid. env_nsops.c of libvzctl makes the link, which
// dangles after a crash.
func TestFindInit(t *testing.T) {
	ns, err := netns.Identify("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		file, to string
		own      bool
		kind     initKind
		why      string
		instance bool
		claims   int
	}{
		"neither":                             {"", "", false, initNone, "its init process is unknown", false, 0},
		"both":                                {"7", "/proc/7/ns/net", false, initRuns, "", true, 1},
		"the file":                            {"7\n", "", false, initRuns, "", true, 1},
		"the link":                            {"", "/proc/7/ns/net", false, initRuns, "", true, 1},
		"another's link":                      {"7", "/run/elsewhere", false, initRuns, "", true, 1},
		"they disagree":                       {"7", "/proc/8/ns/net", false, initRuns, "is process 7 according to /var/run/ve/101.init.pid, and process 8", false, 1},
		"they disagree, and one has ended":    {"7", "/proc/99/ns/net", false, initRuns, "is process 7", false, 1},
		"they disagree, and both have":        {"98", "/proc/99/ns/net", false, initLost, "must show the node's processes", false, 0},
		"ended":                               {"99", "/proc/99/ns/net", false, initLost, "process 99 is not in", false, 0},
		"another's process":                   {"9", "/proc/9/ns/net", false, initLost, "belongs to container 102", false, 0},
		"a process of the node":               {"10", "", false, initLost, "belongs to container 0", false, 0},
		"a kernel that does not show it":      {"11", "", false, initRuns, "", true, 1},
		"no number":                           {"x", "", false, initRuns, "has no process id", false, 0},
		"the node's namespace":                {"7", "/proc/7/ns/net", true, initRuns, "would hit the node", false, 0},
		"a process that cannot be identified": {"12", "", false, initRuns, "cannot identify its network namespace", false, 0},
	} {
		root := t.TempDir()
		if test.file != "" {
			write(t, root, "var/run/ve/101.init.pid", test.file)
		}
		if test.to != "" {
			link(t, root, "var/run/netns/101", test.to)
		}
		r := Runtime{Root: root, BootID: "boot", Proc: fakeProc(t, map[int]string{7: "101", 8: "101", 9: "102", 10: "0", 11: "", 12: "101"})}
		if err := os.Remove(filepath.Join(r.Proc, "12/ns/net")); err != nil {
			t.Fatal(err)
		}
		write(t, r.Proc, "12/ns/net/directory", "")
		if test.own {
			r.NodeNamespaces = []netns.Identity{ns}
		}
		l := r.findInit(r.node(), "101")
		want := ""
		if test.instance {
			want = fmt.Sprintf("boot/101/%d/500/%s", l.pid, ns)
		}
		if l.kind != test.kind || !strings.Contains(l.why, test.why) || (l.why == "") != (test.why == "") || l.instance != want || len(l.namespaces) != test.claims {
			t.Errorf("%s: %+v", name, l)
		}
	}
}
