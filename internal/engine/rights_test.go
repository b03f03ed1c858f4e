package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// What a node may do works.
func TestNodeRights(t *testing.T) {
	for name, open := range worlds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t)
			a := w.connect(nf.CredentialNode, "hn-a")
			for subject, size := range map[string]int{fleet.SubjectStatus + "hn-a": 2000, fleet.SubjectSnapshot + "hn-a": 300_000} {
				if m := request(t, a, subject, bytes.Repeat([]byte("x"), size)); !strings.Contains(string(m.Data), `"seq"`) {
					t.Errorf("%s: %s", subject, m.Data)
				}
			}
			if m := request(t, a, fleet.SubjectStatus+"hn-a", bytes.Repeat([]byte("x"), 20_000)); !strings.Contains(string(m.Data), "10054") {
				t.Errorf("a status of 20 KB: %s", m.Data)
			}
			for subject, want := range map[string]string{
				fleet.SubjectGetRollout + "main": "the roll-out",
				fleet.SubjectGetGrant + "hn-a":   "grant of a",
			} {
				if m := request(t, a, subject, nil); string(m.Data) != want {
					t.Errorf("%s: %v %q", subject, m.Header, m.Data)
				}
			}
			w.wakes(a, fleet.SubjectWakeRollout+">", fleet.SubjectRollout+"main")
			w.wakes(a, fleet.SubjectWakeGrant+"hn-a", fleet.SubjectGrant+"hn-a")
		})
	}
}

// wakes fails unless a value that is put wakes a client, without the value.
func (w *world) wakes(c *nats.Conn, subject, put string) {
	w.t.Helper()
	woken, err := c.SubscribeSync(subject)
	must(w.t, err)
	must(w.t, c.FlushWithContext(soon(w.t)))
	w.put(put, "new")
	if m, err := woken.NextMsgWithContext(soon(w.t)); err != nil || len(m.Data) != 0 {
		w.t.Errorf("%s: %v, %v", put, m, err)
	}
}

// read returns all values of a stream, by batches.
func read(t *testing.T, c *nats.Conn, stream string) map[string]string {
	t.Helper()
	answers, err := c.SubscribeSync(c.NewInbox())
	must(t, err)
	must(t, c.PublishRequest(fleet.DirectGet+stream, answers.Subject, fmt.Appendf(nil, `{"seq":1,"batch":500,"next_by_subj":%q}`, fleet.Key(stream, ">"))))
	values := map[string]string{}
	for {
		m, err := answers.NextMsgWithContext(soon(t))
		must(t, err)
		if status := m.Header.Get("Status"); status != "" {
			if status != "204" {
				t.Fatalf("%s: %v", stream, m.Header)
			}
			return values
		}
		values[m.Header.Get("Nats-Subject")] = string(m.Data)
	}
}

// readsAll fails unless a client reads what nodes have put, and learns when.
func (w *world) readsAll(c *nats.Conn) {
	w.t.Helper()
	for stream, want := range map[string]string{fleet.StreamStatus: "status of b", fleet.StreamSnapshot: "snapshot of b"} {
		if got := read(w.t, c, stream); len(got) < 2 || got[fleet.Key(stream, "hn-b")] != want {
			w.t.Errorf("%s: %v", stream, got)
		}
		m := request(w.t, c, fleet.DirectGet+stream, fmt.Appendf(nil, `{"last_by_subj":%q}`, fleet.Key(stream, "hn-b")))
		if _, err := time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp")); string(m.Data) != want || err != nil {
			w.t.Errorf("%s: %v %q", stream, m.Header, m.Data)
		}
	}
}

// puts are what nodes put: neither readers nor operators may.
func puts() (list []attack) {
	for _, subject := range []string{fleet.SubjectStatus + "hn-a", fleet.SubjectSnapshot + "hn-a", fleet.SubjectStatus + "ci", fleet.SubjectStatus + "ann"} {
		list = append(list, attack{name: "put " + subject, do: func(a *attacker) { a.send(subject, "", "{}") }, reads: true})
	}
	return list
}

// without leaves out the attacks whose names have one of the words: they are no attacks of this member.
func without(attacks []attack, words ...string) []attack {
	return slices.DeleteFunc(attacks, func(x attack) bool {
		return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(x.name, word) })
	})
}

