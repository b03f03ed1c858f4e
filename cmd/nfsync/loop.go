package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/durable"
	"nfsync.dev/nfsync/internal/host"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
	"nfsync.dev/nfsync/internal/watch"
	"nfsync.dev/nfsync/internal/web"
)

// loop is a running agent.
type loop struct {
	*app
	options *agentOptions
	path    string // of the policies, if they are in a directory
	agent   *agent.Agent
	said    map[string]bool
	started bool
	metrics *web.Metrics
	public  *web.Public
	health  source.Health // of the repository's URLs
	joined  *joined       // the node in its fleet; nil: in none
	joining *joined       // the same by the configuration that is being read
	asked   chan struct{} // receives when a lap should ask the fleet
	service service
	ready   func() // ends the patience of the start

	watching  context.Context // of all watchers and listeners
	watchers  map[agent.Cause]watcher
	listening listening
	unwritten string // why status.json could not be written; of Published alone
}

// watcher wakes laps when paths change.
type watcher struct {
	paths []watch.Path
	stop  context.CancelFunc
}

// runLoop makes laps until ctx ends.
func (a *app) runLoop(ctx context.Context, o *agentOptions, path string) error {
	hangup := make(chan os.Signal, 1) // from now on SIGHUP does not end the agent
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	release, err := web.LockAgent(a.runDir)
	if err != nil {
		return err
	}
	defer release()
	l := &loop{app: a, options: o, path: path, said: map[string]bool{}, watchers: map[agent.Cause]watcher{}, metrics: web.NewMetrics(buildInfo().Version), asked: make(chan struct{}, 1)}
	a.cache = host.NewCache()
	first, err := l.setup(a)
	if err != nil {
		return err
	}
	l.joined = l.joining
	defer func() { l.joined.leave(nil) }()
	l.agent = agent.New(agent.NewStatus(a.nodeName(), first.Source, first.Mode, nf.AgentInfo{Version: buildInfo().Version, PID: os.Getpid(), StartedAt: time.Now()}))
	l.agent.Configure = func() (s agent.Setup, err error) {
		if s = first; l.started {
			l.service.reads()
			s, err = l.reconfigure()
		}
		l.metrics.Configured(time.Now(), err)
		return s, err
	}
	l.agent.Ended = l.ended
	l.agent.TablesChanged = a.tablesChanged // another goroutine calls it
	l.agent.PublicationEnded = l.publication(a)
	l.agent.Published = func(s nf.NodeStatus) { l.published(a, s) }
	l.metrics.WatchTables(l.agent.Tables().Report)
	l.metrics.WatchFleet(l.agent.Fleet)
	l.agent.SaveSuspension = func(s *nf.Suspension) error {
		d, err := state.Open(a.stateDir)
		if err != nil {
			return err
		}
		return d.SaveSuspension(s)
	}
	l.agent.ConfirmRun = a.confirmRun
	fault := func(text string) { a.say(slog.LevelError, text, "") }
	l.public = &web.Public{Status: l.agent.Status, Metrics: l.metrics.Handler(), Page: a.statusPage(l.agent), Webhook: func() { l.agent.Wake(agent.WakeWebhook) }, Say: fault}
	l.public.UseSecret(l.config.WebhookSecretFile)
	l.public.Alive()
	l.service.alive = l.public.IsAlive
	var stop context.CancelFunc
	l.watching, stop = context.WithCancel(ctx)
	defer stop()
	if err := l.listen(l.config.Listen); err != nil {
		return err
	}
	l.watch(l.watching, hangup)
	go func() {
		if err := web.ServeSocket(l.watching, a.runDir, l.agent, fault); err != nil {
			a.say(slog.LevelError, err.Error(), "")
		}
	}()
	l.run(ctx)
	return nil
}

// run makes laps until ctx ends. The service manager is asked for patience during the first one,
// and during the one that is under way in the end.
func (l *loop) run(ctx context.Context) {
	starting, started := context.WithCancel(ctx)
	l.ready = started
	go l.service.extend(starting)
	life, ended := context.WithCancel(context.WithoutCancel(ctx))
	stopped := make(chan bool)
	context.AfterFunc(ctx, func() {
		defer close(stopped)
		l.service.stopping(life)
	})
	l.agent.AliveEvery = l.service.aliveEvery()
	l.agent.Run(ctx, l.alive)
	ended()
	<-stopped
	started()
}

// alive says that the loop, or a lap that makes changes, goes on.
func (l *loop) alive() {
	l.public.Alive()
	l.service.isAlive()
}

