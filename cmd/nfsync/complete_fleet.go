package main

import (
	"context"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/overview"
)

// fleetOf reads the fleet that a command line names, for a shell that waits. It is false if that is not possible.
func (a *app) fleetOf(verb *cobra.Command) (f overview.Fleet, ok bool) {
	ctx, cancel := context.WithTimeout(verb.Context(), completeWait)
	defer cancel()
	var o fleetAccess
	flags := verb.Flags()
	o.servers, _ = flags.GetStringArray("servers") // a verb without the flags names no fleet
	for name, value := range map[string]*string{"credentials": &o.credentials, "ca-file": &o.caFile, "channel": &o.channel, "coordinator-key": &o.coordinatorKey, "name": &o.name} {
		*value, _ = flags.GetString(name)
	}
	err := a.silently(func(quiet *app) error {
		return quiet.withFleet(ctx, &o, func(l *fleetLink) (err error) {
			f, err = l.read(ctx)
			return err
		})
	})
	return f, err == nil
}

// completeFromFleet completes with words that the fleet knows. It is the only completion that asks a server: nothing on this
// machine has the names.
func (a *app) completeFromFleet(words func(overview.Fleet) map[string]string) completer {
	return func(verb *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		f, ok := a.fleetOf(verb)
		if !ok {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return printable(described(words(f))), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFleetNode completes with the nodes of the fleet.
func (a *app) completeFleetNode(verb *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	return a.completeFromFleet(func(f overview.Fleet) map[string]string {
		list := map[string]string{}
		for _, n := range f.Nodes {
			list[n.Node] = n.Message
		}
		return list
	})(verb, args, typed)
}

// completeFleetGroup completes with the groups of the roll-out.
func (a *app) completeFleetGroup(verb *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	return a.completeFromFleet(func(f overview.Fleet) map[string]string {
		list := map[string]string{}
		if f.Document != nil {
			for _, g := range f.Document.Groups {
				list[g.Name] = ""
			}
		}
		return list
	})(verb, args, typed)
}

// completeFleetRevision completes with the revisions of the roll-out and of the nodes.
func (a *app) completeFleetRevision(verb *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	return a.completeFromFleet(revisionsOf)(verb, args, typed)
}

// completeConfigured completes with what the configuration of the agent says of its fleet.
func (a *app) completeConfigured(of func() []string) completer {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		if a.silently(func(quiet *app) error { return quiet.configure(true) }) != nil || a.config.Fleet == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return printable(of()), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeChannel completes with the default channel and that of the configuration.
func (a *app) completeChannel(verb *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	list, directive := a.completeConfigured(func() []string { return []string{a.config.Fleet.Channel} })(verb, args, typed)
	if len(list) == 0 {
		list = []string{cobra.CompletionWithDesc(nf.DefaultChannel, "the default")}
	}
	return list, directive
}
