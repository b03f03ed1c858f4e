package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/overview"
	"nfsync.dev/nfsync/internal/view"
)

// fleetView is a document of a fleet: how it is made, and how it is shown.
type fleetView[T any] struct {
	kind view.Kind[T]
	line func(T) string // in one line, each time that something changes
	read func(context.Context, *fleetLink) (T, error)
	code func(T) int // the exit code
}

// watchUsage explains --watch.
const watchUsage = "show it again when something changes"

// shows returns the function that runs a verb with a view.
func shows[T any](a *app, o *fleetAccess, watch *bool, of func(args []string) (fleetView[T], error)) func(*cobra.Command, []string) error {
	return withContext(func(ctx context.Context, args []string) error {
		v, err := of(args)
		if err != nil {
			return err
		}
		return a.withFleet(ctx, o, func(l *fleetLink) error {
			if *watch {
				return watchFleet(ctx, a, l, v)
			}
			doc, err := v.read(ctx, l)
			if err != nil {
				return err
			}
			return show(a, v.code(doc), v.kind, doc)
		})
	})
}

// watchPause is how long nothing may change before a document is shown again: nodes become silent without a word.
const watchPause = time.Minute

// watchFleet shows a document now, and again when something changes, until the command is stopped.
func watchFleet[T any](ctx context.Context, a *app, l *fleetLink, v fleetView[T]) error {
	pause := time.NewTicker(watchPause)
	defer pause.Stop()
	changed := l.Changed(ctx)
	shown := ""
	for {
		doc, err := v.read(ctx, l)
		if err == nil {
			shown, err = writeAgain(a, v, doc, shown)
		}
		switch {
		case ctx.Err() != nil, errors.Is(err, syscall.EPIPE):
			return nil // it was to end, or the reader has seen enough
		case err != nil:
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-changed:
			if !open && ctx.Err() == nil {
				return errors.New("the connection to the fleet has ended")
			}
		case <-pause.C:
		}
	}
}

// writeAgain writes a document of several: on a terminal in place of the one before, else in a line, unless the last one
// has said the same. It returns what the line says.
func writeAgain[T any](a *app, v fleetView[T], doc T, before string) (says string, err error) {
	if a.format != view.FormatText || len(a.files) > 0 {
		return "", writeResult(a, v.kind, doc)
	}
	if _, isTerminal := terminal(a.stdout); !isTerminal {
		line := v.line(doc)
		if _, says, _ = strings.Cut(line, " "); says == before { // the time is before it
			return says, nil
		}
		_, err = io.WriteString(a.stdout, line)
		return says, err
	}
	var page strings.Builder
	if err := v.kind.Write(&page, view.FormatText, doc, a.viewOptions(a.stdout)); err != nil {
		return "", err
	}
	_, err = io.WriteString(a.stdout, "\x1b[H\x1b[2J"+page.String())
	return "", err
}

// always returns a function that returns exitOK.
func always[T any](T) int { return exitOK }

func fleetStatusCommand(a *app) *cobra.Command {
	var o fleetAccess
	var watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Count the nodes of a fleet by revision, condition and group",
		Long: `Status counts the nodes of the fleet by the revision that is in force, by
condition and by group of the roll-out, and names the silent ones: those that
were not heard of for 25 minutes. It exits with 3 if the roll-out is halted.

The credentials of a reader do; with those of an operator it shows the roll-out
too. With --watch it goes on until Ctrl-C, and exits with 0.`,
		Example:           "  nfsync fleet status\n  nfsync fleet status --watch\n  nfsync fleet status -o json",
		Args:              argCount(0, 0, ""),
		Annotations:       prints(view.FleetStatuses),
		ValidArgsFunction: completeNothing,
		RunE: shows(a, &o, &watch, func([]string) (fleetView[nf.FleetStatus], error) {
			return fleetView[nf.FleetStatus]{view.FleetStatuses, view.FleetStatusLine, func(ctx context.Context, l *fleetLink) (nf.FleetStatus, error) {
				f, err := l.read(ctx)
				return overview.Status(f), err
			}, func(s nf.FleetStatus) int {
				if s.Rollout != nil && s.Rollout.State == nf.RolloutHalted {
					return exitRefused
				}
				return exitOK
			}}, nil
		}),
	}
	o.register(cmd.Flags())
	cmd.Flags().BoolVar(&watch, "watch", false, watchUsage)
	return cmd
}

