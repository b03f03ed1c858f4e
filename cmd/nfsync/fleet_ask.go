package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/overview"
	"nfsync.dev/nfsync/internal/view"
)

// fleetAsk is what an operator can ask the coordinator to do.
type fleetAsk struct {
	verb        nf.AskVerb
	use         string // with the argument, if there is one
	short, long string
	example     string
	argument    string // what it is; empty: there is none
	// oneWay says what it does that cannot be undone; "" if it can.
	oneWay func(f overview.Fleet, argument string) string
	// asSeen makes the coordinator refuse it if the roll-out is another one than the operator has seen. What keeps
	// nodes from beginning is never refused for that.
	asSeen bool
	done   string // what has become of the roll-out
}

// rolloutAsks are the verbs below fleet rollout.
var rolloutAsks = []fleetAsk{
	{verb: nf.AskPause, use: "pause", short: "Let no more nodes begin, until resume",
		long:    "Pause lets no more nodes begin. Those that have begun end their work. The\nroll-out goes on with nfsync fleet rollout resume.",
		example: "  nfsync fleet rollout pause --reason 'incident 4711'", done: "is paused"},
	{verb: nf.AskResume, use: "resume", short: "Go on after a pause or a halt", asSeen: true,
		long:    "Resume goes on with a roll-out that is paused or halted. The nodes that have\nfailed so far do not halt it again.",
		example: "  nfsync fleet rollout resume --reason 'the three nodes had no disk space'", done: "goes on"},
	{verb: nf.AskHalt, use: "halt", short: "Let no more nodes begin, as after too many failures",
		long:    "Halt does by hand what the coordinator does when too many nodes fail: no more\nnodes begin, and nfsync fleet status exits with 3.",
		example: "  nfsync fleet rollout halt --reason 'customers of edge nodes complain'", done: "is halted"},
	{verb: nf.AskAbort, use: "abort", short: "End a roll-out for good", asSeen: true, oneWay: abortEffect,
		long: `Abort ends the roll-out, and withdraws its revision. No more nodes begin, and it
cannot be resumed. Nodes that have the revision keep it until another one is
rolled out, and take that one first. It asks on a terminal, and needs --yes
without one.`,
		example: "  nfsync fleet rollout abort --reason 'the policy is wrong' --yes", done: "is aborted"},
	{verb: nf.AskApprove, use: "approve", short: "Let a step begin that waits for approval", asSeen: true,
		long:    "Approve lets the next step begin, if the plan says that it waits for a person.",
		example: "  nfsync fleet rollout approve", done: "goes on with the next step"},
}

func fleetWithdrawCommand(a *app) *cobra.Command {
	return askCommand(a, fleetAsk{verb: nf.AskWithdraw, use: "withdraw COMMIT", short: "Let no node begin a revision, and let those that have it go first",
		long: `Withdraw withdraws a revision. No node begins it, and the nodes that have it in
force take the revision of the roll-out before all others, once that is another
one. A roll-out of the revision is halted. Withdraw cannot be undone: the same
policies can be rolled out with another commit. It asks on a terminal, and needs
--yes without one.

COMMIT may be its first digits if a node has it, or the roll-out is of it.`,
		example: "  nfsync fleet withdraw 3f2a9c41 --reason 'drops connections'", argument: "a commit", oneWay: withdrawEffect, done: "is withdrawn"})
}

func fleetWakeCommand(a *app) *cobra.Command {
	return askCommand(a, fleetAsk{verb: nf.AskWake, use: "wake", short: "Make all nodes look at the roll-out now",
		long:    "Wake wakes all nodes: each looks at the roll-out and its repository. None begins\nbefore its turn.",
		example: "  nfsync fleet wake", done: "has woken the nodes"})
}

func fleetReleaseCommand(a *app) *cobra.Command {
	return askCommand(a, fleetAsk{verb: nf.AskRelease, use: "release NODE", short: "End the restart grant of a node that has vanished",
		long: `Release ends the restart grant of a node that holds it and does not come back,
so that other nodes of its group can restart containers.`,
		example: "  nfsync fleet release hn-7 --reason 'its power supply has burnt'", argument: "a node", done: "has no grant any more"})
}

// askCommand returns the verb of an ask.
func askCommand(a *app, ask fleetAsk) *cobra.Command {
	var o fleetAccess
	var reason string
	var yes bool
	arguments := 0
	if ask.argument != "" {
		arguments = 1
	}
	cmd := &cobra.Command{
		Use: ask.use, Short: ask.short, Example: ask.example,
		Long:              ask.long + "\n\nThe coordinator does it, and needs to run. With -o it prints the roll-out. It\nneeds the credentials of an operator.",
		Args:              argCount(arguments, arguments, ask.argument),
		Annotations:       prints(view.FleetRollouts),
		ValidArgsFunction: a.askCompleter(ask.verb),
		RunE: withContext(func(ctx context.Context, args []string) error {
			return a.withFleet(ctx, &o, func(l *fleetLink) error {
				return a.askFleet(ctx, l, ask, strings.Join(args, ""), reason, yes)
			})
		}),
	}
	o.register(cmd.Flags())
	cmd.Flags().StringVar(&reason, "reason", "", "why, a `text` that nfsync fleet rollout shows")
	if ask.oneWay != nil {
		cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	}
	return cmd
}

func (a *app) askCompleter(verb nf.AskVerb) completer {
	switch verb {
	case nf.AskWithdraw:
		return completeOne(a.completeFleetRevision)
	case nf.AskRelease:
		return completeOne(a.completeFleetNode)
	}
	return completeNothing
}

