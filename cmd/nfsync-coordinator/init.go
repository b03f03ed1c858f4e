package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/engine"
	"nfsync.dev/nfsync/internal/spec"
)

func initCommand(a *app) *cobra.Command {
	var nodes int
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the keys of a fleet, and a NATS server configuration",
		Long: `Init makes the keys of a fleet in the directory of the coordinator, and
nats-server.conf there: a configuration for NATS servers of your own. What is
there already stays; nats-server.conf alone is written anew.

If the configuration names servers of your own, init gives them the accounts
and makes the streams: start them first, then run init again. Three servers
and more keep three copies of each stream. The coordinator's own server needs
none of this: serve does it.

Keep a copy of the directory: without the keys no node can be enrolled, and no
roll-out signed that the nodes believe.`,
		Example: `  nfsync-coordinator init
  nfsync-coordinator init --config coordinator.yaml --nodes 50000`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.initFleet(cmd.Context(), nodes) },
	}
	cmd.Flags().IntVar(&nodes, "nodes", 10000, "`number` of nodes that the streams are made for")
	return cmd
}

// serverFile is the configuration for servers of the operator's own, in the directory.
const serverFile = "nats-server.conf"

func (a *app) initFleet(ctx context.Context, nodes int) error {
	if nodes < 1 {
		return usageError{fmt.Errorf("--nodes %d is less than one node", nodes)}
	}
	config, err := a.readConfig()
	if err != nil {
		return err
	}
	d, made, err := engine.Init(config.Directory)
	if err != nil {
		return err
	}
	if err := d.WriteServerText(serverFile); err != nil {
		return err
	}
	verb := "Made"
	if !made {
		verb = "Found"
	}
	fmt.Fprintf(a.stdout, "%s the keys of a fleet in %s.\n  coordinator's key: %s\n  for servers of your own: %s\n", verb, d.Path(), d.CoordinatorPublicKey(), filepath.Join(d.Path(), serverFile))
	if !config.Engine.IsEmbedded() {
		if err := a.initServers(ctx, d, config.Engine, nodes); err != nil {
			return err
		}
	}
	a.say(slog.LevelInfo, "next: nfsync-coordinator enroll NODE", "")
	return nil
}

// replicas is how many copies of each stream a cluster has.
const replicas = 3

// initServers gives the accounts to servers of the operator's own, and makes the streams there.
func (a *app) initServers(ctx context.Context, d *engine.Directory, e spec.Engine, nodes int) error {
	taken, err := push(ctx, d, e)
	if err != nil {
		return hinted{err, "start the servers with " + filepath.Join(d.Path(), serverFile) + ", then run nfsync-coordinator init again"}
	}
	copies := 1
	if taken >= replicas {
		copies = replicas
	}
	if err := d.MakeStreams(ctx, serversOf(e), copies, nodes); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "%d servers have the accounts. The streams are made, with %d copies.\n", taken, copies)
	return nil
}
