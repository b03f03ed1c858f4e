package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/state"
)

// gitOptions are the flags that name a git repository and say how to reach and
// trust it. What is not given is as the configuration file says.
type gitOptions struct {
	agent.Flags
	flags   *pflag.FlagSet // in the order in which they are typed
	timeout time.Duration
	nodes   bool // the flags about connections are also for the repository of --nodes-from
}

func (o *gitOptions) register(verb *pflag.FlagSet) {
	f := pflag.NewFlagSet("git", pflag.ContinueOnError)
	f.SortFlags = false
	f.StringArrayVar(&o.URLs, "git", nil, "`URL` or path of a git repository; may be repeated: they are tried in order")
	f.StringVar(&o.Branch, "branch", "", "follow this `branch` (default: the one that HEAD names)")
	f.StringVar(&o.Tag, "tag", "", "take this `tag`")
	f.StringVar(&o.Commit, "commit", "", "take this commit, by its full `hash`")
	f.StringVar(&o.Path, "path", "", "`directory` of the policies in the repository (default: its root)")
	f.StringVar(&o.Accept, "accept", "", "take this commit, by its full `hash`, where the branch was rewritten")
	f.DurationVar(&o.timeout, "timeout", spec.DefaultTimeout, "the most that the fetch from one URL may take")
	f.Var((*sizeFlag)(&o.MaxPackSize), "max-pack-size", fmt.Sprintf("the most that one fetch may receive, a `size` such as 512MiB (default %s)", spec.DefaultMaxPackSize))
	f.StringVar(&o.Auth.SSHKeyFile, "ssh-key", "", "private key `file` for ssh (default of plan and apply: ssh-agent and ~/.ssh)")
	f.StringVar(&o.Auth.KnownHostsFile, "known-hosts", "", "known_hosts `file` for ssh (default: ssh's own)")
	f.BoolVar(&o.Auth.SSHLegacyAlgorithms, "ssh-legacy-algorithms", false, "allow SHA-1 for old ssh servers: ssh-rsa, diffie-hellman-group14-sha1, hmac-sha1")
	f.StringVar(&o.Auth.User, "user", "", "`name` for http, with --password-file")
	f.StringVar(&o.Auth.PasswordFile, "password-file", "", "`file` with the password for http")
	f.StringVar(&o.Auth.TokenFile, "token-file", "", "`file` with a bearer token for http")
	f.StringVar(&o.Auth.CAFile, "ca-file", "", "PEM `file` of the authorities that sign https servers (default: the system's)")
	f.StringVar((*string)(&o.Verify.Mode), "verify", "", "which commits must be signed, a `mode`: none; tip (the applied one); all (each since the last applied one)")
	f.StringArrayVar(&o.Verify.Keyrings, "keyring", nil, "`file` of OpenPGP keys whose signatures are good")
	f.StringArrayVar(&o.Verify.AllowedSigners, "allowed-signers", nil, "`file` of SSH keys whose signatures are good, see ssh-keygen(1)")
	o.flags = f
	verb.AddFlagSet(f)
}

// sizeFlag is a flag for a size, and empty where it is not given.
type sizeFlag nf.Size

func (f *sizeFlag) Set(text string) error {
	size, err := nf.ParseSize(text)
	if err == nil && size == 0 {
		err = errors.New("it must not be 0")
	}
	*f = sizeFlag(size)
	return err
}

func (f *sizeFlag) String() string {
	if *f == 0 {
		return ""
	}
	return strings.ReplaceAll(strings.TrimSuffix(nf.Size(*f).String(), " bytes"), " ", "")
}

func (*sizeFlag) Type() string { return "size" }

// words returns the flags that were given, as words of a command line without secrets.
func (o *gitOptions) words() []string { return o.wordsOf(func(*pflag.Flag) bool { return true }) }

// policyWords returns those that are about the repository of the policies alone.
func (o *gitOptions) policyWords() []string {
	return o.wordsOf(func(f *pflag.Flag) bool { return !o.nodes || !isConnection(f) })
}

