package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/apply"
	"nfsync.dev/nfsync/internal/host"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/openfile"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/web"
)

// hookOptions are those of all hooks.
type hookOptions struct {
	timeout    time.Duration
	bestEffort bool
}

const (
	hookTimeout   = 5 * time.Second
	leastTimeout  = 100 * time.Millisecond
	mostTimeout   = time.Minute
	maxHookInput  = 1 << 20 // bytes of the standard input of a hook
	lockTick      = 20 * time.Millisecond
	bestEffortOut = ", or add --best-effort to its arguments"
)

func (o *hookOptions) register(f *pflag.FlagSet) {
	f.DurationVar(&o.timeout, "timeout", hookTimeout, "how long the start of a container waits at most, 100ms to 1m")
	f.BoolVar(&o.bestEffort, "best-effort", false, "let the container start whatever happens")
}

func (o *hookOptions) check() error {
	if o.timeout < leastTimeout || o.timeout > mostTimeout {
		return usageError{errors.New("--timeout must be at least 100ms and at most 1m")}
	}
	return nil
}

func hookCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hook",
		Short: "Set the values of a container before it starts",
		Long: `Container runtimes call these hooks when a container has its network namespace
and its program does not run yet. The running agent sets what the policies want
of the container. Without an agent the hook applies the last good revision to
that container.

A hook ends with 0 once the container is as wanted, or if nothing is to be done:
no policy selects it, it is in the network namespace of the node, there is no
last good revision, the mode is observe, or the agent is suspended. Otherwise it
ends with another code and says why, and the runtime does not start the
container. With --best-effort it always ends with 0.`,
		Example:           "  nfsync hook oci < state.json\n  nfsync hook lxc --timeout 2s",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeNothing,
		PersistentPreRunE: a.checkHook,
		RunE: func(*cobra.Command, []string) error {
			return usageError{errors.New("name a hook: oci, lxc")}
		},
	}
	cmd.AddCommand(hookOCICommand(a), hookLXCCommand(a))
	return cmd
}

// checkHook checks the flags of a hook. It reads no configuration: what is wrong there must not keep a
// container from starting that needs none.
func (a *app) checkHook(verb *cobra.Command, _ []string) error { return a.checkFlags(verb) }

func hookOCICommand(a *app) *cobra.Command {
	var o hookOptions
	cmd := &cobra.Command{
		Use:   "oci",
		Short: "Hook of OCI runtimes: Podman, and Docker by a wrapper",
		Long: `Oci reads the state of a container that an OCI runtime creates from standard
input, as the runtime passes it to a createRuntime hook, and sets the values of
the container. For rootless containers it does nothing: it cannot reach the
node from a user namespace.`,
		Example:           "  nfsync hook oci < state.json\n  nfsync hook oci --best-effort < state.json",
		Args:              argCount(0, 0, ""),
		ValidArgsFunction: completeNothing,
	}
	cmd.RunE = withContext(func(ctx context.Context, _ []string) error {
		const wayOut = "to start containers all the same, remove /usr/share/containers/oci/hooks.d/nfsync.json or the runtime that calls it" + bestEffortOut
		return a.hook(ctx, &o, wayOut, func(ctx context.Context) (nf.Given, error) {
			data, err := a.readInput(ctx)
			if err != nil {
				return nf.Given{}, fmt.Errorf("cannot read the state of the container: %w", err)
			}
			return parseOCIState(data)
		})
	})
	o.register(cmd.Flags())
	return cmd
}

