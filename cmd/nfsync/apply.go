package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/openfile"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
)

type applyOptions struct {
	git      gitOptions
	yes      bool
	lastGood bool
	narrow   narrowOptions
	confirm  time.Duration              // 0: the changes need no confirmation
	restarts apply.Restarts             // the agent's; by hand: one
	ran      func(apply.Receipt, error) // called after the run; may be nil
}

func applyCommand(a *app) *cobra.Command {
	var o applyOptions
	cmd := &cobra.Command{
		Use:   "apply PATH|PLAN | apply --git URL | apply --last-good",
		Short: "Make the changes, read them back, and say what became of each",
		Long: `Apply makes this node equal to the policies below PATH, or to those of a git
repository, or makes the changes of a saved plan (plan --out), if the node and
the policies still give that plan.

On a terminal it shows the plan and asks first; without a terminal it needs
--yes. Where a change fails, everything done to its target is undone; the other
targets are not touched by that. What is refused is left as it is.

With --confirm-within it takes its changes back after that time unless nfsync
confirm comes before, also if nfsync is killed or the node restarts. It says
until when, and ends at once. One-way and disruptive changes are left out: they
could not be taken back. Until then nothing else changes the node.`,
		Example: `  nfsync apply policies/
  nfsync apply policies/ --yes -o json
  nfsync apply today.plan
  nfsync apply --git https://git.example.com/policies.git --tag v1
  nfsync apply --last-good --yes
  nfsync apply policies/ --confirm-within 60s`,
		Args:              argCount(0, 1, ""),
		Annotations:       prints(view.Receipts),
		ValidArgsFunction: completeOne(completeFile), // a saved plan has any name
	}
	cmd.RunE = withContext(func(ctx context.Context, args []string) error {
		if err := checkConfirm(cmd.Flags().Changed("confirm-within"), o.confirm); err != nil {
			return err
		}
		if err := o.narrow.parse(); err != nil {
			return err
		}
		return a.apply(ctx, &o, args)
	})
	cmd.Flags().DurationVar(&o.confirm, "confirm-within", 0, "take the changes back after this `time`, 1s to 24h, unless nfsync confirm comes before")
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&o.lastGood, "last-good", false, "apply the last good revision that the agent has stored; no server is asked")
	o.git.register(cmd.Flags())
	o.narrow.register(cmd.Flags())
	a.emptyFlag(cmd.Flags())
	a.fullFlag(cmd.Flags())
	return cmd
}

func (a *app) apply(ctx context.Context, o *applyOptions, args []string) error {
	if o.lastGood {
		return a.applyLastGood(ctx, o, args)
	}
	path, err := a.where(&o.git, args)
	if err != nil {
		return err
	}
	if a.config.Fleet != nil && o.ran == nil {
		a.say(slog.LevelWarn, "this node belongs to a fleet (channel "+a.config.Fleet.Channel+"): apply does not ask whether its turn has come", "nfsync agent --once asks")
	}
	todo, err := a.order(ctx, &o.git, path)
	if err != nil {
		return err
	}
	if todo.reviewed != nil && o.narrow.isSet() {
		return errNarrowed
	}
	todo.filter = o.narrow.filter
	if !o.yes {
		if err := a.ask(ctx, &todo, o.restarts, a.applyLine(&o.git, path, false)); err != nil {
			return err
		}
	}
	in, endProgress, err := a.input(o.restarts)
	if err != nil {
		return err
	}
	in.Reviewed = todo.reviewed
	var ended func()
	in.Confirm, ended = a.confirmation(o.confirm)
	receipt, err := a.run(ctx, in, &o.git, &todo)
	ended()
	endProgress()
	if o.ran != nil {
		o.ran(receipt, err)
	}
	return a.applied(receipt, err)
}

