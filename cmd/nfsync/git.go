package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
)

// gitOptions are the flags that name a git repository and say how to reach and
// trust it. What is not given is as the configuration file says.
type gitOptions struct {
	flags               *pflag.FlagSet
	urls                []string
	branch, tag, commit string
	path                string
	accept              string
	timeout             time.Duration
	auth                source.Auth
	verify              string
	keyrings, signers   []string
}

// gitFlags are the flags of register, in the order in which they are typed.
var gitFlags = []string{"git", "branch", "tag", "commit", "path", "accept", "timeout", "ssh-key", "known-hosts", "user",
	"password-file", "token-file", "ca-file", "verify", "keyring", "allowed-signers"}

func (o *gitOptions) register(f *pflag.FlagSet) {
	o.flags = f
	f.StringArrayVar(&o.urls, "git", nil, "`URL` or path of a git repository; may be repeated: they are tried in order")
	f.StringVar(&o.branch, "branch", "", "follow this `branch` (default: the one that HEAD names)")
	f.StringVar(&o.tag, "tag", "", "take this `tag`")
	f.StringVar(&o.commit, "commit", "", "take this commit, by its full `hash`")
	f.StringVar(&o.path, "path", "", "`directory` of the policies in the repository (default: its root)")
	f.StringVar(&o.accept, "accept", "", "take this commit, by its full `hash`, where the branch was rewritten")
	f.DurationVar(&o.timeout, "timeout", spec.DefaultTimeout, "the most that the fetch from one URL may take")
	f.StringVar(&o.auth.SSHKeyFile, "ssh-key", "", "private key `file` for ssh")
	f.StringVar(&o.auth.KnownHostsFile, "known-hosts", "", "known_hosts `file` for ssh (default: ssh's own)")
	f.StringVar(&o.auth.User, "user", "", "`name` for http, with --password-file")
	f.StringVar(&o.auth.PasswordFile, "password-file", "", "`file` with the password for http")
	f.StringVar(&o.auth.TokenFile, "token-file", "", "`file` with a bearer token for http")
	f.StringVar(&o.auth.CAFile, "ca-file", "", "PEM `file` of the authorities that sign https servers (default: the system's)")
	f.StringVar(&o.verify, "verify", "", "which commits must be signed, a `mode`: none; tip, the one that is applied; all, each since the last that was applied")
	f.StringArrayVar(&o.keyrings, "keyring", nil, "`file` of OpenPGP keys whose signatures are good")
	f.StringArrayVar(&o.signers, "allowed-signers", nil, "`file` of SSH keys whose signatures are good, see ssh-keygen(1)")
}

