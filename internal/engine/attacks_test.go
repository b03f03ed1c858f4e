package engine

import (
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// attack is something that a member may not do.
type attack struct {
	name  string
	do    func(*attacker)
	reads bool // nothing may reach the attacker
}

// targets are subjects on which a message would do harm.
var targets = []string{
	fleet.SubjectStatus + "hn-b",
	fleet.SubjectSnapshot + "hn-b",
	fleet.SubjectRollout + "main",
	fleet.SubjectGrant + "hn-a",
	fleet.SubjectGrant + "hn-b",
	fleet.SubjectLease + "main",
	"$KV.nfsync_status.hn-a",
	"$KV.nfsync_status.hn-b",
	"$KV.nfsync_rollout.main",
	"$KV.nfsync_grant.hn-a",
	"$JS.API.STREAM.PURGE.KV_nfsync_status",
	"$JS.API.STREAM.DELETE.KV_nfsync_status",
	"$JS.API.STREAM.MSG.DELETE.KV_nfsync_rollout",
	"$JS.API.STREAM.CREATE.other",
	"$JS.API.CONSUMER.CREATE.KV_nfsync_rollout",
	"$SYS.REQ.CLAIMS.UPDATE",
	"$SYS.REQ.CLAIMS.DELETE",
	"$SYS.REQ.SERVER.PING",
}

// writes are attacks of any member, whose name is own.
func writes(own string) (list []attack) {
	for _, subject := range targets {
		list = append(list, attack{name: "publish " + subject, do: func(a *attacker) { a.send(subject, "", "{}") }})
	}
	for _, subject := range []string{
		fleet.SubjectWakeRollout + "main", fleet.SubjectWakeGrant + "hn-b", fleet.Inbox("hn-b") + ".x", fleet.Inbox("coordinator") + ".x",
	} {
		list = append(list, attack{name: "publish " + subject, do: func(a *attacker) { a.send(subject, "", "{}") }})
	}
	create := `{"name":"other","subjects":["nfsync.v1.ask.>"],"storage":"file"}`
	for subject, data := range map[string]string{
		"$JS.API.STREAM.INFO.KV_nfsync_status":                                   "",
		"$JS.API.STREAM.NAMES":                                                   "",
		"$JS.API.STREAM.LIST":                                                    "",
		"$JS.API.INFO":                                                           "",
		"$JS.API.STREAM.PURGE.KV_nfsync_snapshot":                                "{}",
		"$JS.API.STREAM.DELETE.KV_nfsync_rollout":                                "",
		"$JS.API.STREAM.CREATE.other":                                            create,
		"$JS.API.STREAM.UPDATE.KV_nfsync_status":                                 `{"name":"KV_nfsync_status","subjects":["nfsync.v1.put.status.>"],"allow_rollup_hdrs":true}`,
		"$JS.API.STREAM.MSG.DELETE.KV_nfsync_status":                             `{"seq":1}`,
		"$JS.API.STREAM.MSG.GET.KV_nfsync_status":                                `{"last_by_subj":"$KV.nfsync_status.hn-b"}`,
		"$JS.API.STREAM.SNAPSHOT.KV_nfsync_status":                               `{"deliver_subject":"` + fleet.Inbox(own) + `.s"}`,
		"$JS.API.CONSUMER.CREATE.KV_nfsync_status":                               `{"stream_name":"KV_nfsync_status","config":{"deliver_subject":"` + fleet.Inbox(own) + `.d","ack_policy":"none"}}`,
		"$JS.API.CONSUMER.CREATE.KV_nfsync_status.x.$KV.nfsync_status." + own:    `{"stream_name":"KV_nfsync_status","config":{"name":"x","filter_subject":"$KV.nfsync_status.` + own + `","deliver_subject":"nfsync.v1.set.rollout.main"}}`,
		"$JS.API.CONSUMER.DURABLE.CREATE.KV_nfsync_rollout.x":                    `{"stream_name":"KV_nfsync_rollout","config":{"durable_name":"x","deliver_subject":"` + fleet.Inbox(own) + `.d"}}`,
		"$JS.API.CONSUMER.MSG.NEXT.KV_nfsync_status.x":                           "1",
		"$JS.API.DIRECT.GET." + fleet.StreamLease + ".$KV.nfsync_lease.main":     "",
		"$JS.API.DIRECT.GET." + fleet.StreamGrant + ".$KV.nfsync_grant.hn-b":     "",
		"$JS.API.DIRECT.GET." + fleet.StreamGrant:                                `{"last_by_subj":"$KV.nfsync_grant.hn-b"}`,
		"$JS.API.DIRECT.GET." + fleet.StreamRollout:                              `{"last_by_subj":"$KV.nfsync_rollout.main"}`,
		"$JS.API.DIRECT.GET." + fleet.StreamStatus + ".$KV.nfsync_status.hn-b":   "",
		"$JS.API.DIRECT.GET." + fleet.StreamSnapshot + ".$KV.nfsync_snapshot.b":  "",
		fleet.SubjectGetGrant + "hn-b":                                           "",
		fleet.SubjectGetGrant + ">":                                              "",
		"$JS.API.DIRECT.GET." + fleet.StreamGrant + ".$KV.nfsync_grant.hn-a":     "",
		"$JS.API.DIRECT.GET." + fleet.StreamRollout + ".$KV.nfsync_rollout.main": "",
		"$SYS.REQ.ACCOUNT.PING.CONNZ":                                            "",
		"$SYS.REQ.USER.INFO.x":                                                   "",
	} {
		list = append(list, attack{name: "ask " + subject, do: func(a *attacker) { a.send(subject, "", data) }, reads: true})
	}
	for _, subject := range []string{
		">", "nfsync.>", "nfsync.v1.put.>", "nfsync.v1.put.status.hn-b", "nfsync.v1.set.>", "nfsync.v1.ask.>", "$KV.>", "$JS.>", "$SYS.>", "_R_.>",
		"_INBOX.>", fleet.Inbox("hn-b") + ".>", "_INBOX.hn-b.>", fleet.Inbox("coordinator") + ".>", "*.>", "*.*.>",
	} {
		list = append(list, attack{name: "listen to " + subject, do: func(a *attacker) { a.listen(subject) }, reads: true})
	}
	return list
}

// injections are requests that a member may make, whose answers would do harm where they go.
func injections(requests map[string]string) (list []attack) {
	more := []string{fleet.SubjectAsk + "main", fleet.SubjectWakeRollout + "main", fleet.SubjectWakeGrant + "hn-b", fleet.Inbox("hn-b") + ".x", "_R_.x"}
	for _, reply := range append(more, targets...) {
		for subject, data := range requests {
			list = append(list,
				attack{name: subject + " with the reply " + reply, do: func(a *attacker) { a.send(subject, reply, data) }},
				attack{name: subject + " traced to " + reply, do: func(a *attacker) { a.send(subject, "", data, "Nats-Trace-Dest", reply) }},
				attack{name: subject + " only traced to " + reply, do: func(a *attacker) {
					a.send(subject, "", data, "Nats-Trace-Dest", reply, "Nats-Trace-Only", "true")
				}})
		}
	}
	return list
}

// nodeAttacks are those of the node hn-a.
func nodeAttacks() []attack {
	status, snapshot := fleet.SubjectStatus+"hn-a", fleet.SubjectSnapshot+"hn-a"
	list := append(writes("hn-a"), injections(map[string]string{
		status: `{"last_by_subj":"$KV.nfsync_status.hn-b"}`, snapshot: "{}",
		fleet.SubjectGetRollout + "main": "", fleet.SubjectGetGrant + "hn-a": "",
	})...)
	for _, headers := range [][]string{
		{"Nats-Rollup", "all"}, {"Nats-Rollup", "sub"}, {"Nats-TTL", "1s"},
		{"Nats-Schedule", "@at 2020-01-01T00:00:00Z", "Nats-Schedule-Target", "nfsync.v1.set.rollout.main"},
		{"Nats-Incr", "+1"}, {"Nats-Batch-Id", "x", "Nats-Batch-Sequence", "1", "Nats-Batch-Commit", "1"},
		{"Nats-Subject", "$KV.nfsync_status.hn-b"}, {"Nats-Stream", fleet.StreamRollout}, {"KV-Operation", "PURGE"},
	} {
		list = append(list, attack{name: strings.Join(headers, " "), do: func(a *attacker) {
			a.send(status, "", "{}", headers...)
			a.send(snapshot, "", "{}", headers...)
		}})
	}
	return append(list,
		attack{name: "a status below that of another", do: func(a *attacker) { a.send(status+".hn-b", "", "{}") }},
		attack{name: "a status of a pattern", do: func(a *attacker) {
			a.send(fleet.SubjectStatus+"*", "", "{}")
			a.send(fleet.SubjectStatus+">", "", "{}")
		}},
		attack{name: "wake-ups of others", do: func(a *attacker) { a.listen(fleet.SubjectWakeGrant + "hn-b"); a.listen("nfsync.v1.wake.>") }, reads: true},
		attack{name: "values by batches", do: func(a *attacker) {
			a.send(fleet.DirectGet+fleet.StreamStatus, "", `{"seq":1,"batch":500,"next_by_subj":"$KV.nfsync_status.>"}`)
			a.send(fleet.DirectGet+fleet.StreamSnapshot, "", `{"seq":1,"batch":500,"next_by_subj":"$KV.nfsync_snapshot.>"}`)
		}, reads: true},
		attack{name: "questions to the coordinator", do: func(a *attacker) { a.send(fleet.SubjectAsk+"main", "", `{"verb":"halt"}`) }, reads: true},
	)
}

// run makes attacks, and fails where they have done or told anything. They are made at once and, if something is wrong, in
// halves, until those are found that do harm. Meanwhile others do what they do.
func (w *world) run(a *attacker, attacks []attack) {
	w.t.Helper()
	for _, reads := range []bool{false, true} {
		w.narrow(a, slices.DeleteFunc(slices.Clone(attacks), func(x attack) bool { return x.reads != reads }))
	}
}

// narrow returns whether attacks have done harm.
func (w *world) narrow(a *attacker, attacks []attack) bool {
	w.t.Helper()
	harm := w.harm(a, attacks)
	if harm == nil {
		return false
	}
	half := len(attacks) / 2
	if half == 0 || !w.narrow(a, attacks[:half]) && !w.narrow(a, attacks[half:]) {
		w.t.Errorf("%s and %d others: %s", attacks[0].name, len(attacks)-1, strings.Join(harm, "; "))
	}
	return true
}

// harm returns what attacks have done or told.
func (w *world) harm(a *attacker, attacks []attack) (harm []string) {
	w.t.Helper()
	for subject, value := range first {
		w.put(subject, value)
	}
	before := w.state()
	for _, x := range attacks {
		x.do(a)
	}
	must(w.t, a.FlushWithContext(soon(w.t)))
	if attacks[0].reads { // there is something to hear
		w.put(fleet.SubjectStatus+"hn-b", first[fleet.SubjectStatus+"hn-b"])
		w.put(fleet.SubjectRollout+"main", first[fleet.SubjectRollout+"main"])
		w.put(fleet.SubjectGrant+"hn-b", first[fleet.SubjectGrant+"hn-b"])
		request(w.t, w.other, fleet.SubjectGetGrant+"hn-b", nil)
	}
	w.settle(a.Conn)
	harm = differences(before, w.state())
	if heard := a.heard(); attacks[0].reads {
		harm = append(harm, heard...)
	}
	for len(w.asked) > 0 {
		harm = append(harm, "the coordinator was asked: "+string((<-w.asked).Data))
	}
	return harm
}

// answer answers questions as the coordinator does.
func (w *world) answer() {
	w.t.Helper()
	w.asked = make(chan *nats.Msg, 10_000)
	_, err := w.coordinator.Subscribe(fleet.SubjectAsk+">", func(m *nats.Msg) {
		w.asked <- m
		_ = m.Respond([]byte(`{"document":null}`))
	})
	must(w.t, err)
	must(w.t, w.coordinator.FlushWithContext(soon(w.t)))
}

// A node can change nothing but its own values, and hears nothing of others.
func TestNodeAttacks(t *testing.T) {
	for name, open := range worlds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t)
			w.run(w.attacker(nf.CredentialNode, "hn-a"), nodeAttacks())
			// It is still well.
			m := request(t, w.other, fleet.SubjectStatus+"hn-b", []byte("x"))
			if !strings.Contains(string(m.Data), `"seq"`) {
				t.Errorf("the other node: %s", m.Data)
			}
		})
	}
}

// Without walls between the accounts the same permissions do not hold: the answer to a put of a node's own goes where it says. So
// the test above sees such attacks.
func TestAttacksWithoutWalls(t *testing.T) {
	t.Parallel()
	w := staticWorld(t, oneAccount)
	a := w.attacker(nf.CredentialNode, "hn-a")
	for subject, reply := range map[string]string{
		fleet.SubjectStatus + "hn-a":   fleet.SubjectStatus + "hn-b",
		fleet.SubjectSnapshot + "hn-a": fleet.SubjectRollout + "main",
	} {
		before := w.state()
		a.send(subject, reply, "{}")
		w.settle(a.Conn)
		if list := differences(before, w.state()); len(list) != 1 {
			t.Errorf("%s with the reply %s: %q", subject, reply, list)
		}
	}
}
