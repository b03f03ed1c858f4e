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
	"strconv"
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

// newProcess returns a server with a configuration in which some texts, and the paths of the certificate, are others.
func newProcess(t *testing.T, cert, key, text string, edits ...string) *process {
	t.Helper()
	edits = append(edits, "/etc/nats/server.crt", cert, "/etc/nats/server.key", key, "/etc/nats/ca.crt", cert)
	p := &process{t: t, config: filepath.Join(t.TempDir(), "nats-server.conf"), log: filepath.Join(t.TempDir(), "log")}
	must(t, os.WriteFile(p.config, []byte(strings.NewReplacer(edits...).Replace(text)), 0o600))
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(p.log)
			t.Logf("%s:\n%s", p.config, log[max(0, len(log)-3000):])
		}
	})
	return p
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
		edits := []string{"nats-1\"", fmt.Sprintf("nats-%d\"", i+1), "0.0.0.0:4222", clients[i], "0.0.0.0:6222", routes[i], "/var/lib/nats", data, `interval: "10s"`, `interval: "1s"`}
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
		p := newProcess(t, cert, key, text, edits...)
		p.start()
		servers = append(servers, p)
		s.URLs = append(s.URLs, "tls://"+clients[i])
	}
	return servers, s
}

// until calls try until it returns nil. The tries get longer: what was sent to a server that was killed is never answered, and on a
// busy machine an answer takes its time.
func until(t *testing.T, what string, try func(context.Context) error) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	for most := time.Second; ; most = min(2*most, 16*time.Second) {
		once, end := context.WithTimeout(ctx, most)
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

// kills returns how often servers are killed: as often as NFSYNC_KILLS says, else usually so often.
func kills(t *testing.T, usually int) int {
	t.Helper()
	text := os.Getenv("NFSYNC_KILLS")
	if text == "" {
		return usually
	}
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

// filled makes values in the store of a directory, as nodes and coordinators put them, and ends its server.
func filled(t *testing.T, d *Directory) (values map[string]string) {
	t.Helper()
	s, err := Start(soon(t), d, Options{Listen: Listen{Address: "127.0.0.1:0"}, Nodes: 1})
	must(t, err)
	defer s.Shutdown()
	c := dial(t, s.URL(), "coordinator", nats.UserCredentials(d.CredentialsFile()))
	values = map[string]string{}
	for subject, key := range map[string]string{
		fleet.SubjectRollout + "main": fleet.Key(fleet.StreamRollout, "main"), fleet.SubjectGrant + "hn-z": fleet.Key(fleet.StreamGrant, "hn-z"),
		fleet.SubjectStatus + "hn-y": fleet.Key(fleet.StreamStatus, "hn-y"), fleet.SubjectStatus + "hn-z": fleet.Key(fleet.StreamStatus, "hn-z"), fleet.SubjectSnapshot + "hn-z": fleet.Key(fleet.StreamSnapshot, "hn-z"),
	} {
		values[key] = "old " + subject
		request(t, c, subject, []byte(values[key]))
	}
	request(t, c, fleet.SubjectLease+"main", []byte("old"))
	return values
}

// moves copies the store of a directory to servers. They get what they do not have, once.
func moves(t *testing.T, d *Directory, s Servers, coordinator *nats.Conn, values map[string]string) {
	t.Helper()
	newer := fleet.Key(fleet.StreamStatus, "hn-y")
	request(t, coordinator, fleet.SubjectStatus+"hn-y", []byte("new"))
	for _, want := range []int{len(values) - 1, 0} {
		if copied, err := d.CopyFrom(soon(t), OwnStore, s); err != nil || copied != want {
			t.Errorf("%d values are copied, not %d: %v", copied, want, err)
		}
	}
	values[newer] = "new"
	for key, want := range values {
		stream := "KV_" + strings.Split(key, ".")[1]
		if v, err := fleet.Last(soon(t), coordinator, stream, key); err != nil || string(v.Data) != want {
			t.Errorf("%s is %q, not %q: %v", key, v.Data, want, err)
		}
	}
	if _, err := fleet.Last(soon(t), coordinator, fleet.StreamLease, fleet.Key(fleet.StreamLease, "main")); !errors.Is(err, fleet.ErrNone) {
		t.Errorf("the lease: %v", err)
	}
}

// A fleet moves from the coordinator's own server to three with the configuration that init writes. One of these is killed, the
// leader of the roll-out first, and nodes put, and the coordinator compares and sets, with the other two. A revocation of
// meanwhile reaches the third when it is back.
func TestThreeServers(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	values := filled(t, d)
	servers, s := cluster(t, d, 3)
	ready(t, d, s)
	file := enrolled(t, d, nf.CredentialNode, "hn-a")
	node, coordinator := client(t, s, "hn-a", file), client(t, s, "coordinator", d.CredentialsFile())
	moves(t, d, s, coordinator, values)
	js, err := jetstream.New(coordinator)
	must(t, err)
	stream, err := js.Stream(soon(t), fleet.StreamRollout)
	must(t, err)
	if info := stream.CachedInfo(); info.Config.Replicas != 3 {
		t.Fatalf("%d copies", info.Config.Replicas)
	}
	var leader int
	_, err = fmt.Sscanf(stream.CachedInfo().Cluster.Leader, "nats-%d", &leader)
	must(t, err)

	last, err := fleet.Last(soon(t), coordinator, fleet.StreamRollout, fleet.Key(fleet.StreamRollout, "main"))
	must(t, err)
	sequence := last.Sequence
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
	for n := range kills(t, 1) {
		i := (leader - 1 + n) % len(servers)
		servers[i].kill()
		for value := range 5 {
			write(10*n + value + 2)
			put()
		}
		if n == 0 {
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

// A server that is killed at any time, while documents are put and members are connected, loses no document that it has
// acknowledged, and the members come back by themselves.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	servers, s := cluster(t, d, 1)
	ready(t, d, s)
	members := []*putter{newPutter(t, d, s, "hn-a"), newPutter(t, d, s, "hn-b")}
	c := client(t, s, "coordinator", d.CredentialsFile())
	js, err := jetstream.New(c)
	must(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	acked, tried := 0, 0
	rounds := kills(t, 5)
	for range rounds {
		killed := make(chan struct{})
		after := time.Duration(random.IntN(300)) * time.Millisecond
		before := acked
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
				if acked == before { // the first one of the round: from now on it may happen
					time.AfterFunc(after, func() {
						defer close(killed)
						_ = servers[0].cmd.Process.Kill()
					})
				}
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
		was := make([]uint64, len(members))
		for i, m := range members {
			was[i] = m.acked.Load()
		}
		servers[0].start()
		until(t, "the document", func(ctx context.Context) error {
			last, err := fleet.Last(ctx, c, fleet.StreamRollout, fleet.Key(fleet.StreamRollout, "main"))
			if err != nil {
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
		for i, m := range members {
			until(t, "a member is back", func(context.Context) error {
				if m.acked.Load() <= was[i] {
					return fmt.Errorf("%d puts are acknowledged, as before; %w", was[i], m.Link().Err)
				}
				return nil
			})
		}
	}
	if acked < rounds {
		t.Errorf("only %d puts were acknowledged", acked)
	}
}

// putter is a node that puts its status again and again.
type putter struct {
	*fleet.Member
	acked atomic.Uint64 // how many of its puts were acknowledged
}

func newPutter(t *testing.T, d *Directory, s Servers, name string) *putter {
	t.Helper()
	m, err := fleet.Join(fleet.Config{
		Servers: s.URLs, CAFile: s.CAFile, CredentialsFile: enrolled(t, d, nf.CredentialNode, name), Channel: fleet.DefaultChannel, CoordinatorKey: d.CoordinatorPublicKey(), Name: name,
		Intervals: fleet.Intervals{Reconnect: 50 * time.Millisecond, Jitter: 50 * time.Millisecond, Answer: time.Minute},
	}, func() {})
	must(t, err)
	p, done := &putter{Member: m}, make(chan struct{})
	go func() {
		defer close(done)
		for t.Context().Err() == nil {
			if _, err := m.PutNode(t.Context(), nf.FleetNode{Node: name}); err == nil {
				p.acked.Add(1)
			}
			select {
			case <-t.Context().Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { <-done; m.Close() })
	return p
}
