package runtimes_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/runtimes"
	"nfsync.dev/nfsync/internal/runtimes/runtimestest"
)

const (
	alice = 1000
	bob   = 1001
)

// passwd writes the users of a root.
func passwd(t *testing.T, root string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "etc/passwd"), []byte(`root:x:0:0:root:/root:/bin/bash
# a comment, a name with a slash, a line that is cut
al/ice:x:1000:1000::/home/other:/bin/sh
alice:x:1000:1000:Alice,,,:/home/alice:/bin/bash
second:x:1000:1000::/home/second:/bin/bash
bob:x:1001:1001::/srv/homes/bob:/bin/bash
carol:x:1002
`), 0o644))
}

// users returns the Podman of root, of alice and of bob below a new root.
func users(t *testing.T) (root, ofAlice, ofBob runtimestest.Podman) {
	t.Helper()
	root = runtimestest.Podman{T: t, Root: t.TempDir()}
	passwd(t, root.Root)
	ofAlice, ofBob = root, root
	ofAlice.UID, ofAlice.Home = alice, "/home/alice"
	ofBob.UID, ofBob.Home = bob, "/srv/homes/bob"
	return root, ofAlice, ofBob
}

// The files are those of podman 4.3.1 with crun 1.8.1: see testdata/README.md.
func TestRecordedRootless(t *testing.T) {
	aweb, infra := runtimestest.StartOf(t, alice), runtimestest.StartOf(t, alice)
	root := runtimestest.Replay(t, "podman-rootless", map[int]*runtimestest.Process{
		1804: aweb, 1819: runtimestest.StartOf(t, alice), 1834: runtimestest.StartHereOf(t, alice), 1849: runtimestest.StartIn(t, aweb), 1869: runtimestest.StartOf(t, alice),
		1897: infra, 1902: runtimestest.StartIn(t, infra), 1975: runtimestest.StartOf(t, alice),
	})
	passwd(t, root)
	runtimestest.Give(t, alice, filepath.Join(root, "run/user/1000"), filepath.Join(root, "home/alice"))
	l := list(t, node(t, root))
	want(t, l, []string{"abridge=alice/abridge", "anone=alice/anone", "apod=alice/apod=alice/apod-1=alice/f150a4f819cd-infra=apod-1=f150a4f819cd-infra",
		"arm=alice/arm", "aweb=alice/aside=alice/aweb=aside"},
		"node-namespace: podman: in the node's own network namespace, and so no containers here: ahost")
	for _, c := range l.Containers {
		if c.LabelsUnknown != "Podman is not asked for the labels of users' containers" {
			t.Errorf("the labels of %s: %q", c.Name, c.LabelsUnknown)
		}
	}
	must(t, node(t, root).Label(t.Context(), l.Containers)) // nobody listens, and nobody is asked
	if why := l.Containers[0].LabelsUnknown; strings.Contains(why, "systemctl") {
		t.Errorf("Podman was asked: %s", why)
	}
	// What joins is a container of its own once the namespace is not that of the other any more.
	aweb.End()
	l = list(t, node(t, root))
	named(t, l, "aside")
}

// Names of users are those of passwd(5), homes too. Without an entry the user is a number, and the name of
// a container is not known from files.
func TestUsers(t *testing.T) {
	root, ofAlice, ofBob := users(t)
	carol := root
	carol.UID, carol.Home = 1002, "/home/carol"
	root.Run(runtimestest.PodmanContainer{Name: "web", Process: runtimestest.Start(t)})
	ofAlice.Run(runtimestest.PodmanContainer{Name: "api", ID: runtimestest.ID("alice's"), Volatile: true, Process: runtimestest.StartOf(t, alice)})
	ofBob.Run(runtimestest.PodmanContainer{Name: "web", ID: runtimestest.ID("bob's"), Process: runtimestest.StartOf(t, bob)})
	id := carol.Run(runtimestest.PodmanContainer{Name: "db", Process: runtimestest.StartOf(t, 1002)})[:12]
	runtimestest.Give(t, alice, filepath.Join(root.Root, "run/user/1003")) // another's
	l := list(t, node(t, root.Root))
	for i, c := range l.Containers {
		l.Containers[i].Unobservable, _, _ = strings.Cut(c.Unobservable, ":")
	}
	want(t, l, []string{id + "=1002/" + id + " unobservable: its name is not known", "api=alice/api", "web", "web=bob/web"})
	// Each is entered where it is.
	for _, c := range l.Containers {
		if c.Unobservable != "" {
			continue
		}
		if ns, err := entered(t, node(t, root.Root), c); err != nil || ns.Instance("boot") != c.Instance {
			t.Errorf("entered %s: %v, %v", c.Name, ns, err)
		}
	}
	var dirs []string
	for _, d := range node(t, root.Root).Dirs([]string{nf.RuntimePodman}) {
		dirs = append(dirs, d.Path)
	}
	for _, dir := range []string{"run/crun", "run/runc", "run/user", "run/user/1000/crun", "run/user/1001/runc"} {
		if !slices.Contains(dirs, filepath.Join(root.Root, dir)) {
			t.Errorf("%s is not watched: %q", dir, dirs)
		}
	}
}

