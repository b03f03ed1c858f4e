package engine

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"nfsync.dev/nfsync/internal/nf"
)

// certificate writes a certificate for a name that signs itself, and its key.
func certificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pair.Public(), pair)
	must(t, err)
	keyDER, err := x509.MarshalECPrivateKey(pair)
	must(t, err)
	cert, key = filepath.Join(t.TempDir(), "server.crt"), filepath.Join(t.TempDir(), "server.key")
	must(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600))
	return cert, key
}

// An address that others reach needs a certificate.
func TestListen(t *testing.T) {
	for _, c := range []struct {
		listen Listen
		want   string // in the error; empty: none
	}{
		{Listen{Address: "127.0.0.1:4222"}, ""},
		{Listen{Address: "[::1]:4222"}, ""},
		{Listen{Address: "localhost:4222"}, ""},
		{Listen{Address: "0.0.0.0:4222", CertFile: "a", KeyFile: "b"}, ""},
		{Listen{Address: "0.0.0.0:4222"}, "engine.tls.certFile and engine.tls.keyFile"},
		{Listen{Address: ":4222"}, "engine.tls.certFile and engine.tls.keyFile"},
		{Listen{Address: "[::]:4222"}, "engine.tls.certFile"},
		{Listen{Address: "192.0.2.1:4222"}, "engine.tls.certFile"},
		{Listen{Address: "fleet.example.com:4222"}, "engine.tls.certFile"},
		{Listen{Address: "127.0.0.1.example.com:4222"}, "engine.tls.certFile"},
		{Listen{Address: "127.0.0.1:4222", CertFile: "a"}, "belong together"},
		{Listen{Address: "127.0.0.1"}, "not HOST:PORT"},
	} {
		err := c.listen.check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.listen, err)
		}
	}
	if _, err := Start(soon(t), newDirectory(t), Options{Listen: Listen{Address: "0.0.0.0:0"}}); err == nil || !strings.Contains(err.Error(), "engine.tls") {
		t.Errorf("a server without TLS for all: %v", err)
	}
}

// With a certificate nobody connects without TLS, and the process beside it pushes to the server by that very certificate.
func TestTLS(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	cert, key := certificate(t, "fleet.example.com")
	listen := Listen{Address: "127.0.0.1:0", CertFile: cert, KeyFile: key}
	s, err := Start(soon(t), d, Options{Listen: listen, Nodes: 1})
	must(t, err)
	defer s.Shutdown()
	a := enrolled(t, d, nf.CredentialNode, "hn-a")
	if c, err := nats.Connect(s.URL(), nats.UserCredentials(a), nats.RootCAs(cert)); err != nil {
		t.Errorf("with the CA: %v", err)
	} else {
		c.Close()
	}
	if _, err := nats.Connect(s.URL(), nats.UserCredentials(a)); err == nil {
		t.Error("connected without the CA")
	}
	listen.Address = strings.TrimPrefix(s.URL(), "tls://")
	if taken, err := d.PushLocal(soon(t), listen); err != nil || taken != 1 {
		t.Errorf("%d servers, %v", taken, err)
	}
	other, otherKey := certificate(t, "fleet.example.com")
	var none *NoServerError
	if _, err := d.PushLocal(soon(t), Listen{listen.Address, other, otherKey}); !errors.As(err, &none) {
		t.Errorf("another server of the same name: %v", err)
	}
}

// One server runs in a directory, and says why it cannot.
func TestStartTwice(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	var mu sync.Mutex
	var said []string
	s, err := Start(soon(t), d, Options{Listen: Listen{Address: "127.0.0.1:0"}, Nodes: 1, Log: func(_ slog.Level, message string) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, message)
	}})
	must(t, err)
	if _, err := Start(soon(t), d, Options{Listen: Listen{Address: "127.0.0.1:0"}}); !errors.Is(err, ErrServing) {
		t.Errorf("twice in a directory: %v", err)
	}
	address := strings.TrimPrefix(s.URL(), "nats://")
	if _, err := Start(soon(t), newDirectory(t), Options{Listen: Listen{Address: address}}); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("twice on an address: %v", err)
	}
	s.Shutdown()
	started(t, d)
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(strings.Join(said, "\n"), "Server is ready") {
		t.Errorf("the server said %q", said)
	}
}
