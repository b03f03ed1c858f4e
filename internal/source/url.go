package source

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing/transport"
)

// endpoint parses a URL, an scp-like user@host:path or a path. Its errors do not quote it,
// because it may hold a password.
func endpoint(raw string) (*transport.Endpoint, error) {
	if raw == "" {
		return nil, errors.New("the URL is empty")
	}
	if strings.ContainsFunc(raw, unicode.IsControl) {
		return nil, errors.New("the URL has control characters")
	}
	ep, err := transport.NewEndpoint(raw)
	if err != nil {
		return nil, errors.New("the URL cannot be parsed (a space, a bad port or a bad escape)")
	}
	if ep.Password != "" {
		return nil, errors.New("the URL holds a password: a password does not belong in a URL, where everybody can read it; " +
			"name a file that holds it with --password-file or --token-file")
	}
	switch ep.Protocol {
	case "http", "https", "ssh":
		if ep.Host == "" {
			return nil, errors.New("the URL names no host")
		}
	case "file":
	default:
		return nil, fmt.Errorf("the protocol %q is not supported: use https, http, ssh, file or a path", ep.Protocol)
	}
	return ep, nil
}

// hostPort returns the host:port of a network endpoint.
func hostPort(ep *transport.Endpoint) string {
	port := ep.Port
	if port == 0 {
		port = map[string]int{"http": 80, "https": 443, "ssh": 22}[ep.Protocol]
	}
	return net.JoinHostPort(strings.Trim(ep.Host, "[]"), strconv.Itoa(port))
}
