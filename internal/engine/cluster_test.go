package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// built is the nats-server of the module, built once.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "nats-server")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "nats-server")
	out, err := exec.CommandContext(context.Background(), "go", "build", "-p", "1", "-o", path, "github.com/nats-io/nats-server/v2").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// TestMain removes what was built.
func TestMain(m *testing.M) {
	code := m.Run()
	if usedServer.Load() {
		if path, err := built(); err == nil {
			_ = os.RemoveAll(filepath.Dir(path))
		}
	}
	os.Exit(code)
}

// usedServer is set where a test has built the server.
var usedServer atomic.Bool

// process is a nats-server as an operator runs it.
type process struct {
	t      *testing.T
	config string
	log    string
	cmd    *exec.Cmd
}

func (p *process) start() {
	p.t.Helper()
	usedServer.Store(true)
	path, err := built()
	must(p.t, err)
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(p.t, err)
	defer log.Close()
	p.cmd = exec.CommandContext(p.t.Context(), path, "-c", p.config)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(p.t, p.cmd.Start())
}

// kill ends the server with SIGKILL.
func (p *process) kill() {
	p.t.Helper()
	must(p.t, p.cmd.Process.Kill())
	_ = p.cmd.Wait() // it was killed
}

// freePorts returns addresses of this machine that nobody listens on.
func freePorts(t *testing.T, n int) (list []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		list = append(list, l.Addr().String())
	}
	return list
}

// cluster returns so many servers with the configuration that init writes, with the names, paths and addresses of this test
// in it, and the URLs of clients. CAFile is the authority of their certificates.
func cluster(t *testing.T, d *Directory, n int) (servers []*process, s Servers) {
	t.Helper()
	cert, key := certificate(t, "localhost")
	ports := freePorts(t, 2*n)
	clients, routes := ports[:n], ports[n:]
	s.CAFile = cert
	for i := range n {
		text, err := d.ServerText()
		must(t, err)
		data := t.TempDir()
		edits := []string{"nats-1\"", fmt.Sprintf("nats-%d\"", i+1), "0.0.0.0:4222", clients[i], "0.0.0.0:6222", routes[i], "/var/lib/nats", data,
			"/etc/nats/server.crt", cert, "/etc/nats/server.key", key, "/etc/nats/ca.crt", cert}
		for j := range routes {
			edits = append(edits, fmt.Sprintf("nats-%d.example.com:6222", j+1), routes[j])
		}
		if n > 1 {
			before, after, found := strings.Cut(text, "# cluster {")
			if !found {
				t.Fatal("the configuration shows no cluster")
			}
			text = before + "cluster {" + strings.ReplaceAll(after, "\n# ", "\n")
		}
		config := filepath.Join(t.TempDir(), "nats-server.conf")
		must(t, os.WriteFile(config, []byte(strings.NewReplacer(edits...).Replace(text)), 0o600))
		p := &process{t: t, config: config, log: filepath.Join(t.TempDir(), "log")}
		p.start()
		servers = append(servers, p)
		s.URLs = append(s.URLs, "tls://"+clients[i])
		t.Cleanup(func() {
			if t.Failed() {
				log, _ := os.ReadFile(p.log)
				t.Logf("%s:\n%s", p.config, log[max(0, len(log)-3000):])
			}
		})
	}
	return servers, s
}

