package engine

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// siteWorld is a server of the fleet with everybody connected to it, that sites may connect to.
func siteWorld(t *testing.T) (*world, site) {
	t.Helper()
	d := newDirectory(t)
	s := newSite(t, d)
	s.leaf.kill() // its credentials are the attacker's
	w := &world{t: t, mine: map[string]uint64{}, connect: func(kind nf.CredentialKind, name string) *nats.Conn {
		return client(t, s.servers, name, enrolled(t, d, kind, name))
	}}
	w.fill(client(t, s.servers, "coordinator", d.CredentialsFile()))
	return w, s
}

// leafPeer speaks the protocol of leaf nodes. Other than a nats-server it does what it is not permitted to do.
type leafPeer struct {
	t    *testing.T
	conn net.Conn
	got  chan string // lines, with the payload of messages; closed when the connection has ended
}

func newLeafPeer(t *testing.T, address, credentials string) *leafPeer {
	t.Helper()
	text, err := os.ReadFile(credentials)
	must(t, err)
	token, err := nkeys.ParseDecoratedJWT(text)
	must(t, err)
	user, err := nkeys.ParseDecoratedUserNKey(text)
	must(t, err)
	plain, err := net.Dial("tcp", address)
	must(t, err)
	t.Cleanup(func() { plain.Close() })
	var greeting strings.Builder // byte by byte: what follows is TLS
	for one := make([]byte, 1); !strings.HasSuffix(greeting.String(), "\n"); greeting.Write(one) {
		_, err := io.ReadFull(plain, one)
		must(t, err)
	}
	var info struct {
		Nonce string `json:"nonce"`
	}
	must(t, json.Unmarshal([]byte(strings.TrimPrefix(greeting.String(), "INFO ")), &info))
	signature, err := user.Sign([]byte(info.Nonce))
	must(t, err)
	p := &leafPeer{t: t, conn: tls.Client(plain, &tls.Config{InsecureSkipVerify: true}), got: make(chan string, 10_000)}
	connect, err := json.Marshal(map[string]any{"version": "2.15.2", "jwt": token, "sig": base64.RawURLEncoding.EncodeToString(signature),
		"server_id": "X" + strconv.FormatInt(time.Now().UnixNano(), 36), "name": "attacker", "headers": true, "protocol": 1})
	must(t, err)
	p.send("CONNECT %s\r\n", connect)
	go p.read()
	if _, ended := p.settle(); ended {
		t.Fatal("the server does not take the site")
	}
	return p
}

// read reads what the server sends.
func (p *leafPeer) read() {
	defer close(p.got)
	for r := bufio.NewReader(p.conn); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		fields := strings.Fields(line)
		if len(fields) > 2 && (fields[0] == "LMSG" || fields[0] == "HMSG") {
			size, _ := strconv.Atoi(fields[len(fields)-1])
			payload := make([]byte, size+len("\r\n"))
			if _, err := io.ReadFull(r, payload); err != nil {
				return
			}
			line += string(payload)
		}
		p.got <- line
	}
}

// send sends a line, or does nothing if the server has closed the connection.
func (p *leafPeer) send(format string, values ...any) { _, _ = fmt.Fprintf(p.conn, format, values...) }

// publish sends a message with headers, which may be empty.
func (p *leafPeer) publish(subject, reply, headers, data string) {
	if headers == "" {
		p.send("LMSG %s %s %d\r\n%s\r\n", subject, reply, len(data), data)
		return
	}
	headers = "NATS/1.0\r\n" + headers + "\r\n\r\n"
	p.send("HMSG %s %s %d %d\r\n%s%s\r\n", subject, reply, len(headers), len(headers)+len(data), headers, data)
}

// settle returns what has come until the server has answered a PING, and whether the connection has ended.
func (p *leafPeer) settle() (lines []string, ended bool) {
	p.t.Helper()
	p.send("PING\r\n")
	for late := time.After(time.Minute); ; {
		select {
		case line, ok := <-p.got:
			if !ok {
				return lines, true
			}
			if line == "PONG\r\n" {
				return lines, false
			}
			lines = append(lines, line)
		case <-late:
			p.t.Fatal("the server does not answer")
		}
	}
}

