package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
)

type agentOptions struct {
	once bool
	git  gitOptions
}

func agentCommand(a *app) *cobra.Command {
	var o agentOptions
	cmd := &cobra.Command{
		Use:   "agent [PATH | --git URL]",
		Short: "Keep the newest good revision of a repository in force",
		Long: `Agent makes laps until it is stopped: it fetches the policies from git, verifies
the commit, checks the policies, and applies them without asking. A lap begins
with the interval of the configuration, and when something changes: a commit
(webhook, nfsync sync), the configuration, a container, a module, or a value
that drifts. With a PATH it reads the policies from a directory, and has no last
good revision. nfsync status shows what it does.

With --once it makes one lap and exits as apply does; with mode: observe, as
plan --detailed-exitcode does.

With publish in the configuration the agent pushes the snapshot and the status
of the node to a repository. No lap waits for that, and --once ends after it.

If the new revision cannot be fetched or verified, if the branch was rewritten,
or if the policies are invalid, nfsync applies the last good revision, which it
keeps. The exit code of --once is then 1, or 4 for invalid policies, unless
applying ends with 6.

Flags override the configuration file: --config, or
` + defaultConfig + ` if it exists.`,
		Example: `  nfsync agent
  nfsync agent --once
  nfsync agent --once --git https://git.example.com/policies.git --branch main
  nfsync agent --once policies/
  nfsync agent --once --accept 4b825dc642cb6eb9a060e54bf8d69288fbee4904`,
		Args:              argCount(0, 1, ""),
		Annotations:       prints(view.Receipts, view.Plans),
		ValidArgsFunction: completeOne(completePolicies),
		RunE:              withContext(func(ctx context.Context, args []string) error { return a.agent(ctx, &o, args) }),
	}
	cmd.Flags().BoolVar(&o.once, "once", false, "make one lap and exit")
	o.git.register(cmd.Flags())
	a.emptyFlag(cmd.Flags())
	return cmd
}

func (a *app) agent(ctx context.Context, o *agentOptions, args []string) error {
	path, err := a.where(&o.git, args)
	if err != nil {
		return err
	}
	if path != "" && a.config.Fleet != nil {
		a.say(slog.LevelWarn, "the policies are in a directory: the fleet of the configuration is not followed", "")
	}
	if !o.once {
		return a.runLoop(ctx, o, path)
	}
	suspended, err := a.isSuspended()
	if err != nil {
		return err
	}
	if path != "" {
		return a.directoryLap(ctx, o, path, suspended)
	}
	in, endProgress, err := a.input(a.restarts())
	if err != nil {
		return err
	}
	in.Leave = a.leave()
	repo, done, err := a.repository(&o.git)
	if err != nil {
		return err
	}
	defer done()
	began := time.Now()
	f, endFleet := a.joinOnce(ctx, repo)
	res, err := agent.Lap(ctx, agent.In{Fleet: f, Fetch: a.fetcher(repo), Mode: repo.Verify.Mode, Verify: verifier(repo, a.fetcher), AllowEmpty: a.mayBeEmpty(), Path: repo.Path, Accept: o.git.Accept, Observe: a.config.Mode == spec.ModeObserve, Suspended: suspended, Apply: in})
	endProgress()
	ended := a.lapped(&o.git, res, err)
	r := agent.Report{Started: began, Result: res, Err: err}
	endFleet(in.State, r)
	a.publishOnce(ctx, nf.PublicURL(repo.URLs[0]), r)
	return ended
}

// lapped prints what a lap has missed and done, and returns the most severe exit code.
func (a *app) lapped(o *gitOptions, res agent.Result, err error) error {
	a.sayWarnings(res.Revision)
	codes := []int{a.sayMissed(res, err)}
	if invalid, ok := errors.AsType[*agent.InvalidError](err); ok {
		a.sayInvalid(invalid.Diagnostics, fmt.Sprintf("the last good revision cannot be enforced: the policies of commit %s are invalid", invalid.Commit))
		codes = append(codes, exitCode(err))
	} else if err != nil {
		a.explain(err, "nfsync agent")
		codes = append(codes, exitCode(err))
	}
	switch {
	case res.Plan != nil:
		code := severest(append(codes, planCode(*res.Plan, true))...)
		return show(a, code, view.Plans, *res.Plan, func(opt *view.Options) { opt.Apply = a.applyLine(o, "", false) })
	case res.Receipt.Kind != "":
		return show(a, severest(append(codes, verdictCode(res.Receipt.Verdict()))...), view.Receipts, res.Receipt)
	}
	if invalid, ok := errors.AsType[*agent.InvalidError](errors.Join(res.Missed, err)); ok {
		return a.showInvalid(severest(codes...), invalid.Diagnostics)
	}
	return finish(severest(codes...), nil)
}

// sayMissed reports why the new revision is not in force and which one is, and
// returns the exit code for that.
func (a *app) sayMissed(res agent.Result, err error) int {
	now := "nothing was applied"
	switch good := res.Revision; {
	case res.Missed == nil:
		return exitOK
	case good.Commit != "":
		now = fmt.Sprintf("the last good revision stays in force: %s of %s", good.Commit, good.URL)
	case err == nil:
		now = "there is no last good revision: nothing was applied"
	}
	code := exitError
	if invalid, ok := errors.AsType[*agent.InvalidError](res.Missed); ok {
		a.sayRevision(invalid)
		code = exitInvalid
	} else {
		a.say(slog.LevelError, res.Missed.Error(), "")
	}
	a.say(slog.LevelWarn, now, "")
	return code
}

// directoryLap makes a lap from a directory, which has no last good revision.
func (a *app) directoryLap(ctx context.Context, o *agentOptions, path string, suspended bool) error {
	r := agent.Report{Started: time.Now()}
	var ended error
	if suspended || a.config.Mode == spec.ModeObserve {
		ended = a.plan(ctx, &planOptions{git: o.git, detailed: true, restarts: a.restarts(), planned: func(p nf.Plan) { r.Result.Plan = &p }}, []string{path})
	} else {
		ended = a.apply(ctx, &applyOptions{git: o.git, yes: true, restarts: a.restarts(), ran: func(receipt apply.Receipt, err error) { r.Result.Receipt, r.Err = receipt, err }}, []string{path})
	}
	if r.Result.Plan == nil && r.Result.Receipt.Kind == "" && r.Err == nil {
		r.Result.Missed = ended
	}
	a.publishOnce(ctx, path, r)
	return ended
}

// isSuspended reports whether nfsync suspend holds the agent now, and says so.
func (a *app) isSuspended() (bool, error) {
	if _, err := os.Stat(a.stateDir); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	dir, err := state.Look(a.stateDir)
	if err != nil {
		return false, nil //nolint:nilerr // the run says what cannot be opened
	}
	s, err := dir.Suspension()
	if err != nil || s == nil || s.Ended(time.Now()) {
		return false, err
	}
	a.say(slog.LevelWarn, fmt.Sprintf("%s has suspended the agent: %s: nothing is changed", s.By, s.Reason), "nfsync resume ends that, by way of a running agent")
	return true, nil
}

// leave returns why changes are not to be made, as the configuration says; nil if all are.
func (a *app) leave() func(nf.Change) string {
	if a.config.Drift.Heal {
		return nil
	}
	return agent.LeaveDrift
}

// restarts bounds the restarts of a lap as the configuration says.
func (a *app) restarts() apply.Restarts { return agent.Restarts(a.config.Restart, time.Now) }
