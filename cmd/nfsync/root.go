package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nfsync.dev/nfsync/internal/host"
	"nfsync.dev/nfsync/internal/kernel"
	"nfsync.dev/nfsync/internal/netns"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/view"
)

// The formats of messages on stderr.
const (
	logText = "text"
	logJSON = "json"
)

// When text is coloured.
const (
	colorAuto   = "auto"
	colorAlways = "always"
	colorNever  = "never"
)

// options are the flags that every verb has.
type options struct {
	flags      *pflag.FlagSet
	outputs    []string // as -o gives them
	files      []output // that get the result
	format     string   // of standard output; "" if the result is not printed there
	quiet      bool
	color      string
	verb       string // that was called
	policyPath string // of the policies, if they are in files
	part       bool   // of targets and keys is asked
	published  bool   // the snapshots are those of --nodes-from
	configFile string
	node       string
	labels     map[string]string
	stateDir   string
	runDir     string
	root       string
	runtimes   []string
	netnsDir   string
	nodeNetns  string
	vzRoot     string
	logFormat  string
}

func (o *options) register(f *pflag.FlagSet, getenv func(string) string) {
	o.flags = f
	f.StringArrayVarP(&o.outputs, "output", "o", nil, outputUsage(view.Formats()))
	f.Lookup("output").DefValue = view.FormatText
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print errors only, and what -o asks for")
	f.StringVar(&o.color, "color", colorAuto, "`when` text is coloured: auto (on a terminal, without NO_COLOR), always, never")
	f.StringVar(&o.configFile, "config", defaultConfig, "configuration `file`, or none; read by the verbs that look at this node")
	f.StringVar(&o.node, "node", "", "`name` of the node (default: the kernel's node name)")
	f.StringToStringVar(&o.labels, "label", nil, "label `key=value` of the node, for node selectors; may be repeated")
	f.Lookup("label").DefValue = "" // an empty list need not be shown
	f.StringVar(&o.stateDir, "state-dir", systemdDir(getenv, "STATE_DIRECTORY", "/var/lib/nfsync"),
		"`directory` of nfsync's journal, memory and last good revision")
	f.StringVar(&o.runDir, "run-dir", systemdDir(getenv, "RUNTIME_DIRECTORY", "/run/nfsync"), "`directory` of the lock")
	f.StringVar(&o.root, "root", "/", "`directory` below which /lib/modules and the boot files are")
	f.StringSliceVar(&o.runtimes, "runtime", nf.Runtimes(), "container `runtimes` to list: "+strings.Join(nf.Runtimes(), ", ")+" (default: all)")
	f.Lookup("runtime").DefValue = "[]" // pflag prints no default then: the usage has it
	f.StringVar(&o.netnsDir, "netns-dir", netns.DefaultDir, "`directory` of the named network namespaces")
	f.StringVar(&o.nodeNetns, "node-netns", "", "`path` of the node's network namespace, if nfsync runs outside it")
	f.StringVar(&o.vzRoot, "vz-root", "/", "root `directory` of Virtuozzo's programs, configurations and /proc/mounts")
	f.StringVar(&o.logFormat, "log-format", logText, "`format` of messages on stderr: text, json")
}

// nodeWords returns the flags about the node that were given, as words of a command line.
func (a *app) nodeWords() []string {
	var words []string
	a.flags.VisitAll(func(f *pflag.Flag) {
		switch {
		case !f.Changed || slices.Contains([]string{"output", "quiet", "color", "log-format", "config"}, f.Name):
		case f.Name == "label":
			for _, k := range slices.Sorted(maps.Keys(a.labels)) {
				if a.config.Node.Labels[k] != a.labels[k] {
					words = append(words, "--label", k+"="+a.labels[k])
				}
			}
		case f.Name == "runtime":
			words = append(words, "--runtime", strings.Join(a.runtimes, ","))
		default:
			words = append(words, "--"+f.Name, f.Value.String())
		}
	})
	return words
}

// systemdDir returns the first of the directories that systemd.exec(5) passes to a
// service in a variable, or the default.
func systemdDir(getenv func(string) string, variable, fallback string) string {
	if first, _, _ := strings.Cut(getenv(variable), ":"); first != "" {
		return first
	}
	return fallback
}

// checkFlags returns an error for a flag that the verb cannot work with.
func (a *app) checkFlags(verb *cobra.Command) error {
	if err := cmp.Or(a.checkEmpty(verb), a.parseOutputs(verb), a.checkDirs(verb)); err != nil {
		return err
	}
	a.verb = verb.Name()
	return a.check()
}

// checkEmpty returns an error for a flag with an empty value: a variable of a script that is not
// set, most likely.
func (a *app) checkEmpty(verb *cobra.Command) (err error) {
	verb.Flags().Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		if f.Name != "label" && (len(values) == 0 || slices.Contains(values, "")) {
			err = usageError{fmt.Errorf("--%s has an empty value", f.Name)}
		}
	})
	for k, v := range a.labels {
		if strings.TrimSpace(k) == "" {
			return usageError{fmt.Errorf("--label %s=%s has an empty key: write KEY=VALUE", k, v)}
		}
	}
	return err
}

// check returns an error for an option that no verb can work with.
func (o *options) check() error {
	if o.logFormat != logText && o.logFormat != logJSON {
		return usageError{fmt.Errorf("unknown log format %q: must be text or json", o.logFormat)}
	}
	if !slices.Contains([]string{colorAuto, colorAlways, colorNever}, o.color) {
		return usageError{fmt.Errorf("unknown --color %q: must be %s, %s or %s", o.color, colorAuto, colorAlways, colorNever)}
	}
	for _, r := range o.runtimes {
		if !slices.Contains(nf.Runtimes(), r) {
			return usageError{fmt.Errorf("unknown runtime %q: must be one of %s", r, strings.Join(nf.Runtimes(), ", "))}
		}
	}
	return nil
}

