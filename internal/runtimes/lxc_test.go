package runtimes_test

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/runtimes"
	"nfsync.dev/nfsync/internal/runtimes/runtimestest"
)

// The files and the answers are those of LXC 5.0.2: see testdata/README.md.
func TestRecordedLXC(t *testing.T) {
	l1 := runtimestest.Start(t)
	answers := map[string]string{}
	for name, pid := range map[string]int{"l1": 2505, "l2": 2511, "lhost": 2516, "my-web_1.x": 2521, "lfroz": 2526} {
		answers["/var/lib/lxc/"+name] = answer(pid)
	}
	l := replayLXC(t, "lxc", map[int]*runtimestest.Process{
		2505: l1, 2511: l1, 2516: nil, 2521: runtimestest.Start(t), 2526: runtimestest.Start(t)}, answers)
	frozen := filepath.Join(l.Root, "sys/fs/cgroup/lxc.payload.lfroz/cgroup.events")
	must(t, os.MkdirAll(filepath.Dir(frozen), 0o755))
	must(t, os.WriteFile(frozen, []byte("populated 1\nfrozen 1\n"), 0o644))
	listed := list(t, l.Node)
	want(t, listed, []string{"l1=l2", "lfroz paused", "my-web_1.x"},
		"node-namespace: lxc: in the node's own network namespace, and so no containers here: lhost")
	for _, c := range listed.Containers {
		if c.Runtime != nf.RuntimeLXC || c.ID != c.Name {
			t.Errorf("%+v", c)
		}
	}
}

// Without monitors that listen, the sockets of /proc/net/unix are of no container.
func TestStaleLXC(t *testing.T) {
	l := replayLXC(t, "lxc", nil, nil)
	want(t, list(t, l.Node), []string{})
	l.sockets("")
	l.container(100, "/var/lib/lxc", "gone", runtimestest.Start(t))
	must(t, os.RemoveAll(filepath.Join(l.Proc, "101")))
	want(t, list(t, l.Node), []string{})
}

// The id of a container has its directory, unless that is the usual one.
func TestLXCDirectories(t *testing.T) {
	l := newLXCNode(t, t.TempDir())
	long := "/srv/" + strings.Repeat("x", 100)
	l.container(100, "/var/lib/lxc", "web", runtimestest.Start(t))
	l.container(200, "/srv/lxc", "web", runtimestest.Start(t))
	l.container(300, "/srv/with space", "a b", nil) // LXC has no such names: its title would be another one
	// The socket of a long name has a hash, and the name is in the title of the monitor only.
	l.add(process{pid: 400, parent: 1, command: "[lxc monitor] " + long + " far"})
	l.add(process{pid: 401, parent: 400, inContainer: true, in: runtimestest.Start(t)})
	l.listen(hashed(long+"/far"), answer(401))
	l.add(process{pid: 500, parent: 1, command: "[lxc monitor] " + long + " other"})
	l.add(process{pid: 501, parent: 500, inContainer: true, in: runtimestest.Start(t)})
	l.listen(hashed("another"), answer(501))
	listed := list(t, l.Node)
	unknown := strings.TrimPrefix(hashed("another"), "lxc/")
	want(t, listed, []string{unknown + " unobservable: its name is not known: it is not in the command line of its monitor, the parent of process 501", "far", "web", "web"},
		"node-namespace: lxc: in the node's own network namespace, and so no containers here: a b")
	var ids []string
	for _, c := range listed.Containers {
		ids = append(ids, c.ID)
	}
	slices.Sort(ids)
	if expected := []string{"/srv/lxc/web", long + "/far", "lxc/" + unknown, "web"}; !slices.Equal(ids, expected) {
		t.Errorf("ids %q, want %q", ids, expected)
	}
}

// hashed is the name of the socket of a container with a long name, without its end. LXC 5.0.2 was seen
// to listen on it.
func hashed(container string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(container))
	return fmt.Sprintf("lxc/%016x", h.Sum64())
}

