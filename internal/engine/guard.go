package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"nfsync.dev/nfsync/internal/nf"
)

// mostOpen is how many connections one set of credentials may have at the same time. A node has one, and others for moments:
// while it connects again, and for programs beside the agent.
var mostOpen = map[nf.CredentialKind]int{nf.CredentialNode: 5, nf.CredentialReader: 50, nf.CredentialOperator: 50}

// Guard closes the oldest connections of members that have too many, until ctx ends. NATS limits the connections of an
// account and not those of a user: the credentials of one node could take the places of all nodes. It names them by say.
func (d *Directory) Guard(ctx context.Context, s Servers, say func(text string)) error {
	return d.guard(ctx, 0, say, s.urls(), s.options()...)
}

// Guard is Directory.Guard for the server in this process.
func (s *Server) Guard(ctx context.Context, d *Directory, say func(text string)) error {
	return d.guard(ctx, 1, say, "", nats.InProcessServer(s))
}

// The subjects on which servers tell who connects, who is gone and who is connected, and take whom to disconnect.
const (
	connectSubject    = "$SYS.ACCOUNT.%s.CONNECT"
	disconnectSubject = "$SYS.ACCOUNT.%s.DISCONNECT"
	listSubject       = "$SYS.REQ.ACCOUNT.%s.CONNZ"
	kickSubject       = "$SYS.REQ.SERVER.%s.KICK"
)

// guard knows the connections of members.
type guard struct {
	*nats.Conn
	keys    *keys
	servers int // 0: nobody knows how many there are
	say     func(text string)
	open    map[string][]connection // by the public key of the user, the oldest first
	said    map[string]time.Time    // when it was said of a user
}

// connection is a connection of a member.
type connection struct {
	server string // the ID of the server
	id     uint64
}

// guard watches until ctx ends. Whenever its own connection begins it asks who is connected.
func (d *Directory) guard(ctx context.Context, servers int, say func(string), urls string, options ...nats.Option) error {
	began := make(chan struct{}, 1)
	begin := func(*nats.Conn) {
		select {
		case began <- struct{}{}:
		default:
		}
	}
	c, err := nats.Connect(urls, append(options, nats.UserCredentials(d.inside(fileSystem)), nats.Name("nfsync-coordinator guard"),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ConnectHandler(begin), nats.ReconnectHandler(begin),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...) // an event that is lost does little harm
	if err != nil {
		return fmt.Errorf("cannot watch the connections: %w", err)
	}
	defer c.Close()
	g := &guard{Conn: c, keys: d.keys, servers: servers, say: say, open: map[string][]connection{}, said: map[string]time.Time{}}
	connects, disconnects := make(chan *nats.Msg, 10_000), make(chan *nats.Msg, 10_000)
	for kind := range mostOpen {
		account := d.keys.public(roles[kind].account)
		for subject, events := range map[string]chan *nats.Msg{connectSubject: connects, disconnectSubject: disconnects} {
			if _, err := c.ChanSubscribe(fmt.Sprintf(subject, account), events); err != nil {
				return fmt.Errorf("cannot watch the connections: %w", err)
			}
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-began:
			g.list(ctx)
		case m := <-connects:
			g.connected(m.Data)
		case m := <-disconnects:
			g.disconnected(m.Data)
		}
	}
}

// event is what a server tells of a connection.
type event struct {
	Server struct{ ID string } `json:"server"`
	Client struct {
		ID   uint64 `json:"id"`
		User string `json:"user"`
		JWT  string `json:"jwt"`
	} `json:"client"`
}

func (g *guard) connected(data []byte) {
	var e event
	if json.Unmarshal(data, &e) == nil {
		g.take(connection{e.Server.ID, e.Client.ID}, e.Client.User, e.Client.JWT)
	}
}

func (g *guard) disconnected(data []byte) {
	var e event
	if json.Unmarshal(data, &e) != nil {
		return
	}
	is := connection{e.Server.ID, e.Client.ID}
	left := slices.DeleteFunc(g.open[e.Client.User], func(c connection) bool { return c == is })
	if g.open[e.Client.User] = left; len(left) == 0 {
		delete(g.open, e.Client.User)
	}
}

// take takes a connection, and closes the oldest one of its user if there are too many.
func (g *guard) take(c connection, user, token string) {
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil || slices.Contains(g.open[user], c) {
		return
	}
	most := 0
	for kind, r := range roles {
		if !r.leaf && g.keys.public(r.account) == claims.IssuerAccount {
			most = mostOpen[kind]
		}
	}
	open := append(g.open[user], c)
	for len(open) > most && most > 0 {
		// A server does no request without a reply. If the connection is gone already, that is as well.
		_ = g.PublishRequest(fmt.Sprintf(kickSubject, open[0].server), g.NewInbox(), fmt.Appendf(nil, `{"cid":%d}`, open[0].id))
		open = open[1:]
		g.complain(user, claims.Name, most)
	}
	g.open[user] = open
}

// complain says that a member has too many connections, once an hour.
func (g *guard) complain(user, name string, most int) {
	if now := time.Now(); now.Sub(g.said[user]) > time.Hour {
		g.said[user] = now
		g.say(fmt.Sprintf("%s has more than %d connections to the servers: the oldest are closed; its credentials may be in other hands", name, most))
	}
}

// page is how many connections a server lists at once.
const page = 100

// list asks who is connected. All is listed before any connection is closed: that moves the rest to pages that were read.
func (g *guard) list(ctx context.Context) {
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	clear(g.open)
	var lists []connectionList
	for kind := range mostOpen {
		subject := fmt.Sprintf(listSubject, g.keys.public(roles[kind].account))
		for offset, more := 0, true; more; offset += page {
			answers, err := ask(ctx, g.Conn, g.servers, []*nats.Msg{{Subject: subject, Data: fmt.Appendf(nil, `{"auth":true,"limit":%d,"offset":%d}`, page, offset)}})
			if err != nil {
				break // when the connection begins again it is asked again
			}
			more = false
			for _, answer := range answers[0] {
				var l connectionList
				if json.Unmarshal([]byte(answer), &l) == nil {
					lists = append(lists, l)
					more = more || len(l.Data.Connections) == page
				}
			}
		}
	}
	for _, l := range lists {
		for _, c := range l.Data.Connections {
			g.take(connection{l.Server.ID, c.ID}, c.User, c.JWT)
		}
	}
}

// connectionList is a page of the connections of an account at one server, the oldest first.
type connectionList struct {
	Server struct{ ID string } `json:"server"`
	Data   struct {
		Connections []struct {
			ID   uint64 `json:"cid"`
			User string `json:"authorized_user"`
			JWT  string `json:"jwt"`
		} `json:"connections"`
	} `json:"data"`
}
