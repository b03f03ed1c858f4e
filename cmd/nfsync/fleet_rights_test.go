package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/coordinator"
	"nfsync.dev/nfsync/internal/engine"
	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/source"
)

// fleetWithAccounts is a fleet as operators have it: a server with the accounts of a fleet, credentials that were enrolled, and a
// coordinator that follows a branch. Its nodes say what the test says.
type fleetWithAccounts struct {
	*testFleet
	dir     *engine.Directory
	url     string
	node    *agentNode // whose repository is followed
	members map[string]*fleet.Member
}

func newFleetWithAccounts(t *testing.T) *fleetWithAccounts {
	t.Helper()
	loopback(t)
	f := &fleetWithAccounts{testFleet: &testFleet{TB: t}, node: newAgentNode(t), members: map[string]*fleet.Member{}}
	f.dir, f.url = f.serve()
	f.env = []string{"NFSYNC_FLEET_SERVERS=" + f.url, "NFSYNC_FLEET_COORDINATOR_KEY=" + f.dir.CoordinatorPublicKey()}
	return f
}

// serve starts a server with keys of its own.
func (f *fleetWithAccounts) serve() (*engine.Directory, string) {
	f.Helper()
	dir, _, err := engine.Init(filepath.Join(f.TempDir(), "coordinator"))
	f.check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	server, err := engine.Start(ctx, dir, engine.Options{Listen: engine.Listen{Address: "127.0.0.1:0"}, Nodes: 10})
	f.check(err)
	f.Cleanup(server.Shutdown)
	return dir, server.URL()
}

func (f *fleetWithAccounts) check(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// enroll returns a file of credentials.
func (f *fleetWithAccounts) enroll(dir *engine.Directory, kind nf.CredentialKind, name string) string {
	f.Helper()
	text, err := dir.Enroll(kind, name, 0, false)
	f.check(err)
	file := filepath.Join(f.TempDir(), name+".creds")
	f.check(os.WriteFile(file, text, 0o600))
	return file
}

// join lets a node join, and say what it is.
func (f *fleetWithAccounts) join(name string) (credentials string) {
	f.Helper()
	credentials = f.enroll(f.dir, nf.CredentialNode, name)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	woken := make(chan struct{}, 1)
	m, err := fleet.Join(fleet.Config{Servers: []string{f.url}, CredentialsFile: credentials, Channel: nf.DefaultChannel, CoordinatorKey: f.dir.CoordinatorPublicKey(), Name: name}, func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	f.check(err)
	f.Cleanup(m.Close)
	select {
	case <-woken:
	case <-ctx.Done():
		f.Fatalf("%s does not get a connection: %+v", name, m.Link())
	}
	f.members[name] = m
	n := fleetNode(0)
	n.Node = name
	_, err = m.PutNode(ctx, n)
	f.check(err)
	return credentials
}

// direct runs a coordinator until the test ends.
func (f *fleetWithAccounts) direct() {
	f.Helper()
	cfg := fleet.Config{Servers: []string{f.url}, CredentialsFile: f.dir.CredentialsFile(), Channel: nf.DefaultChannel, Name: "coordinator"}
	ctx, stop := context.WithCancel(context.Background())
	conn, err := fleet.Connect(ctx, cfg)
	f.check(err)
	c, err := coordinator.New(coordinator.Config{
		Name: "coord-1", Channel: nf.DefaultChannel, Conn: conn, Key: f.dir.CoordinatorKey(), Say: func(slog.Level, string) {},
		Branch: coordinator.Branch{Source: source.Config{URLs: []string{f.node.url}, Branch: "main", Timeout: patience, Dir: filepath.Join(f.dir.Path(), "clone")}, Interval: time.Second},
	})
	f.check(err)
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	f.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			f.Errorf("the coordinator has ended: %v", err)
		}
		conn.Close()
	})
}