func (o *gitOptions) wordsOf(which func(*pflag.Flag) bool) []string {
	var words []string
	o.flags.VisitAll(func(f *pflag.Flag) {
		if !f.Changed || !which(f) {
			return
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, v := range values {
			if f.Name == "git" {
				v = nf.PublicURL(v)
			}
			if f.Value.Type() == "bool" {
				words = append(words, "--"+f.Name+"="+v)
				continue
			}
			words = append(words, "--"+f.Name, v)
		}
	})
	return words
}

var errNoSource = hinted{errors.New("no policies named"),
	"name the directory that holds them, nfsync plan DIR, or a git repository, --git URL"}

// where returns the path that a command takes its policies from. It is empty
// where they come from git.
func (a *app) where(o *gitOptions, args []string) (path string, err error) {
	switch words := o.policyWords(); {
	case len(args) > 0 && len(words) > 0:
		return "", usageError{fmt.Errorf("%s is a path: %s is for policies from git", args[0], words[0])}
	case len(args) > 0:
		return args[0], nil
	case len(o.URLs) == 0 && len(a.config.Source.URLs) == 0:
		return "", errNoSource
	}
	return "", nil
}

// source returns the repository of the flags and the configuration file.
func (a *app) source(o *gitOptions) (source.Config, error) {
	if o.flags.Changed("timeout") {
		o.Timeout = &o.timeout
	}
	here, _ := os.Getwd() // without one a relative path leads nowhere
	cfg, err := o.Source(a.config, here)
	if err != nil {
		return cfg, usageError{err}
	}
	return cfg, nil
}

// repository returns the repository of the flags and the configuration, with a place for its
// clone until done is called.
func (a *app) repository(o *gitOptions) (cfg source.Config, done func(), err error) {
	if cfg, err = a.source(o); err != nil {
		return cfg, nil, err
	}
	cfg.Dir, done, err = source.CloneDir(a.stateDir)
	return cfg, done, err
}

// fetcher fetches from a repository, and shows on a terminal that it does.
func (a *app) fetcher(cfg source.Config) agent.Fetcher {
	return func(ctx context.Context, last []source.Position, accept string) (source.Revision, error) {
		defer a.fetching(cfg.URLs[0])()
		return source.Fetch(ctx, cfg, last, accept)
	}
}

// verifier verifies one commit of a repository: the clone has it, or the server is asked.
func verifier(cfg source.Config, fetcher func(source.Config) agent.Fetcher) func(ctx context.Context, commit string) (string, error) {
	return func(ctx context.Context, commit string) (string, error) {
		cfg.Branch, cfg.Tag, cfg.Commit = "", "", commit
		r, err := fetcher(cfg)(ctx, nil, "")
		return r.Signer, err
	}
}

// fetchRevision fetches the policies that a person wants to plan or apply. A plan only looks:
// it follows a branch that was rewritten, and says that the agent does not.
func (a *app) fetchRevision(ctx context.Context, o *gitOptions, plans bool) (agent.Revision, error) {
	repo, done, err := a.repository(o)
	if err != nil {
		return agent.Revision{}, err
	}
	defer done()
	repo.UserKeys = true
	last, err := state.ReadPositions(a.stateDir)
	switch {
	case errors.Is(err, fs.ErrPermission):
		a.say(slog.LevelWarn, "whether the branch was rewritten is unknown: "+err.Error(), "")
	case err != nil:
		return agent.Revision{}, err
	}
	r, err := agent.Fetch(ctx, a.fetcher(repo), repo.Verify.Mode, last, o.Accept)
	if rewritten, ok := errors.AsType[*source.RewrittenError](err); ok && plans {
		a.say(slog.LevelWarn, "neither apply nor the agent follows this: "+err.Error(), "")
		r, err = agent.Fetch(ctx, a.fetcher(repo), repo.Verify.Mode, last, rewritten.New)
	}
	if err == nil && !a.mayBeEmpty() {
		err = r.CheckEmpty(repo.Path)
	}
	if invalid, ok := errors.AsType[*agent.InvalidError](err); ok {
		a.sayRevision(invalid)
		a.say(slog.LevelWarn, "nothing was planned or applied", "")
		return r, a.showInvalid(exitInvalid, invalid.Diagnostics)
	}
	a.sayWarnings(r)
	return r, err
}

// sayWarnings writes the warnings of a fetch to stderr.
func (a *app) sayWarnings(r agent.Revision) {
	for _, w := range r.Warnings {
		a.say(slog.LevelWarn, w, "")
	}
	a.sayUnread(r.Unread)
}

// mayBeEmpty reports whether a revision may hold no policy.
func (a *app) mayBeEmpty() bool { return a.allowEmpty || a.config.Source.AllowEmpty }

// sayRevision writes the errors of a commit's policies to stderr.
func (a *app) sayRevision(e *agent.InvalidError) {
	a.sayInvalid(e.Diagnostics, fmt.Sprintf("the policies of commit %s are invalid", e.Commit))
}
