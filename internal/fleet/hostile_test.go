package fleet_test

import (
	"bufio"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/fleet/fleettest"
	"nfsync.dev/nfsync/internal/nf"
)

// putRaw puts a value with headers as they are, which no client library does, and waits until it is stored.
func putRaw(t *testing.T, s *fleettest.Server, node, headers, value string) {
	t.Helper()
	nc := s.Connect()
	defer nc.Close()
	inbox := nc.NewInbox()
	ack, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "CONNECT {\"headers\":true,\"no_responders\":true,\"protocol\":1}\r\nHPUB %s%s %s %d %d\r\n%s%s\r\n",
		fleet.SubjectStatus, node, inbox, len(headers), len(headers)+len(value), headers, value)
	answered := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "-ERR") {
				answered <- lines.Text()
			}
		}
	}()
	m, err := ack.NextMsg(patience)
	if err != nil || !strings.Contains(string(m.Data), `"seq"`) {
		select {
		case line := <-answered:
			t.Fatal(line)
		default:
			t.Fatalf("%+v, %v", m, err)
		}
	}
}

// TestForgedHeaders: the server appends its headers to those of a node. Whatever these are, the node speaks for nobody else,
// ends no list, and hides nobody.
func TestForgedHeaders(t *testing.T) {
	t.Parallel()
	const victim = `{"node":"victim","revision":"forged"}`
	forged := func(sequence, last int) string {
		return fmt.Sprintf("Nats-Stream: KV_nfsync_status\r\nNats-Subject: $KV.nfsync_status.victim\r\nNats-Sequence: %d\r\nNats-Time-Stamp: 2040-01-01T00:00:00Z\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: %d\r\n", sequence, last)
	}
	for name, c := range map[string]struct{ headers, value string }{
		"the headers of another key":         {"NATS/1.0\r\n" + forged(1, 0) + "\r\n", victim},
		"an end before the server's headers": {"NATS/1.0\r\n" + forged(4, 1) + "\r\n\r\n", victim},
		"the same, of a first value":         {"NATS/1.0\r\n" + forged(1, 0) + "\r\n\r\n", victim},
		"an end of the list":                 {"NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 1\r\n\r\n", ""},
		"an end of the list, ended":          {"NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 1\r\n\r\n\r\n", ""},
		"not found":                          {"NATS/1.0 404 Message Not Found\r\n\r\n", ""},
		"not found, ended":                   {"NATS/1.0 404 Message Not Found\r\n\r\n\r\n", ""},
		"no responders":                      {"NATS/1.0 503\r\n\r\n\r\n", ""},
		"no header":                          {"NATS/1.0\r\nno header\r\n\r\n", victim},
		"another protocol":                   {"HTTP/1.1 200 OK\r\n" + forged(1, 0) + "\r\n\r\n", victim},
		"not ended":                          {"NATS/1.0\r\nNats-Subject: $KV.nfsync_status.victim", victim},
		"swallows the first of the server's": {"NATS/1.0\r\nNats-Stream: KV_nfsync_status\r\nNats-Sequence: ..", victim},
		"empty names":                        {"NATS/1.0\r\n:\r\n: x\r\n\r\n", victim},
		"more headers":                       {"NATS/1.0\r\nA: b\r\n\r\n", victim},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := fleettest.Start(t)
			s.Put(fleet.SubjectStatus+"victim", []byte(`{"node":"victim","revision":"good"}`))
			putRaw(t, s, "mallory", c.headers, c.value)
			putRaw(t, s, "mallet", c.headers, c.value) // two in a row
			s.Put(fleet.SubjectStatus+"young", []byte(`{"node":"young"}`))
			r := openReader(t, s.Config("ci"))
			check := func(what string, want []string) {
				t.Helper()
				nodes, unread, err := r.Nodes(within(t))
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				var names []string
				for _, n := range nodes {
					names = append(names, n.Node)
					if n.Revision == "forged" || n.Heard.After(time.Now().Add(time.Hour)) {
						t.Errorf("%s: forged: %+v", what, n)
					}
				}
				if !slices.Equal(names, want) {
					t.Errorf("%s: nodes %q, want %q; unread: %v", what, names, want, unread)
				}
				if len(unread) == 0 {
					t.Errorf("%s: nobody is unread", what)
				}
				for name := range unread {
					if slices.Contains(want, name) {
						t.Errorf("%s: %s is unread", what, name)
					}
				}
			}
			check("in the middle", []string{"victim", "young"})
			s.Put(fleet.SubjectStatus+"victim", []byte(`{"node":"victim","revision":"good"}`))
			check("first", []string{"victim", "young"})
			putRaw(t, s, "mallory", c.headers, c.value)
			check("last", []string{"victim", "young"})
			// The list that a program polls has an end too.
			changed := r.Changed(t.Context())
			s.Put(fleet.SubjectStatus+"young", []byte(`{"node":"young"}`))
			select {
			case <-changed:
			case <-time.After(patience):
				t.Error("nothing changes any more")
			}
		})
	}
}

