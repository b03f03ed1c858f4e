package runtimes_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/runtimes/runtimestest"
)

// criServer listens on a socket below a root as a runtime does, with gRPC over HTTP/2 without TLS.
func criServer(t *testing.T, root, socket string, handle http.HandlerFunc) {
	t.Helper()
	path := filepath.Join(root, socket)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	must(t, err)
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: handle, Protocols: &protocols, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
}

// answers answers with a message behind its length, and a status.
func answers(frame []byte, status string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.ProtoMajor != 2 || !bytes.Equal(body, make([]byte, 5)) || r.Header.Get("Content-Type") != "application/grpc" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		_, _ = w.Write(frame)
		w.Header().Set("Grpc-Status", status)
		w.Header().Set("Grpc-Message", "a reason")
	}
}

func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// sandboxMessage returns an answer with one sandbox more.
func sandboxMessage(answer []byte, id, uid string, state, created uint64, labels map[string]string) []byte {
	text := func(b []byte, n protowire.Number, s string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
	}
	number := func(b []byte, n protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
	}
	m := text(text(nil, 1, id), 2, string(text(text(nil, 1, "web"), 2, uid)))
	m = number(number(m, 3, state), 4, created)
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		m = text(m, 5, string(text(text(nil, 1, k), 2, labels[k])))
	}
	m = protowire.AppendFixed64(protowire.AppendTag(m, 99, protowire.Fixed64Type), 1) // of a later version
	return text(answer, 1, string(m))
}

