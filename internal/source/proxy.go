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
		return nil, fmt.Errorf("the proxy %q is not a URL such as http://proxy.example:3128", clean(raw))
	}
	if _, ok := u.User.Password(); ok {
		return nil, errors.New("the proxy's URL holds a password: set HTTPS_PROXY (for ssh ALL_PROXY) in the environment instead, where other users cannot read it")
	}
	switch u.Scheme {
	case "http", "socks5", "socks5h":
		return u, nil
	}
	return nil, fmt.Errorf("proxies of the kind %q are not supported: use http or socks5", u.Scheme)
}

// boundedScheme is the scheme of the proxy URL for which go-git's ssh uses boundedDialer.
const boundedScheme = "nfsync-bounded"

// registerDialers registers dialers with golang.org/x/net/proxy, which go-git's ssh uses:
// one for HTTP proxies, and one that counts the bytes received. The registry is global, so
// only the child calls this.
func (j *job) registerDialers() error {
	proxy.RegisterDialerType("http", func(u *url.URL, next proxy.Dialer) (proxy.Dialer, error) {
		return &tunnel{proxy: u, next: next}, nil
	})
	base, err := j.baseDialer()
	if err != nil {
		return err
	}
	proxy.RegisterDialerType(boundedScheme, func(*url.URL, proxy.Dialer) (proxy.Dialer, error) {
		return &boundedDialer{base: base, budget: &j.budget}, nil
	})
	return nil
}

// baseDialer returns the dialer that connects to the ssh server: through the configured
// proxy, else as ALL_PROXY and NO_PROXY say.
func (j *job) baseDialer() (proxy.Dialer, error) {
	p := j.Config.Auth.Proxy
	if p == "" {
		return proxy.FromEnvironment(), nil
	}
	u, err := proxyURL(p)
	if err != nil {
		return nil, err
	}
	return proxy.FromURL(u, proxy.Direct)
}

// boundedDialer dials connections that count what they receive against a budget.
type boundedDialer struct {
	base   proxy.Dialer
	budget *budget
}

func (d *boundedDialer) Dial(network, addr string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, addr)
}

func (d *boundedDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := dialContext(ctx, d.base, network, addr)
	if err != nil {
		return nil, err
	}
	return &readConn{Conn: c, r: d.budget.reader(c)}, nil
}

// readConn is a connection that reads from r.
type readConn struct {
	net.Conn
	r io.Reader
}

func (c *readConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// tunnel is a dialer that connects through an HTTP proxy with CONNECT (RFC 9110, section
// 9.3.6).
type tunnel struct {
	proxy *url.URL
	next  proxy.Dialer
}

func (t *tunnel) Dial(network, addr string) (net.Conn, error) {
	return t.DialContext(context.Background(), network, addr)
}

func (t *tunnel) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	proxyAddr := t.proxy.Host
	if t.proxy.Port() == "" {
		proxyAddr = net.JoinHostPort(t.proxy.Hostname(), "80")
	}
	c, err := dialContext(ctx, t.next, network, proxyAddr)
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
	r := bufio.NewReader(c) // it may buffer bytes that follow the answer of the proxy
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
