package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/engine"
	"nfsync.dev/nfsync/internal/spec"
)

func initCommand(a *app) *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the keys of a fleet, and a NATS server configuration",
		Long: `Init makes the keys of a fleet in the directory of the coordinator, and two
configurations there: nats-server.conf for NATS servers of your own, and
nats-leaf.conf for a server at a site, between its nodes and yours. What is
there already stays; these two alone are written anew.

If the configuration names servers of your own, init gives them the accounts
and makes the streams: start them first, then run init again. Three servers
and more keep three copies of each stream. With --from it copies what another
store of the fleet holds to them. The coordinator's own server needs none of
this: serve does it.

Keep a copy of the directory: without the keys no node can be enrolled, and no
roll-out signed that the nodes believe.`,
		Example: `  nfsync-coordinator init
  nfsync-coordinator init --config coordinator.yaml --nodes 50000
  nfsync-coordinator init --from store`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.initFleet(cmd.Context(), o) },
	}
	cmd.Flags().IntVar(&o.nodes, "nodes", 10000, "`number` of nodes that the streams are made for")
	cmd.Flags().StringVar(&o.from, "from", "", "copy what a store holds: `source` is the URL of a server, or "+engine.OwnStore+": what the coordinator's own server has kept")
	return cmd
}

// initOptions are the flags of init.
type initOptions struct {
	nodes int
	from  string
}

// The configurations for servers of the operator's own, in the directory: for those of the fleet, and for those of sites.
const (
	serverFile = "nats-server.conf"
	leafFile   = "nats-leaf.conf"
)

func (a *app) initFleet(ctx context.Context, o initOptions) error {
	if o.nodes < 1 {
		return usageError{fmt.Errorf("--nodes %d is less than one node", o.nodes)}
	}
	config, err := a.readConfig()
	if err != nil {
		return err
	}
	if o.from != "" && config.Engine.IsEmbedded() {
		return hinted{errors.New("--from needs servers of your own to copy to"), "name them in the configuration, as engine.servers"}
	}
	d, made, err := engine.Init(config.Directory)
	if err != nil {
		return err
	}
	taken, pushErr := 0, error(nil)
	if !config.Engine.IsEmbedded() {
		// Before the file is written the ledger learns what the servers have revoked.
		taken, pushErr = push(ctx, d, config.Engine)
	}
	if err := d.WriteServerTexts(serverFile, leafFile); err != nil {
		return err
	}
	verb := "Made"
	if !made {
		verb = "Found"
	}
	fmt.Fprintf(a.stdout, "%s the keys of a fleet in %s.\n  coordinator's key: %s\n  for servers of your own: %s\n  for servers at sites: %s\n", verb, d.Path(), d.CoordinatorPublicKey(),
		filepath.Join(d.Path(), serverFile), filepath.Join(d.Path(), leafFile))
	if pushErr != nil {
		return hinted{pushErr, "start the servers with " + filepath.Join(d.Path(), serverFile) + ", then run nfsync-coordinator init again"}
	}
	if !config.Engine.IsEmbedded() {
		if err := a.initServers(ctx, d, config.Engine, taken, o); err != nil {
			return err
		}
	}
	a.say(slog.LevelInfo, "next: nfsync-coordinator enroll NODE", "")
	return nil
}

// replicas is how many copies of each stream a cluster has.
const replicas = 3

// initServers makes the streams on servers of the operator's own, of which so many have taken the accounts.
func (a *app) initServers(ctx context.Context, d *engine.Directory, e spec.Engine, taken int, o initOptions) error {
	if taken < min(len(e.Servers), replicas) {
		return hinted{fmt.Errorf("only %d of the %d servers answer: the streams would have too few copies", taken, len(e.Servers)),
			"start all of them, and see in their logs whether they have found each other; then run nfsync-coordinator init again"}
	}
	copies := 1
	if taken >= replicas {
		copies = replicas
	}
	if err := d.MakeStreams(ctx, serversOf(e), copies, o.nodes); err != nil {
		return err
	}
	each := "1 copy"
	if copies > 1 {
		each = fmt.Sprintf("%d copies", copies)
	}
	fmt.Fprintf(a.stdout, "%s the accounts. The streams are made, with %s.\n", serversHave(taken), each)
	if o.from == "" {
		return nil
	}
	copied, err := d.CopyFrom(ctx, o.from, serversOf(e))
	if errors.Is(err, engine.ErrServing) {
		return hinted{err, "stop nfsync-coordinator serve first"}
	}
	if err != nil {
		return hinted{fmt.Errorf("not all is copied: %w", err), "run it again: what is copied stays"}
	}
	fmt.Fprintf(a.stdout, "%d values are copied from %s.\n", copied, o.from)
	return nil
}