// words are the flags that were given, to be typed again.
func (o *gitOptions) words() []string {
	var words []string
	for _, name := range gitFlags {
		f := o.flags.Lookup(name)
		if !f.Changed {
			continue
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, v := range values {
			words = append(words, "--"+name, v)
		}
	}
	return words
}

// given tells whether any of the flags is on the command line.
func (o *gitOptions) given() bool { return len(o.words()) > 0 }

var errNoSource = hinted{errors.New("no policies named"),
	"name the directory that holds them, nfsync plan DIR, or a git repository, --git URL"}

// where is what a command takes its policies from: a path, or git where that is
// empty.
func (a *app) where(o *gitOptions, args []string) (path string, err error) {
	switch {
	case len(args) > 0 && o.given():
		return "", usageError{fmt.Errorf("%s is a path: --%s is for policies from git", args[0], strings.TrimPrefix(o.words()[0], "--"))}
	case len(args) > 0:
		return args[0], nil
	case len(o.urls) == 0 && len(a.config.Source.URLs) == 0:
		return "", errNoSource
	}
	return "", nil
}

// source is the repository of the flags and the configuration file; clones are
// kept in dir.
func (a *app) source(o *gitOptions, dir string) (source.Config, error) {
	cfg := configured(a.config)
	cfg.Dir = dir
	o.override(&cfg)
	var err error
	for i, u := range cfg.URLs {
		if cfg.URLs[i], err = absolute(u); err != nil {
			return cfg, err
		}
	}
	if cfg.Path, err = inRepository(cfg.Path); err != nil {
		return cfg, err
	}
	return cfg, checkSource(cfg, o.accept)
}

// configured is the source of a configuration file.
func configured(c spec.AgentConfig) source.Config {
	return source.Config{
		URLs: c.Source.URLs, Branch: c.Source.Branch, Tag: c.Source.Tag, Commit: c.Source.Commit, Path: c.Source.Path,
		Timeout: c.Source.Timeout, Auth: source.Auth(c.Source.Auth),
		Verify: source.Verify{Mode: source.Mode(c.Verify.Mode), Keyrings: c.Verify.Keyrings, AllowedSigners: c.Verify.AllowedSigners},
	}
}

// override puts the flags in the place of what the configuration says. Branch,
// tag and commit are one thing, and so are user, password and token.
func (o *gitOptions) override(cfg *source.Config) {
	if len(o.urls) > 0 {
		cfg.URLs = slices.Clone(o.urls)
	}
	if o.branch != "" || o.tag != "" || o.commit != "" {
		cfg.Branch, cfg.Tag, cfg.Commit = o.branch, o.tag, o.commit
	}
	set(&cfg.Path, o.path)
	if o.flags.Changed("timeout") {
		cfg.Timeout = o.timeout
	}
	if o.auth.User != "" || o.auth.PasswordFile != "" || o.auth.TokenFile != "" {
		cfg.Auth.User, cfg.Auth.PasswordFile, cfg.Auth.TokenFile = o.auth.User, o.auth.PasswordFile, o.auth.TokenFile
	}
	set(&cfg.Auth.SSHKeyFile, o.auth.SSHKeyFile)
	set(&cfg.Auth.KnownHostsFile, o.auth.KnownHostsFile)
	set(&cfg.Auth.CAFile, o.auth.CAFile)
	if o.verify != "" {
		cfg.Verify.Mode = source.Mode(o.verify)
	}
	if len(o.keyrings)+len(o.signers) > 0 {
		cfg.Verify.Keyrings, cfg.Verify.AllowedSigners = o.keyrings, o.signers
	}
}

func set(to *string, value string) {
	if value != "" {
		*to = value
	}
}

// absolute makes a path of this machine one that means the same in every
// directory: what was applied is remembered by it. Other URLs stay as they are.
func absolute(u string) (string, error) {
	head, _, _ := strings.Cut(u, "/")
	if u == "" || strings.Contains(head, ":") { // https://…, or host:path as ssh has it
		return u, nil
	}
	path, err := filepath.Abs(u)
	if err != nil {
		return "", fmt.Errorf("cannot tell where %s is: %w", u, err)
	}
	return path, nil
}

// inRepository is a path as git has it: clean, without a leading slash, empty
// for the root.
func inRepository(p string) (string, error) {
	clean := path.Clean(strings.TrimLeft(p, "/"))
	switch {
	case clean == ".":
		return "", nil
	case !fs.ValidPath(clean):
		return "", usageError{fmt.Errorf("--path %s leaves the repository", p)}
	}
	return clean, nil
}

var fullHash = regexp.MustCompile(`^[0-9a-f]{40}$`)

// checkSource finds what no server need be asked about.
func checkSource(cfg source.Config, accept string) error {
	named := 0
	for _, s := range []string{cfg.Branch, cfg.Tag, cfg.Commit} {
		if s != "" {
			named++
		}
	}
	keys := len(cfg.Verify.Keyrings) + len(cfg.Verify.AllowedSigners)
	switch {
	case named > 1:
		return usageError{errors.New("--branch, --tag and --commit exclude each other")}
	case cfg.Commit != "" && !fullHash.MatchString(cfg.Commit):
		return usageError{fmt.Errorf("--commit %s: a commit is named by its full hash, 40 hexadecimal digits", cfg.Commit)}
	case accept != "" && !fullHash.MatchString(accept):
		return usageError{fmt.Errorf("--accept %s: a commit is named by its full hash, 40 hexadecimal digits", accept)}
	case cfg.Timeout <= 0:
		return usageError{fmt.Errorf("--timeout %s: there must be some time to fetch", cfg.Timeout)}
	}
	for _, u := range cfg.URLs {
		if parsed, err := url.Parse(u); err == nil && parsed.User != nil {
			if _, secret := parsed.User.Password(); secret {
				return usageError{fmt.Errorf("--git %s: a password does not belong in a URL, where everybody can read it; name its file with --password-file", parsed.Redacted())}
			}
		}
	}
	switch cfg.Verify.Mode {
	case source.VerifyNone, "":
		if keys > 0 {
			return usageError{errors.New("--keyring and --allowed-signers are of no use without --verify tip or --verify all")}
		}
	case source.VerifyTip, source.VerifyAll:
		if keys == 0 {
			return usageError{fmt.Errorf("--verify %s needs --keyring or --allowed-signers: the keys whose signatures are good", cfg.Verify.Mode)}
		}
	default:
		return usageError{fmt.Errorf("--verify %s: must be none, tip or all", cfg.Verify.Mode)}
	}
	return nil
}

// clones is where clones are kept: in the state directory, or in a temporary
// one where that is not there yet or not this user's. done removes it.
func (a *app) clones() (dir string, done func(), err error) {
	if unix.Access(a.stateDir, unix.W_OK|unix.X_OK) == nil {
		return filepath.Join(a.stateDir, "git"), func() {}, nil
	}
	return passingClones()
}

// passingClones is a temporary directory for clones. done removes it.
func passingClones() (dir string, done func(), err error) {
	dir, err = os.MkdirTemp("", "nfsync-git-")
	if err != nil {
		return "", nil, fmt.Errorf("cannot keep a clone: %w", err)
	}
	// What cannot be removed is the temporary directory's to clean.
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// fetcher fetches from the repository of the flags and the configuration, and
// tells on a terminal that it does.
func (a *app) fetcher(o *gitOptions) (fetch agent.Fetcher, done func(), err error) {
	dir, done, err := a.clones()
	if err != nil {
		return nil, nil, err
	}
	cfg, err := a.source(o, dir)
	if err != nil {
		done()
		return nil, nil, err
	}
	return func(ctx context.Context, last []source.Position, accept string) (source.Revision, error) {
		defer a.fetching(cfg.URLs[0])()
		return source.Fetch(ctx, cfg, last, accept)
	}, done, nil
}

// fetchRevision brings the policies that a person wants to plan or apply.
func (a *app) fetchRevision(ctx context.Context, o *gitOptions) (agent.Revision, error) {
	fetch, done, err := a.fetcher(o)
	if err != nil {
		return agent.Revision{}, err
	}
	defer done()
	last, err := state.ReadPositions(a.stateDir)
	if errors.Is(err, fs.ErrPermission) {
		a.say(slog.LevelWarn, "whether the branch was rewritten cannot be told: "+err.Error(), "")
		err = nil
	}
	if err != nil {
		return agent.Revision{}, err
	}
	r, err := agent.Fetch(ctx, fetch, last, o.accept)
	if invalid, ok := errors.AsType[*agent.InvalidError](err); ok {
		err := a.refuseRevision(invalid)
		a.say(slog.LevelWarn, "nothing was planned or applied", "")
		return r, err
	}
	a.sayWarnings(r)
	return r, err
}

// sayWarnings tells what a person should know about a fetch.
func (a *app) sayWarnings(r agent.Revision) {
	for _, w := range r.Warnings {
		a.say(slog.LevelWarn, w, "")
	}
}

// refuseRevision tells the errors of a commit's policies on stderr.
func (a *app) refuseRevision(e *agent.InvalidError) error {
	if err := view.Diagnostics(a.stderr, view.FormatText, sorted(e.Diagnostics), nil, 0); err != nil {
		return err
	}
	a.say(slog.LevelError, fmt.Sprintf("the policies of commit %s are invalid", e.Commit), "")
	return outcome(exitInvalid)
}

// A fetch that takes longer than fetchQuiet is told on a terminal, and for how
// long it has been going on.
const fetchQuiet = 300 * time.Millisecond

// fetching tells people at a terminal what they are waiting for, until stop is
// called.
func (a *app) fetching(from string) (stop func()) {
	if _, ok := terminal(a.stderr); !ok || a.logFormat == logJSON {
		return func() {}
	}
	return tick(a.stderr, fetchQuiet, func(waited time.Duration) string {
		return fmt.Sprintf("fetching %q (%ds)", from, int(waited.Seconds()))
	})
}

// tick writes a line over and over, and takes it away at last.
func tick(w io.Writer, every time.Duration, line func(time.Duration) string) (stop func()) {
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		began, shown := time.Now(), false
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-done:
				if shown {
					fmt.Fprint(w, "\r\x1b[K")
				}
				return
			case <-t.C:
				shown = true
				fmt.Fprint(w, "\r\x1b[K"+line(time.Since(began)))
			}
		}
	}()
	return func() {
		close(done)
		<-over
	}
}
