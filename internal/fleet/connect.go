package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/nats-io/nats.go"
)

// Connect returns a connection to a fleet's servers that never ends by itself: it connects again whenever one ends. It
// has the options that all connections of a fleet have, and more. It fails if no server answers until ctx ends.
func Connect(ctx context.Context, cfg Config, more ...nats.Option) (*nats.Conn, error) {
	return connect(ctx, context.Background(), cfg, newLink(), more...)
}

// connect is Connect for a life: when it ends, whatever waits for the network ends too.
func connect(ctx, life context.Context, cfg Config, l *link, more ...nats.Option) (*nats.Conn, error) {
	options, err := cfg.options(life, l, func() {})
	if err != nil {
		return nil, err
	}
	type result struct {
		nc  *nats.Conn
		err error
	}
	first := make(chan result, 1)
	go func() { // the first attempt takes its time, whatever ctx says
		nc, err := nats.Connect("", append(options, more...)...)
		first <- result{nc, err}
	}()
	select {
	case r := <-first:
		if errors.Is(r.err, nats.ErrNoServers) { // which says nothing of the reason
			return nil, l.unreachable(r.err)
		}
		if r.err != nil {
			l.failed(r.err)
			return nil, &UnreachableError{l.get().Err}
		}
		if err := awaitConnected(ctx, r.nc, l); err != nil {
			r.nc.Close()
			return nil, err
		}
		return r.nc, nil
	case <-ctx.Done():
		go func() {
			if r := <-first; r.nc != nil {
				r.nc.Close()
			}
		}()
		return nil, l.unreachable(ctx.Err())
	}
}

func awaitConnected(ctx context.Context, nc *nats.Conn, l *link) error {
	changed := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(changed)
	if nc.IsConnected() {
		return nil
	}
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return l.unreachable(ctx.Err())
	}
}

// options returns the options of a connection, which ends with its life. renew is called when it must be closed and made anew.
func (c Config) options(life context.Context, l *link, renew func()) ([]nats.Option, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	servers, err := c.servers()
	if err != nil {
		return nil, err
	}
	every := c.Intervals.orUsual()
	list := []nats.Option{
		func(o *nats.Options) error { o.Servers = c.Servers; return nil },
		nats.IgnoreDiscoveredServers(), // some may not offer TLS, or not be reachable from here
		nats.Name(c.Name),
		nats.CustomInboxPrefix(Inbox(c.Name)), // the only one that may be subscribed
		nats.Timeout(every.Connect),
		nats.SetCustomDialer(dialer{life, net.Dialer{Timeout: every.Connect}, l}),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // credentials may be renewed
		nats.ReconnectWait(every.Reconnect),
		nats.ReconnectJitter(every.Jitter, every.Jitter),
		// Nothing is kept for the next connection: what was put by then may be newer.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(every.Ping),
		nats.MaxPingsOutstanding(2),
		nats.ConnectHandler(l.connected),
		nats.ReconnectHandler(l.connected),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { l.disconnected(err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { l.failed(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { l.failed(err) }),
	}
	if c.needsTLS(servers) {
		list = append(list, nats.Secure())
	}
	if c.CAFile != "" {
		list = append(list, nats.RootCAs(c.CAFile)) // read again at each connection
	}
	if c.CredentialsFile != "" {
		who, err := readCredentials(c.CredentialsFile)
		if err != nil {
			return nil, err
		}
		list = append(list, who.option(c.CredentialsFile, renew))
	}
	return list, nil
}

// dialer dials connections that end with a life. Once closed, they send nothing more. The kernel would go on to send what is
// in its buffers, for minutes, and an old value could reach the server after a new one of another connection.
type dialer struct {
	life context.Context
	net  net.Dialer
	link *link // records why a connection fails: of the first attempts the client says less
}

// Dial connects.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := d.net.DialContext(d.life, network, address)
	if err != nil {
		d.link.failed(err)
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil {
			return nil, fmt.Errorf("cannot set SO_LINGER: %w", err)
		}
	}
	forget := context.AfterFunc(d.life, func() { _ = conn.Close() }) // whoever reads from it gets the error
	return &mortal{conn, forget}, nil
}

// mortal is a connection that ends with a life.
type mortal struct {
	net.Conn
	forget func() bool
}

// Close closes the connection.
func (c *mortal) Close() error {
	c.forget()
	return c.Conn.Close()
}

// withAnswer returns a context that ends when an answer is too late, if the caller has no deadline.
func (i Intervals) withAnswer(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, i.orUsual().Answer)
}
