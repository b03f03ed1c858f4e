package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/examples"
	"nfsync.dev/nfsync/internal/manual"
	"nfsync.dev/nfsync/internal/nf"
)

// manVerb is the verb that packages are built with.
const manVerb = "man"

func manCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    manVerb + " DIR",
		Short:  "Write the manual pages",
		Hidden: true, // for those who build packages
		Long: `Man writes the manual pages below DIR, in man1, man5 and man7. Their date is
that of SOURCE_DATE_EPOCH or of the commit.`,
		Example:           "  nfsync man /usr/local/share/man",
		Args:              argCount(1, 1, "the directory of the manual pages"),
		ValidArgsFunction: completeOne(completeDirectory),
		RunE: func(_ *cobra.Command, args []string) error {
			build := buildInfo()
			of, err := manual.EditionOf(build.Version, build.Date, a.getenv("SOURCE_DATE_EPOCH"))
			if err != nil {
				return err
			}
			here := &app{system: a.system}
			here.getenv = func(string) string { return "" } // the defaults are those of no environment
			pages, err := manualPages(here.command(), of)
			if err != nil {
				return err
			}
			return manual.Write(args[0], pages)
		},
	}
}

// manualPages returns all pages.
func manualPages(root *cobra.Command, of manual.Edition) ([]*manual.Page, error) {
	pages := []*manual.Page{rootPage(root, of), wordsPage(of)}
	pages = append(pages, manual.Pages(root, func(verb *cobra.Command) *manual.Page { return verbPage(verb, of) })...)
	policies, err := policiesPage(of)
	if err != nil {
		return nil, err
	}
	configuration, err := configurationPage(of)
	return append(pages, policies, configuration), err
}

// The pages that are about no verb.
const (
	rootName     = "nfsync"
	policiesName = "nfsync-policies"
	configName   = "nfsync-agent.yaml"
	wordsName    = "nfsync-words"
)

// rootPage is nfsync(1).
func rootPage(root *cobra.Command, of manual.Edition) *manual.Page {
	p := manual.New(rootName, 1, of)
	p.Title(root.Short)
	p.Heading("SYNOPSIS")
	p.Synopsis(rootName, "COMMAND [OPTION...] [ARGUMENT...]")
	p.Heading("DESCRIPTION")
	about, _, _ := strings.Cut(root.Long, exitHeading)
	p.Text(about)
	p.Heading("COMMANDS")
	p.Verbs(root)
	p.Heading("OPTIONS")
	p.Text("Every command has these options. Its own are on its page.")
	root.InitDefaultVersionFlag()
	flagItems(p, root)
	p.Heading("EXIT STATUS")
	for code, s := range exitTexts {
		p.Item(manual.Tag{Bold: strconv.Itoa(code)}, s.Meaning, s.Cause, "Remedy: "+s.Remedy+".")
	}
	p.Heading("FILES")
	for _, f := range files(root) {
		p.Item(manual.Tag{Italic: f.name}, f.text)
	}
	p.Heading("ENVIRONMENT")
	for _, v := range environment {
		p.Item(manual.Tag{Bold: v.name}, v.text)
	}
	p.Heading("EXAMPLES")
	p.Literal(root.Example)
	p.SeeAlso(policiesName+"(5)", configName+"(5)", wordsName+"(7)", "nft(8)", "sysctl.d(5)", "modules-load.d(5)", "modprobe.d(5)")
	return p
}

// verbPage is the page of a verb.
func verbPage(verb *cobra.Command, of manual.Edition) *manual.Page {
	p := manual.VerbPage(verb, 1, of, flagItems)
	p.SeeAlso(append([]string{rootName + "(1)"}, related(verb)...)...)
	return p
}