// awaits waits until a verb with credentials writes a text.
func (f *fleetWithAccounts) awaits(credentials, line, text string) {
	f.Helper()
	var said string
	for end := time.Now().Add(patience); time.Now().Before(end); {
		_, out, errs := f.verb(strings.Fields(line + " --credentials " + credentials)...)
		if said = out + errs; strings.Contains(said, text) {
			return
		}
	}
	f.Fatalf("%s does not write %q:\n%s", line, text, said)
}

// expectFrom is expect with credentials.
func (f *fleetWithAccounts) expectFrom(credentials string, code int, line string, expressions ...string) {
	f.Helper()
	f.expect(code, line+" --credentials "+credentials, expressions...)
}

// isDocument fails unless a verb writes one document of a kind, as its schema has it.
func (f *fleetWithAccounts) isDocument(credentials, line, kind string) {
	f.Helper()
	_, out, said := f.verb(strings.Fields(line + " -o json --credentials " + credentials)...)
	docs, err := parsed([]byte(out))
	if err != nil || len(docs) != 1 {
		f.Fatalf("%s: %d documents, %v\n%s%s", line, len(docs), err, out, said)
	}
	if err := schemaOf(f, kind).Validate(docs[0]); err != nil {
		f.Errorf("%s: %v\n%s", line, err, out)
	}
}

// approvedRollout waits for a person before the first step.
const approvedRollout = "---\napiVersion: nfsync.dev/v1alpha1\nkind: Rollout\nmetadata: {name: careful}\nspec: {canaries: 1, steps: [100%], pauseBefore: [canaries]}\n"

// TestFleetRights: what the credentials of nodes, readers and operators do with a real server and a real coordinator, and
// what is said where they do not do it.
func TestFleetRights(t *testing.T) {
	t.Parallel()
	f := newFleetWithAccounts(t)
	commit := f.node.commit(udpPolicy(201) + approvedRollout)
	nodeFile := f.join("hn-1")
	f.join("hn-2")
	reader, operator := f.enroll(f.dir, nf.CredentialReader, "ci"), f.enroll(f.dir, nf.CredentialOperator, "ada")

	f.expectFrom(operator, exitOK, "fleet rollout", "^Nothing was rolled out on main so far")
	f.expectFrom(operator, exitError, "fleet wake", "no coordinator answers", "nothing was changed: systemctl status nfsync-coordinator")
	f.expectFrom(operator, exitError, "fleet nodes --group edge", "nothing was rolled out so far")
	f.direct()
	f.awaits(operator, "fleet rollout", "waits for approval")

	f.expectFrom(reader, exitOK, "fleet status", "^Fleet main: 2 nodes", "^Roll-out +these credentials do not read it; those of an operator do")
	f.expectFrom(reader, exitOK, "fleet nodes", "^hn-1 +yes", "^hn-2 +yes")
	f.expectFrom(reader, exitOK, "fleet show hn-2", "^Node hn-2 is ready")
	f.expectFrom(reader, exitError, "fleet show hn-3", "nothing was heard of a node hn-3", "nfsync fleet nodes lists the nodes")
	const makes = "nfsync-coordinator enroll --operator NAME makes them"
	for _, line := range []string{"fleet rollout", "fleet rollout pause", "fleet rollout approve", "fleet rollout abort --yes", "fleet withdraw " + commit + " --yes", "fleet wake", "fleet release hn-1", "fleet nodes --group edge"} {
		f.expectFrom(reader, exitError, line, "these credentials do not read the roll-out", makes)
	}
	for _, line := range []string{"fleet status", "fleet nodes", "fleet show hn-1", "fleet rollout", "fleet rollout halt"} {
		f.expectFrom(nodeFile, exitError, line, "these credentials do not read what nodes say", "nfsync-coordinator enroll --reader NAME, or --operator NAME, makes them")
	}

	f.expectFrom(operator, exitOK, "fleet status", "^Fleet main: 2 nodes", commit, "waits for approval")
	f.expectFrom(operator, exitOK, "fleet nodes", "^hn-1 +yes +1b2c3d4e5f60 .* other ")
	f.expectFrom(operator, exitOK, "fleet show hn-1", "^Turn +group other")
	f.expectFrom(operator, exitOK, "fleet rollout", "is paused", "nfsync fleet rollout approve")
	f.expectFrom(operator, exitOK, "fleet rollout approve", "^nfsync: the roll-out of "+commit+" goes on with the next step .generation [0-9]+.$")
	f.awaits(operator, "fleet rollout", "is rolling: step 1 of 2 (canaries)")
	f.expectFrom(operator, exitOK, "fleet rollout pause --reason incident", "is paused")
	f.expectFrom(operator, exitOK, "fleet rollout", "is paused", "incident")
	f.expectFrom(operator, exitError, "fleet rollout approve", "the coordinator refuses it: cannot approve: no step waits for approval")
	f.expectFrom(operator, exitOK, "fleet rollout resume", "goes on")
	f.expectFrom(operator, exitOK, "fleet rollout resume", "^nfsync: nothing was changed: the roll-out of "+commit+" is rolling .generation [0-9]+.$")
	f.expectFrom(operator, exitOK, "fleet wake", "has woken the nodes")
	f.expectFrom(operator, exitOK, "fleet rollout halt --reason bad", "is halted")
	f.expectFrom(operator, exitRefused, "fleet status", "halted", "bad")
	f.expectFrom(operator, exitRefused, "fleet rollout", "is halted")

	for line, kind := range map[string]string{"fleet status": nf.KindFleetStatus, "fleet nodes": nf.KindFleetNodes, "fleet show hn-1": nf.KindFleetNodeStatus} {
		f.isDocument(reader, line, kind)
		f.isDocument(operator, line, kind)
	}
	for _, line := range []string{"fleet rollout", "fleet rollout resume", "fleet rollout pause", "fleet wake", "fleet withdraw " + oldRevision + " --yes", "fleet rollout abort --yes"} {
		f.isDocument(operator, line, nf.KindFleetRollout)
	}
	f.expectFrom(operator, exitOK, "fleet rollout", "is aborted", fmt.Sprintf("^Withdrawn +%s, 1b2c3d4e5f60", commit[:12]))
}

