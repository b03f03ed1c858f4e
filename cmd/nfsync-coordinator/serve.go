package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/coordinator"
	"nfsync.dev/nfsync/internal/engine"
	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/spec"
)

// serveOptions are the flags of serve. Each that is given is in place of what the configuration says.
type serveOptions struct {
	urls         []string
	branch, path string
	accept       string
	listen       string
	engineListen string
	name         string
}

func serveCommand(a *app) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Roll the commits of a branch out to the fleet",
		Long: `Serve follows a branch and rolls each new good commit out to the nodes of the
fleet, by the roll-out plan in the repository. By default it runs the NATS
server that the nodes connect to, too. It makes the keys of the fleet when it
first runs. It ends with SIGTERM; all that it has decided is in the store, and
the next one goes on from there.

Several coordinators may run, with servers of their own: one is at work.

Flags override the configuration file: --config, or
` + defaultConfig + ` if it exists.`,
		Example: `  nfsync-coordinator serve --git https://git.example.com/policies.git \
    --branch main
  nfsync-coordinator serve --config coordinator.yaml`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), &o) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.urls, "git", nil, "`URL` of the repository; several are tried in order")
	f.StringVar(&o.branch, "branch", "", "`branch` that is rolled out")
	f.StringVar(&o.path, "path", "", "`directory` of the policies in the repository")
	f.StringVar(&o.accept, "accept", "", "`commit` that is taken although the branch was rewritten")
	f.StringVar(&o.listen, "listen", "", "`address` of the page and the metrics, or none")
	f.StringVar(&o.engineListen, "engine-listen", "", "`address` of the NATS server for nodes")
	f.StringVar(&o.name, "name", "", "`name` of this coordinator")
	return cmd
}

func (a *app) serve(ctx context.Context, o *serveOptions) error {
	config, err := a.readConfig()
	if err != nil {
		return err
	}
	if err := o.over(&config); err != nil {
		return err
	}
	branch, err := a.follows(config, o.accept)
	if err != nil {
		return err
	}
	e, err := a.connect(ctx, config)
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // a signal has ended it while it started
		}
		return err
	}
	defer e.close()
	go func() {
		if err := e.guard(ctx, func(text string) { a.say(slog.LevelWarn, text, "nfsync-coordinator revoke ends credentials") }); err != nil {
			a.say(slog.LevelError, err.Error(), "")
		}
	}()
	c, err := coordinator.New(coordinator.Config{
		Name: config.Name, Channel: config.Channel, Branch: branch, Conn: e.conn, Key: e.key,
		Say: func(level slog.Level, text string) { a.say(level, text, "") },
	})
	if err != nil {
		return err
	}
	stopPage, err := a.page(ctx, c, config.Listen)
	if err != nil {
		return err
	}
	defer stopPage()
	ctx, stop := context.WithCancel(ctx)
	defer attend(ctx, c.IsAlive)()
	defer stop()
	return c.Run(ctx)
}

// over puts the flags in the place of what the configuration says.
func (o *serveOptions) over(config *spec.CoordinatorConfig) (err error) {
	if len(o.urls) > 0 {
		config.Source.URLs = o.urls
	}
	config.Source.Branch = cmp.Or(o.branch, config.Source.Branch)
	config.Source.Path = cmp.Or(o.path, config.Source.Path)
	config.Listen = cmp.Or(o.listen, config.Listen)
	if o.engineListen != "" {
		config.Engine.Listen, config.Engine.Servers = o.engineListen, nil
	}
	if config.Name = cmp.Or(o.name, config.Name); config.Name != "" {
		return nil
	}
	if config.Name, err = os.Hostname(); err != nil {
		return hinted{fmt.Errorf("cannot find a name for this coordinator: %w", err), "name it with --name"}
	}
	return nil
}

// follows returns the branch that is rolled out.
func (a *app) follows(config spec.CoordinatorConfig, accept string) (coordinator.Branch, error) {
	if len(config.Source.URLs) == 0 {
		return coordinator.Branch{}, hinted{errors.New("no repository is named"), "name it with --git URL --branch NAME, or in " + a.configFile}
	}
	dir, err := os.Getwd()
	if err != nil {
		return coordinator.Branch{}, err
	}
	cfg, err := agent.Flags{Accept: accept}.Source(spec.AgentConfig{Source: config.Source, Verify: config.Verify}, dir)
	if err != nil {
		return coordinator.Branch{}, err
	}
	cfg.Dir = filepath.Join(config.Directory, "clone")
	return coordinator.Branch{Source: cfg, Path: cfg.Path, Interval: config.Source.Interval, AllowEmpty: config.Source.AllowEmpty, Accept: accept}, nil
}

