package source

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// maxRefusal bounds what is read of an answer with an error status, in bytes.
const maxRefusal = 1 << 10

// httpRemote returns the remote for http and https.
func (j *job) httpRemote() (*remote, error) {
	base, err := j.httpTransport()
	if err != nil {
		return nil, err
	}
	auth, err := j.httpAuth()
	if err != nil {
		return nil, err
	}
	c := &http.Client{Transport: &boundedTransport{base: base, job: j}, CheckRedirect: sameHost}
	ep := *j.ep
	ep.User = "" // auth has it
	return &remote{job: j, ep: ep, client: githttp.NewClient(c), auth: auth}, nil
}

func (j *job) httpTransport() (*http.Transport, error) {
	a := j.Config.Auth
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: j.Config.Timeout}).DialContext,
		TLSHandshakeTimeout:    j.Config.Timeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if a.Proxy != "" {
		u, err := proxyURL(a.Proxy)
		if err != nil {
			return nil, err
		}
		t.Proxy = http.ProxyURL(u)
	}
	if a.CAFile != "" {
		pem, err := publicFile("CA file", a.CAFile)
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("the CA file %s holds no certificate in PEM", a.CAFile)
		}
	}
	if a.ClientCertFile != "" {
		cert, err := j.clientCertificate(a)
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig.Certificates = []tls.Certificate{cert}
	}
	return t, nil
}

func (j *job) clientCertificate(a Auth) (tls.Certificate, error) {
	pem, err := publicFile("client certificate", a.ClientCertFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := j.secretFile("client key", a.ClientKeyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	cert, err := tls.X509KeyPair(pem, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("cannot use the client certificate %s with %s: %w", a.ClientCertFile, a.ClientKeyFile, err)
	}
	return cert, nil
}

// httpAuth returns the credentials, or nil if none are configured.
func (j *job) httpAuth() (transport.AuthMethod, error) {
	a := j.Config.Auth
	switch {
	case a.TokenFile != "":
		token, err := j.secretLine("token file", a.TokenFile)
		if err != nil {
			return nil, err
		}
		return &githttp.TokenAuth{Token: token}, nil
	case a.PasswordFile != "":
		password, err := j.secretLine("password file", a.PasswordFile)
		if err != nil {
			return nil, err
		}
		user := a.User
		if user == "" {
			user = j.ep.User
		}
		if user == "" {
			return nil, errors.New("a password file is given without a user")
		}
		j.keepPassword(user, password)
		return &githttp.BasicAuth{Username: user, Password: password}, nil
	}
	return nil, nil
}

// redirectError is the error for a redirect to another server.
type redirectError struct{ from, to string }

func (e *redirectError) Error() string {
	return fmt.Sprintf("it redirects to %s, which is not on %s and is not followed (no credential was sent there): name that URL if it is the right one", e.to, e.from)
}

// sameHost allows a redirect to the same host and port, and from http to https on the same
// host. With any other, a server could have the credentials sent to a host that no
// configuration names.
func sameHost(req *http.Request, via []*http.Request) error {
	from, to := via[0].URL, req.URL
	upgrade := from.Scheme == "http" && to.Scheme == "https" && from.Port() == "" && (to.Port() == "" || to.Port() == "443")
	if strings.EqualFold(from.Hostname(), to.Hostname()) && (from.Scheme == to.Scheme && from.Port() == to.Port() || upgrade) {
		return nil
	}
	return &redirectError{from: from.Host, to: (&url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path}).String()}
}

// boundedTransport bounds the size of answers, and rejects those of servers that do not
// speak git's smart protocol.
type boundedTransport struct {
	base http.RoundTripper
	job  *job
}

func (t *boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		t.job.wait = retryAfter(res)
		res.Body = &body{Reader: io.LimitReader(res.Body, maxRefusal), Closer: res.Body}
		return res, nil
	}
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if !strings.HasPrefix(kind, "application/x-git-upload-pack-") && !strings.HasPrefix(kind, "application/x-git-receive-pack-") {
		_ = res.Body.Close()
		if kind == "" {
			kind = "content without a type"
		}
		return nil, fmt.Errorf("it answers with %s, not with git's smart protocol: is this the URL to clone from?", kind)
	}
	res.Body = &body{Reader: t.job.budget.reader(res.Body), Closer: res.Body}
	return res, nil
}

// retryAfter returns when the server wants to be asked again, in seconds as RFC 9110 has it; 0 if it does
// not say so.
func retryAfter(res *http.Response) time.Duration {
	seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxRetryAfter)
}

// maxRetryAfter bounds what a server may ask for.
const maxRetryAfter = time.Hour

type body struct {
	io.Reader
	io.Closer
}