// Only root's socket is asked, and only a process that is known to be the container's is believed.
func TestForgedLXC(t *testing.T) {
	l := newLXCNode(t, t.TempDir())
	in := runtimestest.Start(t)
	l.squat("/var/lib/lxc/squatted", answer(101))
	// Root of a container without a network namespace of its own listens too.
	l.add(process{pid: 100, parent: 1, command: "[lxc monitor] /var/lib/lxc inner", inContainer: true})
	l.add(process{pid: 101, parent: 100, cgroup: "0::/lxc.payload.inner\n", inContainer: true, in: in})
	l.listen("/var/lib/lxc/inner", answer(101))
	l.add(process{pid: 200, parent: 1, command: "[lxc monitor] /var/lib/lxc user", uid: 1000})
	l.add(process{pid: 201, parent: 200, in: in})
	l.listen("/var/lib/lxc/user", answer(201))
	l.add(process{pid: 300, parent: 1, command: "[lxc monitor] /var/lib/lxc another"})
	l.add(process{pid: 301, parent: 300, cgroup: "0::/user.slice/user@1000.service/lxc.payload.web\n0::/lxc.payload.web2\n", in: in})
	l.listen("/var/lib/lxc/web", answer(301))
	// A line feed in a name makes another line of /proc/net/unix.
	l.name("@x\n0000000000000000: 00000002 00000000 00010000 0001 01 1 @/var/lib/lxc/none/command")
	const unknown = " is not known to be its first: "
	want(t, list(t, l.Node), []string{
		"inner unobservable: process 101" + unknown + "the parent is not root's, or is in a container",
		"user unobservable: process 201" + unknown + "the parent is not root's, or is in a container",
		"web unobservable: process 301" + unknown + "neither its cgroup nor its parent has the name of the container",
	})
}

// A monitor in the foreground has no title: the command line of lxc-start, or else the cgroup of the
// first process, has the name of the container.
func TestLXCInTheForeground(t *testing.T) {
	l := newLXCNode(t, t.TempDir())
	for i, test := range []struct{ name, command, cgroup string }{
		{"101", "/usr/bin/lxc-start\x00-F\x00-n\x00101\x00", "0::/lxc/101/ns/init.scope\n"},
		{"arg", "lxc-start\x00-F\x00-P\x00/srv/ct/\x00--name\x00arg\x00", "0::/\n"},
		{"program", "python3\x00start.py\x00", "4:memory:/x\n1:cpu:/lxc.payload.program-2\n"},
		{"old", "lxc-start\x00-n\x00another\x00", "1:cpu:/lxc.payload/old\n"},
	} {
		pid := 100 * (i + 1)
		l.add(process{pid: pid, parent: 1, command: test.command})
		l.add(process{pid: pid + 1, parent: pid, cgroup: test.cgroup, in: runtimestest.Start(t)})
		dir := "/var/lib/lxc/"
		if test.name == "arg" {
			dir = "/srv/ct/"
		}
		l.listen(dir+test.name, answer(pid+1))
	}
	want(t, list(t, l.Node), []string{"101", "arg", "old", "program"})
}

// A monitor that does not answer as it should holds up nobody, and its container cannot be observed.
func TestBadMonitors(t *testing.T) {
	l := newLXCNode(t, t.TempDir())
	for i := range 140 { // more than are asked together
		l.container(1000+2*i, "/var/lib/lxc", fmt.Sprintf("good-%03d", i), nil)
	}
	refusal := "\xf3\xff\xff\xff" + strings.Repeat("\x00", 12) // -EACCES
	for name, answer := range map[string]string{
		"silent": "", "short": "12345", "refuses": refusal, "starts": answer(0), "ended": answer(99),
		"huge": strings.Repeat("\x00", 12) + "\x00\x00\x01\x00", "negative": answer(0)[:8] + strings.Repeat("\xff", 8),
	} {
		l.listen("/var/lib/lxc/"+name, answer)
	}
	want(t, list(t, l.Node), []string{
		"huge unobservable: the answer of its monitor is no process: 281474976710656",
		"refuses unobservable: its monitor refuses to answer: permission denied",
		"short unobservable: the answer of its monitor has 5 bytes, not 16",
		"silent unobservable: its monitor does not answer within 200ms",
	}, "node-namespace: lxc: in the node's own network namespace, and so no containers here: good-000, good-001, good-002, good-003, good-004 and 135 more")
}