// TestLeafPeerListens: whoever has the credentials of a site hears the answers to nodes and what wakes them, whatever it asks
// for, and no value that another node has put.
func TestLeafPeerListens(t *testing.T) {
	t.Parallel()
	w, s := siteWorld(t)
	p := newLeafPeer(t, s.leafPort, s.creds)
	for _, subject := range []string{">", "*.>", "nfsync.>", "nfsync.v1.>", "nfsync.v1.put.>", "nfsync.v1.put.*.hn-b", "nfsync.v1.get.>", "nfsync.v1.ask.>", "nfsync.v1.set.>",
		"$KV.>", "$JS.>", "$SYS.>", "_R_.>", "_GR_.>", fleet.Inboxes + ">"} {
		p.send("LS+ %s\r\nLS+ %s queue 1000\r\n", subject, subject)
	}
	if lines, ended := p.settle(); ended {
		t.Fatalf("the connection has ended: %q", lines)
	}
	for range 3 {
		for _, subject := range []string{fleet.SubjectStatus + "hn-b", fleet.SubjectSnapshot + "hn-b"} {
			request(t, w.other, subject, []byte(first[subject]))
		}
		w.put(fleet.SubjectRollout+"main", first[fleet.SubjectRollout+"main"])
	}
	w.settle(w.other)
	lines, ended := p.settle()
	heard := 0
	for _, line := range lines {
		fields := strings.Fields(line)
		if fields[0] != "LMSG" && fields[0] != "HMSG" {
			continue
		}
		heard++
		if may := strings.HasPrefix(fields[1], fleet.Inboxes) || strings.HasPrefix(fields[1], "nfsync.v1.wake."); !may || strings.Contains(line, " of b") {
			t.Errorf("heard %q", line)
		}
	}
	if ended || heard == 0 {
		t.Errorf("heard %d messages; the connection has ended: %t", heard, ended)
	}
	for _, subject := range []string{fleet.SubjectStatus + "hn-b", fleet.SubjectAsk + "main", "$KV.nfsync_status.hn-b", "$JS.API.INFO"} {
		p := newLeafPeer(t, s.leafPort, s.creds)
		p.send("LS+ %s\r\n", subject)
		if _, ended := p.settle(); !ended {
			t.Errorf("it may listen to %s", subject)
		}
	}
}

// TestLeafPeerPublishes: whoever has the credentials of a site can put what nodes put, and nothing else, by no detour either.
func TestLeafPeerPublishes(t *testing.T) {
	t.Parallel()
	w, s := siteWorld(t)
	may := []string{fleet.SubjectStatus + "hn-b", fleet.SubjectSnapshot + "hn-b"}
	var denied []string
	for _, subject := range append([]string{fleet.SubjectAsk + "main", fleet.SubjectWakeRollout + "main", "$JS.API.STREAM.PURGE.KV_nfsync_status", "$SYS.REQ.SERVER.PING"}, targets...) {
		if !slices.Contains(may, subject) {
			denied = append(denied, subject)
		}
	}
	before := w.state()
	p := newLeafPeer(t, s.leafPort, s.creds)
	const answers = fleet.Inboxes + "hn-a=.x"
	for _, reply := range denied {
		for _, subject := range []string{fleet.SubjectStatus + "hn-a", fleet.SubjectGetRollout + "main", fleet.SubjectGetGrant + "hn-b"} {
			p.publish(subject, reply, "", "{}")
			p.publish(subject, answers, "Nats-Trace-Dest: "+reply, "{}")
			p.publish(subject, answers, "Nats-Trace-Dest: "+reply+"\r\nNats-Trace-Only: true", "{}")
		}
	}
	for _, headers := range []string{"Nats-Rollup: all", "Nats-Rollup: sub", "Nats-TTL: 1s", "Nats-Schedule: @at 2020-01-01T00:00:00Z\r\nNats-Schedule-Target: nfsync.v1.set.rollout.main"} {
		p.publish(fleet.SubjectStatus+"hn-a", answers, headers, "{}")
	}
	if lines, ended := p.settle(); ended {
		t.Fatalf("the connection has ended: %q", lines)
	}
	for _, subject := range denied {
		p := newLeafPeer(t, s.leafPort, s.creds)
		p.publish(subject, answers, "", "{}")
		if _, ended := p.settle(); !ended {
			t.Errorf("it may publish %s", subject)
		}
	}
	w.settle(w.other)
	if list := differences(before, w.state()); list != nil {
		t.Errorf("the streams are not as they were: %q", list)
	}
	select {
	case m := <-w.asked:
		t.Errorf("the coordinator was asked: %s", m.Data)
	default:
	}
}