// connected is a connection to the fleet's servers, and the key that signs.
type connected struct {
	conn  *nats.Conn
	key   nkeys.KeyPair
	guard func(ctx context.Context, say func(text string)) error
	close func()
}

// startTimeout is the time that a server of its own may take to start.
const startTimeout = time.Minute

// connect connects to the operator's servers, or starts a server.
func (a *app) connect(ctx context.Context, config spec.CoordinatorConfig) (connected, error) {
	if config.Engine.IsEmbedded() {
		return a.startEngine(ctx, config)
	}
	d, err := engine.Open(config.Directory)
	if err != nil {
		return connected{}, err
	}
	if _, err := push(ctx, d, config.Engine); err != nil { // what was revoked while no server answered
		a.say(slog.LevelWarn, "whether the servers know all that is revoked is not known: "+err.Error(), "")
	}
	cfg := fleetConfig(config, config.Engine.Servers, cmp.Or(config.Engine.CredentialsFile, d.CredentialsFile()))
	conn, err := fleet.Connect(ctx, cfg)
	if err != nil {
		return connected{}, err
	}
	guard := func(ctx context.Context, say func(string)) error { return d.Guard(ctx, serversOf(config.Engine), say) }
	return connected{conn, d.CoordinatorKey(), guard, conn.Close}, nil
}

// fleetConfig returns how the coordinator reaches servers.
func fleetConfig(config spec.CoordinatorConfig, servers []string, credentials string) fleet.Config {
	return fleet.Config{Channel: config.Channel, Name: "coordinator", Servers: servers, CAFile: config.Engine.CAFile, CredentialsFile: credentials}
}

// ownServer stands for the server in this process. No address is dialled, and no certificate is asked for: that of the server
// is for other names.
const ownServer = "nats://127.0.0.1"

// startEngine starts a server in this process, with the keys of the directory. It makes them if there are none.
func (a *app) startEngine(ctx context.Context, config spec.CoordinatorConfig) (connected, error) {
	d, made, err := engine.Init(config.Directory)
	if err != nil {
		return connected{}, err
	}
	if made {
		a.say(slog.LevelInfo, "the keys of the fleet were made in "+config.Directory, "keep a copy: without them no node can be enrolled, and no document signed")
	}
	started, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	server, err := engine.Start(started, d, engine.Options{Listen: listenOf(config.Engine), Log: a.engineSays})
	if err != nil {
		return connected{}, err
	}
	conn, err := fleet.Connect(started, fleetConfig(config, []string{ownServer}, d.CredentialsFile()), nats.InProcessServer(server))
	if err != nil {
		server.Shutdown()
		return connected{}, err
	}
	a.say(slog.LevelInfo, fmt.Sprintf("nodes of channel %s connect to %s, with the coordinatorKey %s", config.Channel, agentServers(config.Engine), d.CoordinatorPublicKey()),
		"nfsync-coordinator enroll NODE prints the credentials of a node")
	guard := func(ctx context.Context, say func(string)) error { return server.Guard(ctx, d, say) }
	return connected{conn, d.CoordinatorKey(), guard, func() { conn.Close(); server.Shutdown() }}, nil
}

// engineSays says what the NATS server warns of. What it does in order nobody needs to know.
func (a *app) engineSays(level slog.Level, message string) {
	if level >= slog.LevelWarn {
		a.say(level, "nats-server: "+message, "")
	}
}

// page opens the address of the page and the metrics.
func (a *app) page(ctx context.Context, c *coordinator.Coordinator, address string) (stop func(), err error) {
	if address == spec.ListenNone {
		return func() {}, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, hinted{fmt.Errorf("cannot listen on %s: %w", address, err), "name another address with --listen, or none"}
	}
	a.say(slog.LevelInfo, "the page is at http://"+l.Addr().String()+"/", "")
	serving, end := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := c.Serve(serving, l, version); err != nil {
			a.say(slog.LevelError, err.Error(), "")
		}
	}()
	return func() { end(); <-ended }, nil
}
