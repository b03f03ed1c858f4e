package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

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

	watching context.Context    // of all watchers
	unwatch  context.CancelFunc // ends the watcher of the configuration
}

// runLoop makes laps until ctx ends.
func (a *app) runLoop(ctx context.Context, o *agentOptions, path string) error {
	release, err := web.LockAgent(a.runDir)
	if err != nil {
		return err
	}
	defer release()
	l := &loop{app: a, options: o, path: path, said: map[string]bool{}}
	first, err := l.setup(a)
	if err != nil {
		return err
	}
	l.agent = agent.New(agent.NewStatus(a.nodeName(), first.Source, first.Mode, nf.AgentInfo{Version: buildInfo().Version, PID: os.Getpid(), StartedAt: time.Now()}))
	l.agent.Configure = func() (agent.Setup, error) {
		if !l.started {
			return first, nil
		}
		return l.reconfigure()
	}
	l.agent.Ended = l.ended
	l.agent.TablesChanged = l.app.tablesChanged // the app of the start: another goroutine calls it
	l.agent.SaveSuspension = func(s *nf.Suspension) error {
		d, err := state.Open(a.stateDir)
		if err != nil {
			return err
		}
		return d.SaveSuspension(s)
	}
	l.agent.ConfirmRun = a.confirmRun
	watching, stop := context.WithCancel(ctx)
	defer stop()
	if err := l.listen(watching); err != nil {
		return err
	}
	if err := l.watch(watching); err != nil {
		return err
	}
	go func() {
		if err := web.ServeSocket(watching, a.runDir, l.agent); err != nil {
			a.say(slog.LevelError, err.Error(), "")
		}
	}()
	l.agent.Run(ctx, func() {
		l.public.Alive()
		_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
	})
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
	return nil
}

// listen answers HTTP on the listen address until ctx ends.
func (l *loop) listen(ctx context.Context) error {
	l.metrics = web.NewMetrics(buildInfo().Version)
	l.metrics.WatchTables(l.agent.Tables().Report)
	l.public = &web.Public{Status: l.agent.Status, Metrics: l.metrics.Handler(), Webhook: func() { l.agent.Wake(agent.WakeWebhook) }, SecretFile: l.config.WebhookSecretFile}
	l.public.Alive()
	if l.config.Listen == spec.ListenNone {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.config.Listen)
	if err != nil {
		return hinted{fmt.Errorf("cannot listen on %s: %w", l.config.Listen, err), "name another address in the configuration: listen"}
	}
	a := l.app // another one after the configuration has changed
	go func() {
		if err := l.public.Serve(ctx, listener); err != nil {
			a.say(slog.LevelError, err.Error(), "")
		}
	}()
	return nil
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
		Apply: a.lapInput, Tables: host.New(a.host()), Writers: host.New(a.host()).Writers,
		Mode: a.config.Mode, Source: l.path,
		Interval: a.config.Source.Interval, Drift: a.config.Drift.Interval, Window: a.config.Restart.Window,
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
	s.Lap.Fetch, s.Lap.Mode, s.Lap.Path = a.lapFetcher(repo), repo.Verify.Mode, repo.Path
	s.Lap.Verify = verifier(repo, a.lapFetcher)
	return s, nil
}

// lapInput returns the input of the run of a lap.
func (a *app) lapInput() (apply.Input, error) {
	in, _, err := a.input(a.restarts())
	in.Leave = a.leave()
	return in, err
}

