package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/manual"
)

// documentedText is a file or a variable, and what it is for.
type documentedText struct{ name, text string }

// environment are the variables that nfsync reads.
var environment = []documentedText{
	{"STATE_DIRECTORY, RUNTIME_DIRECTORY", "The state and the run directory, as systemd passes them to a service, unless --state-dir and --run-dir name them."},
	{"NO_COLOR", "If it is not empty, text on a terminal is not coloured."},
	{"TERM", "If it is dumb, text on a terminal is not coloured."},
	{"HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "The proxy of fetches over http and https, unless the configuration names one."},
	{"SSH_AUTH_SOCK", "The ssh-agent whose keys plan, apply and show use for ssh, unless a key is named. The agent does not use it."},
	{"NFSYNC_FLEET_SERVERS, NFSYNC_FLEET_CREDENTIALS, NFSYNC_FLEET_CA_FILE, NFSYNC_FLEET_CHANNEL, NFSYNC_FLEET_COORDINATOR_KEY, NFSYNC_FLEET_NAME", "How nfsync-fleet(1) and --nodes-from reach a fleet, where no option says it. Servers have commas between them."},
	{"GOMEMLIMIT", "The memory above which nfsync collects garbage early; by default 150 MiB."},
	{"SOURCE_DATE_EPOCH", "The date of the manual pages, for those who build packages."},
}

// files are the files that nfsync reads or writes, but for policies.
func files(root *cobra.Command) []documentedText {
	list := []documentedText{{defaultConfig, "The configuration of the agent, which all commands about this node read; see nfsync-agent.yaml(5)."}}
	for _, name := range []string{"state-dir", "run-dir", "netns-dir"} {
		f := root.PersistentFlags().Lookup(name)
		_, usage := pflag.UnquoteUsage(f)
		list = append(list, documentedText{f.DefValue, strings.ToUpper(usage[:1]) + usage[1:] + "; --" + name + " names another one."})
	}
	return append(list, documentedText{strings.Join(kernel.BootFiles(), ", "), "What nfsync saves for the next start of the node. Nobody else should change them."})
}

// flagItems writes the flags of a verb that the others do not have, and -o with its formats.
func flagItems(p *manual.Page, verb *cobra.Command) {
	verb.InitDefaultHelpFlag()
	if !verb.HasParent() {
		verb.PersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "output" && !f.Hidden {
				p.Flag(f, f.Usage, f.DefValue)
			}
		})
		p.Flag(verb.PersistentFlags().Lookup("output"), "`format` of the result, or format=FILE; may be repeated. The page of each command lists its formats", "")
		p.Flags(verb.LocalNonPersistentFlags())
		return
	}
	p.Flags(verb.LocalNonPersistentFlags())
	if list := verb.Annotations[formatsKey]; list != "" {
		p.Flag(verb.InheritedFlags().Lookup("output"), outputUsage(formats(verb)), usualFormat(verb))
	}
}
