package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/view"
	"nfsync.dev/nfsync/internal/web"
)

func statusCommand(a *app) *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the agent does and has found",
		Long: `Status shows what is in force since when, what the last lap has done, and what
waits: refusals with their remedies, values that wait for a restart, and
conditions. With --watch it goes on until Ctrl-C: after each lap, when a lap
takes longer than a second, and when the agent is suspended or resumed. On a
terminal it shows the status in place, else a line each time.`,
		Example:           "  nfsync status\n  nfsync status --watch\n  nfsync status -o json",
		Args:              argCount(0, 0, ""),
		Annotations:       prints(view.NodeStatuses),
		ValidArgsFunction: completeNothing,
		RunE: withContext(func(ctx context.Context, _ []string) error {
			if watch {
				return a.watchStatus(ctx)
			}
			s, err := web.NewClient(a.runDir).Status(ctx)
			if err != nil {
				return noAgent(err)
			}
			return show(a, exitOK, view.NodeStatuses, s)
		}),
	}
	a.fullFlag(cmd.Flags())
	cmd.Flags().BoolVar(&watch, "watch", false, "show each new status")
	return cmd
}

// statusAsked shows the status after a request to the agent, if -o asks for it. Without it the message
// about the request is all.
func (a *app) statusAsked(ctx context.Context) error {
	if len(a.outputs) == 0 {
		return nil
	}
	s, err := web.NewClient(a.runDir).Status(ctx)
	if err != nil {
		return noAgent(err)
	}
	return show(a, exitOK, view.NodeStatuses, s)
}

// noAgent adds to an error of the client what to do.
func noAgent(err error) error {
	if errors.Is(err, web.ErrNoAgent) {
		return hinted{err, "start it with nfsync agent, or name its --run-dir; without it nothing is changed but by hand, and nfsync plan shows the state of the node"}
	}
	return err
}

// watchStatus shows the status after each lap.
func (a *app) watchStatus(ctx context.Context) error {
	_, isTerminal := terminal(a.stdout)
	err := web.NewClient(a.runDir).Watch(ctx, func(s nf.NodeStatus) error {
		if a.format != view.FormatText || len(a.files) > 0 {
			return writeResult(a, view.NodeStatuses, s)
		}
		if !isTerminal {
			_, err := io.WriteString(a.stdout, view.StatusLine(s))
			return err
		}
		var page strings.Builder
		if err := view.NodeStatuses.Write(&page, view.FormatText, s, a.viewOptions(a.stdout)); err != nil {
			return err
		}
		_, err := io.WriteString(a.stdout, "\x1b[H\x1b[2J"+page.String())
		return err
	})
	switch {
	case errors.Is(err, web.ErrAgentEnded):
		return hinted{err, "nfsync status --watch shows the next one; systemctl status nfsync says why this one has ended, if systemd runs it"}
	case errors.Is(err, syscall.EPIPE):
		return nil // the reader has seen enough
	}
	return noAgent(err)
}

func syncCommand(a *app) *cobra.Command {
	var accept string
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Make the agent fetch and apply now",
		Long: `Sync wakes the agent: it fetches the policies and applies them. It does not wait
for the end of the lap; nfsync status --watch shows it. With -o it prints the
status that the agent has then.`,
		Example:           "  nfsync sync\n  nfsync sync --accept 4b825dc642cb6eb9a060e54bf8d69288fbee4904",
		Args:              argCount(0, 0, ""),
		Annotations:       prints(view.NodeStatuses),
		ValidArgsFunction: completeNothing,
		RunE: withContext(func(ctx context.Context, _ []string) error {
			answer, err := web.NewClient(a.runDir).Sync(ctx, accept)
			if err != nil {
				return noAgent(err)
			}
			a.say(slog.LevelInfo, synced(answer), "")
			return a.statusAsked(ctx)
		}),
	}
	cmd.Flags().StringVar(&accept, "accept", "", "take this commit, by its full `hash`, where the branch was rewritten")
	return cmd
}

// synced says what a sync has led to.
func synced(a web.SyncAnswer) string {
	text := "the agent fetches and applies now"
	if l := a.CurrentLap; l != nil {
		text = fmt.Sprintf("the agent fetches and applies after the lap that runs since %s", l.StartedAt.UTC().Format(time.TimeOnly)+" UTC")
	}
	if a.Suspension != nil {
		text = strings.ReplaceAll(text, "applies", "plans") + "; it is suspended and makes no changes"
	}
	return text
}

// until says how long a suspension holds.
func until(s nf.Suspension) string {
	if s.Until == nil {
		return "until nfsync resume"
	}
	return "until " + s.Until.UTC().Format(time.DateTime) + " UTC"
}

func suspendCommand(a *app) *cobra.Command {
	var reason string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "suspend --reason TEXT",
		Short: "Keep the agent from making changes",
		Long: `Suspend keeps the agent from making changes, also after a restart of the agent
or of the node. It goes on to fetch, to plan and to report. An apply by hand is
not suspended. The suspension ends with nfsync resume, or after --for. With -o
it prints the status of the agent.`,
		Example:           "  nfsync suspend --for 2h --reason 'moving containers'\n  nfsync suspend --reason 'incident 4711'",
		Args:              argCount(0, 0, ""),
		Annotations:       prints(view.NodeStatuses),
		ValidArgsFunction: completeNothing,
		RunE: withContext(func(ctx context.Context, _ []string) error {
			switch {
			case strings.TrimSpace(reason) == "":
				return usageError{errors.New("--reason is required: others will want to know")}
			case wait != 0 && (wait < time.Second || wait%time.Second != 0):
				return usageError{errors.New("--for must be whole seconds, and at least one")}
			}
			s, err := web.NewClient(a.runDir).Suspend(ctx, reason, wait)
			if err != nil {
				return noAgent(err)
			}
			a.say(slog.LevelInfo, "the agent makes no changes "+until(s), "nfsync resume lets it make them again")
			return a.statusAsked(ctx)
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, a `text` that nfsync status shows")
	cmd.Flags().DurationVar(&wait, "for", 0, "how long (default: until nfsync resume)")
	return cmd
}

func resumeCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "resume",
		Short:             "Let a suspended agent make changes again",
		Long:              "Resume lets a suspended agent make changes again. With -o it prints the status\nof the agent.",
		Example:           "  nfsync resume",
		Args:              argCount(0, 0, ""),
		Annotations:       prints(view.NodeStatuses),
		ValidArgsFunction: completeNothing,
		RunE: withContext(func(ctx context.Context, _ []string) error {
			s, err := web.NewClient(a.runDir).Resume(ctx)
			switch {
			case err != nil:
				return noAgent(err)
			case s == nil:
				a.say(slog.LevelInfo, "the agent was not suspended", "")
			default:
				a.say(slog.LevelInfo, fmt.Sprintf("the agent makes changes again; it was suspended by %s: %s", s.By, s.Reason), "")
			}
			return a.statusAsked(ctx)
		}),
	}
}
