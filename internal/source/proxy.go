package source

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"golang.org/x/net/proxy"
)

// proxyURL parses the proxy of the configuration.
func proxyURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("the proxy %q is no URL such as http://proxy.example:3128", clean(raw))
	}
	if _, ok := u.User.Password(); ok {
		return nil, errors.New("the proxy's URL holds a password: give it in the environment, as HTTPS_PROXY (ALL_PROXY for ssh), where not everybody sees it")
	}
	switch u.Scheme {
	case "http", "socks5", "socks5h":
		return u, nil
	}
	return nil, fmt.Errorf("nfsync does not know proxies of the kind %q: http or socks5", u.Scheme)
}

// boundedScheme is the scheme under which the ssh of go-git finds our dialer.
const boundedScheme = "nfsync-bounded"

// registerDialers registers dialers with golang.org/x/net/proxy, through which the ssh of
// go-git connects: for proxies that speak HTTP, and for connections that count what they
// receive. They are global, so only the child registers them.
func (j *job) registerDialers() error {
	proxy.RegisterDialerType("http", func(u *url.URL, next proxy.Dialer) (proxy.Dialer, error) {
		return &tunnel{proxy: u, next: next}, nil
	})
	through, err := j.dialThrough()
	if err != nil {
		return err
	}
	proxy.RegisterDialerType(boundedScheme, func(*url.URL, proxy.Dialer) (proxy.Dialer, error) {
		return &boundedDialer{through: through, budget: &j.budget}, nil
	})
	return nil
}

// dialThrough returns the dialer by which ssh reaches its server: through the proxy of
// the configuration, else that of ALL_PROXY (unless NO_PROXY), else directly.
func (j *job) dialThrough() (proxy.Dialer, error) {
	p := j.config().Auth.Proxy
	if p == "" {
		return proxy.FromEnvironment(), nil
	}
	u, err := proxyURL(p)
	if err != nil {
		return nil, err
	}
	return proxy.FromURL(u, proxy.Direct)
}

// boundedDialer counts the bytes that its connections receive.
type boundedDialer struct {
	through proxy.Dialer
	budget  *budget
}

func (d *boundedDialer) Dial(network, addr string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, addr)
}

func (d *boundedDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := dialContext(ctx, d.through, network, addr)
	if err != nil {
		return nil, err
	}
	return &readConn{Conn: c, r: d.budget.reader(c)}, nil
}

// readConn is a connection whose bytes come from r.
type readConn struct {
	net.Conn
	r io.Reader
}

func (c *readConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// tunnel connects through a proxy by the method CONNECT of RFC 9110, section 9.3.6.
type tunnel struct {
	proxy *url.URL
	next  proxy.Dialer
}

func (t *tunnel) Dial(network, addr string) (net.Conn, error) {
	return t.DialContext(context.Background(), network, addr)
}

func (t *tunnel) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	at := t.proxy.Host
	if t.proxy.Port() == "" {
		at = net.JoinHostPort(t.proxy.Hostname(), "80")
	}
	c, err := dialContext(ctx, t.next, network, at)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the proxy %s: %w", t.proxy.Host, err)
	}
	r, err := t.connect(c, addr)
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("the proxy %s does not connect to %s: %w", t.proxy.Host, addr, err)
	}
	return &readConn{Conn: c, r: r}, nil
}

func (t *tunnel) connect(c net.Conn, addr string) (io.Reader, error) {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	if t.proxy.User != nil {
		password, _ := t.proxy.User.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(t.proxy.User.Username()+":"+password)))
	}
	if err := req.Write(c); err != nil {
		return nil, err
	}
	r := bufio.NewReader(c) // it may already hold bytes behind the answer of the proxy
	res, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", res.Status)
	}
	return r, nil
}

func dialContext(ctx context.Context, d proxy.Dialer, network, addr string) (net.Conn, error) {
	if cd, ok := d.(proxy.ContextDialer); ok {
		return cd.DialContext(ctx, network, addr)
	}
	return d.Dial(network, addr)
}