// TestHiddenIsFound: of a value whose headers are forged the sequence is known, by which an administrator finds the node.
func TestHiddenIsFound(t *testing.T) {
	t.Parallel()
	s := fleettest.Start(t)
	s.Put(fleet.SubjectStatus+"a", []byte(`{"node":"a"}`))
	putRaw(t, s, "mallory", "NATS/1.0\r\nA: b\r\n\r\n", "x")
	r := openReader(t, s.Config("ci"))
	for _, what := range []string{"at the end", "in the middle"} {
		_, unread, err := r.Nodes(within(t))
		if names := slices.Collect(maps.Keys(unread)); err != nil || !slices.Equal(names, []string{"(value 2)"}) {
			t.Errorf("%s: %q, %v", what, names, err)
		}
		s.Put(fleet.SubjectStatus+"b", []byte(`{"node":"b"}`))
	}
}

// TestOtherAccount: what comes from another account is read as what comes from the same.
func TestOtherAccount(t *testing.T) {
	t.Parallel()
	fleetFile, fleetUser := userFile(t)
	nodeFile, nodeUser := userFile(t)
	readerFile, readerUser := userFile(t)
	conf := filepath.Join(t.TempDir(), "nats.conf")
	text := fmt.Sprintf(`
		accounts {
			FLEET { jetstream: enabled, users: [ { nkey: %s } ], exports: [
				{ service: "nfsync.v1.put.>", accounts: [NODES] }
				{ service: "$JS.API.DIRECT.GET.KV_nfsync_status", response_type: stream, accounts: [READERS] } ] }
			NODES { users: [ { nkey: %s } ], imports: [ { service: { account: FLEET, subject: "nfsync.v1.put.>" } } ] }
			READERS { users: [ { nkey: %s } ], imports: [ { service: { account: FLEET, subject: "$JS.API.DIRECT.GET.KV_nfsync_status" } } ] }
		}`, fleetUser, nodeUser, readerUser)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, func(o *server.Options) {
		o.JetStream, o.StoreDir, o.JetStreamMaxStore, o.JetStreamMaxMemory = true, t.TempDir(), 4<<30, 64<<20
		if err := o.ProcessConfigFile(conf); err != nil {
			t.Fatal(err)
		}
	})
	config := func(name, file string) fleet.Config {
		cfg := configOf(s, name)
		cfg.CredentialsFile = file
		return cfg
	}
	ctx := within(t)
	nc, err := fleet.Connect(ctx, config("coordinator", fleetFile))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err == nil {
		err = fleet.MakeStreams(ctx, js, 1, fleet.SizesFor(10))
	}
	if err != nil {
		t.Fatal(err)
	}
	m := join(t, config("hn-1", nodeFile), func() {})
	for _, revision := range []string{"a", "b"} {
		if _, err := m.PutNode(ctx, nf.FleetNode{Node: "hn-1", Revision: revision}); err != nil {
			t.Fatal(err)
		}
	}
	v, err := fleet.Last(ctx, nc, fleet.StreamStatus, fleet.Key(fleet.StreamStatus, "hn-1"))
	if err != nil || v.Sequence != 2 {
		t.Errorf("%+v, %v", v, err)
	}
	nodes, unread, err := openReader(t, config("ci", readerFile)).Nodes(ctx)
	if err != nil || len(unread) > 0 || len(nodes) != 1 || nodes[0].Revision != "b" {
		t.Errorf("%+v, %v, %v", nodes, unread, err)
	}
}

// answer is one message of an answer.
type answer struct{ headers, body string }

