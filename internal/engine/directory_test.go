package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// soon is a context for what takes moments, on a machine that is busy.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(stop)
	return ctx
}

// newDirectory makes a directory.
func newDirectory(t *testing.T) *Directory {
	t.Helper()
	d, made, err := Init(filepath.Join(t.TempDir(), "coordinator"))
	must(t, err)
	if !made {
		t.Fatal("the keys are not new")
	}
	return d
}

// started starts a server in a directory, on a free port.
func started(t *testing.T, d *Directory) *Server {
	t.Helper()
	s, err := Start(soon(t), d, Options{Listen: Listen{Address: "127.0.0.1:0"}, Nodes: 1})
	must(t, err)
	t.Cleanup(s.Shutdown)
	return s
}

// enrolled writes the credentials of a name to a file, and returns its path.
func enrolled(t *testing.T, d *Directory, kind Kind, name string) string {
	t.Helper()
	text, err := d.Enroll(kind, name, 0, false)
	must(t, err)
	path := filepath.Join(t.TempDir(), name+".creds")
	must(t, os.WriteFile(path, text, 0o600))
	return path
}

func TestTry(t *testing.T) {
	d := newDirectory(t)
	s := started(t, d)
	file := enrolled(t, d, KindNode, "hn-a")
	c, err := nats.Connect(s.URL(), nats.UserCredentials(file), nats.CustomInboxPrefix("_INBOX_hn-a="))
	must(t, err)
	m, err := c.Request("nfsync.v1.put.status.hn-a", []byte("{}"), time.Minute)
	must(t, err)
	t.Log(string(m.Data))
	if _, err := d.Enroll(KindNode, "hn-a", 0, false); !strings.Contains(err.Error(), "already") {
		t.Error(err)
	}
	if _, err := Start(soon(t), d, Options{Listen: Listen{Address: "127.0.0.1:0"}}); !errors.Is(err, ErrServing) {
		t.Error(err)
	}
}
