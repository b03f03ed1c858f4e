package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/coordinator"
	"nfsync.dev/nfsync/internal/engine"
	"nfsync.dev/nfsync/internal/nf"
)

func retireCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "retire NODE",
		Short: "Make the fleet forget a node that is gone for good",
		Long: `Retire revokes the credentials of a node, and takes what it has said of itself,
its snapshot and its restart grant out of the store. It is listed no more,
counts in no group, and its place for restarts is free.

The servers must run. A node that comes back has to be enrolled again.`,
		Example: `  nfsync-coordinator retire hn-1`,
		Args:    oneArgument("a node"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.retire(cmd.Context(), args[0]) },
	}
}

func (a *app) retire(ctx context.Context, node string) error {
	if !nf.IsFleetName(node) {
		return &engine.NameError{Name: node}
	}
	config, d, err := a.open()
	if err != nil {
		return err
	}
	revoked, err := revokeNode(d, node)
	if err != nil {
		return err
	}
	found := false
	if _, err = push(ctx, d, config.Engine); err == nil { // it can put nothing any more
		conn, connectErr := connectTo(ctx, d, config.Engine)
		if err = connectErr; err == nil {
			defer conn.Close()
			ctx, stop := context.WithTimeout(ctx, patience)
			defer stop()
			found, err = coordinator.Retire(ctx, conn, config.Channel, node, d.CoordinatorKey())
		}
	}
	switch {
	case err != nil && revoked:
		return hinted{fmt.Errorf("the credentials of %s are revoked, and the store still has what it has said: %w", node, err), "run it again once the servers answer"}
	case err != nil:
		return err
	case !found && !revoked:
		return fmt.Errorf("%s has no valid credentials, and has said nothing of itself: %w", node, engine.ErrNotEnrolled)
	}
	fmt.Fprintf(a.stdout, "Retired %s.\n", node)
	return nil
}

// revokeNode revokes the credentials of a node, and reports whether it had any. It is an error if the name is not that of a node.
func revokeNode(d *engine.Directory, node string) (revoked bool, err error) {
	credentials, err := d.Credentials()
	if err != nil {
		return false, err
	}
	now := time.Now()
	if i := slices.IndexFunc(credentials, func(c nf.FleetCredential) bool {
		return c.Name == node && c.Kind != nf.CredentialNode && c.IsValid(now)
	}); i >= 0 {
		return false, hinted{fmt.Errorf("%s is no node: it has the credentials of a %s", node, credentials[i].Kind), "nfsync-coordinator revoke ends them"}
	}
	err = d.Revoke(node)
	if errors.Is(err, engine.ErrNotEnrolled) {
		return false, nil
	}
	return err == nil, err
}
