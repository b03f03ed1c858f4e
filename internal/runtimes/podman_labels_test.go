package runtimes_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/runtimes/runtimestest"
)

// shortDir returns a directory whose path is short enough for that of a socket (sun_path in unix(7)).
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nf")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// labels lists the containers of a node, and returns them as texts, with what is said of their labels.
func labels(t *testing.T, ctx context.Context, root string) ([]string, error) {
	t.Helper()
	n := node(t, root)
	l := list(t, n)
	err := n.Label(ctx, l.Containers)
	for i, c := range l.Containers {
		if c.LabelsUnknown != "" {
			l.Containers[i].Unobservable = c.LabelsUnknown
		}
	}
	return texts(l.Containers), err
}

// The answers are those of podman 5.4.2: see testdata/NOTES-trixie.md.
func TestPodmanLabels(t *testing.T) {
	web, infra := runtimestest.Start(t), runtimestest.Start(t)
	recorded := runtimestest.Replay(t, "trixie/podman", map[int]*runtimestest.Process{
		1296: web, 1310: runtimestest.Start(t), 1349: runtimestest.Start(t), 1364: runtimestest.StartIn(t, web), 1396: infra, 1401: runtimestest.StartIn(t, infra),
	})
	root := filepath.Join(shortDir(t), "root")
	must(t, os.Rename(recorded, root))
	p := runtimestest.Podman{T: t, Root: root}
	p.Run(runtimestest.PodmanContainer{Name: "later", Process: runtimestest.Start(t)}) // than the answer
	serve(t, listenOn(t, filepath.Join(root, "run/podman/podman.sock")), func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]string{"/v4.0.0/libpod/containers/json?all=true": "containers.json", "/v4.0.0/libpod/pods/json": "pods.json"}[r.URL.String()]
		if answer == "" {
			http.Error(w, "asked for "+r.URL.String(), http.StatusNotFound)
			return
		}
		http.ServeFile(w, r, filepath.Join(root, "answers", answer))
	})
	got, err := labels(t, t.Context(), root)
	must(t, err)
	want := []string{"later unobservable: the runtime's answer does not have it", "none app:none", "shop=62ff036d9bff-infra=cart app:shop", "tmp", "web=side app:web com.example.tier:front"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q, want %q", got, want)
	}
}

// Whatever the socket answers, the containers are there, and say why their labels are not known.
func TestPodmanLabelErrors(t *testing.T) {
	const failed = "cannot ask Podman for the labels on /run/podman/podman.sock: "
	for name, test := range map[string]struct {
		handler http.HandlerFunc // nil: nobody listens
		want    string
	}{
		"no socket": {nil, "cannot ask Podman for the labels: it does not listen on /run/podman/podman.sock: run 'systemctl enable --now podman.socket'"},
		"garbage":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, failed + "invalid character"},
		"no list":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"cause":"x"}`) }, failed + "json: cannot unmarshal"},
		"cut":       {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `[{"Id":"x"`) }, failed + "unexpected EOF"},
		"an error":  {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "{}", http.StatusInternalServerError) }, failed + "GET /v4.0.0/libpod/containers/json?all=true: it answers 500 Internal Server Error"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://localhost/", http.StatusFound)
		}, failed + "GET /v4.0.0/libpod/containers/json?all=true: it answers 302 Found"},
	} {
		t.Run(name, func(t *testing.T) {
			root := shortDir(t)
			p := runtimestest.Podman{T: t, Root: root}
			p.Run(runtimestest.PodmanContainer{Name: "web", Process: runtimestest.Start(t)})
			if test.handler != nil {
				serve(t, listenOn(t, filepath.Join(root, "run/podman/podman.sock")), test.handler)
			}
			got, err := labels(t, t.Context(), root)
			if must(t, err); len(got) != 1 || !strings.Contains(got[0], test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// A runtime that never answers is given up: by its own limit, or by that of the caller.
func TestPodmanLabelsWithoutAnswer(t *testing.T) {
	t.Parallel()
	root := shortDir(t)
	p := runtimestest.Podman{T: t, Root: root}
	p.Run(runtimestest.PodmanContainer{Name: "web", Process: runtimestest.Start(t)})
	serve(t, listenOn(t, filepath.Join(root, "run/podman/podman.sock")), func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := labels(t, ctx, root); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller's limit: %v", err)
	}
	got, err := labels(t, t.Context(), root)
	if must(t, err); len(got) != 1 || !strings.Contains(got[0], "context deadline exceeded") {
		t.Errorf("%q", got)
	}
}

// Another user who listens in the place of Podman is not asked.
func TestLabelsOfAnotherUser(t *testing.T) {
	root := shortDir(t)
	p := runtimestest.Podman{T: t, Root: root}
	p.Run(runtimestest.PodmanContainer{Name: "web", Process: runtimestest.Start(t)})
	listenAs(t, 1000, filepath.Join(root, "run/podman/podman.sock"))
	got, err := labels(t, t.Context(), root)
	if must(t, err); len(got) != 1 || !strings.Contains(got[0], root+"/run/podman/podman.sock: user 1000 listens, not root") {
		t.Errorf("%q", got)
	}
}

// listenAs lets a user listen on a socket: SO_PEERCRED is that of the thread that has called listen(2).
func listenAs(t *testing.T, uid uintptr, path string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends as that user
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
			done <- errno
			return
		}
		done <- unix.Listen(fd, 1)
	}()
	must(t, <-done)
}
