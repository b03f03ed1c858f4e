package fleet_test

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"nfsync.dev/nfsync/internal/fleet"
)

// authority is a certificate authority.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate, PEM
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a := authority{file: filepath.Join(t.TempDir(), "ca.pem")}
	var der []byte
	a.key, der = certify(t, template, template, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	return a
}

// certify returns a new key and its certificate. Without a signer it is self-signed.
func certify(t *testing.T, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

// serve returns the configuration of a server whose name is host.
func (a authority) serve(t *testing.T, host string) *tls.Config {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	key, der := certify(t, template, a.cert, a.key)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// outside returns an address of this machine that is not loopback. If it has none, that is the one that stands for all of them:
// it leads here too, and no client takes it for loopback.
func outside(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && !ip.IP.IsLoopback() {
			return ip.IP.String()
		}
	}
	return "0.0.0.0"
}

// TestTLS: whom a client trusts, and where it wants TLS.
func TestTLS(t *testing.T) {
	t.Parallel()
	ours, theirs, off := newAuthority(t), newAuthority(t), outside(t)
	secure := func(c *tls.Config) func(*server.Options) {
		return func(o *server.Options) { o.TLSConfig, o.TLSTimeout = c, patience.Seconds() }
	}
	for name, c := range map[string]struct {
		configure func(*server.Options)
		scheme    string
		host      string
		ca        string
		want      string // in the error; empty: it connects
	}{
		"our CA":                       {configure: secure(ours.serve(t, "127.0.0.1")), scheme: "tls", ca: ours.file},
		"our CA, nats://":              {configure: secure(ours.serve(t, "127.0.0.1")), scheme: "nats", ca: ours.file},
		"another CA":                   {configure: secure(ours.serve(t, "127.0.0.1")), scheme: "tls", ca: theirs.file, want: "unknown authority"},
		"no CA":                        {configure: secure(ours.serve(t, "127.0.0.1")), scheme: "tls", want: "unknown authority"},
		"no CA, nats://":               {configure: secure(ours.serve(t, "127.0.0.1")), scheme: "nats", want: "unknown authority"},
		"another name":                 {configure: secure(ours.serve(t, "fleet.example")), scheme: "tls", ca: ours.file, want: "certificate for 127.0.0.1"},
		"no TLS, on loopback":          {scheme: "nats"},
		"no TLS, and it is asked for":  {scheme: "tls", want: "offers no TLS"},
		"no TLS, and there is a CA":    {scheme: "nats", ca: ours.file, want: "offers no TLS"},
		"no TLS, off loopback":         {scheme: "nats", host: off, want: "offers no TLS"},
		"TLS off loopback, by nats://": {configure: secure(ours.serve(t, off)), scheme: "nats", host: off, ca: ours.file},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, func(o *server.Options) {
				o.Host = cmp.Or(c.host, "127.0.0.1")
				if c.configure != nil {
					c.configure(o)
				}
			})
			cfg := configOf(s, "hn-1")
			cfg.Servers = []string{c.scheme + "://" + s.Addr().String()}
			cfg.CAFile = c.ca
			m, err := fleet.Join(cfg, func() {})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if c.want == "" {
				eventually(t, "connected", func() bool { return m.Link().Connected })
				return
			}
			eventually(t, "refused: "+c.want, func() bool {
				l := m.Link()
				if l.Connected {
					t.Fatalf("connected: %+v", l)
				}
				return l.Err != nil && strings.Contains(l.Err.Error(), c.want)
			})
		})
	}
}

// TestReadsCAAgain: a CA that was replaced is used at the next attempt.
func TestReadsCAAgain(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	s := startServer(t, func(o *server.Options) { o.TLSConfig, o.TLSTimeout = ours.serve(t, "127.0.0.1"), patience.Seconds() })
	cfg := configOf(s, "hn-1")
	cfg.CAFile = theirs.file
	m, err := fleet.Join(cfg, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	eventually(t, "refused", func() bool { return m.Link().Err != nil })
	text, err := os.ReadFile(ours.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(theirs.file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "connected", func() bool { return m.Link().Connected })
}

// TestTLSIsLost: a server that comes back without TLS is not used, and the reason is known.
func TestTLSIsLost(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t)
	s := startServer(t, func(o *server.Options) { o.TLSConfig, o.TLSTimeout = ours.serve(t, "127.0.0.1"), patience.Seconds() })
	cfg := configOf(s, "hn-1")
	cfg.CAFile = ours.file
	m := join(t, cfg, func() {})
	addr, ok := s.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal("no address")
	}
	s.Shutdown()
	s.WaitForShutdown()
	startServer(t, func(o *server.Options) { o.Port = addr.Port })
	eventually(t, "refused", func() bool {
		l := m.Link()
		return !l.Connected && l.Err != nil && strings.Contains(l.Err.Error(), "offers no TLS")
	})
	if _, err := m.Rollout(within(t)); !isUnreachable(err) || !strings.Contains(err.Error(), "offers no TLS") {
		t.Errorf("%v", err)
	}
	eventually(t, "a reader knows why", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := fleet.OpenReader(ctx, cfg)
		return isUnreachable(err) && strings.Contains(err.Error(), "offers no TLS")
	})
}
