package runtimes_test

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/runtimes"
	"nfsync.dev/nfsync/internal/runtimes/runtimestest"
)

// The files and the answers are those of Incus 6.0.4.
func TestRecordedIncus(t *testing.T) {
	const recorded = "testdata/trixie/incus/answers/"
	answers := map[string]string{}
	for _, name := range []string{"web", "shop_db"} {
		data, err := os.ReadFile(recorded + name + ".init-pid.answer")
		must(t, err)
		answers["/var/lib/incus/containers/"+name] = string(data)
	}
	l := replayLXC(t, "trixie/incus", map[int]*runtimestest.Process{796: runtimestest.Start(t), 768: runtimestest.Start(t)}, answers)
	listed := list(t, l.Node)
	want(t, listed, []string{"shop/db", "web"})
	instances, err := os.ReadFile(recorded + "instances.json")
	must(t, err)
	serveIncus(t, l.Root, "var/lib/incus", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "/1.0/instances?recursion=1&all-projects=true" {
			t.Error(r.URL)
		}
		_, _ = w.Write(instances)
	})
	must(t, l.Label(t.Context(), listed.Containers))
	want(t, listed, []string{"shop/db app:db", "web app:web tier:front"})
	for _, c := range listed.Containers {
		if c.Runtime != nf.RuntimeIncus || c.ID != c.Name || c.LabelsUnknown != "" {
			t.Errorf("%+v", c)
		}
	}
}

// serveIncus lets root answer requests on the socket of Incus in a directory.
func serveIncus(t *testing.T, root, dir string, answer http.HandlerFunc) {
	t.Helper()
	serve(t, listenOn(t, filepath.Join(root, dir, "unix.socket")), answer)
}

// listenOn listens on a socket. Its path may be too long for the name of one.
func listenOn(t *testing.T, socket string) net.Listener {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(socket), 0o755))
	listener, err := net.Listen("unix", socket)
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func serve(t *testing.T, listener net.Listener, answer http.HandlerFunc) {
	s := http.Server{Handler: answer}
	t.Cleanup(func() { _ = s.Close() })
	go func() { _ = s.Serve(listener) }()
}

// What is in user.* of an instance are its labels, but not what cloud-init reads.
func TestIncusLabels(t *testing.T) {
	root := t.TempDir()
	serveIncus(t, root, "var/snap/lxd/common/lxd", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"metadata": [
			{"name": "web", "project": "default", "type": "container", "config": {"user.app": "web"},
			 "expanded_config": {"user.app": "web", "user.of-profile": "1", "user.user-data": "password: x", "limits.cpu": "2"}},
			{"name": "db", "project": "shop", "type": "container", "config": {"user.app": "db"}},
			{"name": "bare", "type": "container", "expanded_config": {}},
			{"name": "vm", "type": "virtual-machine", "config": {"user.app": "vm"}}]}`)
	})
	c := containersOf(nf.RuntimeIncus, "web", "shop/db", "bare", "vm")
	must(t, (runtimes.Node{Root: root}).Label(t.Context(), c))
	want(t, runtimes.Listing{Containers: c}, []string{"bare", "shop/db app:db", "vm", "web app:web of-profile:1"})
	if unknown := c[3].LabelsUnknown; unknown != "the runtime's answer does not have it" {
		t.Errorf("labels of a machine that is no container: %q", unknown)
	}
}

func containersOf(runtime string, ids ...string) []nf.Container {
	var list []nf.Container
	for _, id := range ids {
		list = append(list, nf.Container{Runtime: runtime, ID: id, Name: id, State: nf.StateRunning})
	}
	return list
}

// Where the daemon does not answer, the labels are unknown, and the container says why.
func TestUnknownIncusLabels(t *testing.T) {
	write := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	for name, test := range map[string]struct {
		make func(t *testing.T, root string)
		want string
	}{
		"no socket": {func(*testing.T, string) {}, "the runtime's answer does not have it"},
		"nobody listens": {func(t *testing.T, root string) {
			listener := listenOn(t, filepath.Join(root, "var/lib/incus/unix.socket"))
			listener.(*net.UnixListener).SetUnlinkOnClose(false)
			must(t, listener.Close())
		}, "connection refused"},
		"no socket but a file": {func(t *testing.T, root string) {
			must(t, os.MkdirAll(filepath.Join(root, "var/lib/incus"), 0o755))
			must(t, os.WriteFile(filepath.Join(root, "var/lib/incus/unix.socket"), nil, 0o600))
		}, "connection refused"},
		"garbage":  {func(t *testing.T, root string) { serveIncus(t, root, "var/lib/incus", write("<html>")) }, "invalid character"},
		"a number": {func(t *testing.T, root string) { serveIncus(t, root, "var/lib/incus", write(`{"metadata": 1}`)) }, "cannot unmarshal number"},
		"an error": {func(t *testing.T, root string) {
			serveIncus(t, root, "var/lib/incus", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
		}, "it answers 403 Forbidden"},
		"a user's": {func(t *testing.T, root string) {
			dir := filepath.Join(root, "var/lib/incus")
			must(t, os.MkdirAll(dir, 0o755))
			must(t, os.Chown(dir, 65534, 65534))
			for d := dir; d != "/"; d = filepath.Dir(d) {
				if info, err := os.Stat(d); err == nil && info.Mode()&1 == 0 {
					must(t, os.Chmod(d, info.Mode()|1))
				}
			}
			var listener net.Listener
			must(t, asUser("/proc/self/ns/net", func() (err error) {
				listener, err = net.Listen("unix", filepath.Join(dir, "unix.socket"))
				return err
			}))
			serve(t, listener, write(`{"metadata": [{"name": "web", "type": "container", "config": {"user.app": "web"}}]}`))
		}, "user 65534 listens, not root"},
	} {
		t.Run(name, func(t *testing.T) {
			root, err := os.MkdirTemp("", "i") // the path of a socket is short
			must(t, err)
			t.Cleanup(func() { must(t, os.RemoveAll(root)) })
			test.make(t, root)
			c := containersOf(nf.RuntimeIncus, "web")
			must(t, (runtimes.Node{Root: root}).Label(t.Context(), c))
			if c[0].Labels != nil || !strings.Contains(c[0].LabelsUnknown, test.want) {
				t.Errorf("labels %v, unknown %q, want %q", c[0].Labels, c[0].LabelsUnknown, test.want)
			}
		})
	}
}

// A daemon that does not answer is left alone in time.
func TestIncusLabelsInTime(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	serveIncus(t, root, "var/lib/incus", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c := containersOf(nf.RuntimeIncus, "web")
	must(t, (runtimes.Node{Root: root}).Label(t.Context(), c))
	if c[0].Labels != nil || !strings.Contains(c[0].LabelsUnknown, "deadline exceeded") {
		t.Errorf("labels %v, unknown %q", c[0].Labels, c[0].LabelsUnknown)
	}
}