// A container that is being made is found by its cgroup, once its process has left the node's namespace.
func TestLXCBirth(t *testing.T) {
	for _, test := range []struct{ root, cgroup, entry, command, want string }{
		{"", "lxc.payload.web", "lxc.payload.web", "[lxc monitor] /var/lib/lxc web", "lxc:web"},
		{"freezer", "lxc.payload.web", "lxc.payload.web", "[lxc monitor] /srv/lxc web", "lxc:web"},
		{"", "lxc.payload.web-1", "lxc.payload.web-1", "[lxc monitor] /var/lib/lxc web", "lxc:web"},
		{"", "lxc.payload.web-1", "lxc.payload.web-1", "[lxc monitor] /var/lib/lxc web-1", "lxc:web-1"},
		{"", "lxc/101/ns", "101", "lxc-start\x00-F\x00-n\x00101", "lxc:101"},
		{"", "lxc.payload.web", "lxc.payload.web", "[lxc monitor] /var/lib/lxc db", "lxc:? incus:?"},
		{"", "lxc.payload.web", "lxc.payload.web", "sleep\x00100", "lxc:? incus:?"},
		{"", "user.slice/user-1000.slice/lxc.payload.web", "lxc.payload.web", "[lxc monitor] /var/lib/lxc web", ""},
		{"", "lxc.payload.shop_db", "lxc.payload.shop_db", "[lxc monitor] /var/lib/incus/containers shop_db", "incus:shop/db"},
		{"", "lxc.payload.db", "lxc.payload.db", "[lxc monitor] /var/snap/lxd/common/lxd/containers db", "incus:db"},
	} {
		l := newLXCNode(t, t.TempDir())
		l.add(process{pid: 100, parent: 1, command: test.command})
		l.add(process{pid: 101, parent: 100, cgroup: "0::/" + test.cgroup + "\n"})
		dir := filepath.Join(l.Root, "sys/fs/cgroup", test.root, test.cgroup)
		must(t, os.MkdirAll(dir, 0o755))
		both := func() string {
			text := ""
			for _, runtime := range []string{nf.RuntimeLXC, nf.RuntimeIncus} {
				if name := born(l.Node, runtime, test.entry); name != "" {
					text += runtime + ":" + name + " "
				}
			}
			return strings.TrimSpace(text)
		}
		none := "lxc:? incus:?"
		if strings.HasPrefix(test.cgroup, "user.slice") {
			none = ""
		}
		if got := both(); got != none {
			t.Errorf("%s: no process, and %q", test.cgroup, got)
		}
		must(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("101\n"), 0o644))
		if got := both(); got != none {
			t.Errorf("%s: in the node's namespace, and %q", test.cgroup, got)
		}
		l.enter(101, runtimestest.Start(t))
		if got := both(); got != test.want {
			t.Errorf("%s of %q: %q, want %q", test.cgroup, test.command, got, test.want)
		}
	}
}

// The cgroups are watched where containers get theirs.
func TestLXCWatch(t *testing.T) {
	n := runtimes.Node{Root: t.TempDir()}
	for _, dir := range []string{"memory", "freezer", "unified"} {
		must(t, os.MkdirAll(filepath.Join(n.Root, "sys/fs/cgroup", dir), 0o755))
	}
	var expected []string
	for _, root := range []string{"", "/freezer", "/unified"} {
		for _, dir := range []string{"", "/lxc", "/lxc.payload"} {
			expected = append(expected, n.Root+"/sys/fs/cgroup"+root+dir)
		}
	}
	slices.Sort(expected)
	directories(t, n, nf.RuntimeLXC, expected...)
	directories(t, n, nf.RuntimeIncus, expected...)
}