func fleetNodesCommand(a *app) *cobra.Command {
	var o fleetAccess
	var watch bool
	var c overview.Choice
	cmd := &cobra.Command{
		Use:   "nodes",
		Short: "List the nodes of a fleet",
		Long: `Nodes lists the nodes of the fleet with what they say of themselves: whether
they are ready, the revision in force, and how far they are in the roll-out.
Without the credentials of an operator their groups are not known.`,
		Example:           "  nfsync fleet nodes\n  nfsync fleet nodes --label role=edge --silent\n  nfsync fleet nodes --group edge --revision 3f2a9c41 -o json",
		Args:              argCount(0, 0, ""),
		Annotations:       prints(view.FleetNodes),
		ValidArgsFunction: completeNothing,
		RunE: shows(a, &o, &watch, func([]string) (fleetView[nf.FleetNodes], error) {
			return fleetView[nf.FleetNodes]{view.FleetNodes, view.FleetNodesLine, func(ctx context.Context, l *fleetLink) (nf.FleetNodes, error) {
				f, err := l.read(ctx)
				if err == nil && c.Group != "" && f.Document == nil {
					err = cmp.Or(rolloutError(f), errNoGroups)
				}
				return overview.Nodes(f, c), err
			}, always[nf.FleetNodes]}, nil
		}),
	}
	o.register(cmd.Flags())
	cmd.Flags().StringToStringVar(&c.Labels, "label", nil, "only the nodes with this label `key=value`; may be repeated")
	cmd.Flags().Lookup("label").DefValue = "" // an empty list need not be shown
	cmd.Flags().StringVar(&c.Group, "group", "", "only the nodes of this `group` of the roll-out")
	cmd.Flags().StringVar(&c.Revision, "revision", "", "only the nodes with this `commit` in force, or one that begins so")
	cmd.Flags().BoolVar(&c.Silent, "silent", false, "only the nodes that were not heard of lately")
	cmd.Flags().BoolVar(&watch, "watch", false, watchUsage)
	return cmd
}

// errNoGroups means that no roll-out says which groups there are.
var errNoGroups = errors.New("the groups are those of a roll-out, and nothing was rolled out so far")

func fleetShowCommand(a *app) *cobra.Command {
	var o fleetAccess
	var watch bool
	cmd := &cobra.Command{
		Use:   "show NODE",
		Short: "Show what is known of one node of a fleet",
		Long: `Show shows what a node of the fleet says of itself, what the roll-out lets it
do, and how old its snapshot is. The node itself knows more: nfsync status.`,
		Example:           "  nfsync fleet show hn-7\n  nfsync fleet show hn-7 --watch",
		Args:              argCount(1, 1, "a node"),
		Annotations:       prints(view.FleetNodeStatuses),
		ValidArgsFunction: completeOne(a.completeFleetNode),
		RunE: shows(a, &o, &watch, func(args []string) (fleetView[nf.FleetNodeStatus], error) {
			return fleetView[nf.FleetNodeStatus]{view.FleetNodeStatuses, view.FleetNodeLine, func(ctx context.Context, l *fleetLink) (nf.FleetNodeStatus, error) {
				return l.node(ctx, args[0])
			}, always[nf.FleetNodeStatus]}, nil
		}),
	}
	o.register(cmd.Flags())
	cmd.Flags().BoolVar(&watch, "watch", false, watchUsage)
	return cmd
}

// node says what is known of a node, with its snapshot.
func (l *fleetLink) node(ctx context.Context, name string) (nf.FleetNodeStatus, error) {
	f, err := l.read(ctx)
	if err != nil {
		return nf.FleetNodeStatus{}, err
	}
	s, found := overview.Node(f, name)
	if why := f.Unread[name]; why != nil {
		return s, fmt.Errorf("what the node %s has put cannot be read: %w", name, why)
	}
	if !found {
		return s, hinted{fmt.Errorf("nothing was heard of a node %s on the channel %s", name, l.channel), "nfsync fleet nodes lists the nodes"}
	}
	err = l.Snapshots(ctx, name, func(_ string, put time.Time, document []byte, err error) error {
		s.Snapshot = &nf.PutSnapshot{Put: put, Bytes: len(document)}
		if err != nil {
			s.Snapshot.Error = err.Error()
		}
		return nil
	})
	if errors.Is(err, fleet.ErrNone) {
		err = nil
	}
	return s, err
}

func fleetRolloutCommand(a *app) *cobra.Command {
	var o fleetAccess
	var watch bool
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "Show how far a roll-out is, why it waits, and what comes next",
		Long: `Rollout shows how far the roll-out of a revision is: its groups, the nodes that
have failed and those at work, why it waits, and what comes next. It exits with
3 if the roll-out is halted. It needs the credentials of an operator.

With --watch it goes on until Ctrl-C, and exits with 0.`,
		Example:                    "  nfsync fleet rollout\n  nfsync fleet rollout --watch\n  nfsync fleet rollout pause --reason 'incident 4711'",
		SuggestionsMinimumDistance: 2,
		Args:                       unknownVerb,
		Annotations:                prints(view.FleetRollouts),
		ValidArgsFunction:          completeNothing,
		RunE: shows(a, &o, &watch, func([]string) (fleetView[nf.FleetRollout], error) {
			return fleetView[nf.FleetRollout]{view.FleetRollouts, view.FleetRolloutLine, func(ctx context.Context, l *fleetLink) (nf.FleetRollout, error) {
				return a.rollout(ctx, l)
			}, func(r nf.FleetRollout) int {
				if r.Document != nil && r.Document.State == nf.RolloutHalted {
					return exitRefused
				}
				return exitOK
			}}, nil
		}),
	}
	o.register(cmd.Flags())
	cmd.Flags().BoolVar(&watch, "watch", false, watchUsage)
	for _, ask := range rolloutAsks {
		cmd.AddCommand(askCommand(a, ask))
	}
	return cmd
}

// rollout says how far the roll-out is.
func (a *app) rollout(ctx context.Context, l *fleetLink) (nf.FleetRollout, error) {
	f, err := l.read(ctx)
	if err == nil {
		err = rolloutError(f)
	}
	if f.Document != nil {
		a.sayUnverified(l)
	}
	return overview.Rollout(f), err
}
