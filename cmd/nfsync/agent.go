package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/view"
)

type agentOptions struct {
	once bool
	git  gitOptions
}

func agentCommand(a *app) *cobra.Command {
	var o agentOptions
	cmd := &cobra.Command{
		Use:   "agent --once [PATH | --git URL]",
		Short: "Bring the newest good revision of a repository into force",
		Long: `Agent makes one lap and exits as apply does: it fetches the policies from git,
verifies the commit, checks the policies, and applies them without asking. With
a PATH it reads the policies from a directory, and has no last good revision.

If the new revision cannot be fetched or verified, if the branch was rewritten,
or if the policies are invalid, nfsync applies the last good revision, which it
keeps. The exit code is then 1, or 4 for invalid policies, unless applying ends
with 6.

Flags override the configuration file: --config, or
` + defaultConfig + ` if it exists.`,
		Example: `  nfsync agent --once
  nfsync agent --once --git https://git.example.com/policies.git --branch main
  nfsync agent --once policies/
  nfsync agent --once --accept 4b825dc642cb6eb9a060e54bf8d69288fbee4904`,
		Args:              argCount(0, 1, ""),
		Annotations:       prints(view.Receipts, view.Plans),
		ValidArgsFunction: completePath,
		RunE:              withContext(func(ctx context.Context, args []string) error { return a.agent(ctx, &o, args) }),
	}
	cmd.Flags().BoolVar(&o.once, "once", false, "make one lap and exit")
	o.git.register(cmd.Flags())
	a.emptyFlag(cmd.Flags())
	return cmd
}

var errNoLoop = hinted{errors.New("the loop is not supported: this version makes one lap at a time"),
	"run nfsync agent --once, from a timer for instance"}

// errNoHeal is the error for a configuration that leaves drifted values as they are.
var errNoHeal = hinted{errors.New("drift.heal: false is not supported: this version changes drifted values back"),
	"take it out of the configuration, or say mode: observe"}

func (a *app) agent(ctx context.Context, o *agentOptions, args []string) error {
	switch {
	case !o.once:
		return errNoLoop
	case !a.config.Drift.Heal && a.config.Mode != spec.ModeObserve:
		return errNoHeal
	}
	path, err := a.where(&o.git, args)
	if err != nil {
		return err
	}
	if path != "" {
		return a.directoryLap(ctx, o, path)
	}
	in, endProgress, err := a.input(a.restarts())
	if err != nil {
		return err
	}
	repo, done, err := a.repository(&o.git)
	if err != nil {
		return err
	}
	defer done()
	res, err := agent.Lap(ctx, agent.In{Fetch: a.fetcher(repo), Mode: repo.Verify.Mode, Verify: a.verifier(repo), AllowEmpty: a.mayBeEmpty(), Path: repo.Path, Accept: o.git.Accept, Observe: a.config.Mode == spec.ModeObserve, Apply: in})
	endProgress()
	return a.lapped(&o.git, res, err)
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
		opt := a.viewOptions(a.stdout)
		opt.Apply = a.applyLine(o, "", false)
		code := severest(append(codes, planCode(*res.Plan, false))...)
		return finish(code, view.Plans.Write(a.stdout, a.format, *res.Plan, opt))
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
func (a *app) directoryLap(ctx context.Context, o *agentOptions, path string) error {
	if a.config.Mode == spec.ModeObserve {
		return a.plan(ctx, &planOptions{git: o.git, restarts: a.restarts()}, []string{path})
	}
	return a.apply(ctx, &applyOptions{git: o.git, yes: true, restarts: a.restarts()}, []string{path})
}

// restarts bounds the restarts of a lap as the configuration says.
func (a *app) restarts() nf.Restarts { return agent.Restarts(a.config.Restart, time.Now()) }