func hookLXCCommand(a *app) *cobra.Command {
	var o hookOptions
	cmd := &cobra.Command{
		Use:   "lxc",
		Short: "Hook of LXC and Incus: lxc.hook.start-host",
		Long: `Lxc is called by LXC as lxc.hook.start-host (lxc.container.conf(5)), and sets
the values of the container that LXC_NAME and LXC_PID name. What else LXC passes
to it is not read. For containers of users it does nothing.`,
		Example:           "  nfsync hook lxc\n  nfsync hook lxc --best-effort",
		Args:              cobra.ArbitraryArgs, // NAME lxc start-host, with lxc.hook.version 0
		ValidArgsFunction: completeNothing,
	}
	cmd.RunE = withContext(func(ctx context.Context, args []string) error {
		const wayOut = "to start containers all the same, remove lxc.hook.start-host from their configuration" + bestEffortOut
		return a.hook(ctx, &o, wayOut, func(context.Context) (nf.Given, error) { return lxcContainer(a.getenv, args) })
	})
	o.register(cmd.Flags())
	return cmd
}

// parseOCIState returns the container of a state (State of runtime.md of opencontainers/runtime-spec).
func parseOCIState(data []byte) (nf.Given, error) {
	var s struct {
		ID     string `json:"id"`
		Status string `json:"status"`
		PID    int    `json:"pid"`
		Bundle string `json:"bundle"`
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return nf.Given{}, fmt.Errorf("the state of the container cannot be read: %w", err)
	}
	g := nf.Given{Runtimes: []string{nf.RuntimeDocker, nf.RuntimePodman}, ID: s.ID, PID: s.PID, Bundle: s.Bundle}
	switch {
	case s.ID == "":
		return g, errors.New("the state on standard input has no id of a container")
	case s.PID <= 0:
		return g, fmt.Errorf("container %s has no process (status %q): the hook is one of the stage createRuntime", s.ID, s.Status)
	}
	return g, nil
}

// lxcContainer returns the container that LXC names in the environment of a hook (run_script_argv in
// src/lxc/conf.c), or in its arguments before lxc.hook.version.
func lxcContainer(getenv func(string) string, args []string) (nf.Given, error) {
	name := getenv("LXC_NAME")
	if name == "" && len(args) > 0 {
		name = args[0]
	}
	g := nf.Given{Runtimes: []string{nf.RuntimeLXC, nf.RuntimeIncus}, ID: name}
	stage := getenv("LXC_HOOK_TYPE")
	if stage == "" && len(args) > 2 {
		stage = args[2]
	}
	pid, err := strconv.Atoi(getenv("LXC_PID"))
	switch {
	case name == "":
		return g, errors.New("LXC_NAME is not set: LXC calls this hook")
	case stage != "" && stage != "start-host":
		return g, fmt.Errorf("this is no hook for %s: it is one for lxc.hook.start-host", stage)
	case err != nil || pid <= 0:
		return g, errors.New("LXC_PID is not set: LXC sets it for lxc.hook.start-host")
	}
	g.PID = pid
	return g, nil
}

// hook sets the values of the container that given returns. wayOut says how containers start without that.
func (a *app) hook(ctx context.Context, o *hookOptions, wayOut string, given func(context.Context) (nf.Given, error)) error {
	if err := o.check(); err != nil {
		return err
	}
	if why := unreachable(); why != "" {
		a.say(slog.LevelInfo, why+": nothing is done", "")
		return nil
	}
	why := a.setBorn(ctx, o, given)
	switch {
	case why == nil:
		return nil
	case o.bestEffort:
		a.say(slog.LevelWarn, why.Error()+": it starts all the same", "")
		return nil
	}
	return hinted{why, wayOut}
}

// unreachable returns why the node cannot be reached from here; empty if it can. Rootless runtimes call hooks
// in a user namespace (user_namespaces(7)).
func unreachable() string {
	if os.Geteuid() != 0 {
		return "this hook is not run as root"
	}
	data, err := os.ReadFile("/proc/self/uid_map")
	if err == nil && !isWholeMap(string(data)) {
		return "this hook is run in a user namespace, as rootless containers have it"
	}
	return ""
}

// isWholeMap reports whether a uid_map is that of the first user namespace, which maps all users to
// themselves.
func isWholeMap(text string) bool {
	return strings.Join(strings.Fields(text), " ") == "0 0 4294967295"
}