// until calls try until it returns nil.
func until(t *testing.T, what string, try func(context.Context) error) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	for {
		once, end := context.WithTimeout(ctx, 15*time.Second)
		err := try(once)
		end()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// ready gives the accounts to all servers, and makes the streams.
func ready(t *testing.T, d *Directory, s Servers) {
	t.Helper()
	until(t, "the servers do not take the accounts", func(ctx context.Context) error {
		if taken, err := d.Push(ctx, s); err != nil || taken != len(s.URLs) {
			return fmt.Errorf("%d servers, %w", taken, errors.Join(err))
		}
		return nil
	})
	until(t, "the streams are not made", func(ctx context.Context) error { return d.MakeStreams(ctx, s, len(s.URLs), 1) })
}

// client connects again whenever a server is killed.
func client(t *testing.T, s Servers, name, credentials string) *nats.Conn {
	t.Helper()
	c, err := nats.Connect(strings.Join(s.URLs, ","), nats.RootCAs(s.CAFile), nats.UserCredentials(credentials), nats.CustomInboxPrefix(fleet.Inbox(name)),
		nats.Timeout(time.Minute), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.ReconnectBufSize(-1), nats.RetryOnFailedConnect(true),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// Three servers with the configuration that init writes: one of them is killed, and nodes put, and the coordinator
// compares and sets, with the other two. A revocation of meanwhile reaches the third when it is back.
func TestThreeServers(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a server")
	}
	t.Parallel()
	d := newDirectory(t)
	servers, s := cluster(t, d, 3)
	ready(t, d, s)
	file := enrolled(t, d, nf.CredentialNode, "hn-a")
	node, coordinator := client(t, s, "hn-a", file), client(t, s, "coordinator", d.CredentialsFile())
	js, err := jetstream.New(coordinator)
	must(t, err)
	stream, err := js.Stream(soon(t), fleet.StreamRollout)
	must(t, err)
	if info := stream.CachedInfo(); info.Config.Replicas != 3 {
		t.Fatalf("%d copies", info.Config.Replicas)
	}

	sequence := uint64(0)
	write := func(value int) {
		t.Helper()
		until(t, "compare and set", func(ctx context.Context) error {
			ack, err := js.Publish(ctx, fleet.SubjectRollout+"main", fmt.Append(nil, value), jetstream.WithExpectLastSequencePerSubject(sequence))
			if err == nil {
				sequence = ack.Sequence
				return nil
			}
			// It may have been written without an answer.
			if last, getErr := fleet.Last(ctx, coordinator, fleet.StreamRollout, fleet.Key(fleet.StreamRollout, "main")); getErr == nil && string(last.Data) == fmt.Sprint(value) {
				sequence = last.Sequence
				return nil
			}
			return err
		})
	}
	put := func() {
		t.Helper()
		until(t, "a put", func(ctx context.Context) error {
			m, err := node.RequestWithContext(ctx, fleet.SubjectStatus+"hn-a", []byte("x"))
			if err == nil && !strings.Contains(string(m.Data), `"seq"`) {
				err = errors.New(string(m.Data))
			}
			return err
		})
	}
	write(1)
	put()
	for i := range servers {
		servers[i].kill()
		for value := range 5 {
			write(10*i + value + 2)
			put()
		}
		if i == 0 {
			must(t, d.Revoke("hn-a"))
			until(t, "two servers do not take the revocation", func(ctx context.Context) error { _, err := d.Push(ctx, s); return err })
			node = client(t, s, "hn-b", enrolled(t, d, nf.CredentialNode, "hn-b"))
			put = func() {}
		}
		servers[i].start()
		until(t, "the server is not back", func(ctx context.Context) error {
			current, err := js.Stream(ctx, fleet.StreamRollout)
			if err != nil {
				return err
			}
			info := current.CachedInfo()
			for _, replica := range info.Cluster.Replicas {
				if !replica.Current || replica.Offline {
					return fmt.Errorf("%s is behind", replica.Name)
				}
			}
			if len(info.Cluster.Replicas) != 2 || info.Cluster.Leader == "" {
				return errors.New("there is no leader")
			}
			return nil
		})
	}
	for i, url := range s.URLs {
		until(t, "the revocation has not reached a server that was down", func(context.Context) error {
			c, err := nats.Connect(url, nats.RootCAs(s.CAFile), nats.UserCredentials(file), nats.NoReconnect(), nats.Timeout(time.Minute))
			if err == nil {
				c.Close()
				return fmt.Errorf("server %d takes it", i+1)
			}
			if !strings.Contains(strings.ToLower(err.Error()), "authorization violation") {
				return err
			}
			return nil
		})
	}
}

// A server that is killed at any time while documents are put loses none that it has acknowledged.
func TestKilledServer(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a server")
	}
	t.Parallel()
	d := newDirectory(t)
	servers, s := cluster(t, d, 1)
	ready(t, d, s)
	c := client(t, s, "coordinator", d.CredentialsFile())
	js, err := jetstream.New(c)
	must(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	acked, tried := 0, 0
	for range 10 {
		killed := make(chan struct{})
		after := time.Duration(random.IntN(300)) * time.Millisecond
		time.AfterFunc(after, func() {
			defer close(killed)
			_ = servers[0].cmd.Process.Kill()
		})
		for running := true; running; {
			tried++
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			go func() { // a put has no answer once the server is killed
				select {
				case <-killed:
					stop()
				case <-ctx.Done():
				}
			}()
			if _, err := js.Publish(ctx, fleet.SubjectRollout+"main", fmt.Append(nil, tried)); err == nil {
				acked = tried
			}
			stop()
			select {
			case <-killed:
				running = false
			default:
			}
		}
		_ = servers[0].cmd.Wait() // it was killed
		servers[0].start()
		until(t, "the document", func(ctx context.Context) error {
			last, err := fleet.Last(ctx, c, fleet.StreamRollout, fleet.Key(fleet.StreamRollout, "main"))
			if err != nil {
				if acked == 0 && errors.Is(err, fleet.ErrNone) {
					return nil
				}
				return err
			}
			var value int
			if _, err := fmt.Sscan(string(last.Data), &value); err != nil {
				return err
			}
			if value < acked || value > tried {
				t.Errorf("the store has %d, acknowledged was %d, put was %d", value, acked, tried)
			}
			return nil
		})
	}
	if acked < 10 {
		t.Errorf("only %d puts were acknowledged", acked)
	}
}