// A reader reads what nodes have put. It can write nothing, make no consumer, and sees no roll-out.
func TestReader(t *testing.T) {
	for name, open := range worlds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t)
			a := w.attacker(nf.CredentialReader, "ci")
			w.readsAll(a.Conn)
			a.heard()
			attacks := append(writes("ci"), injections(map[string]string{
				fleet.DirectGet + fleet.StreamStatus:   `{"last_by_subj":"$KV.nfsync_status.hn-b"}`,
				fleet.DirectGet + fleet.StreamSnapshot: `{"seq":1,"batch":500,"next_by_subj":"$KV.nfsync_snapshot.>"}`,
			})...)
			w.run(a, append(attacks, append(puts(),
				attack{name: "the roll-out", do: func(a *attacker) { a.send(fleet.SubjectGetRollout+"main", "", "") }, reads: true},
				attack{name: "wake-ups", do: func(a *attacker) { a.listen("nfsync.v1.wake.rollout.main"); a.listen("nfsync.v1.wake.>") }, reads: true},
				attack{name: "questions", do: func(a *attacker) { a.send(fleet.SubjectAsk+"main", "", `{"verb":"halt"}`) }, reads: true},
			)...))
		})
	}
}

// An operator asks the coordinator and reads the roll-out, and can write nothing.
func TestOperator(t *testing.T) {
	for name, open := range worlds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t)
			a := w.attacker(nf.CredentialOperator, "ann")
			w.readsAll(a.Conn)
			if m := request(t, a.Conn, fleet.SubjectGetRollout+"main", nil); string(m.Data) != "the roll-out" {
				t.Errorf("%v %q", m.Header, m.Data)
			}
			w.wakes(a.Conn, "nfsync.v1.wake.>", fleet.SubjectRollout+"main")
			w.put(fleet.SubjectRollout+"main", first[fleet.SubjectRollout+"main"])
			a.heard()
			attacks := append(writes("ann"), injections(map[string]string{
				fleet.DirectGet + fleet.StreamStatus: `{"last_by_subj":"$KV.nfsync_status.hn-b"}`,
				fleet.SubjectGetRollout + "main":     "",
			})...)
			// An operator may ask, and so may an answer that it sends there.
			w.run(a, without(append(attacks, puts()...), fleet.SubjectAsk))
		})
	}
}

// The coordinator answers an operator, and its answer goes to nobody else.
func TestAsk(t *testing.T) {
	for name, open := range worlds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t)
			a := w.attacker(nf.CredentialOperator, "ann")
			var got struct{ Document *int }
			if m := request(t, a.Conn, fleet.SubjectAsk+"main", []byte(`{"verb":"halt"}`)); json.Unmarshal(m.Data, &got) != nil {
				t.Errorf("answer %q", m.Data)
			}
			if m := <-w.asked; string(m.Data) != `{"verb":"halt"}` || m.Subject != fleet.SubjectAsk+"main" {
				t.Errorf("asked %s %q", m.Subject, m.Data)
			}
			before := w.state()
			for _, x := range injections(map[string]string{fleet.SubjectAsk + "main": "{}"}) {
				x.do(a)
			}
			w.settle(a.Conn)
			if list := differences(before, w.state()); list != nil {
				t.Errorf("answers to questions: %q", list)
			}
		})
	}
}

// A node whose name begins that of another one does not hear its answers.
func TestInboxes(t *testing.T) {
	t.Parallel()
	w := jwtWorld(t)
	a := w.attacker(nf.CredentialNode, "hn")
	for _, subject := range []string{"_INBOX.hn.>", "_INBOX.hn.a=.>", fleet.Inbox("hn.a") + ".>"} {
		a.listen(subject)
	}
	must(t, a.FlushWithContext(soon(t)))
	other := w.connect(nf.CredentialNode, "hn.a")
	request(t, other, fleet.SubjectGetRollout+"main", nil)
	w.settle(a.Conn)
	if heard := a.heard(); heard != nil {
		t.Errorf("heard %q", heard)
	}
	if m := request(t, a.Conn, fleet.SubjectGetRollout+"main", nil); string(m.Data) != first[fleet.SubjectRollout+"main"] {
		t.Errorf("its own answer: %q", m.Data)
	}
}