// applyLastGood applies the last good revision, as a node that starts without a network needs it.
func (a *app) applyLastGood(ctx context.Context, o *applyOptions, args []string) error {
	if o.narrow.isSet() {
		return usageError{errors.New("--last-good applies a revision as a whole: leave out --target and --key")}
	}
	if words := append(args, o.git.words()...); len(words) > 0 {
		return usageError{fmt.Errorf("--last-good names the policies: %s names others", words[0])}
	}
	dir, err := state.Look(a.stateDir)
	if err != nil {
		return err
	}
	good, err := agent.LastGood(dir)
	switch {
	case err != nil:
		return err
	case good.Commit == "":
		return hinted{errors.New("there is no last good revision"), "nfsync agent --once fetches one"}
	}
	todo := policies{Policies: good.Policies, files: agent.SpecFiles(good.Revision), revision: good.Commit}
	if !o.yes {
		if err := a.ask(ctx, &todo, o.restarts, "nfsync apply --last-good --yes"); err != nil {
			return err
		}
	}
	in, endProgress, err := a.input(o.restarts)
	if err != nil {
		return err
	}
	in.Reviewed = todo.reviewed
	var ended func()
	in.Confirm, ended = a.confirmation(o.confirm)
	lap, done, err := a.lastGoodLap(in, &o.git)
	if err != nil {
		return err
	}
	defer done()
	res, err := agent.Lap(ctx, lap)
	ended()
	endProgress()
	return a.applied(res.Receipt, err)
}

// lastGoodLap returns the input of a lap that applies the last good revision. It is verified again if it
// was saved with a weaker mode of verification than the configured one. Call done when the lap has ended.
func (a *app) lastGoodLap(in apply.Input, o *gitOptions) (lap agent.In, done func(), err error) {
	lap = agent.In{Mode: agent.ConfiguredSource(a.config).Verify.Mode, Apply: in}
	if len(a.config.Source.URLs) == 0 {
		return lap, func() {}, nil
	}
	repo, done, err := a.repository(o)
	if err == nil {
		lap.Verify = verifier(repo, a.fetcher)
	}
	return lap, done, err
}

// input returns the input of a run that may make these restarts, and what ends the display
// of its progress.
func (a *app) input(restarts apply.Restarts) (in apply.Input, endProgress func(), err error) {
	dir, err := state.Open(a.stateDir)
	var refused error
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		err, refused = nil, err // what this user may not do, the refusals of the plan name
	}
	progress := a.progress()
	lock := apply.NewLock(a.runDir, a.stateDir)
	if a.cache == nil {
		a.cache = host.NewCache()
	}
	node := a.host()
	node.Inherit, node.Cache = lock.Files, a.cache
	return apply.Input{
		Machine: a.machine(node), State: dir, NoState: refused, Lock: lock, Restarts: restarts, Parallel: a.config.Apply.Parallel, Runtimes: a.runtimes,
		Progress: progress.event, Now: time.Now,
	}, progress.end, err
}

// run applies the policies. A revision of the configured source, or one from git where none
// is configured, becomes the last good one. After any other the agent's next lap brings its
// own back, and the receipt says so.
func (a *app) run(ctx context.Context, in apply.Input, o *gitOptions, p *policies) (apply.Receipt, error) {
	other := len(a.config.Source.URLs) > 0 && (p.git == nil || !o.IsConfigured())
	if p.git != nil && !other && p.filter.IsZero() {
		return agent.Enforce(ctx, in, *p.git)
	}
	in.Filter = p.filter
	in.Revision, in.Labels = p.revision, p.UseLabels
	in.Wants = func(listed *nf.Snapshot) nf.Wants {
		wants := p.Resolve(listed)
		if other {
			wants.Warnings = append(wants.Warnings, nf.Warning{Code: nf.WarnOtherSource, Target: nf.Node,
				Message: "these are not the policies of the source in " + a.configFile + ": the agent's next lap brings its own back"})
		}
		return wants
	}
	return apply.Run(ctx, in)
}

// applied writes the receipt, if there is one. An interrupted run returns a receipt and an
// error.
func (a *app) applied(receipt apply.Receipt, err error) error {
	if receipt.Kind == "" {
		return err
	}
	code := verdictCode(receipt.Verdict())
	shown := show(a, code, view.Receipts, receipt)
	if err != nil && code != exitStuck {
		return err
	}
	return errors.Join(err, shown)
}

// order reads policies, a saved plan or, if the path is empty, a revision from git.
func (a *app) order(ctx context.Context, o *gitOptions, path string) (policies, error) {
	info, err := os.Stat(path)
	if path == "" || openfile.IsStream(inputPath(path)) || err == nil && (info.IsDir() || nf.IsPolicyFile(path)) {
		return a.policies(ctx, o, path, false)
	}
	if err != nil {
		return policies{}, fmt.Errorf("cannot read policies or a plan: %w", err)
	}
	file, err := readPlan(path)
	if err != nil {
		return policies{}, fmt.Errorf("cannot read the plan: %w", err)
	}
	saved, diagnostics := spec.ParseSavedPlan(file)
	if len(diagnostics) > 0 {
		return policies{}, a.refuse(exitError, diagnostics, "the saved plan is not valid: nothing was applied")
	}
	if saved.Edited {
		return policies{}, fmt.Errorf("%w: %s was changed after it was saved", apply.ErrStale, path)
	}
	parsed, diagnostics := spec.Parse(saved.Files)
	if err := a.refuseInvalid(diagnostics); err != nil {
		return policies{}, err
	}
	return policies{Policies: parsed, revision: saved.Revision, reviewed: func(now nf.Plan) error { return compareSaved(saved, now) }}, nil
}

