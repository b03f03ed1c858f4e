package main

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"

	"nfsync.dev/nfsync/internal/engine"
	"nfsync.dev/nfsync/internal/fleet"
)

// engineCommand is the command engine DIR, which starts the server of a directory as serve does and writes
// coordinator.yaml for it, servers.yaml for the same server as one of the operator's own, and three.yaml, where it is one of three.
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
	for name, servers := range map[string]string{"servers.yaml": "nats://" + address, "three.yaml": "nats://" + address + ", nats://127.0.0.1:1, nats://127.0.0.1:2"} {
		ts.Check(os.WriteFile(configured(ts, name), []byte(`apiVersion: nfsync.dev/v1alpha1
kind: CoordinatorConfig
source: {urls: [https://git.example.com/policies.git]}
directory: `+d.Path()+`
engine:
  servers: [`+servers+`]
  credentialsFile: `+d.CredentialsFile()+"\n"), 0o600))
	}
}

// reached connects to the server that engine has started, as the coordinator.
func reached(ts *testscript.TestScript) *nats.Conn {
	config, err := (&app{configFile: configured(ts, "coordinator.yaml"), configGiven: true}).readConfig()
	ts.Check(err)
	d, err := engine.Open(config.Directory)
	ts.Check(err)
	c, err := connectTo(context.Background(), d, config.Engine)
	ts.Check(err)
	return c
}

// putCommand is the command put NODE…: each has put a status.
func putCommand(ts *testscript.TestScript, _ bool, args []string) {
	c := reached(ts)
	defer c.Close()
	for _, node := range args {
		_, err := c.Request(fleet.SubjectStatus+node, []byte(`{"node":"`+node+`"}`), 2*time.Minute)
		ts.Check(err)
	}
}

// nodesCommand is the command nodes NODE…: these have said something of themselves, and no others.
func nodesCommand(ts *testscript.TestScript, _ bool, args []string) {
	c := reached(ts)
	defer c.Close()
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	defer stop()
	var names []string
	_, err := fleet.Each(ctx, c, fleet.StreamStatus, fleet.Key(fleet.StreamStatus, ">"), 0, func(v fleet.Stored, err error) error {
		ts.Check(err)
		name := strings.TrimPrefix(v.Subject, fleet.Key(fleet.StreamStatus, ""))
		if _, err := fleet.ReadNode(name, v.Data); err == nil {
			names = append(names, name)
		}
		return nil
	})
	ts.Check(err)
	if slices.Sort(names); !slices.Equal(names, args) {
		ts.Fatalf("the store has %q, not %q", names, args)
	}
}