// What a user's files say of others is not believed.
func TestUserClaimsOthers(t *testing.T) {
	root, ofAlice, ofBob := users(t)
	web, secret := runtimestest.Start(t), runtimestest.StartOf(t, bob)
	id := root.Run(runtimestest.PodmanContainer{Name: "web", Process: web})
	ofBob.Run(runtimestest.PodmanContainer{Name: "secret", Process: secret})
	// Processes of others, in namespaces of others and of the node, and alice's own in a namespace of root.
	for i, p := range []*runtimestest.Process{web, secret, runtimestest.StartHere(t), runtimestest.StartHereOf(t, bob), runtimestest.StartUserIn(t, web, alice)} {
		ofAlice.Run(runtimestest.PodmanContainer{Name: fmt.Sprintf("claim-%d", i), Process: p})
	}
	want(t, list(t, node(t, root.Root)), []string{"secret=bob/secret", "web"})
	// The id of another's container, and state that says less than root's.
	ofAlice.Run(runtimestest.PodmanContainer{Name: "mine", ID: id, Process: runtimestest.StartOf(t, alice)})
	l := list(t, node(t, root.Root))
	const refused = "runtime-broken: cannot list all containers of podman: those of user alice: alice/mine has the id of a container of another user"
	want(t, l, []string{"secret=bob/secret", "web"}, refused)
	must(t, os.WriteFile(ofAlice.StateFile(id), []byte("{}"), 0o600))
	runtimestest.Give(t, alice, filepath.Join(root.Root, "run/user/1000"))
	want(t, list(t, node(t, root.Root)), []string{"secret=bob/secret", "web"}, refused)
}

// Nothing that a user puts in the way holds up the listing, nor the containers of others.
func TestHostileUserFiles(t *testing.T) {
	id := runtimestest.ID("web")
	const name = "web=alice/web"
	unnamed := id[:12] + "=alice/" + id[:12] + " unobservable: its name is not known"
	fifo := func(t *testing.T, path string) { must(t, unix.Mkfifo(path, 0o600)) }
	put := func(text string) func(*testing.T, string) {
		return func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte(text), 0o600)) }
	}
	huge := func(t *testing.T, path string) {
		put("[")(t, path)
		must(t, os.Truncate(path, 1<<40))
	}
	link := func(to string) func(*testing.T, string) {
		return func(t *testing.T, path string) { must(t, os.Symlink(to, path)) }
	}
	for what, test := range map[string]struct {
		file string // status, crun, run, home, storage, or a file of the storage
		make func(t *testing.T, path string)
		want string // the container of alice; empty: it is left out
		warn string // what follows "those of user alice: "; empty: no warning
	}{
		"a pipe as state":         {"status", fifo, name + " unobservable: ", ""},
		"huge state":              {"status", huge, name + " unobservable: ", ""},
		"a link to root's file":   {"status", link("/etc/passwd"), name + " unobservable: ", ""},
		"a link to a device":      {"status", link("/dev/zero"), name + " unobservable: ", ""},
		"no state":                {"status", func(*testing.T, string) {}, "", ""},
		"garbage state":           {"status", put("[[[["), name + " unobservable: ", ""},
		"a link as directory":     {"crun", link("/run/crun"), "", "openat crun"},
		"a file as directory":     {"crun", put("x"), "", "openat crun"},
		"a pipe as directory":     {"crun", fifo, "", "openat crun"},
		"a pipe as names":         {"containers.json", fifo, unnamed, ""},
		"huge names":              {"containers.json", huge, unnamed, ""},
		"garbage names":           {"containers.json", put(`[{"id":1}]`), unnamed, ""},
		"a link to others' names": {"containers.json", link("/var/lib/containers/storage/overlay-containers/containers.json"), unnamed, ""},
		"a name of another user":  {"containers.json", put(`[{"id":"` + id + `","names":["bob/web"]}]`), id[:12] + "=alice/" + id[:12] + " unobservable: its name has characters", ""},
		"a control character":     {"containers.json", put(`[{"id":"` + id + `","names":["a\u001b[31m"]}]`), id[:12] + "=alice/" + id[:12] + " unobservable: its name has characters", ""},
		"a directory as names":    {"containers.json", func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) }, unnamed, ""},
		"a huge configuration":    {"config.json", huge, name, ""},
		"a pipe as configuration": {"config.json", fifo, name, ""},
		"another program's":       {"config.json", put(`{"annotations":{"io.container.manager":"cri-o"}}`), "", ""},
		"a link as home":          {"home", link("/"), unnamed, ""},
		"a link as storage":       {"storage", link("/var/lib/containers/storage"), unnamed, ""},
		"a pipe as storage":       {"storage", fifo, unnamed, ""},
		"no storage":              {"storage", func(*testing.T, string) {}, unnamed, ""},
	} {
		t.Run(what, func(t *testing.T) {
			root, ofAlice, ofBob := users(t)
			root.Run(runtimestest.PodmanContainer{Name: "good", Process: runtimestest.Start(t)})
			ofBob.Run(runtimestest.PodmanContainer{Name: "good", ID: runtimestest.ID("bob's"), Process: runtimestest.StartOf(t, bob)})
			ofAlice.Run(runtimestest.PodmanContainer{Name: "web", Process: runtimestest.StartOf(t, alice)})
			storage := filepath.Join(root.Root, "home/alice/.local/share/containers/storage")
			path := map[string]string{
				"status": ofAlice.StateFile(id), "crun": filepath.Join(root.Root, "run/user/1000/crun"), "home": filepath.Join(root.Root, "home/alice"),
				"storage": storage, "containers.json": ofAlice.File("", test.file), "config.json": ofAlice.File(id, test.file),
			}[test.file]
			must(t, os.RemoveAll(path))
			test.make(t, path)
			must(t, os.Lchown(filepath.Dir(path), alice, alice))
			if test.file != "home" {
				if _, err := os.Lstat(path); err == nil {
					must(t, os.Lchown(path, alice, alice))
				}
			}
			l := list(t, node(t, root.Root))
			expected := []string{"good", "good=bob/good"}
			got := texts(l.Containers)
			for _, line := range expected {
				if !slices.Contains(got, line) {
					t.Errorf("%s is not listed: %q", line, got)
				}
			}
			got = slices.DeleteFunc(got, func(line string) bool { return slices.Contains(expected, line) })
			if len(got) > 1 || (len(got) == 0) != (test.want == "") || !strings.HasPrefix(strings.Join(got, ""), test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
			var warnings string
			for _, w := range l.Warnings {
				warnings += w.Message
			}
			if (warnings == "") != (test.warn == "") || !strings.Contains(warnings, test.warn) {
				t.Errorf("warned: %q, want %q", warnings, test.warn)
			}
		})
	}
}