func labelsOf(t *testing.T, root string) (lines []string) {
	t.Helper()
	n := node(t, root)
	containers := list(t, n).Containers
	must(t, n.Label(t.Context(), containers))
	for _, c := range containers {
		line := c.ID
		for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
			if !strings.HasPrefix(k, "io.kubernetes.") {
				line += " " + k + ":" + c.Labels[k]
			}
		}
		if c.LabelsUnknown != "" {
			line += " unknown: " + strings.ReplaceAll(c.LabelsUnknown, root, "")
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

// The answers are those of containerd 1.6.20 and 1.7.24.
func TestRecordedLabels(t *testing.T) {
	for file, test := range map[string]struct {
		frame func([]byte) []byte
		uid   string
	}{
		"cri/ListPodSandbox.bin":                 {framed, "5f0a7a3e-1111-4c1c-9d5e-000000000001"}, // the message alone
		"trixie/cri/answers/ListPodSandbox.grpc": {bytes.Clone, uid},
	} {
		data, err := os.ReadFile(filepath.Join("testdata", file))
		must(t, err)
		c := runtimestest.CRI{T: t, Root: t.TempDir()}
		c.Sandbox("s1", runtimestest.Pod{Namespace: "shop", Name: "web-0", UID: test.uid, Process: runtimestest.Start(t)})
		criServer(t, c.Root, "run/containerd/containerd.sock", answers(test.frame(data), "0"))
		if got := labelsOf(t, c.Root); !slices.Equal(got, []string{test.uid + " app:web tier:front"}) {
			t.Errorf("%s: %q", file, got)
		}
	}
}

// The labels of a pod are those of its newest sandbox that is ready. An older one that still runs has its
// own.
func TestLabelsOfSandboxes(t *testing.T) {
	c := runtimestest.CRI{T: t, Root: t.TempDir()}
	for _, id := range []string{"s1", "s2"} {
		c.Sandbox(id, runtimestest.Pod{Namespace: "shop", Name: "web", UID: uid, Process: runtimestest.Start(t)})
	}
	older(t, filepath.Join(c.Task("s1"), "config.json"))
	c.CRIO(runtimestest.CRIO{ID: "a1", Sandbox: "a1", Pod: runtimestest.Pod{Namespace: "shop", Name: "db", UID: "other", Process: runtimestest.Start(t)}})
	message := sandboxMessage(nil, "s2", uid, 0, 7, map[string]string{"app": "new"})
	message = sandboxMessage(message, "s1", uid, 0, 5, map[string]string{"app": "old"})
	message = sandboxMessage(message, "s0", uid, 1, 9, map[string]string{"app": "ended"})
	criServer(t, c.Root, "run/containerd/containerd.sock", answers(framed(message), "0"))
	// CRI-O here is of a version that has v1alpha2 only.
	criServer(t, c.Root, "run/crio/crio.sock", func(w http.ResponseWriter, r *http.Request) {
		answer := answers(nil, "12")
		if strings.Contains(r.URL.Path, "v1alpha2") {
			answer = answers(framed(sandboxMessage(nil, "a1", "other", 0, 5, map[string]string{"app": "db"})), "0")
		}
		answer(w, r)
	})
	if got, want := labelsOf(t, c.Root), []string{uid + " app:new", "other app:db", "s1 app:old"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Labels that cannot be read are unknown, and say why.
func TestUnknownLabels(t *testing.T) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	const sock = "cannot ask /run/containerd/containerd.sock: "
	for name, test := range map[string]struct {
		handle http.HandlerFunc
		want   string
	}{
		"no socket":         {nil, "neither containerd nor CRI-O is running: /run/containerd/containerd.sock does not exist"},
		"not there":         {answers(framed(nil), "0"), "the runtime's answer does not have it"},
		"CRI is off":        {answers(nil, "12"), sock + "it does not serve CRI"},
		"an error":          {answers(nil, "2"), sock + `it answers with the gRPC status 2: "a reason"`},
		"no status":         {answers(framed(nil), ""), sock + "it answers without a gRPC status"},
		"an HTTP error":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, sock + "it answers 403 Forbidden"},
		"no frame":          {answers([]byte{0, 0}, "0"), sock + "its answer is not one plain message"},
		"compressed":        {answers([]byte{1, 0, 0, 0, 0}, "0"), sock + "its answer is not one plain message"},
		"a cut message":     {answers([]byte{0, 0, 0, 0, 9, 1}, "0"), sock + "its answer is not one plain message"},
		"garbage":           {answers(framed([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")), "0"), sock},
		"a cut sandbox":     {answers(framed([]byte{0x0a, 2, 0x0a, 9}), "0"), sock + "unexpected EOF"},
		"a cut label":       {answers(framed([]byte{0x0a, 4, 0x2a, 2, 0x0a, 9}), "0"), sock + "unexpected EOF"},
		"a huge answer":     {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, io.LimitReader(zeros{}, 100<<20)) }, sock + "its answer is larger than 16 MiB"},
		"no answer":         {func(http.ResponseWriter, *http.Request) { <-hang }, sock + "no answer within 5s"},
		"an endless answer": {func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush(); <-hang }, sock + "no answer within 5s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := runtimestest.CRI{T: t, Root: t.TempDir()}
			c.Sandbox("s1", runtimestest.Pod{Namespace: "shop", Name: "web", UID: uid, Process: runtimestest.Start(t)})
			if test.handle != nil {
				criServer(t, c.Root, "run/containerd/containerd.sock", test.handle)
			}
			got := labelsOf(t, c.Root)
			if len(got) != 1 || !strings.HasPrefix(got[0], uid+" unknown: "+test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// Only root is asked. A socket on which nobody listens, and what is no socket, are errors.
func TestSocketsOfOthers(t *testing.T) {
	c := runtimestest.CRI{T: t, Root: t.TempDir()}
	c.Sandbox("s1", runtimestest.Pod{Namespace: "shop", Name: "web", UID: uid, Process: runtimestest.Start(t)})
	path := filepath.Join(c.Root, "run/containerd/containerd.sock")
	for name, test := range map[string]struct {
		make func() error
		want string
	}{
		"nobody listens": {func() error {
			l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
			if err == nil {
				l.(*net.UnixListener).SetUnlinkOnClose(false)
				err = l.Close()
			}
			return err
		}, "nobody listens on it: start its service"},
		"a file":          {func() error { return os.WriteFile(path, nil, 0o600) }, "nobody listens on it: start its service"},
		"of another user": {func() error { listenAs(t, 65534, path); return nil }, "dial unix"},
	} {
		_ = os.Remove(path)
		must(t, test.make())
		want := fmt.Sprintf("%s unknown: cannot ask /run/containerd/containerd.sock: %s", uid, test.want)
		if name == "of another user" {
			want = uid + " unknown: cannot ask /run/containerd/containerd.sock: /run/containerd/containerd.sock: user 65534 listens, not root"
		}
		if got := labelsOf(t, c.Root); len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// The labels of no pod are asked for when there are none.
func TestNoPodsNoQuestion(t *testing.T) {
	root := t.TempDir()
	criServer(t, root, "run/containerd/containerd.sock", func(http.ResponseWriter, *http.Request) { t.Error("asked") })
	if got := labelsOf(t, root); len(got) != 0 {
		t.Errorf("%q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := node(t, root).Label(ctx, []nf.Container{{Runtime: nf.RuntimeCRI}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
