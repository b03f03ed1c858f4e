package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nfsync.dev/nfsync/examples"
	"nfsync.dev/nfsync/internal/manual"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/schemas"
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
			of, err := edition(a.getenv)
			if err != nil {
				return err
			}
			here := &app{system: a.system}
			here.getenv = func(string) string { return "" } // the defaults are those of no environment
			pages, err := manualPages(here.command(), of)
			if err != nil {
				return err
			}
			return writePages(args[0], pages)
		},
	}
}

// edition returns which nfsync the pages are of.
func edition(getenv func(string) string) (manual.Edition, error) {
	b := buildInfo()
	of := manual.Edition{Version: b.Version}
	if epoch := getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return of, fmt.Errorf("SOURCE_DATE_EPOCH %q is no number of seconds", epoch)
		}
		of.Date = time.Unix(seconds, 0)
		return of, nil
	}
	of.Date, _ = time.Parse(time.RFC3339, b.Date) // without one the pages have none
	return of, nil
}

func writePages(dir string, pages []*manual.Page) error {
	for _, p := range pages {
		within := filepath.Join(dir, fmt.Sprintf("man%d", p.Section()))
		if err := os.MkdirAll(within, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(within, p.Name()), []byte(p.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// manualPages returns all pages.
func manualPages(root *cobra.Command, of manual.Edition) ([]*manual.Page, error) {
	pages := []*manual.Page{rootPage(root, of), wordsPage(of)}
	var add func(*cobra.Command)
	add = func(verb *cobra.Command) {
		pages = append(pages, verbPage(verb, of))
		for _, sub := range documented(verb) {
			add(sub)
		}
	}
	for _, verb := range documented(root) {
		add(verb)
	}
	policies, err := policiesPage(of)
	if err != nil {
		return nil, err
	}
	configuration, err := configurationPage(of)
	return append(pages, policies, configuration), err
}

// documented lists the verbs of a verb that have a page.
func documented(verb *cobra.Command) []*cobra.Command {
	return slices.DeleteFunc(slices.Clone(verb.Commands()), func(c *cobra.Command) bool { return c.Hidden })
}

// The pages that are about no verb.
const (
	rootName     = "nfsync"
	policiesName = "nfsync-policies"
	configName   = "nfsync-agent.yaml"
	wordsName    = "nfsync-words"
)

// pageName returns the name of a verb's page: nfsync-completion-bash.
func pageName(verb *cobra.Command) string { return strings.ReplaceAll(verb.CommandPath(), " ", "-") }

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
	for _, verb := range documented(root) {
		p.Item(manual.Tag{Bold: pageName(verb), Section: 1}, verb.Short+".")
	}
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
	p := manual.New(pageName(verb), 1, of)
	p.Title(verb.Short)
	p.Heading("SYNOPSIS")
	for _, rest := range synopses(verb) {
		p.Synopsis(verb.CommandPath(), rest)
	}
	p.Heading("DESCRIPTION")
	p.Text(cmp.Or(verb.Long, verb.Short+"."))
	for _, sub := range documented(verb) {
		p.Item(manual.Tag{Bold: pageName(sub), Section: 1}, sub.Short+".")
	}
	p.Heading("OPTIONS")
	p.Text("The options that every command has are in nfsync(1).")
	flagItems(p, verb)
	if verb.Example != "" {
		p.Heading("EXAMPLES")
		p.Literal(verb.Example)
	}
	p.Heading("EXIT STATUS")
	p.Text("See nfsync(1).")
	p.SeeAlso(append([]string{rootName + "(1)"}, related(verb)...)...)
	return p
}

// synopses returns what can follow the command: apply has several ways to be called.
func synopses(verb *cobra.Command) []string {
	ways := strings.Split(verb.Use, " | ")
	name := verb.Name()
	for _, w := range ways {
		if first, _, _ := strings.Cut(w, " "); first != name {
			ways = []string{verb.Use}
			break
		}
	}
	for i, w := range ways {
		ways[i] = strings.TrimSpace(strings.TrimPrefix(w, name) + " [OPTION...]")
	}
	return ways
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
		return []string{pageName(verb.Parent()) + "(1)"}
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
		if err := kindSection(p, kind); err != nil {
			return nil, err
		}
	}
	p.Heading("EXAMPLES")
	for _, name := range []string{"policies/edge-nodes.yaml", "policies/containers.yaml"} {
		text, err := examples.Policies.ReadFile(name)
		if err != nil {
			return nil, err
		}
		example(p, text)
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
	if err := kindSection(p, nf.KindAgentConfig); err != nil {
		return nil, err
	}
	p.Heading("EXAMPLES")
	example(p, examples.Configuration)
	p.SeeAlso("nfsync(1)", "nfsync-agent(1)", "nfsync-doctor(1)", policiesName+"(5)")
	return p, nil
}

// kindSection writes the fields of a kind of document.
func kindSection(p *manual.Page, kind string) error {
	p.Heading(kind)
	text, _ := schemas.Get(kind)
	return p.Fields(text)
}

// example writes an example file, without the line for editors.
func example(p *manual.Page, text []byte) {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
		if !strings.HasPrefix(line, "# yaml-language-server:") {
			lines = append(lines, line)
		}
	}
	p.Literal(strings.Join(lines, "\n"))
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
