package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// crowd opens so many connections with one set of credentials, which do not connect again. The older ones may be closed before
// the last one is open.
func crowd(t *testing.T, url, name, file string, n int) (open []*nats.Conn) {
	t.Helper()
	for range n {
		open = append(open, dial(t, url, name, nats.UserCredentials(file)))
	}
	return open
}

// alive returns which of connections are open.
func alive(connections []*nats.Conn) (list []int) {
	for i, c := range connections {
		if !c.IsClosed() && c.FlushTimeout(time.Minute) == nil {
			list = append(list, i)
		}
	}
	return list
}

// One node that connects again and again loses its oldest connections, also those that it had before anybody watched. Others keep
// theirs.
func TestGuard(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	s := started(t, d)
	file := enrolled(t, d, nf.CredentialNode, "hn-a")
	other := crowd(t, s.URL(), "hn-b", enrolled(t, d, nf.CredentialNode, "hn-b"), mostOpen[nf.CredentialNode])
	reader := crowd(t, s.URL(), "ci", enrolled(t, d, nf.CredentialReader, "ci"), 2*mostOpen[nf.CredentialNode])
	before := crowd(t, s.URL(), "hn-a", file, page+20)

	ctx, stop := context.WithCancel(t.Context())
	said, ended := make(chan string, 100), make(chan error, 1)
	go func() { ended <- s.Guard(ctx, d, func(text string) { said <- text }) }()
	defer func() { stop(); must(t, <-ended) }()

	fewer := func(what string, all []*nats.Conn) {
		t.Helper()
		until(t, what, func(context.Context) error {
			list := alive(all)
			if most := mostOpen[nf.CredentialNode]; len(list) != most || list[0] != len(all)-most {
				return fmt.Errorf("%d of %d are open, and not the last %d: %v", len(list), len(all), most, list)
			}
			return nil
		})
	}
	fewer("before", before)
	fewer("and more", append(before, crowd(t, s.URL(), "hn-a", file, 30)...))
	if n := len(alive(other)); n != len(other) {
		t.Errorf("the other node has %d connections left", n)
	}
	if n := len(alive(reader)); n != len(reader) {
		t.Errorf("the reader has %d connections left", n)
	}
	request(t, other[0], fleet.SubjectStatus+"hn-b", []byte("x"))
	if text := <-said; !strings.Contains(text, "hn-a has more than") || len(said) != 0 {
		t.Errorf("said %q and %d more", text, len(said))
	}
	// A node that leaves and comes back is no crowd.
	for range 2 * mostOpen[nf.CredentialNode] {
		c := dial(t, s.URL(), "hn-c", nats.UserCredentials(fileOf(t, d, "hn-c")))
		request(t, c, fleet.SubjectStatus+"hn-c", []byte("x"))
		c.Close()
	}
	if len(said) != 0 {
		t.Errorf("said %q", <-said)
	}
}

// fileOf returns new credentials of a node in place of those that it has.
func fileOf(t *testing.T, d *Directory, name string) string {
	t.Helper()
	if err := d.Revoke(name); err != nil && !errors.Is(err, ErrNotEnrolled) {
		t.Fatal(err)
	}
	return enrolled(t, d, nf.CredentialNode, name)
}

// Nodes that take all connections of their account leave those of others. The account is the shipped one but for the number.
func TestAccountIsFull(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	s := started(t, d)
	claims := d.keys.claims(accountNodes, nil, time.Now())
	total := int64(0)
	for _, r := range roles {
		total += r.limits.connections
	}
	if claims.Limits.Conn != roles[nf.CredentialNode].limits.connections || total >= mostConnections {
		t.Errorf("nodes have %d connections, and all members %d of %d", claims.Limits.Conn, total, mostConnections)
	}
	claims.Limits.Conn = 3
	l, err := d.readLedger()
	must(t, err)
	must(t, afterSecond(l.Accounts[accountNodes]))
	token, err := d.keys.sign(claims)
	must(t, err)
	c, err := d.connect(soon(t), fileSystem, s.URL())
	must(t, err)
	defer c.Close()
	_, err = ask(soon(t), c, 1, []*nats.Msg{{Subject: updateSubject, Data: []byte(token)}})
	must(t, err)
	file := enrolled(t, d, nf.CredentialNode, "hn-a")
	crowd(t, s.URL(), "hn-a", file, 3)
	if c, err := nats.Connect(s.URL(), nats.UserCredentials(file), nats.Timeout(time.Minute)); err == nil || !strings.Contains(err.Error(), "maximum account active connections exceeded") {
		t.Errorf("one node too many: %v, %v", c, err)
	}
	for kind, name := range map[nf.CredentialKind]string{nf.CredentialReader: "ci", nf.CredentialOperator: "ann"} {
		crowd(t, s.URL(), name, enrolled(t, d, kind, name), 1)
	}
	dial(t, s.URL(), "coordinator", nats.UserCredentials(d.CredentialsFile()))
}

// No member can make a server remember without end, or send more than it needs.
func TestLimits(t *testing.T) {
	t.Parallel()
	w := jwtWorld(t)
	for kind, name := range map[nf.CredentialKind]string{nf.CredentialNode: "hn-a", nf.CredentialReader: "ci", nf.CredentialOperator: "ann"} {
		r := roles[kind].limits
		c := w.connect(kind, name)
		refused := make(chan error, 100)
		c.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err })
		for i := range r.subscriptions {
			_, err := c.SubscribeSync(fmt.Sprintf("%s.%d", fleet.Inbox(name), i))
			must(t, err)
		}
		must(t, c.FlushWithContext(soon(t)))
		if len(refused) != 0 {
			t.Errorf("%s: %v", name, <-refused)
		}
		_, err := c.SubscribeSync(fleet.Inbox(name) + ".more")
		must(t, err)
		select {
		case err := <-refused:
			if !errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		case <-soon(t).Done():
			t.Errorf("%s has more than %d subscriptions", name, r.subscriptions)
		}
		if c.MaxPayload() != r.payload {
			t.Errorf("%s may send %d bytes", name, c.MaxPayload())
		}
		if err := c.Publish(fleet.Inbox(name), bytes.Repeat([]byte("x"), int(r.payload)+1)); !errors.Is(err, nats.ErrMaxPayload) {
			t.Errorf("%s has sent more than %d bytes: %v", name, r.payload, err)
		}
	}
}