// nodeName returns the name of the node.
func (a *app) nodeName() string {
	kernel, _ := os.Hostname() // a node without a name is empty in the status
	return cmp.Or(a.node, kernel)
}

// setup returns what the configuration of an app says about laps.
func (l *loop) setup(a *app) (agent.Setup, error) {
	s := agent.Setup{
		Lap:   agent.In{AllowEmpty: a.mayBeEmpty(), Observe: a.config.Mode == spec.ModeObserve},
		Apply: func() (apply.Input, error) { return l.lapInput(a) }, Given: host.New(a.host()).Given, Tables: host.New(a.host()), Writers: host.New(a.host()).Writers,
		Mode: a.config.Mode, Source: l.path,
		Interval: a.config.Source.Interval, Drift: a.config.Drift.Interval, Window: a.config.Restart.Window,
	}
	if s.Publish = a.publishing(); s.Publish != nil {
		s.Publish.Push = l.timedPush
	}
	if l.path != "" {
		s.Directory = func() (spec.Policies, error) { return a.directoryPolicies(l.path) }
		return s, nil
	}
	repo, err := a.source(&l.options.git)
	if err != nil {
		return s, err
	}
	repo.Health = &l.health
	s.URLs, s.TryAll = func() []nf.SourceURL { return l.health.Status(repo.URLs) }, l.health.TryAll
	s.Source = nf.PublicURL(repo.URLs[0])
	s.Lap.Fetch, s.Lap.Mode, s.Lap.Path = l.lapFetcher(a)(repo), repo.Verify.Mode, repo.Path
	s.Lap.Verify = verifier(repo, l.lapFetcher(a))
	l.joining = nil
	if cfg, ok := a.memberConfig(); ok {
		var problem *agent.FleetError
		l.joining, problem = join(cfg, l.joined, l.askFleet)
		s.Fleet = a.membership(cfg, l.joining, problem, repo, l.lapFetcher(a))
	}
	return s, nil
}

// askFleet wakes a lap that asks the fleet.
func (l *loop) askFleet() {
	select {
	case l.asked <- struct{}{}:
	default:
	}
}

// lapInput returns the input of the run of a lap. Each of its changes is a sign of life, and no
// line of the log.
func (l *loop) lapInput(a *app) (apply.Input, error) {
	in, _, err := a.input(a.restarts())
	in.Leave = a.leave()
	in.Progress = func(apply.Event) { l.alive() }
	return in, err
}

// lapFetcher fetches for a lap, which shows nothing on a terminal. Each fetch asks anew where the
// clone can be: the state directory may have been made, or become writable, since the last one.
func (l *loop) lapFetcher(a *app) func(source.Config) agent.Fetcher {
	return func(repo source.Config) agent.Fetcher {
		return func(ctx context.Context, last []source.Position, accept string) (source.Revision, error) {
			dir, done, err := source.CloneDir(a.stateDir)
			if err != nil {
				return source.Revision{}, err
			}
			defer done()
			repo.Dir = dir
			began := time.Now()
			r, err := source.Fetch(ctx, repo, last, accept)
			l.metrics.Fetched(time.Since(began), err)
			return r, err
		}
	}
}

// directoryPolicies reads the policies of a directory. The error is an *agent.InvalidError if
// they are invalid.
func (a *app) directoryPolicies(path string) (spec.Policies, error) {
	read, err := spec.ReadDir(path)
	if err != nil {
		return nil, err
	}
	policies, diagnostics := parseRead(path, read, a.mayBeEmpty())
	if len(diagnostics) > 0 {
		return nil, &agent.InvalidError{Diagnostics: sortDiagnostics(diagnostics)}
	}
	return policies, nil
}

// reconfigure reads the configuration again, and uses what it says.
func (l *loop) reconfigure() (agent.Setup, error) {
	next := *l.app
	if err := l.readAgain(&next); err != nil {
		return agent.Setup{}, err
	}
	s, err := l.setup(&next)
	if err == nil {
		err = l.listen(next.config.Listen)
	}
	if err != nil {
		l.joining.leave(l.joined)
		return agent.Setup{}, &agent.ConfigError{Err: err}
	}
	l.joined.leave(l.joining)
	l.joined = l.joining
	l.app = &next
	l.public.UseSecret(next.config.WebhookSecretFile)
	if err := l.watchAll(); err != nil {
		l.say(slog.LevelWarn, err.Error(), "")
	}
	return s, nil
}

