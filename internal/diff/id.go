package diff

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"nfsync.dev/nfsync/internal/nf"
)

// id returns the id of a plan: a hash of the node, the revision, the wants, the values that
// differ, the instances of the targets, and the verdicts. Counters, texts and the lines of the
// policies are not in it, so that a saved plan is stale exactly if applying it would
// do something else.
func (w *World) id(wants []nf.Want, p *nf.Plan) string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	put := func(v ...any) {
		if err := enc.Encode(v); err != nil {
			panic(err) // strings and numbers can always be encoded
		}
	}
	put(p.Node, p.Revision, w.snap.BootID)
	for _, want := range wants {
		var rivals []nf.Wish
		for _, r := range want.Rivals {
			rivals = append(rivals, r.Wish)
		}
		put("want", want.Target, want.Key, want.Wish, want.Restart, rivals, w.instance(want.Target))
	}
	for _, c := range p.Changes {
		put("change", c.Target, c.Key, c.Layer, c.From, c.To)
	}
	for _, r := range p.Refusals {
		put("refusal", r.Target, r.Key, r.Layer, certain(r.From), r.To, r.Code)
	}
	for _, q := range p.Pending {
		put("pending", q.Target, q.Key, certain(q.From), q.To, q.Until)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// certain returns v without the reason if it is unknown.
func certain(v nf.Value) nf.Value {
	if v.IsUnknown() {
		return nf.Unknown("")
	}
	return v
}
