package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/overview"
)

// The variables that say how a fleet is reached, where no flag does.
const (
	envServers        = "NFSYNC_FLEET_SERVERS" // with commas between them
	envCredentials    = "NFSYNC_FLEET_CREDENTIALS"
	envCAFile         = "NFSYNC_FLEET_CA_FILE"
	envChannel        = "NFSYNC_FLEET_CHANNEL"
	envCoordinatorKey = "NFSYNC_FLEET_COORDINATOR_KEY"
	envName           = "NFSYNC_FLEET_NAME"
)

func fleetCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Show what the nodes of a fleet say, and direct its roll-out",
		Long: `Fleet shows what the nodes of a fleet say of themselves and how far a roll-out
is, and asks the coordinator to pause it, to go on, or to end it.

The servers, the CA, the channel and the key of the coordinator are those of
fleet: in the configuration of the agent, if there is one on this machine and
no server is named otherwise. The credentials of a node read nothing of other
nodes. Those of a reader read what nodes say, and those of an operator the
roll-out too, and ask the coordinator: nfsync-coordinator enroll makes both.

In place of the flags there may be the variables NFSYNC_FLEET_SERVERS (with
commas), NFSYNC_FLEET_CREDENTIALS, NFSYNC_FLEET_CA_FILE, NFSYNC_FLEET_CHANNEL,
NFSYNC_FLEET_COORDINATOR_KEY and NFSYNC_FLEET_NAME.`,
		Example: `  export NFSYNC_FLEET_SERVERS=tls://fleet.example.com:4222
  export NFSYNC_FLEET_CREDENTIALS=ada.creds
  nfsync fleet status
  nfsync fleet rollout`,
		SuggestionsMinimumDistance: 2,
		Args:                       unknownVerb,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var verbs []string
			for _, verb := range cmd.Commands() {
				verbs = append(verbs, verb.Name())
			}
			return usageError{errors.New("name a command: " + strings.Join(verbs, ", "))}
		},
	}
	cmd.AddCommand(fleetStatusCommand(a), fleetNodesCommand(a), fleetShowCommand(a), fleetRolloutCommand(a), fleetWithdrawCommand(a), fleetWakeCommand(a), fleetReleaseCommand(a))
	return cmd
}

// fleetAccess are the flags that say how a fleet is reached.
type fleetAccess struct {
	servers                                            []string
	credentials, caFile, channel, coordinatorKey, name string
}

func (o *fleetAccess) register(f *pflag.FlagSet) {
	f.StringArrayVar(&o.servers, "servers", nil, "`URL` of a server of the fleet, tls://HOST:PORT; may be repeated")
	f.StringVar(&o.credentials, "credentials", "", "credentials `file` of a reader or an operator")
	f.StringVar(&o.caFile, "ca-file", "", "PEM `file` of the authorities that sign the servers (default: the system's)")
	f.StringVar(&o.channel, "channel", "", "`name` of the channel (default "+nf.DefaultChannel+")")
	f.StringVar(&o.coordinatorKey, "coordinator-key", "", "public `key` of the coordinator, which proves that the roll-out is its own")
	f.StringVar(&o.name, "name", "", "`name` that the credentials are for, if they do not have it")
}

var errNoFleet = hinted{errors.New("no fleet is named"),
	"name its servers with --servers tls://HOST:PORT or " + envServers + "; on a node of a fleet the configuration of the agent names them"}

// needsReader and needsOperator say which credentials are needed, and where they come from.
const (
	needsReader   = "those of a reader or an operator are needed: nfsync-coordinator enroll --reader NAME, or --operator NAME, makes them; name the file with --credentials or " + envCredentials
	needsOperator = "those of an operator do: nfsync-coordinator enroll --operator NAME makes them; name the file with --credentials or " + envCredentials
)

// fleetConfig returns how the fleet is reached: as the flags say, then the variables. If neither names a server, the rest
// is as the configuration of the agent says.
func (a *app) fleetConfig(o *fleetAccess) (fleet.Config, error) {
	cfg := fleet.Config{
		Servers: o.servers, CredentialsFile: cmp.Or(o.credentials, a.getenv(envCredentials)), CAFile: cmp.Or(o.caFile, a.getenv(envCAFile)),
		Channel: cmp.Or(o.channel, a.getenv(envChannel)), CoordinatorKey: cmp.Or(o.coordinatorKey, a.getenv(envCoordinatorKey)), Name: cmp.Or(o.name, a.getenv(envName)),
	}
	if len(cfg.Servers) == 0 {
		cfg.Servers = strings.FieldsFunc(a.getenv(envServers), func(r rune) bool { return r == ',' || r == ' ' })
	}
	if len(cfg.Servers) == 0 {
		if err := a.configure(true); err != nil {
			return cfg, err
		}
		f := a.config.Fleet
		if f == nil {
			return cfg, errNoFleet
		}
		cfg.Servers = f.Servers
		cfg.CAFile, cfg.Channel, cfg.CoordinatorKey = cmp.Or(cfg.CAFile, f.CAFile), cmp.Or(cfg.Channel, f.Channel), cmp.Or(cfg.CoordinatorKey, f.CoordinatorKey)
		if cfg.CredentialsFile == "" {
			return cfg, hinted{errors.New("the credentials of a node read nothing of other nodes"), needsReader}
		}
	}
	cfg.Channel = cmp.Or(cfg.Channel, nf.DefaultChannel)
	if cfg.CredentialsFile != "" {
		name, err := fleet.NameOf(cfg.CredentialsFile)
		if err != nil {
			return cfg, hinted{err, needsReader}
		}
		if cfg.Name = cmp.Or(cfg.Name, name); cfg.Name == "" {
			return cfg, hinted{fmt.Errorf("the credentials %s do not say whose they are", cfg.CredentialsFile), "name the reader or operator with --name or " + envName}
		}
	}
	cfg.Name = cmp.Or(cfg.Name, "nfsync")
	return cfg, nil
}

