package spec

import (
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// AgentConfig is the agent's configuration file. Values that the file does not
// set have their defaults; flags override them.
type AgentConfig struct {
	// Node is who this node is for the selectors of policies. An empty name is
	// the kernel's node name.
	Node nf.NodeIdentity
	// Source is where the policies are. Without URLs the file names no source,
	// and flags must.
	Source GitSource
	Verify Verification
	// Runtimes are those whose containers are listed; empty: all that this
	// nfsync knows.
	Runtimes []string
	Mode     string // ModeEnforce or ModeObserve
	Drift    Drift
	Apply    Applying
	Restart  Restarts
	// Listen is host:port of metrics, status page and webhook. The host may be
	// empty: every address. ListenNone is none.
	Listen string
	// WebhookSecretFile holds the secret that webhooks are signed with; empty:
	// no webhook is taken.
	WebhookSecretFile string
	// Publish is where the node's snapshots go; nil: nowhere.
	Publish *Publish
	// Fleet is the fleet that the node is in; nil: none. With it Source names a branch, or nothing.
	Fleet *Fleet
}

// The modes: what the agent does where the machine differs from the policies.
const (
	ModeEnforce = "enforce" // change the machine
	ModeObserve = "observe" // plan and report, change nothing
)

// GitSource is the git repository that is followed.
type GitSource struct {
	URLs []string // tried in order; none holds a password
	// At most one of Branch, Tag and Commit is set; none: the branch that the
	// repository's HEAD names.
	Branch, Tag string
	Commit      string // 40 lower-case hexadecimal digits
	AllowEmpty  bool   // that there is no policy below Path is no error
	Path        string // of the policies in the repository, clean and without a leading slash; "" is its root
	// Interval is the time between two fetches, Timeout the most that one fetch
	// of one URL may take. Both are whole seconds.
	Interval, Timeout time.Duration
	MaxPackSize       nf.Size // the most that one fetch may receive
	Auth              GitAuth
}

// GitAuth is how a repository is reached: absolute names of files, never
// secrets. What is empty is not used.
type GitAuth struct {
	SSHKeyFile          string // private key, for ssh
	KnownHostsFile      string // host keys, for ssh; empty: ssh's own files
	SSHLegacyAlgorithms bool   // allow algorithms of ssh that rest on SHA-1
	User                string // with PasswordFile, for https and http
	PasswordFile        string
	TokenFile           string // bearer token, instead of User and PasswordFile
	CAFile              string // certificate authorities, instead of the system's
	ClientCertFile      string // client certificate, with ClientKeyFile
	ClientKeyFile       string
	Proxy               string // URL without a password; empty: as the environment sets it
}

// Verification selects the commits that are accepted.
type Verification struct {
	Mode           string   // VerifyNone, VerifyTip or VerifyAll; with the latter two there is at least one file
	Keyrings       []string // files of OpenPGP public keys, armored or binary
	AllowedSigners []string // files as ssh-keygen(1) describes them under ALLOWED SIGNERS
}

// Which commits must be signed.
const (
	VerifyNone = "none" // none
	VerifyTip  = "tip"  // the one that is applied
	VerifyAll  = "all"  // all since the one that was applied last
)

// Drift configures how changes that no policy asked for are found.
type Drift struct {
	Interval time.Duration // whole seconds between two observations of the machine
	Heal     bool          // undo the change; else report it
}

// Applying configures how changes are made.
type Applying struct {
	Parallel int // the most containers that are changed at once, at least 1
}

// Restarts limits the restarts of containers that policies allow.
type Restarts struct {
	Window      *Window // nil: at any time
	MaxRestarts int     // in one lap, at least 1
}

// Window is a time of the day, on some days of the week, in the node's local
// time. It may pass midnight: End is then before Start, and Days are those on
// which it starts.
type Window struct {
	Days       []time.Weekday // sorted from Sunday, each once; empty: every day
	Start, End time.Duration  // since midnight, whole minutes, below 24 hours, never equal
}

// Publish is the repository that the node's snapshots are pushed to. Its
// credentials are its own.
type Publish struct {
	URL    string
	Branch string // of this node; nf.NodePlaceholder stands for its name
	Path   string // directory in the repository, as GitSource.Path
	Auth   GitAuth
}

// Fleet is how a node reaches the coordinator of its fleet.
type Fleet struct {
	Servers         []string // nats, tls, ws and wss URLs without users and paths; nats and ws ones of this machine alone
	CredentialsFile string   // what the node shows the servers
	CAFile          string   // certificate authorities, instead of the system's
	Channel         string   // nf.DefaultChannel, if the file names none
	CoordinatorKey  string   // public nkey that roll-outs are signed with
}

// Defaults of a configuration file that flags and messages name.
const (
	DefaultTimeout     = time.Minute
	DefaultMaxPackSize = 256 * nf.MiB
	DefaultListen      = "127.0.0.1:9469"
)

// ListenNone is the listen address of an agent that does not listen.
const ListenNone = "none"

// The range of GitSource.MaxPackSize.
const (
	LeastMaxPackSize = nf.MiB
	MostMaxPackSize  = 16 * nf.GiB
)

// DefaultAgentConfig returns the configuration of an agent without a configuration file.
func DefaultAgentConfig() AgentConfig {
	return AgentConfig{
		Source:  GitSource{Interval: time.Minute, Timeout: DefaultTimeout, MaxPackSize: DefaultMaxPackSize},
		Verify:  Verification{Mode: VerifyNone},
		Mode:    ModeEnforce,
		Drift:   Drift{Interval: 5 * time.Minute, Heal: true},
		Apply:   Applying{Parallel: 4},
		Restart: Restarts{MaxRestarts: 1},
		Listen:  DefaultListen,
	}
}

// ParseAgentConfig reads the agent's configuration file: one AgentConfig
// document, held as strictly as policies are. With a diagnostic there is no
// configuration.
func ParseAgentConfig(f File) (AgentConfig, []Diagnostic) {
	found := &diagnostics{file: f.Name}
	config := DefaultAgentConfig()
	if text, ok := checkText(f.Data, maxPolicyFile, found); ok {
		p := newParser(text, found)
		p.hidesScalars = true
		if root := p.only(decodeYAML(text, found), "it begins with apiVersion: "+nf.APIVersion); root != nil {
			p.agentDocument(root, &config)
		}
	}
	if found.count() > 0 {
		return AgentConfig{}, found.sorted()
	}
	return config, nil
}
