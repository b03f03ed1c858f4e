package coordinator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"nfsync.dev/nfsync/internal/fleet"
	"nfsync.dev/nfsync/internal/nf"
)

// heard is what the store says of the nodes: what they have put, and their grants.
type heard struct {
	statuses, granted keys

	nodes  map[string]nf.HeardNode
	unread map[string]string // why the value of a node cannot be read, by its name
	// retired are the nodes that are gone for good, and have not come back.
	retired map[string]bool
	// elsewhere are the nodes of other channels.
	elsewhere map[string]bool
	grants    map[string]grant
	sorted    []nf.HeardNode // the nodes of the channel, by name; nil: to be sorted again
}

// grant is a restart grant with its sequence in the store.
type grant struct {
	nf.RestartGrant
	sequence uint64
	forged   string // why it is not ours; empty: it is
}

func newHeard() *heard {
	return &heard{
		statuses: keys{stream: fleet.StreamStatus}, granted: keys{stream: fleet.StreamGrant},
		nodes: map[string]nf.HeardNode{}, unread: map[string]string{}, retired: map[string]bool{}, elsewhere: map[string]bool{}, grants: map[string]grant{},
	}
}

// read reads what is new.
func (h *heard) read(ctx context.Context, s *store) error {
	err := h.statuses.read(ctx, s, func() {
		clear(h.nodes)
		clear(h.unread)
		clear(h.retired)
		clear(h.elsewhere)
		h.sorted = nil
	}, func(node string, v fleet.Stored) {
		if fleet.IsRetired(node, v.Data, s.publicKey) {
			h.forget(node)
			return
		}
		h.take(node, v, s.channel, s.publicKey)
	})
	if err != nil {
		return err
	}
	return h.granted.read(ctx, s, func() { clear(h.grants) }, func(node string, v fleet.Stored) {
		g, err := s.openGrant(node, v.Data)
		h.grants[node] = grant{RestartGrant: g, sequence: v.Sequence, forged: textOf(err)}
	})
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// take takes what a node has put. If it cannot be read, what it has put before stays, as old as it is: a node cannot
// make forget that it has begun. A generation that it does not prove is not believed.
func (h *heard) take(node string, v fleet.Stored, channel, publicKey string) {
	n, err := fleet.ReadNode(node, v.Data)
	if err != nil {
		h.unread[node] = err.Error()
		return
	}
	delete(h.unread, node)
	delete(h.retired, node)
	h.sorted = nil
	if h.elsewhere[node] = n.Channel != "" && n.Channel != channel; h.elsewhere[node] {
		delete(h.nodes, node)
		return
	}
	if err := checkClaim(n, channel, publicKey); err != nil {
		h.unread[node], n.Generation, n.Proof = err.Error(), 0, ""
	}
	h.nodes[node] = nf.HeardNode{FleetNode: n, Heard: v.Put}
}

// checkClaim returns why the generation is not believed that a node claims to have had.
func checkClaim(n nf.FleetNode, channel, publicKey string) error {
	if n.Generation == 0 {
		return nil
	}
	proven, err := fleet.Proven(n.Proof, channel, publicKey)
	if err == nil && proven != n.Generation {
		err = fmt.Errorf("the proof is of generation %d", proven)
	}
	if err != nil {
		return fmt.Errorf("it claims generation %d of the roll-out document without a proof: %w", n.Generation, err)
	}
	return nil
}

// forget forgets a node that is gone for good.
func (h *heard) forget(node string) {
	delete(h.nodes, node)
	delete(h.unread, node)
	h.retired[node] = true
	h.sorted = nil
}

// list returns the nodes of the channel by name. The caller does not change it.
func (h *heard) list() []nf.HeardNode {
	if h.sorted == nil {
		h.sorted = slices.SortedFunc(maps.Values(h.nodes), func(a, b nf.HeardNode) int { return strings.Compare(a.Node, b.Node) })
	}
	return h.sorted
}

// ours returns the grants that are signed by the coordinators of a channel. Of a node that has moved to another channel the grant of
// the one before is of no use any more.
func (h *heard) ours(channel string) map[string]nf.RestartGrant {
	grants := map[string]nf.RestartGrant{}
	for node, g := range h.grants {
		if g.forged == "" && g.Channel == channel && !h.elsewhere[node] {
			grants[node] = g.RestartGrant
		}
	}
	return grants
}

// shorten returns a text without control characters, of at most so many bytes.
func shorten(text string, most int) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 || r == '\u2028' || r == '\u2029'
	}), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