// TestForgedAnswers: an answer that has a gap, or that ends before its end, is an error. A value is no end.
func TestForgedAnswers(t *testing.T) {
	t.Parallel()
	server := func(name string, sequence, last int) string {
		return fmt.Sprintf("Nats-Stream: KV_nfsync_status\r\nNats-Subject: $KV.nfsync_status.%s\r\nNats-Sequence: %d\r\nNats-Time-Stamp: 2026-01-01T00:00:00Z\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: %d\r\n\r\n", name, sequence, last)
	}
	value := func(name string, sequence, last int) answer {
		return answer{"NATS/1.0\r\n" + server(name, sequence, last), `{"node":"` + name + `"}`}
	}
	end := func(last int) answer {
		return answer{fmt.Sprintf("NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: %d\r\n\r\n", last), ""}
	}
	forged := func(headers string) []answer {
		return []answer{value("a", 1, 0), {headers + server("mallory", 2, 1), ""}, value("b", 3, 2), end(3)}
	}
	elsewhere := value("a", 1, 0)
	elsewhere.headers = strings.Replace(elsewhere.headers, "KV_nfsync_status", "KV_other", 1)
	broken := value("a", 1, 0)
	broken.body = "?"
	for name, c := range map[string]struct {
		messages []answer
		nodes    int
		unread   int
		bad      bool
	}{
		"whole":               {messages: []answer{value("a", 1, 0), value("b", 5, 1), end(5)}, nodes: 2},
		"a value is missing":  {messages: []answer{value("a", 1, 0), value("c", 7, 5), end(7)}, bad: true},
		"the first one is":    {messages: []answer{value("b", 5, 1), end(5)}, bad: true},
		"the last one is":     {messages: []answer{value("a", 1, 0), end(5)}, bad: true},
		"refused":             {messages: []answer{{"NATS/1.0 408 Bad Request\r\n\r\n", ""}}, bad: true},
		"refused later":       {messages: []answer{value("a", 1, 0), {"NATS/1.0 404 Message Not Found\r\n\r\n", ""}}, bad: true},
		"of another stream":   {messages: []answer{elsewhere, end(1)}, unread: 1},
		"put again meanwhile": {messages: []answer{broken, value("a", 5, 1), end(5)}, nodes: 1},
		"broken meanwhile":    {messages: []answer{value("a", 1, 0), {value("a", 5, 1).headers, "?"}, end(5)}, unread: 1},
		"a forged end":        {messages: forged("NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 1\r\n\r\n"), nodes: 2, unread: 1},
		"a forged end, open":  {messages: forged("NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 1\r\n"), nodes: 2, unread: 1},
		"a forged refusal":    {messages: forged("NATS/1.0 404 Message Not Found\r\n\r\n"), nodes: 2, unread: 1},
		"a forged 503":        {messages: forged("NATS/1.0 503\r\n\r\n"), nodes: 2, unread: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := openReader(t, configOf(answering(t, c.messages), "ci"))
			nodes, unread, err := r.Nodes(within(t))
			if c.bad != isUnreachable(err) || !c.bad && err != nil || len(nodes) != c.nodes || len(unread) != c.unread {
				t.Errorf("%d nodes, %v unread, %v", len(nodes), unread, err)
			}
		})
	}
}

// answering starts a server where a client answers the batches of statuses with these messages.
func answering(t *testing.T, messages []answer) *server.Server {
	t.Helper()
	s := startServer(t, nil)
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	in := bufio.NewReader(conn)
	fmt.Fprint(conn, "CONNECT {\"headers\":true,\"no_responders\":true,\"protocol\":1}\r\nSUB $JS.API.DIRECT.GET.KV_nfsync_status 1\r\nPING\r\n")
	ready := make(chan struct{})
	go func() {
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return // the test has ended
			}
			switch fields := strings.Fields(line); fields[0] {
			case "PONG":
				close(ready)
			case "PING":
				fmt.Fprint(conn, "PONG\r\n")
			case "MSG": // MSG subject sid reply size
				for _, m := range messages {
					fmt.Fprintf(conn, "HPUB %s %d %d\r\n%s%s\r\n", fields[3], len(m.headers), len(m.headers)+len(m.body), m.headers, m.body)
				}
			}
		}
	}()
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatal("the server does not answer")
	}
	return s
}
