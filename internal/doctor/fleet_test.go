package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/spec"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
)

// credentialsOfHN1 are the credentials of a node hn-1, in the form in which nfsync-coordinator enroll writes them. Its seed is
// that of nobody.
const credentialsOfHN1 = `-----BEGIN NATS USER JWT-----
e30.eyJuYW1lIjoiaG4tMSJ9.e30
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
SUADAMJSGM2DKNRXHA4WCYTDMRSWMMBRGIZTINJWG44DSYLCMNSGKZRF4M
------END USER NKEY SEED------
`

// inFleet returns a node hn-1 of a fleet whose roll-out it can read.
func inFleet(t *testing.T) *Node {
	t.Helper()
	n, _ := healthy(t)
	n.Config = configFile(t, 0o600)
	file := filepath.Join(t.TempDir(), "fleet.creds")
	must(t, os.WriteFile(file, []byte(credentialsOfHN1), 0o600))
	n.Config.Agent.Fleet = &spec.Fleet{CredentialsFile: file, Channel: nf.DefaultChannel, CoordinatorKey: "K"}
	n.FleetName = "hn-1"
	asked(n, nf.RolloutDocument{Generation: 7, State: nf.RolloutRolling, UpdatedAt: n.Now()}, nil)
	return n
}

// asked lets the fleet answer so.
func asked(n *Node, d nf.RolloutDocument, err error) {
	n.AskFleet = func(context.Context) (nf.RolloutDocument, error) { return d, err }
}

func unheard(reason agent.Reason) func(*testing.T, *Node) {
	return func(_ *testing.T, n *Node) {
		asked(n, nf.RolloutDocument{}, &agent.FleetError{Reason: reason, Err: errors.New("why")})
	}
}

// TestFleet: each fault of a node in its fleet is found by one check, and what helps is said.
func TestFleet(t *testing.T) {
	for name, test := range map[string]struct {
		make   func(*testing.T, *Node)
		check  string
		status view.Status
		says   string // in the detail or the remedy
	}{
		"as it should be": {func(*testing.T, *Node) {}, "roll-out", view.OK, "document 7: rolling"},
		"a name":          {func(_ *testing.T, n *Node) { n.FleetName = "hn*1" }, "name", view.Fail, "set node.name"},
		"credentials of another node": {func(_ *testing.T, n *Node) { n.FleetName = "hn-2" }, "credentials", view.Fail,
			"has the credentials of hn-1, and this node is hn-2"},
		"credentials that others read": {func(t *testing.T, n *Node) {
			must(t, os.Chmod(n.Config.Agent.Fleet.CredentialsFile, 0o644))
		}, "credentials", view.Fail, "chmod 600"},
		"no credentials": {func(t *testing.T, n *Node) {
			must(t, os.Remove(n.Config.Agent.Fleet.CredentialsFile))
		}, "credentials", view.Fail, "nfsync-coordinator enroll hn-1"},
		"what is no credentials": {func(t *testing.T, n *Node) {
			must(t, os.WriteFile(n.Config.Agent.Fleet.CredentialsFile, []byte("hunter2\n"), 0o600))
		}, "credentials", view.Fail, "has no user's seed"},
		"no authority": {func(_ *testing.T, n *Node) {
			n.Config.Agent.Fleet.CAFile = n.Config.File
		}, "certificates", view.Fail, "no certificate in PEM"},
		"nobody answers": {unheard(agent.ReasonUnreachable), "roll-out", view.Fail, "systemctl status nfsync-coordinator"},
		"no document":    {unheard(agent.ReasonNoDocument), "roll-out", view.Fail, "systemctl status nfsync-coordinator"},
		"another key":    {unheard(agent.ReasonForged), "roll-out", view.Fail, "compare fleet.coordinatorKey"},
		"no permission":  {unheard(agent.ReasonNotPermitted), "roll-out", view.Fail, "nfsync-coordinator list"},
		"an older store": {func(t *testing.T, n *Node) {
			_, err := stateOf(t, n).ChangeFleet(t.Context(), nf.DefaultChannel, "K", func(f *state.Fleet) error {
				f.Document.Generation = 8
				return nil
			})
			must(t, err)
		}, "roll-out", view.Fail, "has generation 7, and this node has had 8"},
		"a clock that is late": {func(_ *testing.T, n *Node) {
			asked(n, nf.RolloutDocument{Generation: 7, UpdatedAt: n.Now().Add(time.Hour)}, nil)
		}, "roll-out", view.Warn, "timedatectl"},
	} {
		t.Run(name, func(t *testing.T) {
			n := inFleet(t)
			test.make(t, n)
			found := false
			for _, c := range n.fleet(t.Context()) {
				switch {
				case c.Name == test.check && c.Status == test.status && strings.Contains(c.Detail+c.Remedy, test.says):
					found = true
				case c.Status != view.OK:
					t.Errorf("%+v", c)
				}
				if strings.Contains(c.Detail, "hunter2") {
					t.Errorf("a secret is shown: %+v", c)
				}
			}
			if !found {
				t.Errorf("no check %s that is %s: %+v", test.check, test.status, n.fleet(t.Context()))
			}
		})
	}
}