// setBorn sets the values of the container that given returns. It says so if nothing is to be done.
func (a *app) setBorn(ctx context.Context, o *hookOptions, given func(context.Context) (nf.Given, error)) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	g, err := given(ctx)
	if err != nil {
		return err
	}
	b, err := a.birth(ctx, o.timeout, g)
	name := cmp.Or(b.Container, "container "+g.ID)
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%s does not have its values: there was no end of it within %s: %w", name, o.timeout, err)
	case err != nil:
		return fmt.Errorf("%s does not have its values: %w", name, err)
	case len(b.Problems) > 0:
		return fmt.Errorf("%s does not have its values: %s", name, strings.Join(b.Problems, "; "))
	case b.Nothing != "":
		a.say(slog.LevelInfo, name+": nothing is to be done: "+b.Nothing, "")
	}
	return nil
}

// birth gives a container to the running agent. If there is none, or if it does not answer within half of the
// time, as during a fetch, the last good revision is applied here.
func (a *app) birth(ctx context.Context, timeout time.Duration, g nf.Given) (nf.Birth, error) {
	half, cancel := context.WithTimeout(ctx, timeout/2)
	defer cancel()
	b, err := web.NewClient(a.runDir).Birth(half, g)
	if _, refused := errors.AsType[web.RefusedError](err); refused || err == nil && !b.NotReady {
		return b, err
	}
	return a.birthAlone(ctx, g)
}

// birthAlone applies the last good revision to a container.
func (a *app) birthAlone(ctx context.Context, g nf.Given) (nf.Birth, error) {
	if err := a.configure(true); err != nil {
		return nf.Birth{}, err
	}
	if nothing, err := a.whyIdle(); nothing != "" || err != nil {
		return nf.Birth{Nothing: nothing}, err
	}
	c, nothing, err := host.New(a.host()).Given(g)
	if err != nil || nothing != "" {
		return nf.Birth{Nothing: nothing}, err
	}
	in, endProgress, err := a.input(apply.Restarts{})
	if err != nil {
		return nf.Birth{}, err
	}
	defer endProgress()
	lap, done, err := a.lastGoodLap(in, &gitOptions{})
	if err != nil {
		return nf.Birth{}, err
	}
	defer done()
	tick := time.NewTicker(lockTick)
	defer tick.Stop()
	for {
		b, err := agent.BirthLap(ctx, lap, c)
		b.Container = c.Target().String()
		if !errors.Is(err, apply.ErrLocked) {
			return b, err
		}
		select {
		case <-ctx.Done():
			return b, err
		case <-tick.C:
		}
	}
}

// whyIdle returns why no agent of this node would change anything now; empty if one would.
func (a *app) whyIdle() (string, error) {
	if a.config.Mode == spec.ModeObserve {
		return "the mode is observe", nil
	}
	suspended, err := a.isSuspended()
	if err != nil || suspended {
		return "the agent is suspended", err
	}
	const none = "there is no last good revision"
	dir, err := state.Look(a.stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return "", err
	}
	good, err := agent.LastGood(dir)
	if err == nil && good.Commit == "" {
		return none, nil
	}
	return "", err
}

// readInput reads standard input to its end, of a bounded size, until ctx ends.
func (a *app) readInput(ctx context.Context) ([]byte, error) {
	type input struct {
		data []byte
		err  error
	}
	read := make(chan input, 1)
	go func() { // reading cannot be cancelled; the process ends soon after
		data, err := openfile.ReadAll(a.stdin, maxHookInput)
		read <- input{data, err}
	}()
	select {
	case in := <-read:
		if tooLarge, ok := errors.AsType[openfile.TooLargeError](in.err); ok {
			in.err = fmt.Errorf("standard input has more than %d bytes", int64(tooLarge))
		}
		return in.data, in.err
	case <-ctx.Done():
		return nil, fmt.Errorf("standard input has no end: %w", ctx.Err())
	}
}