// TestFleetRefusesStrangers: credentials that the servers do not take are named as that, at once.
func TestFleetRefusesStrangers(t *testing.T) {
	t.Parallel()
	f := newFleetWithAccounts(t)
	other, _, err := engine.Init(filepath.Join(t.TempDir(), "other"))
	f.check(err)
	stranger := f.enroll(other, nf.CredentialOperator, "eve")
	revoked := f.enroll(f.dir, nf.CredentialOperator, "bob")
	f.expectFrom(revoked, exitOK, "fleet status", "^Fleet main: 0 nodes")
	f.check(f.dir.Revoke("bob"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = f.dir.Push(ctx, engine.Servers{URLs: []string{f.url}})
	f.check(err)
	for _, credentials := range []string{stranger, revoked} {
		f.expectFrom(credentials, exitError, "fleet status", "the fleet cannot be reached: .*Authorization Violation", "nfsync-coordinator list shows whose credentials are valid")
	}
	open := f.enroll(f.dir, nf.CredentialReader, "open")
	f.check(os.Chmod(open, 0o644))
	f.expectFrom(open, exitError, "fleet status", "can be read by others .mode 0644.: run 'chmod 600 "+open)
	f.expectFrom(open+"x", exitError, "fleet status", "no such file or directory", "nfsync-coordinator enroll --reader NAME")
	reader := f.enroll(f.dir, nf.CredentialReader, "ci")
	f.env = nil
	f.expectFrom(reader, exitError, "fleet status --config none --servers nats://127.0.0.1:1", "connection refused", "systemctl status nfsync-coordinator")
}