// host is the machine that the options describe.
func (o *options) host() host.Config {
	return host.Config{
		NodeName:  o.node,
		Labels:    o.labels,
		FS:        kernel.FS{Proc: "/proc", Sys: "/sys", Root: o.root},
		Runtimes:  slices.Clone(o.runtimes),
		NetnsDir:  o.netnsDir,
		VZRoot:    o.vzRoot,
		NodeNetns: o.nodeNetns,
	}
}

// command is the root of the verbs.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "nfsync",
		Short: "Keep the netfilter configuration of a node and its containers equal to policies",
		Long: `nfsync keeps the netfilter configuration of a Linux node, and of every container
on it, equal to policies written in YAML: levels (disabled, stateless, stateful,
full), kernel modules, conntrack limits and timeouts.

It observes the live kernel, plans the smallest safe set of changes, applies
them and reads each one back. After a crash at any point it finishes or undoes
the change. It refuses what the kernel cannot do, with the reason and the
remedy.

Results go to standard output, everything else to standard error.

` + exitHeading + `
` + exitHelp(),
		Example: `  nfsync validate policies/
  nfsync plan policies/
  nfsync apply policies/
  nfsync agent --once --git https://git.example.com/policies.git`,
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		SilenceUsage:               true,
		Args:                       unknownVerb,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.checkFlags(cmd); err != nil {
				return err
			}
			return a.configure(looksAtNode(cmd))
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.logFormat == logJSON {
				return usageError{errors.New("name a command")}
			}
			cmd.SetOut(a.stderr) // nobody has asked for help: it is no result
			return errors.Join(cmd.Help(), outcome(exitError))
		},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	// Help texts are 80 columns wide.
	root.SetUsageTemplate(strings.NewReplacer(".FlagUsages", ".FlagUsagesWrapped 80", " for more information about a command", " for more about a command").Replace(root.UsageTemplate()))
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		a.logFormat = logFormat(a.args) // its flag may come after the one that is wrong
		return usageError{err}
	})
	a.register(root.PersistentFlags(), a.getenv)
	a.explainOutput(root)
	root.Version = versionText()
	root.SetVersionTemplate("{{.Version}}")
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(
		validateCommand(a), planCommand(a), applyCommand(a), showCommand(a), testCommand(a), agentCommand(a), recoverCommand(a), statusCommand(a), syncCommand(a), suspendCommand(a), resumeCommand(a), confirmCommand(a), takeBackCommand(a), manCommand(a), receiptsCommand(a), forgetCommand(a), snapshotCommand(a),
		importCommand(a), initCommand(a), fmtCommand(a), hookCommand(a), cniCommand(a), fleetCommand(a),
		explainCommand(a), schemaCommand(a), doctorCommand(a), versionCommand(a), demoCommand(a),
	)
	checkHelp(root)
	addCompletion(root)
	a.completeFlags(root)
	return root
}

// exitHeading is above the exit codes in the help of nfsync.
const exitHeading = "Exit codes:"

// exitHelp lists the exit codes, 80 columns wide.
func exitHelp() string {
	var b strings.Builder
	for code, s := range exitTexts {
		line := fmt.Sprintf("  %d ", code)
		for word := range strings.FieldsSeq(s.Meaning) {
			if len(line)+1+len(word) > 80 {
				b.WriteString(line + "\n")
				line = strings.Repeat(" ", 4)
			}
			line += " " + word
		}
		b.WriteString(line + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// checkHelp makes a verb that cobra's own help does not know an error.
func checkHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, _ := root.Find([]string{"help"}) // cobra has just made it
	help.Example = "  nfsync help plan"
	help.Args = func(_ *cobra.Command, args []string) error {
		verb, rest, _ := root.Find(args)
		return unknownVerb(verb, rest)
	}
}

// addCompletion gives cobra's own verb an example, as all others have one, and
// makes a shell that it does not know an error.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	c, _, _ := root.Find([]string{"completion"}) // cobra has just made it
	c.Example = "  nfsync completion bash > /etc/bash_completion.d/nfsync\n  source <(nfsync completion zsh)"
	var shells []string
	for _, shell := range c.Commands() {
		shells = append(shells, shell.Name())
	}
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(*cobra.Command, []string) error {
		return usageError{errors.New("name a shell: " + strings.Join(shells, ", "))}
	}
}

// logFormat returns the format of messages that a command line asks for, if it cannot be parsed.
func logFormat(args []string) string {
	const flag = "--log-format"
	if i := slices.Index(args, flag); i >= 0 && i+1 < len(args) && args[i+1] == logJSON || slices.Contains(args, flag+"="+logJSON) {
		return logJSON
	}
	return logText
}

// unknownVerb is a usage error where anything follows nfsync that is no verb.
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

// noMore is as many arguments as one likes.
const noMore = math.MaxInt

// argCount returns a usage error where there are fewer or more arguments. what
// names them where one is missing.
func argCount(least, most int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usageError{errors.New("name " + what)}
		case len(args) > most:
			return usageError{fmt.Errorf("unexpected argument %q", args[most])}
		}
		return nil
	}
}

// withContext adapts a run function to cobra.
func withContext(run func(context.Context, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error { return run(cmd.Context(), args) }
}
