package main

import (
	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/view"
)

func listCommand(a *app) *cobra.Command {
	return a.printed(&cobra.Command{
		Use:   "list",
		Short: "List the credentials that were handed out",
		Long: `List prints the ledger: each of the credentials that enroll has made, with its
kind, its public key, and when it was made, expires and was revoked. The
secrets are not kept.`,
		Example: `  nfsync-coordinator list
  nfsync-coordinator list -o json`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return a.list() },
	})
}

func (a *app) list() error {
	_, d, err := a.open()
	if err != nil {
		return err
	}
	credentials, err := d.Credentials()
	if err != nil {
		return err
	}
	return show(a, view.FleetCredentials, credentials)
}
