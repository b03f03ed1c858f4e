package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/view"
)

func receiptsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "receipts [ID]",
		Short: "Show what earlier applies did",
		Long: `Receipts lists what earlier applies, by hand and of the agent, did on this node:
the newest first, each with its time, the commit of the policies, the verdict
and the number of changes. A lap of the agent that tried no change has none.

With an ID it shows that receipt: each change with its outcome. A number, or the
beginning of an ID if only one begins so, will do, and latest is the newest.

The newest hundred are kept, for 90 days; the newest ten are always kept. They
are root's. If one cannot be read, it is named and the exit code is 1.`,
		Example: `  nfsync receipts
  nfsync receipts latest
  nfsync receipts 12 -o json`,
		Args:              argCount(0, 1, ""),
		Annotations:       prints(view.StoredReceipts, view.Receipts),
		ValidArgsFunction: completeOne(a.completeReceipt),
		RunE:              func(_ *cobra.Command, args []string) error { return a.receipts(args) },
	}
}

func (a *app) receipts(args []string) error {
	if a.flags.Changed("state-dir") {
		if _, err := os.Stat(a.stateDir); err != nil {
			return fmt.Errorf("--state-dir: %w", err)
		}
	}
	if len(args) == 0 {
		list, err := apply.ListReceipts(a.stateDir)
		if err != nil {
			return err
		}
		code := exitOK
		if len(list.Unreadable) > 0 {
			code = exitError
		}
		return show(a, code, view.StoredReceipts, list)
	}
	r, err := apply.FindReceipt(a.stateDir, args[0])
	if errors.Is(err, apply.ErrNoReceipt) {
		return hinted{err, "nfsync receipts lists them"}
	}
	if err != nil {
		return err
	}
	return show(a, exitOK, view.StoredReceipt, r)
}
