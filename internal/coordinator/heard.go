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
	grants map[string]grant
	sorted []nf.HeardNode // the nodes of the channel, by name; nil: to be sorted again
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
		nodes: map[string]nf.HeardNode{}, unread: map[string]string{}, grants: map[string]grant{},
	}
}

// read reads what is new.
func (h *heard) read(ctx context.Context, s *store) error {
	err := h.statuses.read(ctx, s, func() {
		clear(h.nodes)
		clear(h.unread)
		h.sorted = nil
	}, func(node string, v fleet.Stored) {
		if fleet.IsRetired(node, v.Data, s.publicKey) {
			h.forget(node)
			return
		}
		h.take(node, v, s.channel)
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
// make forget that it has begun.
func (h *heard) take(node string, v fleet.Stored, channel string) {
	n, err := parseNode(node, v.Data)
	if err != nil {
		h.unread[node] = err.Error()
		return
	}
	delete(h.unread, node)
	h.sorted = nil
	if n.Channel != "" && n.Channel != channel {
		delete(h.nodes, node)
		return
	}
	h.nodes[node] = nf.HeardNode{FleetNode: n, Heard: v.Put}
}

// forget forgets a node that is gone for good.
func (h *heard) forget(node string) {
	delete(h.nodes, node)
	delete(h.unread, node)
	h.sorted = nil
}

// list returns the nodes of the channel by name. The caller does not change it.
func (h *heard) list() []nf.HeardNode {
	if h.sorted == nil {
		h.sorted = slices.SortedFunc(maps.Values(h.nodes), func(a, b nf.HeardNode) int { return strings.Compare(a.Node, b.Node) })
	}
	return h.sorted
}

// ours returns the grants that are signed by the coordinators of this channel.
func (h *heard) ours() map[string]nf.RestartGrant {
	grants := map[string]nf.RestartGrant{}
	for node, g := range h.grants {
		if g.forged == "" {
			grants[node] = g.RestartGrant
		}
	}
	return grants
}

// maxGeneration is the highest generation that is believed of a node: no fleet writes so many documents.
const maxGeneration = 1 << 40

// newest returns the highest generation of a document that a node has had, and that node; the first by name.
func newest(nodes []nf.HeardNode) (generation uint64, node string) {
	for i := range nodes {
		if g := nodes[i].Generation; g > generation {
			generation, node = g, nodes[i].Node
		}
	}
	return generation, node
}

// parseNode reads what a node has put.
func parseNode(node string, data []byte) (nf.FleetNode, error) {
	n, err := fleet.ReadNode(node, data)
	if err == nil && (n.Generation > maxGeneration || n.Progress != nil && n.Progress.Generation > maxGeneration) {
		err = fmt.Errorf("it claims a generation above %d, which no fleet reaches", uint64(maxGeneration))
	}
	return n, err
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