// related are the pages beside nfsync(1) that a reader of a verb's page may want.
func related(verb *cobra.Command) []string {
	pages := map[string][]string{
		"plan": {"nfsync-apply(1)", policiesName + "(5)"}, "apply": {"nfsync-plan(1)", "nfsync-confirm(1)", "nfsync-receipts(1)", policiesName + "(5)"},
		"agent": {"nfsync-status(1)", "nfsync-suspend(1)", configName + "(5)"}, "status": {"nfsync-agent(1)", wordsName + "(7)"},
		"sync": {"nfsync-agent(1)"}, "suspend": {"nfsync-resume(1)"}, "resume": {"nfsync-suspend(1)"}, "confirm": {"nfsync-apply(1)"},
		"explain": {wordsName + "(7)"}, "validate": {policiesName + "(5)", configName + "(5)"}, "test": {policiesName + "(5)"}, "fmt": {policiesName + "(5)"},
		"doctor": {configName + "(5)"}, "init": {policiesName + "(5)"}, "import": {policiesName + "(5)"}, "receipts": {"nfsync-apply(1)"}, "recover": {"nfsync-apply(1)"},
	}[verb.Name()]
	if verb.HasParent() && verb.Parent().HasParent() {
		return []string{manual.PageName(verb.Parent()) + "(1)"}
	}
	return pages
}

// policiesPage is nfsync-policies(5).
func policiesPage(of manual.Edition) (*manual.Page, error) {
	p := manual.New(policiesName, 5, of)
	p.Title("policies of nfsync, their tests, and the plan of roll-outs")
	p.Heading("DESCRIPTION")
	p.Text("Policies are YAML documents, several to a file if --- is between them. nfsync-validate(1) checks them, and nfsync-plan(1) shows what they bring. " +
		"A field is named here by its path: spec.level is level below spec. A Rollout says how new policies reach the nodes of a fleet; a policy path has at most one.")
	for _, kind := range []string{nf.KindNodePolicy, nf.KindContainerPolicy, nf.KindPolicyTest, nf.KindRollout} {
		if err := p.Kind(kind); err != nil {
			return nil, err
		}
	}
	p.Heading("EXAMPLES")
	for _, name := range []string{"policies/edge-nodes.yaml", "policies/containers.yaml"} {
		text, err := examples.Policies.ReadFile(name)
		if err != nil {
			return nil, err
		}
		p.Example(text)
	}
	p.SeeAlso("nfsync(1)", "nfsync-validate(1)", "nfsync-test(1)", "nfsync-schema(1)", configName+"(5)", wordsName+"(7)")
	return p, nil
}

// configurationPage is nfsync-agent.yaml(5).
func configurationPage(of manual.Edition) (*manual.Page, error) {
	p := manual.New(configName, 5, of)
	p.Title("configuration of nfsync's agent")
	p.Heading("DESCRIPTION")
	p.Text("The file " + defaultConfig + " is one YAML document. Every command that looks at the node reads it, so that a plan by hand sees what the agent sees; its options override it. " +
		"A field is named here by its path: source.urls is urls below source.")
	if err := p.Kind(nf.KindAgentConfig); err != nil {
		return nil, err
	}
	p.Heading("EXAMPLES")
	p.Example(examples.Configuration)
	p.SeeAlso("nfsync(1)", "nfsync-agent(1)", "nfsync-doctor(1)", policiesName+"(5)")
	return p, nil
}

// wordsPage is nfsync-words(7).
func wordsPage(of manual.Edition) *manual.Page {
	p := manual.New(wordsName, 7, of)
	p.Title("words of nfsync's output")
	p.Heading("DESCRIPTION")
	p.Text("What the words of nfsync's documents mean, as nfsync-explain(1) prints it.")
	for _, t := range explained() {
		p.Heading(t.Topic.Title())
		for _, e := range t.Words {
			p.Item(manual.Tag{Bold: e.Word}, e.Meaning, e.Cause, labelled("Remedy: ", e.Remedy), labelled("Example: ", e.Example), labelled("Unit: ", e.Unit), labelled("Where: ", e.Where))
		}
	}
	p.SeeAlso("nfsync(1)", "nfsync-explain(1)", "nfsync-status(1)")
	return p
}

// labelled returns a text with its label; empty if there is no text.
func labelled(label, text string) string {
	if text == "" {
		return ""
	}
	return label + text
}
