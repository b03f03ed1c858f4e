package engine

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"
)

// Listen says where a server listens, and who it is.
type Listen struct {
	Address           string // host:port; port 0: a free one
	CertFile, KeyFile string // PEM; both empty: without TLS, which loopback addresses may
}

// check returns an error that names the keys of the configuration.
func (l Listen) check() error {
	host, _, err := net.SplitHostPort(l.Address)
	if err != nil {
		return fmt.Errorf("engine.listen: %q is not HOST:PORT: %w", l.Address, err)
	}
	if (l.CertFile == "") != (l.KeyFile == "") {
		return fmt.Errorf("engine.tls: certFile and keyFile belong together")
	}
	if l.CertFile == "" && !isLoopback(host) {
		return fmt.Errorf("engine.listen: %s is reached from other machines: engine.tls.certFile and engine.tls.keyFile are needed, or an address such as 127.0.0.1:4222", l.Address)
	}
	return nil
}

// serverAddress returns the address as a server's configuration has it, where port 0 is the default one and -1 a free one.
func (l Listen) serverAddress() string {
	if host, port, err := net.SplitHostPort(l.Address); err == nil && port == "0" {
		return net.JoinHostPort(host, "-1")
	}
	return l.Address
}

// isLoopback reports whether a host is this machine alone.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// mostConnections is the most connections that a server takes: a fleet of 100,000 nodes, and what reconnects before
// its old connection has ended.
const mostConnections = 120000

// serverText is the configuration of a server. Its verbs are the name, where it listens, the TLS block, and the directories
// of streams and accounts.
const serverText = `server_name: %s
listen: %s
max_connections: %d
%s
jetstream {
  store_dir: %s
  # What was acknowledged is on the disk. The default of two minutes loses it when the power fails.
  sync_interval: always
  max_file_store: 10GB
  max_memory_store: 64MB
}

# Who may do what is in the accounts, which the operator has signed. Nodes that are enrolled later need no change here.
operator: %s
system_account: %s
resolver {
  type: full
  dir: %s
  allow_delete: false
  interval: "10s"
}
# Only for the first start: a newer account of the same name that the server has had stays.
resolver_preload {
%s}
`

// text returns the configuration of a server.
func (d *Directory) text(name string, listen Listen, tls, store, accountsDir string) (string, error) {
	l, err := d.readLedger()
	if err != nil {
		return "", err
	}
	var preload strings.Builder
	for _, account := range accounts() {
		fmt.Fprintf(&preload, "  # %s\n  %s: %s\n", account, d.keys.public(account), l.Accounts[account])
	}
	return fmt.Sprintf(serverText, quoted(name), quoted(listen.serverAddress()), mostConnections, tls, quoted(store), d.keys.operator, d.keys.public(accountSystem), quoted(accountsDir), preload.String()), nil
}

// embeddedText returns the configuration of the server in this process.
func (d *Directory) embeddedText(listen Listen) (string, error) {
	tls := ""
	if listen.CertFile != "" {
		tls = tlsText(listen.CertFile, listen.KeyFile)
	}
	return d.text("nfsync-coordinator", listen, tls, d.inside(dirStore), d.inside(dirAccounts))
}

// tlsText is the TLS block of a configuration. The time is for many that connect at once.
func tlsText(cert, key string) string {
	return fmt.Sprintf(`tls {
  cert_file: %s
  key_file: %s
  timeout: 30
}
`, quoted(cert), quoted(key))
}

// sitesText is what servers have for the sites, as comments.
const sitesText = `
# For servers at the sites of nodes, which have the configuration nats-leaf.conf:
# leafnodes {
#   listen: "0.0.0.0:7422"
#   tls {
#     cert_file: "/etc/nats/server.crt"
#     key_file: "/etc/nats/server.key"
#     timeout: 30
#   }
# }
`

// leafText is the configuration of a server at a site. Its verbs are the name, where it listens, the TLS block, the operator,
// the system account twice, the account of the nodes twice, and that account again.
const leafText = `# A nats-server (2.14 or later) at a site. The nodes of the site connect to it, and it to the servers of the fleet.
# The server learns of no revoked node by itself: nfsync-coordinator init writes this file anew. Copy the account NODES, and reload.
server_name: %s
listen: %s
max_connections: %d
%s
operator: %s
system_account: %s
resolver: MEMORY
resolver_preload {
  # SYS
  %s: %s
  # NODES
  %s: %s
}

leafnodes {
  remotes: [
    {
      urls: [ "tls://nats-1.example.com:7422", "tls://nats-2.example.com:7422", "tls://nats-3.example.com:7422" ]
      # Of nfsync-coordinator enroll --site
      credentials: "/etc/nats/site.creds"
      account: %s
      tls { ca_file: "/etc/nats/ca.crt" }
    }
  ]
}
`

// LeafText returns the configuration of a nats-server at a site. Paths and names in it are for the operator to change.
func (d *Directory) LeafText() (string, error) {
	l, err := d.readLedger()
	if err != nil {
		return "", err
	}
	nodes, err := d.keys.sign(d.keys.siteClaims(l.Credentials, time.Now()))
	if err != nil {
		return "", err
	}
	system, public := d.keys.public(accountSystem), d.keys.public(accountNodes)
	listen := Listen{Address: "0.0.0.0:4222"}
	return fmt.Sprintf(leafText, quoted("site-1"), quoted(listen.serverAddress()), mostConnections, tlsText("/etc/nats/server.crt", "/etc/nats/server.key"), d.keys.operator,
		system, system, l.Accounts[accountSystem], public, nodes, public), nil
}

// clusterText is what three servers have beside the rest, as comments.
const clusterText = `
# Three servers keep the fleet when one of them fails: each has this file, with a server_name of its own,
# and this, with the names of all three.
# cluster {
#   name: nfsync
#   listen: "0.0.0.0:6222"
#   routes: [ "tls://nats-1.example.com:6222", "tls://nats-2.example.com:6222", "tls://nats-3.example.com:6222" ]
#   tls {
#     cert_file: "/etc/nats/server.crt"
#     key_file: "/etc/nats/server.key"
#     ca_file: "/etc/nats/ca.crt"
#     verify: true
#   }
# }
`

// ServerText returns the configuration of a nats-server of the operator's own. Paths and names in it are for the operator
// to change.
func (d *Directory) ServerText() (string, error) {
	const data = "/var/lib/nats"
	text, err := d.text("nats-1", Listen{Address: "0.0.0.0:4222"}, tlsText("/etc/nats/server.crt", "/etc/nats/server.key"), data, filepath.Join(data, dirAccounts))
	if err != nil {
		return "", err
	}
	return "# A nats-server (2.14 or later) for a fleet of nfsync.\n" + text + sitesText + clusterText, nil
}

// quoted returns a string of a configuration.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// WriteServerTexts writes ServerText and LeafText to files of the directory.
func (d *Directory) WriteServerTexts(server, leaf string) error {
	for name, make := range map[string]func() (string, error){server: d.ServerText, leaf: d.LeafText} {
		text, err := make()
		if err != nil {
			return err
		}
		if err := writeFile(d.inside(name), []byte(text)); err != nil {
			return err
		}
	}
	return nil
}