// fleetPatience is how long a command waits for a server of the fleet.
const fleetPatience = 20 * time.Second

// openFleet connects to the fleet.
func openFleet(ctx context.Context, cfg fleet.Config) (*fleet.Reader, error) {
	limited, cancel := context.WithTimeout(ctx, fleetPatience)
	defer cancel()
	r, err := fleet.OpenReader(limited, cfg)
	if err != nil {
		return nil, hinted{err, connectHint(err, cfg)}
	}
	return r, nil
}

// connectHint returns what helps if no server takes a connection.
func connectHint(err error, cfg fleet.Config) string {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case cfg.CredentialsFile == "":
		return "no credentials are named: " + needsReader
	case fleet.IsNotPermitted(err):
		return "nfsync-coordinator list shows whose credentials are valid: they may be revoked, expired or of another fleet"
	case untrusted:
		return "name the authority that signs the servers with --ca-file or " + envCAFile + ", and each server by a name of its certificate"
	}
	return "see that the servers run and the addresses are right: systemctl status nfsync-coordinator, where it runs"
}

// withFleet runs a part of a command that is connected to the fleet.
func (a *app) withFleet(ctx context.Context, o *fleetAccess, run func(*fleetLink) error) error {
	cfg, err := a.fleetConfig(o)
	if err != nil {
		return err
	}
	r, err := openFleet(ctx, cfg)
	if err != nil {
		return err
	}
	defer r.Close()
	return run(&fleetLink{Reader: r, channel: cfg.Channel, verifies: cfg.CoordinatorKey != ""})
}

// fleetLink is a connection to a fleet.
type fleetLink struct {
	*fleet.Reader
	channel  string
	verifies bool // the key of the coordinator is known
}

// notRead is why a reader knows of no roll-out.
const notRead = "these credentials do not read it; those of an operator do"

// rolloutError returns why the roll-out is not known.
func rolloutError(f overview.Fleet) error {
	switch f.RolloutError {
	case "":
		return nil
	case notRead:
		return hinted{errors.New("these credentials do not read the roll-out"), needsOperator}
	}
	return fmt.Errorf("cannot read the roll-out: %s", f.RolloutError)
}

// read reads what the nodes say, and the roll-out if the credentials allow it.
func (l *fleetLink) read(ctx context.Context) (overview.Fleet, error) {
	nodes, unread, err := l.Nodes(ctx)
	if fleet.IsNotPermitted(err) {
		err = hinted{errors.New("these credentials do not read what nodes say"), needsReader}
	}
	if err != nil {
		return overview.Fleet{}, err
	}
	f := overview.Fleet{Channel: l.channel, Nodes: overview.OfChannel(nodes, l.channel), Unread: unread}
	d, err := l.Rollout(ctx)
	switch {
	case err == nil:
		f.Document = &d
	case errors.Is(err, fleet.ErrNone):
	case fleet.IsNotPermitted(err):
		f.RolloutError = notRead
	case ctx.Err() != nil:
		return f, ctx.Err()
	default:
		f.RolloutError = err.Error()
	}
	f.At = time.Now().UTC()
	return f, nil
}

// sayUnverified warns once that a roll-out may be anybody's.
func (a *app) sayUnverified(l *fleetLink) {
	if !l.verifies {
		a.say(slog.LevelWarn, "the roll-out is not verified: no key of the coordinator is known", "name it with --coordinator-key or "+envCoordinatorKey)
	}
}

// isFleetURL reports whether a URL is that of a server of a fleet, not of a git repository.
func isFleetURL(text string) bool {
	u, err := url.Parse(text)
	scheme, _, _ := strings.Cut(text, "://")
	if err == nil {
		scheme = u.Scheme
	}
	return slices.Contains([]string{"nats", "tls", "ws", "wss"}, scheme)
}

// fleetURLs returns the servers that a text names with commas between them. Those without a scheme have that of the first.
func fleetURLs(text string) []string {
	list := strings.Split(text, ",")
	scheme, _, _ := strings.Cut(list[0], "://")
	for i, server := range list {
		if !strings.Contains(server, "://") {
			list[i] = scheme + "://" + server
		}
	}
	return list
}