// askFleet asks the coordinator, and says what has become of the roll-out.
func (a *app) askFleet(ctx context.Context, l *fleetLink, ask fleetAsk, argument, reason string, yes bool) error {
	f, err := l.read(ctx)
	if err == nil {
		err = rolloutError(f)
	}
	if err != nil {
		return err
	}
	a.sayUnverified(l)
	sent := nf.FleetAsk{Verb: ask.verb, Revision: argument, Reason: reason, By: a.operator()}
	if ask.asSeen && f.Document != nil {
		sent.Generation = f.Document.Generation
	}
	if ask.verb == nf.AskWithdraw {
		if sent.Revision, err = wholeRevision(f, argument); err != nil {
			return err
		}
	}
	if ask.oneWay != nil && !yes {
		if err := a.askOperator(ctx, ask.oneWay(f, sent.Revision)); err != nil {
			return err
		}
	}
	answer, err := l.Ask(ctx, sent)
	switch {
	case errors.Is(err, fleet.ErrNoCoordinator):
		return hinted{err, "nothing was changed: systemctl status nfsync-coordinator, where it runs; it has to be connected to the same servers"}
	case fleet.IsNotPermitted(err):
		return hinted{errors.New("these credentials do not ask the coordinator"), needsOperator}
	case err != nil:
		return fmt.Errorf("it is not known whether the coordinator has done it: %w", err)
	case answer.Error != "":
		return hinted{fmt.Errorf("the coordinator refuses it: %s", answer.Error), "nfsync fleet rollout shows the roll-out as it is now"}
	}
	a.say(slog.LevelInfo, askedText(ask, sent, f.Document, answer.Document), "")
	if len(a.outputs) == 0 {
		return nil
	}
	r, err := a.rollout(ctx, l)
	if err != nil {
		return err
	}
	return show(a, exitOK, view.FleetRollouts, r)
}

// askedText says what an ask has led to. The documents are those before and after it.
func askedText(ask fleetAsk, sent nf.FleetAsk, before, d *nf.RolloutDocument) string {
	switch {
	case ask.verb == nf.AskWake:
		return "the coordinator " + ask.done
	case ask.verb == nf.AskRelease:
		return "the node " + sent.Revision + " " + ask.done
	case ask.verb == nf.AskWithdraw:
		return "the revision " + sent.Revision + " " + ask.done
	case d == nil:
		return "the roll-out " + ask.done
	case before != nil && before.Generation == d.Generation:
		return fmt.Sprintf("nothing was changed: the roll-out of %s is %s (generation %d)", d.Revision, d.State, d.Generation)
	}
	return fmt.Sprintf("the roll-out of %s %s (generation %d)", d.Revision, ask.done, d.Generation)
}

// operator returns who asks: the user of this machine, or the one who has become root by sudo.
func (a *app) operator() string {
	if name := a.getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

// askOperator says what cannot be undone, and waits for a yes.
func (a *app) askOperator(ctx context.Context, effect string) error {
	if err := a.canAsk("without it nothing is asked of the coordinator; nfsync fleet rollout shows the roll-out"); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "%s\nDo it now? [y/N] ", view.Clean(effect))
	if err := a.answer(ctx); err != nil {
		return errors.New("not confirmed: the coordinator was not asked")
	}
	return nil
}

// abortEffect says what abort does.
func abortEffect(f overview.Fleet, _ string) string {
	if f.Document == nil {
		return "There is no roll-out to end."
	}
	return fmt.Sprintf("This ends the roll-out of %s for good. %s it, and take the next revision that is rolled out before all others; no other node begins it.", f.Document.Revision, nodesHave(f, f.Document.Revision))
}

// withdrawEffect says what withdraw does.
func withdrawEffect(f overview.Fleet, revision string) string {
	text := fmt.Sprintf("This withdraws %s for good: no node begins it. %s it", revision, nodesHave(f, revision))
	if f.Document != nil && f.Document.Revision != revision {
		return text + ", and take " + f.Document.Revision + " before all others."
	}
	return text + ", and take the next revision that is rolled out before all others."
}

func nodesHave(f overview.Fleet, revision string) string {
	n := 0
	for _, node := range f.Nodes {
		if node.Revision == revision {
			n++
		}
	}
	if n == 1 {
		return "1 node has"
	}
	return fmt.Sprintf("%d nodes have", n)
}

// wholeRevision returns the commit that begins with these digits: among the revisions of the roll-out and of the
// nodes. A whole commit need not be known.
func wholeRevision(f overview.Fleet, digits string) (string, error) {
	known := map[string]bool{}
	if nf.IsCommitID(digits) {
		return digits, nil
	}
	for revision := range revisionsOf(f) {
		if strings.HasPrefix(revision, digits) {
			known[revision] = true
		}
	}
	switch len(known) {
	case 0:
		return "", hinted{fmt.Errorf("no node has a revision that begins with %s, and the roll-out is of none", digits), "write the whole commit, or see nfsync fleet status"}
	case 1:
		for revision := range known {
			return revision, nil
		}
	}
	return "", usageError{fmt.Errorf("%d revisions begin with %s: write more of its digits", len(known), digits)}
}

// revisionsOf returns the revisions that a fleet knows, with what they are.
func revisionsOf(f overview.Fleet) map[string]string {
	list := map[string]string{}
	for _, c := range overview.Status(f).Revisions {
		if c.Revision != "" {
			list[c.Revision] = fmt.Sprintf("in force on %d", c.Nodes)
		}
	}
	if d := f.Document; d != nil {
		list[d.Revision] = cmp.Or(list[d.Revision], "rolled out")
		if d.Previous != "" {
			list[d.Previous] = cmp.Or(list[d.Previous], "rolled out before")
		}
	}
	return list
}
