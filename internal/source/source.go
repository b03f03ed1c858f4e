package source

import (
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// Config says where the policies are and how to fetch them.
type Config struct {
	// URLs are tried in order until one answers: https://, http://, ssh://,
	// user@host:path, file:// or a plain path. None may hold a password. They are printed and
	// stored as nf.PublicURL returns them.
	URLs []string
	// At most one of Branch, Tag and Commit is given. Without any it is the branch that the
	// remote's HEAD names; once a commit of it was applied, another is a *RewrittenError.
	Branch, Tag, Commit string
	// UpTo is a commit of the branch: its head or an ancestor of it. It is taken instead of the
	// head. The server is not asked if the clone has what shows that.
	UpTo string
	// After are commits that UpTo must be or descend from, whatever the URL and the branch are, besides the
	// position of its branch. Commits that are new since the first of them are verified.
	After []string
	// Before, if not empty, is a commit of the branch that must be UpTo or descend from it.
	Before string
	// Rev names a commit of a repository of this machine, in place of these, as git-rev-parse(1)
	// takes it: origin/main, HEAD~2, a short hash.
	Rev string
	// Path is the directory of the policies in the repository; empty is its root.
	Path string
	// Timeout bounds one fetch of one URL; zero is DefaultTimeout.
	Timeout time.Duration
	// MaxPack is the largest size of a pack, and bounds the size of a clone; zero is
	// DefaultMaxPack. A pack that exceeds a bound is not fetched again until the commit or the
	// bound changes.
	MaxPack nf.Size
	Auth    Auth
	// UserKeys allows the keys of the person who runs nfsync where Auth names no key for ssh:
	// those in ssh-agent and in ~/.ssh.
	UserKeys bool
	Verify   Verify
	// Dir is the directory of the clones. They are a cache and can be removed.
	Dir string
	// Health, if set, remembers how the fetches from each URL went: one that has failed is tried
	// after the others for a while.
	Health *Health `json:"-"`
}

// DefaultTimeout is the time that the fetch of one URL may take.
const DefaultTimeout = 60 * time.Second

// DefaultMaxPack is the largest size of a pack: far above what repositories of
// policies need.
const DefaultMaxPack = 256 * nf.MiB

// Auth names the files that hold keys and secrets. Each fetch reads them again.
type Auth struct {
	SSHKeyFile          string // private key without passphrase; empty: see Config.UserKeys
	KnownHostsFile      string // empty: ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts
	SSHLegacyAlgorithms bool   // allow algorithms of ssh that rest on SHA-1, for old servers
	User                string // of http basic authentication, with PasswordFile
	PasswordFile        string
	TokenFile           string // bearer token
	CAFile              string // PEM, instead of the system's
	ClientCertFile      string // PEM, with ClientKeyFile
	ClientKeyFile       string
	Proxy               string // URL of a proxy; empty: as HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say
}

// Mode selects the commits whose signatures are verified.
type Mode string

// The modes of verification.
const (
	VerifyNone Mode = "none"
	VerifyTip  Mode = "tip" // the commit that is fetched
	VerifyAll  Mode = "all" // it and every commit since the last applied one
)

// Verify selects the commits that must be signed, and the keys that are trusted.
type Verify struct {
	Mode           Mode     // empty is none
	Keyrings       []string // files of OpenPGP public keys, armored or binary
	AllowedSigners []string // files of SSH keys: ALLOWED SIGNERS in ssh-keygen(1)
}

// Position is the last applied commit of a branch. The caller stores it.
type Position struct {
	URL    string `json:"url"` // as Revision has it
	Branch string `json:"branch"`
	Commit string `json:"commit"`
	Head   bool   `json:"head,omitempty"` // no branch was configured, and HEAD named this one, or a commit if it is empty
}

// Revision is a commit and the policy files in it.
type Revision struct {
	Commit   string   // full hash
	URL      string   // the URL that delivered it, as nf.PublicURL returns it
	Branch   string   // empty for a tag or a commit
	Head     bool     // no branch is configured, and HEAD names this one, or a commit if it is empty
	Tag      string   // empty unless Config names a tag
	Signer   string   // who signed the commit; empty without verification
	Files    []File   // sorted by name
	Unread   []string // files that look like policies and are not read because of their names
	Warnings []string // such as URLs that failed before this one, or a tag that moved
}

// File is one policy file of a revision.
type File struct {
	Name string // slash-separated, from the root of the repository
	Data []byte
}
