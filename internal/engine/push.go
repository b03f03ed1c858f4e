package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Servers says how the servers of a fleet are reached.
type Servers struct {
	URLs   []string
	CAFile string // PEM; empty: the system's
}

// Push gives the accounts, with what is revoked in them, to the servers of a fleet, and returns how many
// have taken them. The error is *NoServerError if none answers.
func (d *Directory) Push(ctx context.Context, s Servers) (taken int, err error) {
	var options []nats.Option
	if s.CAFile != "" {
		options = append(options, nats.RootCAs(s.CAFile))
	}
	return d.push(ctx, strings.Join(s.URLs, ","), options...)
}

// PushLocal is Push to the server that another process runs in this directory.
func (d *Directory) PushLocal(ctx context.Context, l Listen) (taken int, err error) {
	url, options, err := l.local()
	if err != nil {
		return 0, err
	}
	return d.push(ctx, url, options...)
}

// MakeStreams makes the streams of a fleet on servers of the operator's own, of which so many have each a copy.
func (d *Directory) MakeStreams(ctx context.Context, s Servers, replicas, nodes int) error {
	var options []nats.Option
	if s.CAFile != "" {
		options = append(options, nats.RootCAs(s.CAFile))
	}
	return d.makeStreams(ctx, replicas, nodes, strings.Join(s.URLs, ","), options...)
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

// updateSubject is where servers take accounts.
const updateSubject = "$SYS.REQ.CLAIMS.UPDATE"

// push gives all accounts to the servers.
func (d *Directory) push(ctx context.Context, urls string, options ...nats.Option) (int, error) {
	l, err := d.readLedger()
	if err != nil {
		return 0, err
	}
	c, err := d.connect(ctx, fileSystem, urls, options...)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	taken := 0
	for _, account := range accounts() {
		n, err := update(ctx, c, l.Accounts[account])
		if err != nil {
			return 0, fmt.Errorf("cannot update the account %s: %w", account, err)
		}
		taken = n
	}
	return taken, nil
}

// quiet is how long further servers are waited for once one has answered.
const quiet = 300 * time.Millisecond

// update gives one account to the servers, and returns how many have taken it. All of a cluster answer.
func update(ctx context.Context, c *nats.Conn, account string) (taken int, err error) {
	answers, err := c.SubscribeSync(c.NewInbox())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, answers.Unsubscribe()) }()
	if err := c.PublishRequest(updateSubject, answers.Subject, []byte(account)); err != nil {
		return 0, err
	}
	for wait := ctx; ; {
		m, err := answers.NextMsgWithContext(wait)
		switch {
		case taken > 0 && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			return taken, nil
		case err != nil:
			return taken, &NoServerError{err}
		}
		if err := refusal(m.Data); err != nil {
			return taken, err
		}
		taken++
		var stop context.CancelFunc
		wait, stop = context.WithTimeout(ctx, quiet)
		defer stop()
	}
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
