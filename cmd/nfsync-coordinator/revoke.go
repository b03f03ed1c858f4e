package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/engine"
	"nfsync.dev/nfsync/internal/spec"
)

func revokeCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME",
		Short: "Revoke the credentials of a name",
		Long: `Revoke ends the credentials of a name: servers close its connections, and take
no new ones. The servers that run learn it at once. Those that do not run now
learn it when serve starts them or connects to them, or by nfsync-coordinator
init. The server of a site learns of a node only by a new nats-leaf.conf, which
init writes.`,
		Example: `  nfsync-coordinator revoke hn-1`,
		Args:    oneArgument("whose credentials"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.revoke(cmd.Context(), args[0]) },
	}
}

func (a *app) revoke(ctx context.Context, name string) error {
	config, d, err := a.open()
	if err != nil {
		return err
	}
	if err := d.Revoke(name); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "Revoked the credentials of %s.\n", name)
	return a.tell(ctx, d, config.Engine)
}

// tell gives the revocations to the servers, and says how many have them.
func (a *app) tell(ctx context.Context, d *engine.Directory, e spec.Engine) error {
	taken, err := push(ctx, d, e)
	var none *engine.NoServerError
	switch {
	case errors.As(err, &none) && e.IsEmbedded():
		a.say(slog.LevelWarn, "the coordinator's server does not answer: the revocation takes effect when it starts ("+none.Err.Error()+")", "")
		return nil
	case errors.As(err, &none):
		return hinted{fmt.Errorf("the revocation is written down, but no server knows of it yet: %w", err), "run nfsync-coordinator init once they answer; serve does the same when it starts"}
	case err != nil:
		return err
	}
	a.say(slog.LevelInfo, serversHave(taken)+" taken it", "")
	return nil
}

// serversHave begins a sentence about so many servers.
func serversHave(n int) string {
	if n == 1 {
		return "1 server has"
	}
	return fmt.Sprintf("%d servers have", n)
}
