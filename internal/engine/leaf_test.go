package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// site is a server of the fleet with one of a site, both with the configurations that init writes.
type site struct {
	hub, leaf       *process
	servers, nodes  Servers // how the server of the fleet is reached, and how nodes of the site reach theirs
	leafPort, creds string
}

func newSite(t *testing.T, d *Directory) site {
	t.Helper()
	cert, key := certificate(t, "localhost")
	ports := freePorts(t, 3)
	s := site{leafPort: ports[1], servers: Servers{URLs: []string{"tls://" + ports[0]}, CAFile: cert}, nodes: Servers{URLs: []string{"tls://" + ports[2]}, CAFile: cert},
		creds: enrolled(t, d, nf.CredentialSite, "berlin")}
	text, err := d.ServerText()
	must(t, err)
	before, after, found := strings.Cut(text, "# leafnodes {")
	if !found {
		t.Fatal("the configuration shows no leaf nodes")
	}
	block, after, _ := strings.Cut(after, "# }\n\n")
	text = before + "leafnodes {" + strings.ReplaceAll(block, "\n# ", "\n") + "}\n" + after
	s.hub = newProcess(t, cert, key, text, "0.0.0.0:4222", ports[0], "0.0.0.0:7422", s.leafPort, "/var/lib/nats", t.TempDir())
	s.hub.start()
	ready(t, d, s.servers)
	s.leaf = newProcess(t, cert, key, siteText(t, d), "0.0.0.0:4222", ports[2], `"tls://nats-2.example.com:7422", "tls://nats-3.example.com:7422"`, "",
		"nats-1.example.com:7422", s.leafPort, "/etc/nats/site.creds", s.creds)
	s.leaf.start()
	return s
}

// node returns a node of the site.
func (s site) node(t *testing.T, d *Directory, name string, wake func()) *fleet.Member {
	t.Helper()
	m, err := fleet.Join(fleet.Config{
		Servers: s.nodes.URLs, CAFile: s.nodes.CAFile, CredentialsFile: enrolled(t, d, nf.CredentialNode, name), Channel: fleet.DefaultChannel,
		CoordinatorKey: d.CoordinatorPublicKey(), Name: name,
		Intervals: fleet.Intervals{Reconnect: 50 * time.Millisecond, Jitter: 50 * time.Millisecond, Answer: 5 * time.Second, Wake: time.Millisecond},
	}, wake)
	must(t, err)
	t.Cleanup(m.Close)
	return m
}

func siteText(t *testing.T, d *Directory) string {
	t.Helper()
	text, err := d.LeafText()
	must(t, err)
	return text
}

