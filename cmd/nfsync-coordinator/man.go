package main

import (
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/examples"
	"nfsync.dev/nfsync/internal/engine"
	"nfsync.dev/nfsync/internal/manual"
	"nfsync.dev/nfsync/internal/nf"
)

// The pages that are about no verb, and the section of those about verbs: it is that of what administrators run.
const (
	rootName   = "nfsync-coordinator"
	configName = "nfsync-coordinator.yaml"
	section    = 8
)

func manCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages",
		Hidden: true, // for those who build packages
		Long: `Man writes the manual pages below DIR, in man5 and man8. Their date is that of
SOURCE_DATE_EPOCH or of the commit.`,
		Example: "  nfsync-coordinator man /usr/local/share/man",
		Args:    oneArgument("the directory of the manual pages"),
		RunE: func(_ *cobra.Command, args []string) error {
			build := buildInfo()
			of, err := manual.EditionOf(build.Version, build.Date, os.Getenv("SOURCE_DATE_EPOCH"))
			if err != nil {
				return err
			}
			pages, err := manualPages(a.command(), of)
			if err != nil {
				return err
			}
			return manual.Write(args[0], pages)
		},
	}
}

// manualPages returns all pages.
func manualPages(root *cobra.Command, of manual.Edition) ([]*manual.Page, error) {
	pages := []*manual.Page{rootPage(root, of)}
	pages = append(pages, manual.Pages(root, func(verb *cobra.Command) *manual.Page { return verbPage(verb, of) })...)
	configuration, err := configurationPage(of)
	return append(pages, configuration), err
}

// rootPage is nfsync-coordinator(8).
func rootPage(root *cobra.Command, of manual.Edition) *manual.Page {
	p := manual.New(rootName, section, of)
	p.Title(root.Short)
	p.Heading("SYNOPSIS")
	p.Synopsis(rootName, "COMMAND [OPTION...] [ARGUMENT...]")
	p.Heading("DESCRIPTION")
	p.Text(root.Long)
	p.Heading("COMMANDS")
	p.Verbs(root)
	p.Heading("OPTIONS")
	p.Text("Every command has these options. Its own are on its page.")
	root.InitDefaultHelpFlag()
	p.Flags(root.Flags())
	p.Flags(root.PersistentFlags())
	p.Heading("EXIT STATUS")
	for code, meaning := range []string{exitOK: "What was asked for was done.", exitError: "Nothing was done, or less than was asked for. The message on standard error says what."} {
		p.Item(manual.Tag{Bold: strconv.Itoa(code)}, meaning)
	}
	p.Heading("FILES")
	p.Item(manual.Tag{Italic: defaultConfig}, "The configuration; see nfsync-coordinator.yaml(5).")
	p.Item(manual.Tag{Italic: engine.DefaultDirectory}, "The keys of the fleet, the ledger of its credentials, the store of the coordinator's own server, and a clone of the repository; directory in the configuration and --dir name another one.")
	p.Heading("ENVIRONMENT")
	p.Item(manual.Tag{Bold: "HTTPS_PROXY, HTTP_PROXY, NO_PROXY"}, "The proxy of fetches over http and https, unless the configuration names one.")
	p.Item(manual.Tag{Bold: "SOURCE_DATE_EPOCH"}, "The date of the manual pages, for those who build packages.")
	p.Heading("EXAMPLES")
	p.Literal(root.Example)
	p.SeeAlso(configName+"(5)", "nfsync(1)", "nfsync-fleet(1)", "nfsync-policies(5)", "systemctl(1)")
	return p
}

// verbPage is the page of a verb.
func verbPage(verb *cobra.Command, of manual.Edition) *manual.Page {
	p := manual.VerbPage(verb, section, of, func(p *manual.Page, verb *cobra.Command) {
		verb.InitDefaultHelpFlag()
		p.Flags(verb.LocalNonPersistentFlags())
	})
	p.SeeAlso(rootName+"(8)", configName+"(5)")
	return p
}

// configurationPage is nfsync-coordinator.yaml(5).
func configurationPage(of manual.Edition) (*manual.Page, error) {
	p := manual.New(configName, 5, of)
	p.Title("configuration of nfsync's coordinator")
	p.Heading("DESCRIPTION")
	p.Text("The file " + defaultConfig + " is one YAML document. Every command of nfsync-coordinator(8) reads it; its options override it. " +
		"A coordinator that runs reads it when it starts only. A field is named here by its path: source.urls is urls below source.")
	if err := p.Kind(nf.KindCoordinatorConfig); err != nil {
		return nil, err
	}
	p.Heading("EXAMPLES")
	p.Example(examples.CoordinatorConfiguration)
	p.SeeAlso(rootName+"(8)", rootName+"-serve(8)", "nfsync-validate(1)", "nfsync-agent.yaml(5)")
	return p, nil
}