// lapFetcher fetches for a lap, which shows nothing on a terminal. Each fetch asks anew where the
// clone can be: the state directory may have been made, or become writable, since the last one.
func (a *app) lapFetcher(repo source.Config) agent.Fetcher {
	return func(ctx context.Context, last []source.Position, accept string) (source.Revision, error) {
		dir, done, err := source.CloneDir(a.stateDir)
		if err != nil {
			return source.Revision{}, err
		}
		defer done()
		repo.Dir = dir
		return source.Fetch(ctx, repo, last, accept)
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

// reconfigure reads the configuration file again. The flags still override it.
func (l *loop) reconfigure() (agent.Setup, error) {
	next := *l.app
	next.options = l.given
	next.labels = maps.Clone(l.given.labels)
	if next.configFile == noConfig {
		return l.setup(l.app)
	}
	config, diagnostics, err := loadConfig(next.configFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !l.configRead && !l.flags.Changed("config"):
		return l.setup(l.app) // there never was one, and nobody has named one
	case err != nil:
		return agent.Setup{}, &agent.ConfigError{Err: err}
	case len(diagnostics) > 0:
		return agent.Setup{}, &agent.ConfigError{Diagnostics: diagnostics}
	}
	if err := next.takeConfig(config); err != nil {
		return agent.Setup{}, &agent.ConfigError{Err: err}
	}
	s, err := l.setup(&next)
	if err != nil {
		return agent.Setup{}, &agent.ConfigError{Err: err}
	}
	was := l.configPaths()
	l.app = &next
	if paths := l.configPaths(); !slices.EqualFunc(was, paths, watch.Path.Same) {
		l.watchConfig(paths)
	}
	return s, nil
}

// watch starts to wake laps.
func (l *loop) watch(ctx context.Context) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-ctx.Done():
				signal.Stop(hangup)
				return
			case <-hangup:
				l.agent.Wake(agent.WakeConfig)
				l.agent.Wake(agent.WakeSync)
			}
		}
	}()
	a := l.app // another one after the configuration has changed
	go func() {
		if err := watch.Modules(ctx, func(string) { l.agent.Wake(agent.WakeModule) }); err != nil {
			a.say(slog.LevelWarn, err.Error(), "")
		}
	}()
	l.watching = ctx
	l.watchConfig(l.configPaths())
	return errors.Join(l.watchFiles(ctx, agent.WakeFiles, l.policyPaths()), l.watchFiles(ctx, agent.WakeContainer, l.containerPaths()), l.watchConfirmation(ctx))
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

// watchFiles wakes laps when paths change, until ctx ends.
func (l *loop) watchFiles(ctx context.Context, cause agent.Cause, paths []watch.Path) error {
	files, err := watch.NewFiles(paths...)
	if err == nil {
		go files.Run(ctx, func() { l.agent.Wake(cause) })
	}
	return err
}

// watchConfig watches the configuration and the files that it names, in place of those of
// before.
func (l *loop) watchConfig(paths []watch.Path) {
	if l.unwatch != nil {
		l.unwatch()
	}
	var ctx context.Context
	ctx, l.unwatch = context.WithCancel(l.watching)
	if err := l.watchFiles(ctx, agent.WakeConfig, paths); err != nil {
		l.say(slog.LevelWarn, err.Error(), "")
	}
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
	auth := l.config.Source.Auth
	names := slices.Concat([]string{l.configFile, auth.SSHKeyFile, auth.KnownHostsFile, auth.PasswordFile, auth.TokenFile, auth.CAFile, auth.ClientCertFile, auth.ClientKeyFile},
		l.config.Verify.Keyrings, l.config.Verify.AllowedSigners)
	var paths []watch.Path
	for _, name := range names {
		if name != "" {
			paths = append(paths, watch.Path{Name: name})
		}
	}
	return paths
}

// containerPaths are the directories where containers appear and vanish.
func (l *loop) containerPaths() []watch.Path {
	paths := []watch.Path{}
	for _, runtime := range l.runtimes {
		switch runtime {
		case nf.RuntimeNetns:
			paths = append(paths, watch.Path{Name: l.netnsDir, Born: l.agent.WakeBirth})
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
	if !l.started {
		l.started = true
		_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	}
	_, _ = daemon.SdNotify(false, "STATUS="+oneLine(s.Condition(nf.Ready).Message))
	l.metrics.Observe(s, r)
	l.sayLap(s, r)
	if err := l.writeStatus(s); err != nil {
		l.sayOnce(slog.LevelWarn, err.Error())
	}
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
	if sum := r.Result.Receipt.Summary; sum.Applied+sum.Failed+sum.Undone+sum.Stuck+sum.Kept > 0 {
		l.say(slog.LevelInfo, fmt.Sprintf("policies of %s: %d applied, %d failed, %d refused, %d pending, %d in sync; receipt %s", cmp.Or(s.Revision.Commit, l.path),
			sum.Applied, sum.Failed+sum.Kept+sum.Stuck, sum.Refusals, sum.Pending, sum.InSync, r.Result.Receipt.ID), "")
	}
}

// sayOnce writes a message that was not written before.
func (l *loop) sayOnce(level slog.Level, text string) {
	if !l.said[text] {
		l.said[text] = true
		l.say(level, text, "")
	}
}