// readAgain reads the configuration file again, if there is one. The flags still override it.
func (l *loop) readAgain(next *app) error {
	if next.configFile == noConfig {
		return nil
	}
	config, diagnostics, err := loadConfig(next.configFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !next.configRead:
		return nil // there was none
	case err != nil:
		return &agent.ConfigError{Err: err}
	case len(diagnostics) > 0:
		return &agent.ConfigError{Diagnostics: diagnostics}
	}
	next.options = l.given
	next.labels = maps.Clone(l.given.labels)
	if err := next.takeConfig(config); err != nil {
		return &agent.ConfigError{Err: err}
	}
	return nil
}

// watch starts to wake laps. Where something cannot be watched, laps are made in their intervals all
// the same.
func (l *loop) watch(ctx context.Context, hangup <-chan os.Signal) {
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangup:
				l.service.hangUp()
				l.agent.Wake(agent.WakeConfig)
				l.agent.Wake(agent.WakeSync)
			}
		}
	}()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-l.asked:
				l.agent.Wake(agent.WakeFleet)
			}
		}
	}()
	a := l.app // another one after the configuration has changed
	go func() {
		if err := watch.Modules(ctx, func(string) { l.agent.Wake(agent.WakeModule) }); err != nil {
			a.say(slog.LevelWarn, err.Error(), "")
		}
	}()
	if err := errors.Join(l.watchAll(), l.watchConfirmation(ctx)); err != nil {
		l.say(slog.LevelWarn, "changes are found in the intervals of laps only: "+err.Error(), "")
	}
}

// watchConfirmation wakes laps when changes begin to wait for a confirmation, and when that is
// decided, until ctx ends. What else happens on the way to the file wakes none.
func (l *loop) watchConfirmation(ctx context.Context) error {
	file := state.ConfirmationFile(l.stateDir)
	files, err := watch.NewFiles(watch.Path{Name: file})
	if err != nil {
		return err
	}
	last, _ := os.Stat(file) // nil: there is none
	go files.Run(ctx, func() {
		now, err := os.Stat(file)
		if err == nil && (last == nil || !os.SameFile(last, now) || !now.ModTime().Equal(last.ModTime())) {
			l.agent.Wake(agent.WakeConfirm)
		}
		last = now
	})
	return nil
}

// watchAll watches what the configuration names.
func (l *loop) watchAll() error {
	return errors.Join(l.watchFiles(agent.WakeConfig, l.configPaths()), l.watchFiles(agent.WakeFiles, l.policyPaths()), l.watchFiles(agent.WakeContainer, l.containerPaths()))
}

// watchFiles wakes laps when paths change, in place of those that were watched for that cause.
func (l *loop) watchFiles(cause agent.Cause, paths []watch.Path) error {
	was, watched := l.watchers[cause]
	if watched && slices.EqualFunc(was.paths, paths, watch.Path.Same) {
		return nil
	}
	files, err := watch.NewFiles(slices.Clone(paths)...)
	if err != nil {
		return err
	}
	if watched {
		was.stop()
	}
	ctx, stop := context.WithCancel(l.watching)
	l.watchers[cause] = watcher{paths, stop}
	go files.Run(ctx, func() { l.agent.Wake(cause) })
	return nil
}

func (l *loop) policyPaths() []watch.Path {
	if l.path == "" {
		return nil
	}
	return []watch.Path{{Name: l.path, Deep: true}}
}

// configPaths are the configuration file and the files that it names.
func (l *loop) configPaths() []watch.Path {
	if l.configFile == noConfig {
		return nil
	}
	names := slices.Concat([]string{l.configFile}, authFiles(l.config.Source.Auth), l.config.Verify.Keyrings, l.config.Verify.AllowedSigners)
	if p := l.config.Publish; p != nil {
		names = append(names, authFiles(p.Auth)...)
	}
	if f := l.config.Fleet; f != nil {
		names = append(names, f.CredentialsFile, f.CAFile)
	}
	var paths []watch.Path
	for _, name := range names {
		if name != "" {
			paths = append(paths, watch.Path{Name: name})
		}
	}
	return paths
}

// authFiles are the files of keys and secrets that a repository is reached with; those that are not given are
// empty.
func authFiles(a spec.GitAuth) []string {
	return []string{a.SSHKeyFile, a.KnownHostsFile, a.PasswordFile, a.TokenFile, a.CAFile, a.ClientCertFile, a.ClientKeyFile}
}

// containerPaths are the directories where containers appear and vanish.
func (l *loop) containerPaths() []watch.Path {
	paths := l.runtimePaths()
	for _, runtime := range l.runtimes {
		switch runtime {
		case nf.RuntimeNetns:
			paths = append(paths, watch.Path{Name: l.netnsDir, Born: func(name string) {
				l.agent.WakeBirth(nf.Container{Runtime: nf.RuntimeNetns, ID: name})
			}})
		case nf.RuntimeVZ:
			for _, dir := range []string{"etc/vz/conf", "var/run/ve", "sys/fs/cgroup/ve"} {
				paths = append(paths, watch.Path{Name: filepath.Join(l.vzRoot, dir)})
			}
		}
	}
	return paths
}

