package source

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// backend returns git's own http server for a repository.
func backend(t *testing.T, r *repo) http.Handler {
	t.Helper()
	return &cgi.Handler{
		Path: filepath.Join(r.git("--exec-path"), "git-http-backend"),
		Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(r.dir), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_CONFIG_NOSYSTEM=1", "PATH=" + os.Getenv("PATH")},
		Stderr: io.Discard,
	}
}

// serve starts an http server for a repository and returns its URL.
func serve(t *testing.T, r *repo) string {
	t.Helper()
	return start(t, backend(t, r)) + "/policies"
}

func start(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// switchable is a server that can be switched off.
type switchable struct {
	next http.Handler
	off  bool
}

func (s *switchable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.off {
		http.Error(w, "later", http.StatusServiceUnavailable)
		return
	}
	s.next.ServeHTTP(w, r)
}

// authServer asks for credentials, and records those that it is given.
type authServer struct {
	next  http.Handler
	want  string // the Authorization header
	mu    sync.Mutex
	given []string
}

func (s *authServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.given = append(s.given, r.Header.Get("Authorization"))
	s.mu.Unlock()
	if r.Header.Get("Authorization") != s.want {
		w.Header().Set("WWW-Authenticate", `Basic realm="policies"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	s.next.ServeHTTP(w, r)
}

func secret(t *testing.T, text string) string {
	t.Helper()
	return secretMode(t, text, 0o600)
}

func secretMode(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	return name
}

// authority is a private certificate authority.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t)}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a private CA"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func (a *authority) file() string { return secret(a.t, encode("CERTIFICATE", a.cert.Raw)) }

// issue returns a certificate and its key in PEM. The certificate is valid for 127.0.0.1 and
// git.example.test, for servers and clients.
func (a *authority) issue() (cert, key string) {
	a.t.Helper()
	k := newKey(a.t)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "git"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"git.example.test"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, k.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return encode("CERTIFICATE", der), encode("EC PRIVATE KEY", raw)
}

// startTLS starts an https server with a certificate of the authority. clients selects
// whether its clients need one too.
func (a *authority) startTLS(h http.Handler, clients tls.ClientAuthType) string {
	a.t.Helper()
	cert, key := a.issue()
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		a.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: clients, ClientCAs: pool}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	a.t.Cleanup(s.Close)
	return s.URL
}

// tunnelProxy is a proxy for CONNECT that connects every request to one address.
type tunnelProxy struct {
	to   string
	want string // the Proxy-Authorization header, if any
	mu   sync.Mutex
	seen []string
}

func (p *tunnelProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.seen = append(p.seen, r.Method+" "+r.Host)
	p.mu.Unlock()
	if p.want != "" && r.Header.Get("Proxy-Authorization") != p.want {
		http.Error(w, "no", http.StatusProxyAuthRequired)
		return
	}
	if r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
		return
	}
	far, err := net.Dial("tcp", p.to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer far.Close()
	w.WriteHeader(http.StatusOK)
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer near.Close()
	go func() {
		_, _ = io.Copy(far, buffered)
		_ = far.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(near, far)
}

func (p *tunnelProxy) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// listen accepts connections until the test ends, calls serve for each, and returns the
// address.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			all.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return l.Addr().String()
}

// sshServer runs sshd with keys of its own, one process for each connection.
type sshServer struct {
	t     *testing.T
	addr  string
	user  string
	dir   string
	types []string
}

// startSSH starts a server with host keys of the types, and returns a client key that it
// accepts.
func startSSH(t *testing.T, types ...string) (s *sshServer, clientKey string) {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s = &sshServer{t: t, user: u.Username, dir: t.TempDir(), types: types}
	// sshd separates its privileges there when root runs it.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	clientKey = keygen(t, filepath.Join(s.dir, "client"), "ed25519")
	public, err := os.ReadFile(clientKey + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	// A shell of level 2 does not read the .bashrc of this machine, which may take seconds (bash(1)).
	lines := []string{"UsePAM no", "SetEnv SHLVL=1", "StrictModes no", "PasswordAuthentication no", "PermitRootLogin prohibit-password", "PidFile none", "LogLevel QUIET",
		"AuthorizedKeysFile " + s.write("authorized_keys", string(public)), `ForceCommand git-shell -c "$SSH_ORIGINAL_COMMAND"`}
	for _, kind := range types {
		lines = append(lines, "HostKey "+keygen(t, filepath.Join(s.dir, "host_"+kind), kind))
	}
	config := s.write("sshd_config", strings.Join(lines, "\n")+"\n")
	s.addr = listen(t, func(c net.Conn) { s.session(c, config) })
	return s, clientKey
}

func (s *sshServer) session(c net.Conn, config string) {
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		return
	}
	cmd := exec.Command("/usr/sbin/sshd", "-i", "-e", "-f", config)
	cmd.Stdin, cmd.Stdout = f, f
	cmd.Env = gitEnv()
	err = cmd.Start()
	_ = f.Close()
	if err != nil {
		s.t.Errorf("sshd: %v", err)
		return
	}
	_ = cmd.Wait()
}

func (s *sshServer) write(name, text string) string {
	s.t.Helper()
	name = filepath.Join(s.dir, name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return name
}

// url returns the URL of a repository on the server.
func (s *sshServer) url(r *repo) string {
	return fmt.Sprintf("ssh://%s@%s%s", s.user, s.addr, r.dir)
}

// host returns the name of the server in known_hosts.
func (s *sshServer) host() string {
	host, port, _ := net.SplitHostPort(s.addr)
	return fmt.Sprintf("[%s]:%s", host, port)
}

// known writes a known_hosts file with the server's keys of the types, and returns its name.
func (s *sshServer) known(types ...string) string {
	s.t.Helper()
	var lines strings.Builder
	for _, kind := range types {
		b, err := os.ReadFile(filepath.Join(s.dir, "host_"+kind+".pub"))
		if err != nil {
			s.t.Fatal(err)
		}
		lines.WriteString(s.host() + " " + string(b))
	}
	return s.write(strings.Join(types, "-")+"_known_hosts", lines.String())
}

func keygen(t *testing.T, name, kind string, more ...string) string {
	t.Helper()
	args := append([]string{"-q", "-t", kind, "-N", "", "-f", name}, more...)
	if out, err := exec.Command("ssh-keygen", args...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	return name
}

// fingerprint returns the fingerprint of a public key, as ssh-keygen prints it.
func fingerprint(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("ssh-keygen", "-l", "-f", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.Fields(out)[1])
}

// multiAckServer behaves like Azure DevOps: it does not serve clients without multi_ack, and
// does not list some capabilities.
type multiAckServer struct {
	t    *testing.T
	next http.Handler
}

func (s *multiAckServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			s.t.Error(err)
		}
		if !bytes.Contains(body, []byte("multi_ack")) {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
		s.next.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	s.next.ServeHTTP(answer, r)
	w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
	text := answer.Body.String()
	// The text keeps its length, because each pkt-line begins with it.
	for _, name := range []string{"ofs-delta", "symref=", "agent="} {
		text = strings.ReplaceAll(text, name, "x-"+strings.Repeat("x", len(name)-2))
	}
	_, _ = io.WriteString(w, text)
}
