package main

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"nfsync.dev/nfsync/internal/engine"
)

// engineCommand is the command engine start DIR, which starts the server of a directory as serve does and writes
// coordinator.yaml for it, and engine stop.
func engineCommand(ts *testscript.TestScript, _ bool, args []string) {
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	defer stop()
	d, err := engine.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	s, err := engine.Start(ctx, d, engine.Options{Listen: engine.Listen{Address: "127.0.0.1:0"}, Nodes: 1})
	ts.Check(err)
	ts.Defer(s.Shutdown)
	address := strings.TrimPrefix(s.URL(), "nats://")
	ts.Check(os.WriteFile(configured(ts, "coordinator.yaml"), []byte(`apiVersion: nfsync.dev/v1alpha1
kind: CoordinatorConfig
source: {urls: [https://git.example.com/policies.git]}
directory: `+d.Path()+`
engine:
  listen: `+address+"\n"), 0o600))
	ts.Check(os.WriteFile(configured(ts, "servers.yaml"), []byte(`apiVersion: nfsync.dev/v1alpha1
kind: CoordinatorConfig
source: {urls: [https://git.example.com/policies.git]}
directory: `+d.Path()+`
engine:
  servers: [nats://`+address+`]
  credentialsFile: `+d.CredentialsFile()+"\n"), 0o600))
}