// ended reports a lap.
func (l *loop) ended(s nf.NodeStatus, r agent.Report) {
	l.service.lapEnded(!l.started, s)
	l.started = true
	l.ready()
	if len(r.Trip.Born) == 0 {
		// Runtimes make directories with time. If new ones cannot be watched, laps are made in their intervals.
		_ = l.watchFiles(agent.WakeContainer, l.containerPaths())
	}
	l.metrics.Observe(s, r)
	l.sayLap(s, r)
}

// published shows a new status. a is the app at the start: that of the loop is the laps' alone.
func (l *loop) published(a *app, s nf.NodeStatus) {
	l.service.status(s)
	l.metrics.Conditions(s)
	problem := ""
	if err := a.writeStatus(s); err != nil {
		problem = err.Error()
	}
	if problem != "" && problem != l.unwritten {
		a.say(slog.LevelWarn, problem, "")
	}
	l.unwritten = problem
}

// writeStatus replaces status.json in the run directory.
func (a *app) writeStatus(s nf.NodeStatus) error {
	text, err := view.StatusFile(s)
	if err == nil {
		err = durable.Writer{}.Replace(filepath.Join(a.runDir, "status.json"), text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("cannot write the status: %w", err)
	}
	return nil
}

// sayLap writes what a lap has done: a line for one that did something, and each problem when it
// comes and when it goes.
func (l *loop) sayLap(s nf.NodeStatus, r agent.Report) {
	now := map[string]bool{}
	say := func(level slog.Level, text string) {
		now[text] = true
		if !l.said[text] {
			l.say(level, text, "")
		}
	}
	for _, w := range slices.Concat(r.Result.Revision.Warnings, s.Errors) {
		say(slog.LevelWarn, w)
	}
	if s.LastLap.Error != "" && !r.Stopped {
		say(slog.LevelError, s.LastLap.Error)
	}
	if back := cmp.Or(r.Result.TakenBack.TakenBack, r.Result.Receipt.TakenBack); back != "" {
		say(slog.LevelWarn, "the changes of run "+back+" were taken back: it was not confirmed")
	}
	for _, x := range s.Stuck {
		say(slog.LevelError, fmt.Sprintf("%s %s could be neither made nor undone: %s", x.Target, x.Key, x.Why))
	}
	for _, x := range s.Refusals {
		say(slog.LevelWarn, fmt.Sprintf("%s %s is refused: %s (%s)", x.Target, x.Key, x.Reason, x.Code))
	}
	for _, x := range s.Fights {
		say(slog.LevelWarn, fmt.Sprintf("%s %s was changed back %d times within an hour: it is left as something else sets it", x.Target, x.Key, x.Flips))
	}
	for _, result := range r.Result.Receipt.Results {
		if result.Outcome == apply.Failed {
			say(slog.LevelError, fmt.Sprintf("%s %s could not be changed: %s", result.Target, result.Key, result.Error))
		}
	}
	l.said = now
	l.saySummary(s, r)
}

// saySummary writes a line for a lap that has made or tried changes.
func (l *loop) saySummary(s nf.NodeStatus, r agent.Report) {
	receipt := r.Result.Receipt
	sum := receipt.Summary
	if sum.Applied+sum.Failed+sum.Undone+sum.Stuck+sum.Kept+len(receipt.Recovered) == 0 {
		return
	}
	revision, failed := l.path, sum.Failed+sum.Kept+sum.Stuck
	if s.Revision != nil {
		revision = cmp.Or(s.Revision.Commit, l.path)
	}
	l.sayWith(slog.LevelInfo, fmt.Sprintf("policies of %s: %d applied, %d failed, %d refused, %d pending, %d in sync; receipt %s", revision,
		sum.Applied, failed, sum.Refusals, sum.Pending, sum.InSync, receipt.ID),
		slog.String("revision", revision), slog.Any("causes", s.LastLap.Causes), slog.String("result", string(s.LastLap.Result)), slog.Int("applied", sum.Applied), slog.Int("failed", failed),
		slog.Int("refused", sum.Refusals), slog.Int("pending", sum.Pending), slog.Int("inSync", sum.InSync), slog.Float64("seconds", r.Finished.Sub(r.Started).Seconds()), slog.String("receipt", receipt.ID))
}
