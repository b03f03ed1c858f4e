package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
)

// Configuration is the agent's configuration file, as it was read.
type Configuration struct {
	File        string
	Named       bool // by a flag: it has to exist
	Err         error
	Diagnostics []spec.Diagnostic
	Agent       spec.AgentConfig // with neither of these
}

// reachTimeout is the most that one URL may take, even where the configuration
// allows more.
const reachTimeout = 15 * time.Second

// configuration checks the file, the keys and secrets that it names, and what
// each repository delivers.
func (n *Node) configuration(ctx context.Context) []view.Check {
	const name = "configuration"
	c := &n.Config
	switch {
	case errors.Is(c.Err, fs.ErrNotExist) && !c.Named:
		return []view.Check{passed(name, "there is no "+c.File+": the agent has no repository. docs/agent-config.md shows one, and nfsync schema AgentConfig its keys")}
	case c.Err != nil:
		return []view.Check{n.notSeen(failed(name, c.Err.Error(), "name another file: nfsync doctor --config FILE"), c.Err)}
	}
	var checks []view.Check
	for _, d := range c.Diagnostics {
		checks = append(checks, failed(name, d.String(), strings.TrimPrefix(d.Hint+"; ", "; ")+"nfsync validate "+c.File))
	}
	if len(checks) > 0 {
		return checks
	}
	checks = append([]view.Check{c.owner(name)}, c.secrets()...)
	for _, u := range c.Agent.Source.URLs {
		checks = append(checks, n.repository(ctx, u))
	}
	return checks
}

// isThere reports whether there is a configuration file, valid or not.
func (c *Configuration) isThere() bool { return !errors.Is(c.Err, fs.ErrNotExist) }

// owner checks who may change what this node does.
func (c *Configuration) owner(name string) view.Check {
	info, err := os.Stat(c.File)
	if err == nil && info.Mode().Perm()&0o022 != 0 {
		return failed(name, fmt.Sprintf("others may change %s (mode %04o), and with it what this node does", c.File, info.Mode().Perm()),
			view.CommandLine("chmod", "go-w", c.File))
	}
	return passed(name, c.File+" is valid")
}

// secrets checks the keys and secrets that the configuration names.
func (c *Configuration) secrets() []view.Check {
	const name = "keys and secrets"
	warnings, errs := source.CheckFiles(agent.ConfiguredSource(c.Agent))
	if p := c.Agent.Publish; p != nil {
		more, others := source.CheckFiles(source.Config{Auth: source.Auth(p.Auth)})
		warnings, errs = append(warnings, more...), append(errs, others...)
	}
	if file := c.Agent.WebhookSecretFile; file != "" {
		if err := source.CheckSecret("webhook secret", file); err != nil {
			errs = append(errs, err)
		}
	}
	var checks []view.Check
	for _, err := range errs {
		checks = append(checks, failed(name, err.Error(), "see the file that "+c.File+" names: docs/agent-config.md has the keys, and ls -l its mode"))
	}
	for _, w := range warnings {
		checks = append(checks, warned(name, w, "take it out of the file, or replace it, and run nfsync doctor again"))
	}
	if len(checks) == 0 {
		return []view.Check{passed(name, "what "+c.File+" names can be read and used, secrets by their owner only")}
	}
	return checks
}

// repository fetches from one URL, into a directory that is removed afterwards.
func (n *Node) repository(ctx context.Context, u string) view.Check {
	const name = "repository"
	dir, done, err := source.CloneDir("")
	if err != nil {
		return failed(name, err.Error(), "make room: "+view.CommandLine("df", os.TempDir()))
	}
	defer done()
	cfg := agent.ConfiguredSource(n.Config.Agent)
	cfg.URLs, cfg.Dir, cfg.Timeout = []string{u}, dir, min(cfg.Timeout, reachTimeout)
	last, err := state.ReadPositions(n.StateDir)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return failed(name, err.Error(), "nfsync agent --once says more")
	}
	r, err := agent.Fetch(ctx, func(ctx context.Context, last []source.Position, accept string) (source.Revision, error) {
		defer n.Fetching(u)()
		return source.Fetch(ctx, cfg, last, accept)
	}, cfg.Verify.Mode, last, "")
	u = nf.PublicURL(u)
	if err != nil {
		detail := err.Error()
		if !strings.Contains(detail, u) {
			detail = u + ": " + detail
		}
		return failed(name, detail, fetchRemedy(err))
	}
	return passed(name, u+": "+describe(r))
}

func describe(r agent.Revision) string {
	text := "commit " + r.Commit
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

// fetchRemedy returns what helps where a repository delivers nothing that could
// be applied.
func fetchRemedy(err error) string {
	if _, ok := errors.AsType[*agent.InvalidError](err); ok {
		return "mend the policies, as nfsync validate shows: the last good revision stays in force until then"
	}
	if _, ok := errors.AsType[*source.VerifyError](err); ok {
		return "have the commit signed (git commit -S), or add its key to those that are trusted"
	}
	if rewritten, ok := errors.AsType[*source.RewrittenError](err); ok {
		return view.CommandLine("nfsync", "agent", "--once", "--accept", rewritten.New) + ", if that is meant"
	}
	return "check the URL, the network and the credentials: git ls-remote URL"
}