// TestLeaf: a node of a site does all that a node does. The servers on its way may be killed.
func TestLeaf(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	s := newSite(t, d)
	const name = "hn-1.berlin"
	woken := make(chan struct{}, 1)
	m := s.node(t, d, name, func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	coordinator := client(t, s.servers, "coordinator", d.CredentialsFile())
	set := func(generation int) {
		t.Helper()
		seal := func(kind string, channel, subject string, document any) {
			t.Helper()
			sealed, err := fleet.Seal(kind, channel, document, d.CoordinatorKey())
			must(t, err)
			until(t, "the coordinator does not set "+subject, func(ctx context.Context) error {
				_, err := coordinator.RequestWithContext(ctx, subject, sealed)
				return err
			})
		}
		seal(fleet.SealRollout, fleet.DefaultChannel, fleet.SubjectRollout+fleet.DefaultChannel, nf.RolloutDocument{
			APIVersion: nf.APIVersion, Kind: nf.KindRolloutDocument, Channel: fleet.DefaultChannel, Generation: uint64(generation)})
		seal(fleet.SealGrant, fleet.GrantChannel(fleet.DefaultChannel, name), fleet.SubjectGrant+name,
			nf.RestartGrant{Channel: fleet.DefaultChannel, Node: name, Generation: uint64(generation)})
	}
	works := func(generation int) {
		t.Helper()
		until(t, "the node does not put, or read", func(ctx context.Context) error {
			_, status := m.PutNode(ctx, nf.FleetNode{Node: name, Revision: fmt.Sprint(generation)})
			_, snapshot := m.PutSnapshot(ctx, []byte(`{"kind":"NodeSnapshot"}`))
			document, rollout := m.Rollout(ctx)
			grant, restart := m.Grant(ctx)
			if err := errors.Join(status, snapshot, rollout, restart); err != nil {
				return err
			}
			if document.Generation != uint64(generation) || grant.Generation != uint64(generation) {
				return fmt.Errorf("it has read the document %d and the grant %d, not %d", document.Generation, grant.Generation, generation)
			}
			return nil
		})
		v, err := fleet.Last(soon(t), coordinator, fleet.StreamStatus, fleet.Key(fleet.StreamStatus, name))
		if err != nil || !strings.Contains(string(v.Data), fmt.Sprintf(`"revision":"%d"`, generation)) {
			t.Errorf("the store has %s: %v", v.Data, err)
		}
	}
	set(1)
	works(1)
	for len(woken) > 0 {
		<-woken
	}
	set(2)
	select {
	case <-woken:
	case <-soon(t).Done():
		t.Error("the node is not woken")
	}
	works(2)
	s.leaf.kill()
	set(3)
	s.leaf.start()
	works(3)
	s.hub.kill()
	s.hub.start()
	set(4)
	works(4)
	must(t, d.Revoke("berlin"))
	until(t, "the servers do not take the revocation", func(ctx context.Context) error { _, err := d.Push(ctx, s.servers); return err })
	until(t, "the site goes on without credentials", func(ctx context.Context) error {
		if _, err := m.Rollout(ctx); err == nil {
			return errors.New("it reads the roll-out")
		}
		return nil
	})
}

// TestRevokedAtSite: the server of a site knows of a revoked node what its configuration says, once that is loaded.
func TestRevokedAtSite(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	s := newSite(t, d)
	m := s.node(t, d, "hn-1", func() {})
	reads := func(ctx context.Context) error {
		if _, err := m.Rollout(ctx); !errors.Is(err, fleet.ErrNone) {
			return fmt.Errorf("the roll-out: %w", err)
		}
		return nil
	}
	until(t, "the node does not read", reads)
	must(t, d.Revoke("hn-1"))
	until(t, "the servers do not take the revocation", func(ctx context.Context) error { _, err := d.Push(ctx, s.servers); return err })
	must(t, reads(soon(t))) // which the documents say
	text, err := os.ReadFile(s.leaf.config)
	must(t, err)
	edited := strings.ReplaceAll(string(text), signedNodes(t, string(text)), signedNodes(t, siteText(t, d)))
	must(t, os.WriteFile(s.leaf.config, []byte(edited), 0o600))
	must(t, s.leaf.cmd.Process.Signal(syscall.SIGHUP))
	until(t, "the revoked node is not refused", func(ctx context.Context) error {
		if reads(ctx) == nil {
			return errors.New("it reads the roll-out")
		}
		if !fleet.IsNotPermitted(m.Link().Err) {
			return m.Link().Err
		}
		return nil
	})
}

// signedNodes returns the account NODES of a configuration.
func signedNodes(t *testing.T, text string) string {
	t.Helper()
	_, after, _ := strings.Cut(text, "# NODES\n")
	_, after, _ = strings.Cut(after, ": ")
	token, _, found := strings.Cut(after, "\n")
	if !found {
		t.Fatal("the configuration has no account NODES")
	}
	return token
}

// TestOwnerOfLeaf: who has the credentials of a site, and a server of his own with them, hears nothing that other nodes put, and sets
// nothing.
func TestOwnerOfLeaf(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	s := newSite(t, d)
	port := freePorts(t, 1)[0]
	own := newProcess(t, "", "", fmt.Sprintf("listen: %q\nleafnodes { remotes: [ { urls: [%q], credentials: %q, tls { ca_file: %q } } ] }\n",
		port, "tls://"+s.leafPort, s.creds, s.servers.CAFile))
	own.start()
	var c *nats.Conn
	until(t, "the server of the attacker does not start", func(context.Context) (err error) {
		c, err = nats.Connect("nats://" + port)
		return err
	})
	t.Cleanup(c.Close)
	const secret, mine = "what a node puts", "what the attacker sends"
	all, err := c.SubscribeSync(">")
	must(t, err)
	for _, subject := range []string{"nfsync.v1.put.>", "nfsync.v1.>", "$KV.>", "*.>", "$JS.>", "nfsync.v1.ask.>"} {
		_, err := c.SubscribeSync(subject)
		must(t, err)
	}
	var answer *nats.Msg
	until(t, "the attacker's server is not connected", func(ctx context.Context) (err error) {
		answer, err = c.RequestWithContext(ctx, fleet.SubjectStatus+"hn-x", []byte(mine)) // which it may
		return err
	})
	if !strings.Contains(string(answer.Data), fleet.StreamStatus) {
		t.Fatalf("%s", answer.Data)
	}
	coordinator := client(t, s.servers, "coordinator", d.CredentialsFile())
	other := client(t, s.servers, "hn-b", enrolled(t, d, nf.CredentialNode, "hn-b"))
	for range 3 {
		for _, subject := range []string{fleet.SubjectStatus + "hn-b", fleet.SubjectSnapshot + "hn-b"} {
			request(t, other, subject, []byte(secret))
		}
		for _, subject := range []string{fleet.SubjectRollout, fleet.SubjectGrant, fleet.SubjectLease} {
			request(t, coordinator, subject+"main", []byte("set by the coordinator"))
		}
		for _, subject := range []string{
			fleet.SubjectRollout + "main", fleet.SubjectGrant + "main", fleet.SubjectLease + "main", "$KV.nfsync_rollout.main", fleet.SubjectAsk + "main",
			fleet.DirectGet + fleet.StreamSnapshot, fleet.DirectGet + fleet.StreamSnapshot + ".$KV.nfsync_snapshot.hn-b", "$JS.API.STREAM.LIST", "$JS.API.STREAM.DELETE.KV_nfsync_rollout",
			"$JS.API.CONSUMER.CREATE.KV_nfsync_status", "$SYS.REQ.SERVER.PING", "$SYS.REQ.CLAIMS.UPDATE",
		} {
			must(t, c.PublishRequest(subject, "answers."+subject, []byte(`{"seq":1,"batch":10,"next_by_subj":"$KV.nfsync_snapshot.>","mine":"`+mine+`"}`)))
		}
		// What was published before is dealt with before the answer to this comes.
		request(t, c, fleet.SubjectStatus+"hn-x", []byte(mine))
	}
	for {
		m, err := all.NextMsg(time.Nanosecond)
		if errors.Is(err, nats.ErrTimeout) {
			break
		}
		must(t, err)
		own := strings.Contains(string(m.Data), mine)
		if may := strings.HasPrefix(m.Subject, fleet.Inboxes) || strings.HasPrefix(m.Subject, "nfsync.v1.wake."); !own && (!may || strings.Contains(string(m.Data), secret)) {
			t.Errorf("heard %s: %v %s", m.Subject, m.Header, m.Data)
		}
	}
	for stream, key := range map[string]string{fleet.StreamRollout: "main", fleet.StreamGrant: "main", fleet.StreamLease: "main"} {
		if v, err := fleet.Last(soon(t), coordinator, stream, fleet.Key(stream, key)); err != nil || string(v.Data) != "set by the coordinator" {
			t.Errorf("%s has %q: %v", stream, v.Data, err)
		}
	}
}

// TestOnlySitesAreLeaves: the credentials of nodes and readers are not those of a leaf node, and these are no client's.
func TestOnlySitesAreLeaves(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	s := newSite(t, d)
	if c, err := nats.Connect(s.servers.URLs[0], nats.RootCAs(s.servers.CAFile), nats.UserCredentials(s.creds)); err == nil {
		c.Close()
		t.Error("a client is connected with the credentials of a site")
	}
	for name, kind := range map[string]nf.CredentialKind{"hn-1": nf.CredentialNode, "ci": nf.CredentialReader, "ann": nf.CredentialOperator} {
		p := newProcess(t, "", "", fmt.Sprintf("listen: \"127.0.0.1:-1\"\nleafnodes { remotes: [ { urls: [%q], credentials: %q, tls { ca_file: %q } } ] }\n",
			"tls://"+s.leafPort, enrolled(t, d, kind, name), s.servers.CAFile))
		p.start()
		until(t, name+" is not refused", func(context.Context) error {
			log, err := os.ReadFile(p.log)
			if err == nil && !strings.Contains(string(log), "Authorization Violation") {
				err = fmt.Errorf("%s", log)
			}
			return err
		})
		p.kill()
	}
}
