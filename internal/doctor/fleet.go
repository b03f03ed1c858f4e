package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"nfsync.dev/nfsync/internal/agent"
	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/state"
	"nfsync.dev/nfsync/internal/view"
)

// fleet checks what the node needs to follow its fleet; nothing if the configuration names none.
func (n *Node) fleet(ctx context.Context) []view.Check {
	c := &n.Config
	f := c.Agent.Fleet
	if c.Err != nil || len(c.Diagnostics) > 0 || f == nil {
		return nil
	}
	checks := []view.Check{n.fleetName()}
	if checks[0].Status != view.OK {
		return checks // no credentials are for it
	}
	checks = append(checks, n.fleetCredentials(f.CredentialsFile))
	if f.CAFile != "" {
		checks = append(checks, n.fleetCA(f.CAFile))
	}
	for _, check := range checks {
		if check.Status != view.OK {
			return checks // without these nobody answers
		}
	}
	return append(checks, n.fleetRollout(ctx))
}

func (n *Node) fleetName() view.Check {
	const name = "name"
	if !nf.IsFleetName(n.FleetName) {
		return failed(name, fmt.Sprintf("%q cannot be a name in a fleet: it has letters, digits, _ and -, with dots between, and at most %d bytes", n.FleetName, nf.MaxFleetName),
			"set node.name in "+n.Config.File)
	}
	return passed(name, n.FleetName+" on channel "+n.Config.Agent.Fleet.Channel)
}

func (n *Node) fleetCredentials(file string) view.Check {
	const name = "credentials"
	of, err := fleet.NameOf(file)
	remedy := "nfsync-coordinator enroll " + n.FleetName + " makes the file; see its mode: " + view.CommandLine("ls", "-l", file)
	switch {
	case err != nil:
		return n.notSeen(failed(name, err.Error(), remedy), err)
	case of != "" && of != n.FleetName:
		return failed(name, fmt.Sprintf("%s has the credentials of %s, and this node is %s", file, of, n.FleetName), remedy)
	}
	return passed(name, file+" can be read, by its owner only")
}

func (n *Node) fleetCA(file string) view.Check {
	const name = "certificates"
	text, err := os.ReadFile(file)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(text) {
		err = fmt.Errorf("%s has no certificate in PEM", file)
	}
	if err != nil {
		return n.notSeen(failed(name, err.Error(), "put the certificate of the authority of the fleet's servers there: fleet.caFile"), err)
	}
	return passed(name, file+" has the authorities of the servers")
}

// maxSkew is how far the clocks of the node and of the coordinator may be apart.
const maxSkew = time.Minute

// fleetRollout asks the fleet for its roll-out.
func (n *Node) fleetRollout(ctx context.Context) view.Check {
	const name = "roll-out"
	asking, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	doc, err := n.AskFleet(asking)
	if err != nil {
		return failed(name, err.Error(), fleetRemedy(err))
	}
	known, err := state.ReadFleet(n.StateDir)
	switch f := n.Config.Agent.Fleet; {
	case err != nil && !errors.Is(err, fs.ErrPermission):
		return failed(name, err.Error(), "nfsync agent --once says more")
	case err == nil && known.Channel == f.Channel && known.CoordinatorKey == f.CoordinatorKey && doc.Generation < known.Document.Generation:
		return failed(name, fmt.Sprintf("the document has generation %d, and this node has had %d: the store was taken back to an earlier state", doc.Generation, known.Document.Generation),
			"nfsync fleet rollout shows what the coordinator waits for")
	}
	if ahead := doc.UpdatedAt.Sub(n.Now()); ahead > maxSkew {
		return warned(name, fmt.Sprintf("the document was written %s from now: the clock of this node is late, and restart grants last longer here", ahead.Round(time.Second)), "timedatectl")
	}
	return passed(name, fmt.Sprintf("document %d: %s of %s", doc.Generation, doc.State, doc.Revision))
}

// fleetRemedy returns what helps where the fleet cannot be followed.
func fleetRemedy(err error) string {
	e, _ := errors.AsType[*agent.FleetError](err)
	switch {
	case e != nil && e.Reason == agent.ReasonNoDocument:
		return "the coordinator of the channel writes one: systemctl status nfsync-coordinator, where it runs"
	case e != nil && e.Reason == agent.ReasonForged:
		return "compare fleet.coordinatorKey with the key that nfsync-coordinator enroll prints"
	case e != nil && e.Reason == agent.ReasonNotPermitted:
		return "nfsync-coordinator list shows whose credentials are valid, and enroll makes those of this node's name"
	}
	return "check fleet.servers and the network; systemctl status nfsync-coordinator, where it runs"
}