// What lies in a user's directories is read if it belongs to the user, and is not large.
func TestUserFilesOwner(t *testing.T) {
	id := runtimestest.ID("web")
	names := `[{"id":"` + id + `","names":["web"]}]`
	unnamed := id[:12] + "=alice/" + id[:12] + " unobservable: its name is not known: "
	for what, test := range map[string]struct {
		owner int
		text  string
		want  string
	}{
		"alice's": {alice, names, "web=alice/web"},
		"root's":  {0, names, unnamed},
		"bob's":   {bob, names, unnamed},
		"large":   {alice, names + strings.Repeat(" ", 2<<20), unnamed},
	} {
		_, ofAlice, _ := users(t)
		ofAlice.Run(runtimestest.PodmanContainer{Name: "web", Process: runtimestest.StartOf(t, alice)})
		path := ofAlice.File("", "containers.json")
		must(t, os.WriteFile(path, []byte(test.text), 0o600))
		must(t, os.Chown(path, test.owner, test.owner))
		if got := texts(list(t, node(t, ofAlice.Root)).Containers); len(got) != 1 || !strings.HasPrefix(got[0], test.want) {
			t.Errorf("%s: %q, want %q", what, got, test.want)
		}
	}
}

// A user may have any number of directories with state.
func TestManyUserContainers(t *testing.T) {
	_, ofAlice, _ := users(t)
	for i := range 600 {
		must(t, os.MkdirAll(filepath.Dir(ofAlice.StateFile(runtimestest.ID(fmt.Sprint(i)))), 0o755))
	}
	ofAlice.Run(runtimestest.PodmanContainer{Name: "web", Process: runtimestest.StartOf(t, alice)})
	l := list(t, node(t, ofAlice.Root))
	if len(l.Warnings) != 1 || !strings.Contains(l.Warnings[0].Message, "those of user alice: ") || !strings.Contains(l.Warnings[0].Message, "run/user/1000/crun has more than 512 entries: the others are not listed") {
		t.Errorf("warned: %+v", l.Warnings)
	}
}

// The storage of a user may be elsewhere below the home directory, as the state of crun says.
func TestUserStorage(t *testing.T) {
	for storage, name := range map[string]string{"/home/alice/big": "web=alice/web", "/var/tmp/alice": runtimestest.ID("web")[:12] + "=alice/" + runtimestest.ID("web")[:12] +
		" unobservable: its name is not known: "} {
		_, ofAlice, _ := users(t)
		ofAlice.Storage = storage
		ofAlice.Run(runtimestest.PodmanContainer{Name: "web", Process: runtimestest.StartOf(t, alice)})
		n := node(t, ofAlice.Root)
		n.Files = &runtimes.Files{}
		for range 2 {
			got := texts(list(t, n).Containers)
			if len(got) != 1 || !strings.HasPrefix(got[0], name) {
				t.Errorf("%s: %q, want %q", storage, got, name)
			}
		}
	}
	// conmon knows the name wherever the storage is.
	_, ofAlice, _ := users(t)
	ofAlice.Storage = "/var/tmp/alice"
	ofAlice.Run(runtimestest.PodmanContainer{Name: "web", Process: runtimestest.StartConmonOf(t, alice, runtimestest.ID("web"), "web")})
	want(t, list(t, node(t, ofAlice.Root)), []string{"web=alice/web"})
}
