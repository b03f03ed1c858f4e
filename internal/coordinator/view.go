package coordinator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"nfsync.dev/nfsync/internal/nf"
	"nfsync.dev/nfsync/internal/rollout"
)

// View is what a coordinator knows, for the page and the metrics. Nobody changes it.
type View struct {
	Now           time.Time // of the view
	Name, Channel string

	Connected bool
	Server    string    // without credentials
	Read      time.Time // when the store was last read; the zero time: never
	Lease     bool      // this coordinator is at work
	Holder    string    // who has the lease, as far as is known

	Document *nf.RolloutDocument // nil: there is none, or it is not known
	Nodes    []nf.HeardNode      // of the channel, by name
	Unread   map[string]string   // why the value of a node cannot be read, by its name
	Grants   map[string]nf.RestartGrant
	Forged   []string // nodes whose grant is not the coordinator's
	Branch   Fetched

	Problems          []string // what a person should know
	Conflicts, Writes uint64
}

// View returns what the coordinator knows.
func (c *Coordinator) View() View { return *c.view.Load() }

// watchdog is the time within which the loop comes round.
const watchdog = time.Minute

// IsAlive reports whether the loop has come round lately.
func (c *Coordinator) IsAlive() bool {
	beat := c.beat.Load()
	return beat != nil && time.Since(*beat) < watchdog
}

// show makes the view of now.
func (c *Coordinator) show() {
	_, fetched := c.head.is()
	v := &View{
		Now: c.now(), Name: c.Name, Channel: c.Channel, Connected: c.Conn.IsConnected(), Server: nf.PublicURL(c.Conn.ConnectedUrl()), Read: c.read,
		Lease: c.mayAct(), Holder: c.lease.holder, Document: c.doc, Nodes: c.heard.list(), Unread: maps.Clone(c.heard.unread), Grants: c.heard.ours(c.Channel),
		Branch: fetched, Conflicts: c.conflicts, Writes: c.writes,
	}
	for node, g := range c.heard.grants {
		if g.forged != "" {
			v.Forged = append(v.Forged, node)
		}
	}
	slices.Sort(v.Forged)
	v.Problems = c.problems(v)
	c.view.Store(v)
}

// problems returns what a person should know.
func (c *Coordinator) problems(v *View) (list []string) {
	add := func(format string, a ...any) { list = append(list, fmt.Sprintf(format, a...)) }
	if !v.Connected {
		add("The fleet's store cannot be reached: nothing is decided, and nodes keep what they have.")
	}
	if v.Document != nil && v.Lease && !c.isSettled() {
		add("The store can be read again: nothing is decided until the nodes are heard, for %s at most.", c.pace.settle)
	}
	if said := c.said["store"]; said != "" {
		add("%s", said)
	}
	if ahead := c.lease.ahead; ahead.Abs() > time.Minute {
		add("The clock of this machine differs from the store's by %s. The store's is used; set both by NTP.", ahead.Round(time.Second))
	}
	if v.Branch.Err != nil {
		add("The newest commit of the branch is not rolled out: %v", v.Branch.Err)
	}
	if d := v.Document; d != nil && d.Revision != v.Branch.Commit && slices.Contains(d.Withdrawn, v.Branch.Commit) {
		add("The newest commit of the branch is not rolled out: %s is withdrawn. Push another one.", v.Branch.Commit)
	}
	if v.Document != nil && v.Document.Recovered {
		add("The roll-out is halted: %s", v.Document.Reason)
	}
	if len(v.Unread) > 0 {
		add("%d nodes have put what cannot be read: %s", len(v.Unread), firstOf(slices.Sorted(maps.Keys(v.Unread))))
	}
	if len(v.Forged) > 0 {
		add("The restart grants of %d nodes are not the coordinator's, and stay as they are: %s", len(v.Forged), firstOf(v.Forged))
	}
	if kept := v.kept(); len(kept) > 0 {
		add("%d nodes that are not heard of keep places for restarts (nfsync fleet release NODE ends that): %s", len(kept), firstOf(kept))
	}
	return list
}

// kept returns the nodes that are not heard of and have had a grant until some time ago: it keeps its place until they are back.
func (v *View) kept() []string {
	silent := rollout.Silent(v.Nodes, v.Now)
	var kept []string
	for node, g := range v.Grants {
		if g.Until.IsZero() || v.Now.Before(g.Until) {
			continue
		}
		// Both lists are sorted by the names.
		_, isKnown := slices.BinarySearchFunc(v.Nodes, node, func(n nf.HeardNode, name string) int { return strings.Compare(n.Node, name) })
		if _, isSilent := slices.BinarySearch(silent, node); !isKnown || isSilent {
			kept = append(kept, node)
		}
	}
	slices.Sort(kept)
	return kept
}

// firstOf names the first of a list, and how many more there are.
func firstOf(names []string) string {
	const most = 5
	text := ""
	for i, n := range names[:min(most, len(names))] {
		if i > 0 {
			text += ", "
		}
		text += n
	}
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
