package agent

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
	"nfsync.dev/nfsync/internal/spec"
)

// Flags holds the flags about the repository of the policies. Each
// field is named after its flag, and empty where the flag is not given.
type Flags struct {
	URLs                []string
	Branch, Tag, Commit string
	Path                string
	Accept              string         // commit of a rewritten branch that is taken
	Timeout             *time.Duration // nil: not given
	MaxPackSize         nf.Size        // 0: not given
	Auth                source.Auth
	Verify              source.Verify
}

// Source returns the source of the policies: that of the configuration, with
// what the flags say in its place. A repository that is a relative path is one
// below dir: what was applied is remembered by its URL, which must mean the same
// in every directory.
//
// Flags can make verification stricter, not weaker.
func (f Flags) Source(c spec.AgentConfig, dir string) (source.Config, error) {
	configured := ConfiguredSource(c)
	if err := f.checkTrust(configured.Verify); err != nil {
		return configured, err
	}
	cfg := f.over(configured)
	for i, u := range cfg.URLs {
		cfg.URLs[i] = absolute(u, dir)
	}
	if cfg.Timeout <= 0 {
		return cfg, fmt.Errorf("--timeout %s: there must be some time to fetch", cfg.Timeout)
	}
	if cfg.MaxPack < spec.LeastMaxPackSize || cfg.MaxPack > spec.MostMaxPackSize {
		return cfg, fmt.Errorf("--max-pack-size %s: it must be %s to %s", cfg.MaxPack, spec.LeastMaxPackSize, spec.MostMaxPackSize)
	}
	if err := cfg.Check(f.Accept); err != nil {
		return cfg, err
	}
	var err error
	cfg.Path, err = source.CleanPath(cfg.Path)
	return cfg, err
}

// checkTrust returns an error if the flags would trust a commit that the configuration does
// not.
func (f Flags) checkTrust(configured source.Verify) error {
	const way = "use --config none to go without the configuration"
	switch {
	case f.Verify.Mode != "" && stricter(configured.Mode, f.Verify.Mode):
		return fmt.Errorf("--verify %s is weaker than the configuration, which has %s: %s", f.Verify.Mode, configured.Mode, way)
	case stricter(configured.Mode, source.VerifyNone) && len(f.Verify.Keyrings)+len(f.Verify.AllowedSigners) > 0:
		return fmt.Errorf("--keyring and --allowed-signers would replace the keys of the configuration: %s", way)
	}
	return nil
}

// stricter reports whether one mode of verification asks for more than another.
func stricter(a, b source.Mode) bool {
	modes := []source.Mode{"", source.VerifyNone, source.VerifyTip, source.VerifyAll}
	return max(slices.Index(modes, a), 1) > max(slices.Index(modes, b), 1)
}

// IsConfigured reports whether the flags leave the source as the configuration has it: no
// other repository, revision or path.
func (f Flags) IsConfigured() bool {
	return len(f.URLs) == 0 && f.Branch+f.Tag+f.Commit+f.Path == ""
}

// ConfiguredSource returns the source of a configuration file.
func ConfiguredSource(c spec.AgentConfig) source.Config {
	return source.Config{
		URLs: slices.Clone(c.Source.URLs), Branch: c.Source.Branch, Tag: c.Source.Tag, Commit: c.Source.Commit, Path: c.Source.Path,
		Timeout: c.Source.Timeout, MaxPack: c.Source.MaxPackSize, Auth: source.Auth(c.Source.Auth),
		Verify: source.Verify{Mode: source.Mode(c.Verify.Mode), Keyrings: c.Verify.Keyrings, AllowedSigners: c.Verify.AllowedSigners},
	}
}

// over puts the flags in the place of what cfg says. Branch, tag and commit are
// one setting, and so are user, password and token, and the files of keys.
func (f Flags) over(cfg source.Config) source.Config {
	if len(f.URLs) > 0 {
		cfg.URLs = slices.Clone(f.URLs)
	}
	if f.Branch+f.Tag+f.Commit != "" {
		cfg.Branch, cfg.Tag, cfg.Commit = f.Branch, f.Tag, f.Commit
	}
	cfg.Path = cmp.Or(f.Path, cfg.Path)
	if f.Timeout != nil {
		cfg.Timeout = *f.Timeout
	}
	cfg.MaxPack = cmp.Or(f.MaxPackSize, cfg.MaxPack)
	auth := &cfg.Auth
	if f.Auth.User+f.Auth.PasswordFile+f.Auth.TokenFile != "" {
		auth.User, auth.PasswordFile, auth.TokenFile = f.Auth.User, f.Auth.PasswordFile, f.Auth.TokenFile
	}
	auth.SSHKeyFile = cmp.Or(f.Auth.SSHKeyFile, auth.SSHKeyFile)
	auth.KnownHostsFile = cmp.Or(f.Auth.KnownHostsFile, auth.KnownHostsFile)
	auth.SSHLegacyAlgorithms = cmp.Or(f.Auth.SSHLegacyAlgorithms, auth.SSHLegacyAlgorithms)
	auth.CAFile = cmp.Or(f.Auth.CAFile, auth.CAFile)
	cfg.Verify.Mode = cmp.Or(f.Verify.Mode, cfg.Verify.Mode)
	if len(f.Verify.Keyrings)+len(f.Verify.AllowedSigners) > 0 {
		cfg.Verify.Keyrings, cfg.Verify.AllowedSigners = f.Verify.Keyrings, f.Verify.AllowedSigners
	}
	return cfg
}

// absolute returns a path of this machine as an absolute one, and any other URL
// unchanged.
func absolute(u, dir string) string {
	head, _, _ := strings.Cut(u, "/")
	switch {
	case u == "", strings.Contains(head, ":"): // https://…, or host:path for ssh
		return u
	case filepath.IsAbs(u):
		return filepath.Clean(u)
	}
	return filepath.Join(dir, u)
}
