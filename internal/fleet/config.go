package fleet

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nkeys"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/openfile"
)

// Config says how a fleet is reached.
type Config struct {
	// Servers are nats://, tls://, ws:// or wss:// URLs, tried in any order. Servers that these name beside
	// are not used. Off loopback they must offer TLS.
	Servers         []string
	CredentialsFile string // as nsc writes it: a JWT and a seed, or a seed alone
	CAFile          string // PEM, instead of the system's; with it all servers must offer TLS
	Channel         string
	CoordinatorKey  string // public nkey that the coordinator signs with
	// Name is the node's name in the fleet, or the name of a reader or operator.
	Name string
	// Intervals are those of the connection; the zero value: the usual ones.
	Intervals Intervals
}

// Intervals are how often things are done, and how long is waited. Each that is zero is the usual one.
type Intervals struct {
	Reconnect time.Duration // before all servers are tried again; 2 s
	Jitter    time.Duration // the most that is added to it, at random; 10 s
	Ping      time.Duration // after two that are not answered a connection has ended; 20 s
	Connect   time.Duration // the most for one attempt; 10 s
	Answer    time.Duration // the most for an answer, where the caller has no deadline; 10 s
	Wake      time.Duration // the least between two wake-ups; 1 s
	Poll      time.Duration // between two looks of Reader.Changed; 2 s
}

func (i Intervals) orUsual() Intervals {
	return Intervals{
		Reconnect: cmp.Or(i.Reconnect, 2*time.Second), Jitter: cmp.Or(i.Jitter, 10*time.Second), Ping: cmp.Or(i.Ping, 20*time.Second),
		Connect: cmp.Or(i.Connect, 10*time.Second), Answer: cmp.Or(i.Answer, 10*time.Second),
		Wake: cmp.Or(i.Wake, time.Second), Poll: cmp.Or(i.Poll, 2*time.Second),
	}
}

// Check returns an error if nobody can join a fleet with the configuration: because of a name, an address, a key, or a file
// that cannot be used. It uses no network.
func (c Config) Check() error {
	if !nf.IsFleetName(c.Name) {
		return fmt.Errorf("%q cannot be a name in a fleet: a name has letters, digits, - and _, with single dots between them, and at most %d bytes", c.Name, nf.MaxFleetName)
	}
	if !nf.IsFleetName(c.Channel) {
		return fmt.Errorf("%q cannot be a channel: it has the same characters as names", c.Channel)
	}
	if c.CoordinatorKey != "" {
		if _, err := nkeys.FromPublicKey(c.CoordinatorKey); err != nil {
			return fmt.Errorf("the coordinator's key %q is no public nkey: %w", c.CoordinatorKey, err)
		}
	}
	if _, err := c.servers(); err != nil {
		return err
	}
	if c.CredentialsFile != "" {
		if _, err := readCredentials(c.CredentialsFile); err != nil {
			return err
		}
	}
	if c.CAFile != "" {
		if _, err := readCA(c.CAFile); err != nil {
			return err
		}
	}
	return nil
}

// servers returns the addresses.
func (c Config) servers() ([]*url.URL, error) {
	if len(c.Servers) == 0 {
		return nil, errors.New("no server of the fleet is named")
	}
	var list []*url.URL
	for _, s := range c.Servers {
		u, err := readServer(s)
		if err != nil {
			return nil, err
		}
		if len(list) > 0 && isWebSocket(list[0]) != isWebSocket(u) {
			return nil, fmt.Errorf("%s and %s cannot be used together: either all servers are ws:// and wss://, or none is", list[0], u)
		}
		list = append(list, u)
	}
	return list, nil
}

func isWebSocket(u *url.URL) bool { return strings.HasPrefix(u.Scheme, "ws") }

func readServer(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("the address of a server is no URL") // the parser's error repeats what may be a password
	}
	switch {
	case u.User != nil:
		return nil, fmt.Errorf("the address %s has credentials in it: they belong into the credentials file", u.Redacted())
	case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) || u.Hostname() == "":
		return nil, fmt.Errorf("%q is no address of a server: write nats://HOST:PORT, tls://HOST:PORT or wss://HOST:PORT", s)
	case u.Scheme == "ws" && !isLoopback(u):
		return nil, fmt.Errorf("%s is not encrypted: write wss://", s)
	}
	return u, nil
}

// isLoopback reports whether a server is reached without a network.
func isLoopback(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return ip != nil && ip.IsLoopback() || u.Hostname() == "localhost"
}

// needsTLS reports whether a connection must be encrypted.
func (c Config) needsTLS(servers []*url.URL) bool {
	return c.CAFile != "" || slices.ContainsFunc(servers, func(u *url.URL) bool {
		return u.Scheme == "tls" || u.Scheme == "wss" || !isLoopback(u)
	})
}

// maxFile bounds the files of certificates and credentials.
const maxFile = 1 << 20

func readCA(name string) (*x509.CertPool, error) {
	pem, err := openfile.Read(name, maxFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read the certificates of the fleet's CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM", name)
	}
	return pool, nil
}
