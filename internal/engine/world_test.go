package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// world is a fleet's server with everybody connected to it, and values in all streams.
type world struct {
	t           *testing.T
	coordinator *nats.Conn
	js          jetstream.JetStream
	connect     func(kind nf.CredentialKind, name string) *nats.Conn
	other       *nats.Conn        // of the node hn-b
	asked       chan *nats.Msg    // what the coordinator was asked
	mine        map[string]uint64 // the sequences of what the coordinator has put, by subject
}

// worlds are the ways in which a server can know its users. The permissions are the same: those of roles and shares.
func worlds() map[string]func(*testing.T) *world {
	return map[string]func(*testing.T) *world{"jwt": jwtWorld, "static": func(t *testing.T) *world { return staticWorld(t, staticAccounts) }}
}

// jwtWorld is the server as the coordinator starts it.
func jwtWorld(t *testing.T) *world {
	d := newDirectory(t)
	s := started(t, d)
	w := &world{t: t, mine: map[string]uint64{}, connect: func(kind nf.CredentialKind, name string) *nats.Conn {
		return dial(t, s.URL(), name, nats.UserCredentials(enrolled(t, d, kind, name)))
	}}
	w.fill(dial(t, s.URL(), "coordinator", nats.UserCredentials(d.CredentialsFile())))
	return w
}

// staticUser is a user of a server that has its users in its configuration.
type staticUser struct {
	nf.FleetCredential
	pair nkeys.KeyPair
}

// staticUsers are the users of static worlds.
func staticUsers(t *testing.T) (list []staticUser) {
	t.Helper()
	for _, c := range []nf.FleetCredential{{Name: "hn-a", Kind: nf.CredentialNode}, {Name: "hn-b", Kind: nf.CredentialNode}, {Name: "ci", Kind: nf.CredentialReader}, {Name: "ann", Kind: nf.CredentialOperator}, {Name: "coordinator"}} {
		pair, err := nkeys.CreateUser()
		must(t, err)
		c.PublicKey, err = pair.PublicKey()
		must(t, err)
		list = append(list, staticUser{c, pair})
	}
	return list
}

// staticWorld is a server with NKEY users, with the rest of the shipped configuration.
func staticWorld(t *testing.T, accounts func([]staticUser) string) *world {
	d, users := newDirectory(t), staticUsers(t)
	text, err := d.text("static", Listen{Address: "127.0.0.1:0"}, "", t.TempDir(), filepath.Join(t.TempDir(), dirAccounts))
	must(t, err)
	text, _, found := strings.Cut(text, "\n# Who may do what")
	if !found {
		t.Fatal("the configuration has no operator")
	}
	options := &server.Options{}
	must(t, options.ProcessConfigString(text+accounts(users)))
	options.NoSigs = true
	s, err := server.NewServer(options)
	must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	for !s.ReadyForConnections(100 * time.Millisecond) {
		must(t, soon(t).Err())
	}
	w := &world{t: t, mine: map[string]uint64{}, connect: func(_ nf.CredentialKind, name string) *nats.Conn {
		for _, u := range users {
			if u.Name == name {
				return dial(t, s.ClientURL(), name, nats.Nkey(u.PublicKey, u.pair.Sign))
			}
		}
		t.Fatalf("there is no user %s", name)
		return nil
	}}
	w.fill(w.connect("", "coordinator"))
	return w
}

