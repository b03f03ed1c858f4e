package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Servers says how the servers of a fleet are reached.
type Servers struct {
	URLs   []string
	CAFile string // PEM; empty: the system's
}

// options returns how the servers are connected to.
func (s Servers) options() []nats.Option {
	if s.CAFile == "" {
		return nil
	}
	return []nats.Option{nats.RootCAs(s.CAFile)}
}

func (s Servers) urls() string { return strings.Join(s.URLs, ",") }

// Push gives the accounts, with what is revoked in them, to the servers of a fleet, and returns how many
// have taken them. The error is *NoServerError if none answers.
func (d *Directory) Push(ctx context.Context, s Servers) (taken int, err error) {
	return d.push(ctx, 0, s.urls(), s.options()...)
}

// PushLocal is Push to the server that another process runs in this directory.
func (d *Directory) PushLocal(ctx context.Context, l Listen) (taken int, err error) {
	url, options, err := l.local()
	if err != nil {
		return 0, err
	}
	return d.push(ctx, 1, url, options...)
}

// Connect returns a connection to the servers with the coordinator's credentials. It does not connect again. The error is
// *NoServerError if none answers.
func (d *Directory) Connect(ctx context.Context, s Servers) (*nats.Conn, error) {
	return d.connect(ctx, fileCoordinator, s.urls(), s.options()...)
}

// ConnectLocal is Connect to the server that another process runs in this directory.
func (d *Directory) ConnectLocal(ctx context.Context, l Listen) (*nats.Conn, error) {
	url, options, err := l.local()
	if err != nil {
		return nil, err
	}
	return d.connect(ctx, fileCoordinator, url, options...)
}

// MakeStreams makes the streams of a fleet on servers of the operator's own, of which so many have each a copy.
func (d *Directory) MakeStreams(ctx context.Context, s Servers, replicas, nodes int) error {
	return d.makeStreams(ctx, replicas, nodes, s.urls(), s.options()...)
}

// NoServerError means that no server answers.
type NoServerError struct{ Err error }

func (e *NoServerError) Error() string { return "no server of the fleet answers: " + e.Err.Error() }

// Unwrap returns why.
func (e *NoServerError) Unwrap() error { return e.Err }

// connect connects with credentials of the directory.
func (d *Directory) connect(ctx context.Context, credentials, urls string, options ...nats.Option) (*nats.Conn, error) {
	c, err := nats.Connect(urls, append(options, nats.UserCredentials(d.inside(credentials)), nats.Name("nfsync-coordinator"),
		nats.NoReconnect(), nats.Timeout(untilDeadline(ctx)))...)
	if err != nil {
		return nil, &NoServerError{err}
	}
	return c, nil
}

// untilDeadline returns how long one try to connect may take.
func untilDeadline(ctx context.Context) time.Duration {
	const most = 10 * time.Second
	if at, ok := ctx.Deadline(); ok {
		return max(min(time.Until(at), most), time.Millisecond)
	}
	return most
}

// updateSubject is where servers take accounts. lookupSubject is where they tell which one they have; its verb is the account's
// public key.
const (
	updateSubject = "$SYS.REQ.CLAIMS.UPDATE"
	lookupSubject = "$SYS.REQ.ACCOUNT.%s.CLAIMS.LOOKUP"
)

// push gives all accounts to the servers, and learns before what they know and the ledger does not. servers is how many there
// are; 0: nobody knows.
func (d *Directory) push(ctx context.Context, servers int, urls string, options ...nats.Option) (taken int, err error) {
	c, err := d.connect(ctx, fileSystem, urls, options...)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var lookups, updates []*nats.Msg
	for _, account := range accounts() {
		lookups = append(lookups, &nats.Msg{Subject: fmt.Sprintf(lookupSubject, d.keys.public(account))})
	}
	known, err := ask(ctx, c, servers, lookups)
	if err != nil {
		return 0, err
	}
	l, err := d.learn(slices.Concat(known...))
	if err != nil {
		return 0, err
	}
	for _, account := range accounts() {
		updates = append(updates, &nats.Msg{Subject: updateSubject, Data: []byte(l.Accounts[account])})
	}
	answers, err := ask(ctx, c, servers, updates)
	if err != nil {
		return 0, err
	}
	for i, account := range accounts() {
		for _, answer := range answers[i] {
			if err := refusal([]byte(answer)); err != nil {
				return 0, fmt.Errorf("cannot update the account %s: %w", account, err)
			}
		}
		taken = len(answers[i])
	}
	return taken, nil
}

// quiet is how long further servers are waited for once one has answered.
const quiet = 300 * time.Millisecond

// ask sends requests to all servers, and returns what has been answered to each. All of a cluster answer.
func ask(ctx context.Context, c *nats.Conn, servers int, requests []*nats.Msg) (answers [][]string, err error) {
	inbox := c.NewInbox() + "."
	sub, err := c.SubscribeSync(inbox + "*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sub.Unsubscribe()) }()
	for i, r := range requests {
		if err := c.PublishRequest(r.Subject, inbox+strconv.Itoa(i), r.Data); err != nil {
			return nil, err
		}
	}
	answers = make([][]string, len(requests))
	fewest := func() int { return len(slices.MinFunc(answers, func(a, b []string) int { return len(a) - len(b) })) }
	for servers == 0 || fewest() < servers {
		wait, stop := ctx, context.CancelFunc(func() {})
		if fewest() > 0 {
			wait, stop = context.WithTimeout(ctx, quiet)
		}
		m, err := sub.NextMsgWithContext(wait)
		stop()
		if fewest() > 0 && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			break
		}
		if err != nil {
			return nil, &NoServerError{err}
		}
		i, err := strconv.Atoi(strings.TrimPrefix(m.Subject, inbox))
		if err != nil || i < 0 || i >= len(answers) {
			continue // it answers no request
		}
		answers[i] = append(answers[i], string(m.Data))
	}
	return answers, nil
}

// refusal returns why a server has not taken an account, or nil.
func refusal(answer []byte) error {
	var a struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return fmt.Errorf("the server's answer cannot be read: %w", err)
	}
	if a.Error != nil {
		return errors.New(a.Error.Description)
	}
	return nil
}

// local returns how the server that listens there is reached from this machine. It may have a certificate for another
// name than the one that it is reached by: it has to be the very certificate of the file.
func (l Listen) local() (url string, options []nats.Option, err error) {
	if err := l.check(); err != nil {
		return "", nil, err
	}
	address := l.Address
	for _, any := range []string{"0.0.0.0:", "[::]:", ":"} {
		if port, ok := strings.CutPrefix(address, any); ok {
			address = "127.0.0.1:" + port
		}
	}
	if l.CertFile == "" {
		return "nats://" + address, nil, nil
	}
	pem, err := os.ReadFile(l.CertFile)
	if err != nil {
		return "", nil, err
	}
	pair, err := tls.LoadX509KeyPair(l.CertFile, l.KeyFile)
	if err != nil {
		return "", nil, fmt.Errorf("engine.tls: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return "tls://" + address, []nats.Option{nats.Secure(&tls.Config{RootCAs: roots, ServerName: nameOf(pair.Leaf), MinVersion: tls.VersionTLS12})}, nil
}

// nameOf returns a name that a certificate is for.
func nameOf(c *x509.Certificate) string {
	switch {
	case len(c.DNSNames) > 0:
		return strings.Replace(c.DNSNames[0], "*", "any", 1)
	case len(c.IPAddresses) > 0:
		return c.IPAddresses[0].String()
	}
	return c.Subject.CommonName
}
