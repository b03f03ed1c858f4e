package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/view"
)

// command is the root of the verbs.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "nfsync-coordinator",
		Short: "Roll policies out to a fleet of nodes",
		Long: `nfsync-coordinator rolls the policies of a git repository out to a fleet, step
by step, and hands out the credentials of the nodes, readers and operators. The
state of the fleet is in NATS JetStream: a server that it runs itself, or
servers of your own.

Results go to standard output, everything else to standard error. The exit code
is 0, or 1 if something could not be done.`,
		Example: `  nfsync-coordinator serve --git https://git.example.com/policies.git \
    --branch main
  nfsync-coordinator init
  nfsync-coordinator enroll hn-1 --out hn-1.creds
  nfsync-coordinator list`,
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		SilenceUsage:               true,
		Args:                       unknownVerb,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.configGiven = cmd.Flags().Changed("config")
			if a.logFormat != logText && a.logFormat != logJSON {
				return usageError{fmt.Errorf("unknown format of messages %q: must be %s or %s", a.logFormat, logText, logJSON)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(a.stderr) // nobody has asked for help: it is no result
			return errors.Join(cmd.Help(), usageError{errors.New("name a command")})
		},
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	// Help texts are 80 columns wide.
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80"))
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().StringVar(&a.configFile, "config", defaultConfig, "configuration `file`, or none; the default one may be missing")
	root.PersistentFlags().StringVar(&a.dir, "dir", "", "`directory` of the keys and the store (default: that of the configuration)")
	root.PersistentFlags().StringVar(&a.logFormat, "log-format", logText, "`format` of messages on stderr: text, json")
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(serveCommand(a), initCommand(a), enrollCommand(a), revokeCommand(a), retireCommand(a), listCommand(a), versionCommand(a), manCommand(a))
	root.InitDefaultCompletionCmd()
	if c, _, err := root.Find([]string{"completion"}); err == nil {
		c.Example = "  nfsync-coordinator completion bash > /etc/bash_completion.d/nfsync-coordinator"
	}
	return root
}

// unknownVerb is a usage error where anything follows that is no verb.
func unknownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown command %q", args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err = fmt.Errorf("%w: did you mean %s?", err, strings.Join(near, " or "))
	}
	return usageError{err}
}

// oneArgument returns a usage error unless there is one argument, that what names.
func oneArgument(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return usageError{errors.New("name " + what)}
		case len(args) > 1:
			return usageError{fmt.Errorf("unexpected argument %q", args[1])}
		}
		return nil
	}
}

// noArguments returns a usage error if there are arguments.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}

// printed adds -o to a verb that prints a document.
func (a *app) printed(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVarP(&a.format, "output", "o", view.FormatText, "`format` of the output: "+strings.Join(view.Formats(), ", "))
	return cmd
}

// show writes a document to standard output.
func show[T any](a *app, kind view.Kind[T], document T) error {
	for _, f := range kind.Formats() {
		if f == a.format {
			return kind.Write(a.stdout, a.format, document, view.Options{})
		}
	}
	return usageError{fmt.Errorf("unknown output format %q: must be one of %s", a.format, strings.Join(kind.Formats(), ", "))}
}
