package diff

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"nfsync.dev/nfsync/internal/nf"
)

// id names a plan by what it rests on: the wants, the values that differ, the
// identities of the targets, and the verdicts. Counters, texts and the lines of
// the policies do not count, so that a saved plan is stale exactly when
// applying it would do something else.
func (w *World) id(wants []nf.Want, p *nf.Plan) string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	put := func(v ...any) {
		if err := enc.Encode(v); err != nil {
			panic(err) // strings and numbers can always be encoded
		}
	}
	put(p.Node, w.snap.BootID)
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

// certain leaves the reason out of an unknown value.
func certain(v nf.Value) nf.Value {
	if v.IsUnknown() {
		return nf.Unknown("")
	}
	return v
}