// staticAccounts returns the accounts of a fleet as a server has them whose users are in its configuration.
func staticAccounts(users []staticUser) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\naccounts {\n  FLEET {\n    jetstream: enabled\n    exports: [\n")
	for _, s := range shares {
		response := ""
		if s.stream {
			response = ", response_type: stream"
		}
		fmt.Fprintf(&b, "      { %s: %q, accounts: [%s]%s }\n", s.kind, s.subject, strings.Join(s.with, ", "), response)
	}
	fmt.Fprintf(&b, "    ]\n    users: [%s]\n  }\n", staticUsersOf(users, ""))
	for kind, r := range roles {
		if r.leaf {
			continue
		}
		fmt.Fprintf(&b, "  %s {\n    imports: [\n", r.account)
		for _, s := range shares {
			if strings.Contains(strings.Join(s.with, " "), r.account) {
				as := ""
				if s.as != "" {
					as = fmt.Sprintf(", to: %q", s.as)
				}
				fmt.Fprintf(&b, "      { %s: { account: FLEET, subject: %q }%s }\n", s.kind, s.subject, as)
			}
		}
		fmt.Fprintf(&b, "    ]\n    users: [%s]\n  }\n", staticUsersOf(users, kind))
	}
	return b.String() + "}\n"
}

// oneAccount returns a configuration with the same permissions and no walls.
func oneAccount(users []staticUser) string {
	all := staticUsersOf(users, "")
	for kind := range roles {
		all += staticUsersOf(users, kind)
	}
	return "\naccounts {\n  FLEET {\n    jetstream: enabled\n    users: [" + all + "]\n  }\n}\n"
}

func staticUsersOf(users []staticUser, kind nf.CredentialKind) string {
	var b strings.Builder
	for _, u := range users {
		switch r := roles[kind]; {
		case u.Kind != kind:
		case kind == "":
			fmt.Fprintf(&b, "\n      { nkey: %s }", u.PublicKey)
		default:
			list := func(subjects []string) string {
				text, _ := json.Marshal(subjects)
				return strings.ReplaceAll(string(text), userName, u.Name)
			}
			fmt.Fprintf(&b, "\n      { nkey: %s, permissions: { publish: %s, subscribe: %s } }", u.PublicKey, list(r.publish), strings.ReplaceAll(list(r.subscribe), `\u003e`, ">"))
		}
	}
	return strings.ReplaceAll(b.String(), `\u003e`, ">")
}

// dial connects, as members of a fleet do.
func dial(t *testing.T, url, name string, credentials nats.Option) *nats.Conn {
	t.Helper()
	c, err := nats.Connect(url, credentials, nats.CustomInboxPrefix(fleet.Inbox(name)), nats.Timeout(time.Minute), nats.NoReconnect(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// first are the values of a world: what was put where.
var first = map[string]string{
	fleet.SubjectStatus + "hn-a": "status of a", fleet.SubjectStatus + "hn-b": "status of b",
	fleet.SubjectSnapshot + "hn-a": "snapshot of a", fleet.SubjectSnapshot + "hn-b": "snapshot of b",
	fleet.SubjectRollout + "main": "the roll-out",
	fleet.SubjectGrant + "hn-a":   "grant of a", fleet.SubjectGrant + "hn-b": "grant of b",
	fleet.SubjectLease + "main": "the lease",
}

// fill makes the streams, and puts the first values.
func (w *world) fill(coordinator *nats.Conn) {
	w.t.Helper()
	w.coordinator = coordinator
	var err error
	w.js, err = jetstream.New(coordinator, jetstream.WithDefaultTimeout(time.Minute))
	must(w.t, err)
	must(w.t, fleet.MakeStreams(soon(w.t), w.js, 1, fleet.SizesFor(1)))
	for subject, value := range first {
		w.put(subject, value)
	}
	w.answer()
	w.other = w.connect(nf.CredentialNode, "hn-b")
}

// put puts a value as the coordinator.
func (w *world) put(subject, value string) {
	w.t.Helper()
	m, err := w.coordinator.RequestWithContext(soon(w.t), subject, []byte(value))
	must(w.t, err)
	var ack struct {
		Seq   uint64 `json:"seq"`
		Error any    `json:"error"`
	}
	must(w.t, json.Unmarshal(m.Data, &ack))
	if ack.Error != nil || ack.Seq == 0 {
		w.t.Fatalf("put %s: %s", subject, m.Data)
	}
	_, key, _ := strings.Cut(subject, "nfsync.v1.")
	_, key, _ = strings.Cut(key, ".")
	w.mine["$KV.nfsync_"+key] = ack.Seq
}

// barrier is the key of values that show that everything before them is done.
const barrier = "barrier"

var putSubjects = []string{fleet.SubjectStatus, fleet.SubjectSnapshot, fleet.SubjectRollout, fleet.SubjectGrant, fleet.SubjectLease}

// settle returns when the server has dealt with what a client has sent, and with what came of it: each stream has taken and
// acknowledged a value after it, twice, since the first answer may itself be a request to another stream.
func (w *world) settle(c *nats.Conn) {
	w.t.Helper()
	must(w.t, c.FlushWithContext(soon(w.t)))
	for range 3 {
		for _, subject := range putSubjects {
			w.put(subject+barrier, "x")
		}
		for _, stream := range w.streams() {
			_, err := w.coordinator.RequestWithContext(soon(w.t), fleet.DirectGet+stream+"."+fleet.Key(stream, barrier), nil)
			must(w.t, err)
		}
	}
	must(w.t, c.FlushWithContext(soon(w.t)))
}

func (w *world) streams() []string {
	return []string{fleet.StreamStatus, fleet.StreamSnapshot, fleet.StreamRollout, fleet.StreamGrant, fleet.StreamLease}
}

// state returns all that the streams hold and how they are made, but for the barrier and for what hn-a may put.
func (w *world) state() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for info := range w.js.ListStreams(soon(w.t)).Info() {
		config, err := json.Marshal(info.Config)
		must(w.t, err)
		all["stream "+info.Config.Name] = string(config)
		stream, err := w.js.Stream(soon(w.t), info.Config.Name)
		must(w.t, err)
		full, err := stream.Info(soon(w.t), jetstream.WithSubjectFilter(">"))
		must(w.t, err)
		if n := full.State.Consumers; n > 0 {
			all["consumers of "+info.Config.Name] = fmt.Sprint(n)
		}
		for subject := range full.State.Subjects {
			if strings.HasSuffix(subject, "."+barrier) || subject == fleet.Key(fleet.StreamStatus, "hn-a") || subject == fleet.Key(fleet.StreamSnapshot, "hn-a") {
				continue
			}
			if sequence, value := w.stored(info.Config.Name, subject); sequence == w.mine[subject] {
				all[subject] = "as it was put"
			} else if sequence != 0 {
				all[subject] = fmt.Sprintf("number %d: %s", sequence, value)
			}
		}
	}
	return all
}

// stored returns the last value of a subject, or 0 if a lease has just ended. It does not ask by a direct get: in an answer to
// that, headers that somebody has put stand before those of the server.
func (w *world) stored(stream, subject string) (sequence uint64, value []byte) {
	w.t.Helper()
	m := request(w.t, w.coordinator, "$JS.API.STREAM.MSG.GET."+stream, fmt.Appendf(nil, `{"last_by_subj":%q}`, subject))
	var answer struct {
		Message struct {
			Seq  uint64
			Data []byte
		}
	}
	must(w.t, json.Unmarshal(m.Data, &answer))
	return answer.Message.Seq, answer.Message.Data
}

// differences returns what is no longer as it was, but for a lease that has ended.
func differences(before, after map[string]string) (list []string) {
	for key := range maps.Keys(before) {
		if _, there := after[key]; !there && key != fleet.Key(fleet.StreamLease, "main") {
			list = append(list, key+" is gone")
		}
	}
	for key, value := range after {
		if was, there := before[key]; !there || was != value {
			list = append(list, fmt.Sprintf("%s is %s, was %q", key, value, was))
		}
	}
	return list
}

// attacker is a member of the fleet with all that reaches it.
type attacker struct {
	*nats.Conn
	t     *testing.T
	inbox *nats.Subscription
	more  []*nats.Subscription // on what it may not hear
}

func (w *world) attacker(kind nf.CredentialKind, name string) *attacker {
	w.t.Helper()
	a := &attacker{Conn: w.connect(kind, name), t: w.t}
	var err error
	a.inbox, err = a.SubscribeSync(fleet.Inbox(name) + ".>")
	must(w.t, err)
	return a
}

// send sends a message with an answer to come, and headers in pairs.
func (a *attacker) send(subject, reply, data string, headers ...string) {
	m := &nats.Msg{Subject: subject, Reply: reply, Data: []byte(data), Header: nats.Header{}}
	if reply == "" {
		m.Reply = strings.TrimSuffix(a.inbox.Subject, ">") + "answer"
	}
	for i := 0; i+1 < len(headers); i += 2 {
		m.Header.Set(headers[i], headers[i+1])
	}
	must(a.t, a.PublishMsg(m))
}

// listen subscribes to a subject.
func (a *attacker) listen(subject string) {
	s, err := a.SubscribeSync(subject)
	must(a.t, err)
	a.more = append(a.more, s)
}

// heard returns what has reached the attacker since the last call, but that nobody answers and that a put is refused.
func (a *attacker) heard() (list []string) {
	a.t.Helper()
	for _, s := range append([]*nats.Subscription{a.inbox}, a.more...) {
		for {
			m, err := s.NextMsg(time.Nanosecond)
			if errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrPermissionViolation) || errors.Is(err, nats.ErrBadSubscription) {
				break
			}
			must(a.t, err)
			if m.Header.Get("Status") != "503" {
				list = append(list, fmt.Sprintf("%s: %v %.200s", m.Subject, m.Header, m.Data))
			}
		}
	}
	for _, s := range a.more {
		if err := s.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrBadSubscription) {
			a.t.Error(err)
		}
	}
	a.more = nil
	return list
}

// request returns the answer to a request of a client.
func request(t *testing.T, c *nats.Conn, subject string, data []byte) *nats.Msg {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	m, err := c.RequestWithContext(ctx, subject, data)
	must(t, err)
	return m
}
