package source

import "time"

// Config says where the policies are and how to fetch them.
type Config struct {
	// URLs are tried in order until one answers: https://, http://, ssh://,
	// user@host:path, file:// or a plain path. None may hold a password.
	URLs []string
	// At most one of Branch, Tag and Commit is given; without any it is the branch
	// that the remote's HEAD names.
	Branch, Tag, Commit string
	// Path is the directory inside the repository that holds the policies; empty is its root.
	Path string
	// Timeout bounds one fetch of one URL; zero is DefaultTimeout.
	Timeout time.Duration
	Auth    Auth
	Verify  Verify
	// Dir is the directory of the clones. They are a cache that can be removed.
	Dir string
}

// DefaultTimeout is the time in which one URL must deliver a revision.
const DefaultTimeout = 60 * time.Second

// Auth names files, never secrets; each fetch reads them anew.
type Auth struct {
	SSHKeyFile     string // private key without passphrase
	KnownHostsFile string // empty: ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts
	User           string // of http basic authentication, with PasswordFile
	PasswordFile   string
	TokenFile      string // bearer token
	CAFile         string // PEM, instead of the system's
	ClientCertFile string // PEM, with ClientKeyFile
	ClientKeyFile  string
	Proxy          string // URL of a proxy; empty: as HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say
}

// Mode says which commits must have a good signature.
type Mode string

// The modes of verification.
const (
	VerifyNone Mode = "none"
	VerifyTip  Mode = "tip" // the commit that is fetched
	VerifyAll  Mode = "all" // it and every commit since the last applied one
)

// Verify says which commits must be signed, and whose signatures are good.
type Verify struct {
	Mode           Mode     // empty is none
	Keyrings       []string // files of OpenPGP public keys, armored or binary
	AllowedSigners []string // files as ssh-keygen(1) describes under ALLOWED SIGNERS
}

// Position is the last applied commit of a branch, from which it is followed. The caller
// stores it, outside the cache.
type Position struct {
	URL    string `json:"url"`
	Branch string `json:"branch"`
	Commit string `json:"commit"`
}

// Revision is a commit and the policy files in it.
type Revision struct {
	Commit string // full hash
	URL    string // the URL that delivered it
	Branch string // empty for a tag or a commit
	Tag    string // empty unless a tag was asked for
	Signer string // who signed the commit; empty without verification
	Files  []File // sorted by name
	// Warnings are about the fetch: URLs that failed before this one, a tag that
	// moved.
	Warnings []string
}

// File is one policy file of a revision.
type File struct {
	Name string // slash-separated, from the root of the repository
	Data []byte
}