// readPlan reads a saved plan. What it says is applied: nobody else may be able to change it.
func readPlan(path string) (spec.File, error) {
	f, err := openfile.Regular(path)
	if err != nil {
		return spec.File{}, err
	}
	defer f.Close()
	if err := openfile.CheckOwner(f); err != nil {
		return spec.File{}, err
	}
	data, err := openfile.ReadAll(f, maxDocument)
	return spec.File{Name: path, Data: data}, err
}

// compareSaved returns an error if the plan that is made now is not the saved one.
func compareSaved(saved spec.SavedPlan, now nf.Plan) error {
	switch {
	case saved.Node != now.Node:
		return fmt.Errorf("the saved plan is of node %s, and this is node %s: nothing was applied", saved.Node, now.Node)
	case saved.ID != now.ID:
		return fmt.Errorf("%w: the node or the policies have changed since it was made", apply.ErrStale)
	case !saved.Shows(now):
		return fmt.Errorf("%w: it does not show what its policies change", apply.ErrStale)
	}
	return nil
}

// canAsk returns an error if nobody can be asked: there is no terminal, or there are lines that programs read.
// hint says what to do instead.
func (a *app) canAsk(hint string) error {
	_, in := terminal(a.stdin)
	_, out := terminal(a.stderr)
	switch {
	case !in || !out:
		return hinted{errors.New("not a terminal: use --yes"), hint}
	case a.logFormat == logJSON:
		return hinted{errors.New("no question is asked with --log-format json: use --yes"), hint}
	}
	return nil
}

// ask shows the plan on a terminal, if it has changes, and waits for a yes. Later only that plan can be applied.
func (a *app) ask(ctx context.Context, todo *policies, restarts apply.Restarts, again string) error {
	if err := a.canAsk("nfsync plan shows what would be changed"); err != nil {
		return err
	}
	plan, err := apply.Plan(ctx, apply.Question{Facts: a.facts(), Wants: todo.Resolve, Labels: todo.UseLabels, Revision: todo.revision, Restarts: restarts, Filter: todo.filter})
	if err != nil {
		return err
	}
	if todo.reviewed != nil {
		if err := todo.reviewed(plan); err != nil {
			return err
		}
	}
	todo.reviewed = func(now nf.Plan) error {
		if now.ID != plan.ID {
			return fmt.Errorf("%w: the node has changed since the plan was shown", apply.ErrStale)
		}
		return nil
	}
	if plan.Summary.Changes == 0 { // the receipt will say the same
		return nil
	}
	opt := a.viewOptions(a.stderr)
	opt.Apply = again
	if err := view.Plans.Write(a.stderr, view.FormatText, plan, opt); err != nil {
		return err
	}
	fmt.Fprint(a.stderr, "\n", question(plan))
	return a.answer(ctx)
}

// question names the containers that the plan restarts, and asks.
func question(p nf.Plan) string {
	var b strings.Builder
	for _, c := range p.Changes {
		if c.Key == nf.KeyRestart {
			fmt.Fprintf(&b, "This restarts %s: its services stop and start again.\n", view.Clean(c.Target.String()))
		}
	}
	changes := "this change"
	if n := p.Summary.Changes; n != 1 {
		changes = fmt.Sprintf("these %d changes", n)
	}
	return b.String() + "Make " + changes + view.RiskyCount(p.Changes) + " now? [y/N] "
}

var errNotConfirmed = errors.New("not confirmed: nothing was applied")

func (a *app) answer(ctx context.Context) error {
	read := make(chan string, 1)
	go func() { // reading a terminal cannot be cancelled; the process ends soon after
		line, _ := bufio.NewReader(io.LimitReader(a.stdin, 64)).ReadString('\n')
		read <- line
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.stderr)
		return errNotConfirmed
	case line := <-read:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		}
		return errNotConfirmed
	}
}
