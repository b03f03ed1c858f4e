package spec

import (
	"time"

	"nfsync.dev/nfsync/internal/nf"
)

// CoordinatorConfig is the configuration file of the coordinator of a fleet. Values that the file
// does not set have their defaults.
type CoordinatorConfig struct {
	// Name is who this coordinator is in the documents that it writes. An empty name is the kernel's node
	// name.
	Name    string
	Channel string
	// Source is the branch whose commits are rolled out. It has at least one URL, and no tag or commit.
	Source GitSource
	Verify Verification
	// Listen is host:port of the page and the metrics, as AgentConfig.Listen.
	Listen string
	Engine Engine
	// Directory has the keys, and the store of an engine of its own.
	Directory string
}

// Engine is the NATS server that has the state of a fleet: one that the coordinator runs itself on Listen,
// or those of Servers. Exactly one of the two is set.
type Engine struct {
	Listen string // host:port; the host may be empty: every address
	// CertFile and KeyFile are the certificate of Listen. Both are set, unless it is a loopback address.
	CertFile, KeyFile string

	Servers         []string // URLs as those of Fleet.Servers
	CredentialsFile string   // what the coordinator shows the servers
	CAFile          string   // certificate authorities, instead of the system's
}

// IsEmbedded reports whether the coordinator runs the server itself.
func (e Engine) IsEmbedded() bool { return e.Listen != "" }

// Defaults of a coordinator's configuration file.
const (
	DefaultCoordinatorListen    = "127.0.0.1:9470"
	DefaultEngineListen         = "127.0.0.1:4222"
	DefaultCoordinatorDirectory = "/var/lib/nfsync-coordinator"
)

// DefaultCoordinatorConfig returns the configuration of a coordinator whose file sets nothing but a
// source.
func DefaultCoordinatorConfig() CoordinatorConfig {
	return CoordinatorConfig{
		Channel: nf.DefaultChannel,
		Source:  GitSource{Interval: time.Minute, Timeout: DefaultTimeout, MaxPackSize: DefaultMaxPackSize},
		Verify:  Verification{Mode: VerifyNone},
		Listen:  DefaultCoordinatorListen,
		Engine:  Engine{Listen: DefaultEngineListen},

		Directory: DefaultCoordinatorDirectory,
	}
}

// ParseCoordinatorConfig reads a coordinator's configuration file: one CoordinatorConfig document, held as strictly
// as policies are. With a diagnostic there is no configuration.
func ParseCoordinatorConfig(f File) (CoordinatorConfig, []Diagnostic) {
	found := &diagnostics{file: f.Name}
	config := DefaultCoordinatorConfig()
	if text, ok := checkText(f.Data, maxPolicyFile, found); ok {
		p := newParser(text, found)
		p.hidesScalars = true
		if root := p.only(decodeYAML(text, found), "it begins with apiVersion: "+nf.APIVersion); root != nil {
			p.coordinatorDocument(root, &config)
		}
	}
	if found.count() > 0 {
		return CoordinatorConfig{}, found.sorted()
	}
	return config, nil
}
