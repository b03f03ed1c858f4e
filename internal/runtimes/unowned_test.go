package runtimes_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/runtimes/runtimestest"
)

// What is in no container is named by its oldest process, or else by the file of Docker.
func TestUnowned(t *testing.T) {
	l := newLXCNode(t, t.TempDir())
	web, service := runtimestest.Start(t), runtimestest.Start(t)
	for _, p := range []process{
		{pid: 100, parent: 1, cgroup: "0::/lxc.payload.web\n", in: web},
		{pid: 200, parent: 1, cgroup: "0::/system.slice/y.service\n", in: service},
		{pid: 300, parent: 1, cgroup: "9:cpu:/\n1:name=systemd:/system.slice/x.service\n0::/x\n", in: service},
		{pid: 400, parent: 1, cgroup: "0::/\n"},
	} {
		l.add(p)
		must(t, os.WriteFile(filepath.Join(l.Proc, fmt.Sprint(p.pid), "comm"), []byte("c\n"), 0o644))
	}
	ns := identify(t, web.Path())
	docker := filepath.Join(l.Root, "run/docker/netns")
	must(t, os.MkdirAll(docker, 0o755))
	for _, name := range []string{"1-abc", "lb_abc", "ingress_sbox", "0123456789ab"} {
		must(t, netns.Create(filepath.Join(docker, name)))
		t.Cleanup(func() { must(t, unix.Unmount(filepath.Join(docker, name), unix.MNT_DETACH)) })
	}
	must(t, os.WriteFile(filepath.Join(docker, "left"), nil, 0o644))
	claimed := identify(t, filepath.Join(docker, "0123456789ab"))
	lines, err := l.Unowned(t.Context(), []nf.Container{{Instance: ns.Instance("boot")}, {Instance: claimed.Instance("boot")}, {}})
	must(t, err)
	file := func(name, role string) string {
		path := filepath.Join(docker, name)
		return fmt.Sprintf("net:[%d]: %s, %s", identify(t, path).Inode, path, role)
	}
	want := []string{
		fmt.Sprintf("net:[%d]: process 300 (c) in /system.slice/x.service", identify(t, service.Path()).Inode),
		file("1-abc", "an overlay network of Swarm"), file("ingress_sbox", "the ingress of Swarm"), file("lb_abc", "a load balancer of Swarm"),
	}
	if got, want := strings.Join(lines, "\n"), strings.Join(want, "\n"); got != want {
		t.Errorf("%s\nwant:\n%s", got, want)
	}
}

func identify(t testing.TB, path string) netns.Identity {
	t.Helper()
	id, err := netns.Identify(path)
	must(t, err)
	return id
}

// A user does not see the namespaces of the processes of others. The result says so.
func TestUnownedOfAUser(t *testing.T) {
	n := node(t, t.TempDir())
	var err error
	must(t, asUser("/proc/self/ns/net", func() error {
		_, err = n.Unowned(t.Context(), nil)
		return nil
	}))
	if !errors.Is(err, os.ErrPermission) {
		t.Error(err)
	}
}
