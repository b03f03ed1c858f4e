package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
)

// reachTimeout is how long doctor waits for one URL, where the configuration
// would wait longer.
const reachTimeout = 15 * time.Second

// checkConfig checks the configuration file, if one is named or is there, and
// takes from it what the flags do not say. A missing default file is no check.
func (a *app) checkConfig(ctx context.Context, flags *pflag.FlagSet) []view.Check {
	const name = "configuration"
	config, diagnostics, err := loadConfig(a.configFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !flags.Changed("config"):
		return nil
	case err != nil:
		return []view.Check{{Name: name, Status: view.Fail, Detail: err.Error(), Remedy: "name another file with --config"}}
	case len(diagnostics) > 0:
		var checks []view.Check
		for _, d := range diagnostics {
			checks = append(checks, view.Check{Name: name, Status: view.Fail, Detail: d.String(), Remedy: d.Hint})
		}
		return checks
	}
	if err := a.takeConfig(flags, config); err != nil {
		return []view.Check{{Name: name, Status: view.Fail, Detail: a.configFile + ": " + err.Error(), Remedy: "name only runtimes that nfsync knows"}}
	}
	checks := []view.Check{a.checkConfigFile(name)}
	checks = append(checks, a.checkFiles()...)
	return append(checks, a.checkReach(ctx)...)
}

// checkConfigFile looks who may change what this user's nfsync does.
func (a *app) checkConfigFile(name string) view.Check {
	info, err := os.Stat(a.configFile)
	if err == nil && info.Mode().Perm()&0o022 != 0 {
		return view.Check{Name: name, Status: view.Fail, Detail: fmt.Sprintf("others may change %s (mode %04o), and with it what this node does", a.configFile, info.Mode().Perm()),
			Remedy: typed("chmod", "go-w", a.configFile)}
	}
	return passed(name, a.configFile+" is valid")
}

// checkFiles checks the keys and secrets that the configuration names.
func (a *app) checkFiles() []view.Check {
	const name = "keys and secrets"
	warnings, errs := source.CheckFiles(agent.ConfiguredSource(a.config))
	if p := a.config.Publish; p != nil {
		more, others := source.CheckFiles(source.Config{Auth: source.Auth(p.Auth)})
		warnings, errs = append(warnings, more...), append(errs, others...)
	}
	if file := a.config.WebhookSecretFile; file != "" {
		if err := source.CheckSecret("webhook secret", file); err != nil {
			errs = append(errs, err)
		}
	}
	var checks []view.Check
	for _, err := range errs {
		checks = append(checks, view.Check{Name: name, Status: view.Fail, Detail: err.Error(), Remedy: "see the file that " + a.configFile + " names"})
	}
	for _, w := range warnings {
		checks = append(checks, view.Check{Name: name, Status: view.Warn, Detail: w, Remedy: "take it out of the file, or replace it"})
	}
	if len(checks) == 0 {
		return []view.Check{passed(name, "what "+a.configFile+" names can be read and used, secrets by their owner only")}
	}
	return checks
}

// checkReach fetches from each URL alone, into a directory that is thrown away.
func (a *app) checkReach(ctx context.Context) []view.Check {
	var checks []view.Check
	for _, u := range a.config.Source.URLs {
		checks = append(checks, a.checkURL(ctx, u))
	}
	return checks
}

func (a *app) checkURL(ctx context.Context, u string) view.Check {
	const name = "repository"
	dir, done, err := source.CloneDir("")
	if err != nil {
		return view.Check{Name: name, Status: view.Fail, Detail: err.Error(), Remedy: "make room below " + os.TempDir()}
	}
	defer done()
	cfg := agent.ConfiguredSource(a.config)
	cfg.URLs, cfg.Dir, cfg.Timeout = []string{u}, dir, min(cfg.Timeout, reachTimeout)
	last, err := state.ReadPositions(a.stateDir)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return view.Check{Name: name, Status: view.Fail, Detail: err.Error(), Remedy: "see the file"}
	}
	stop := a.fetching(u)
	r, err := agent.Fetch(ctx, func(ctx context.Context, last []source.Position, accept string) (source.Revision, error) {
		return source.Fetch(ctx, cfg, last, accept)
	}, last, "")
	stop()
	if err != nil {
		detail := err.Error()
		if !strings.Contains(detail, u) {
			detail = u + ": " + detail
		}
		return view.Check{Name: name, Status: view.Fail, Detail: detail, Remedy: reachRemedy(err)}
	}
	return passed(name, u+": "+described(r))
}

func described(r agent.Revision) string {
	text := fmt.Sprintf("commit %s", r.Commit)
	switch {
	case r.Branch != "":
		text += " of branch " + r.Branch
	case r.Tag != "":
		text += " of tag " + r.Tag
	}
	if r.Signer != "" {
		text += ", signed by " + r.Signer
	}
	if len(r.Files) == 1 {
		return text + ", with 1 policy file"
	}
	return fmt.Sprintf("%s, with %d policy files", text, len(r.Files))
}

// reachRemedy is what helps where a repository delivers nothing that could be
// applied.
func reachRemedy(err error) string {
	var (
		invalid   *agent.InvalidError
		untrusted *source.VerifyError
		rewritten *source.RewrittenError
	)
	switch {
	case errors.As(err, &invalid):
		return "mend the policies: the last good revision stays in force until then"
	case errors.As(err, &untrusted):
		return "have the commit signed, or its key added to those that are trusted"
	case errors.As(err, &rewritten):
		return typed("nfsync", "agent", "--once", "--accept", rewritten.New) + ", if that is meant"
	}
	return "see whether the URL, the network and the credentials are right"
}

// checkLastGood tells what there is to fall back on. It is no check where git
// was never used.
func (a *app) checkLastGood() []view.Check {
	const name = "last good revision"
	good, err := state.ReadLastGood(a.stateDir)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return []view.Check{{Name: name, Status: view.Warn, Detail: err.Error(), Remedy: "run nfsync as root"}}
	case err != nil:
		return []view.Check{{Name: name, Status: view.Fail, Detail: err.Error(), Remedy: "see " + filepath.Join(a.stateDir, "lastgood")}}
	case good.Revision == "":
		return nil
	}
	return []view.Check{passed(name, fmt.Sprintf("%s of %s, since %s", good.Revision, good.URL, good.Since.Local().Format(time.DateTime)))}
}
