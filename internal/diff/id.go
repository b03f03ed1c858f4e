package diff

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"strconv"

	"nfsync.dev/nfsync/internal/nf"
)

// id returns the id of a plan: a hash of the node, the revision, the wants, the values that
// differ, the instances of the targets, and the verdicts. Counters, texts and the lines of the
// policies are not in it, so that a saved plan is stale exactly if applying it would
// do something else.
//
// What is hashed are lines of JSON as encoding/json writes them: a plan that an earlier nfsync
// has saved must keep its id.
func (w *World) id(wants []nf.Want, p *nf.Plan) string {
	l := idLines{hash: sha256.New()}
	l.begin(p.Node).text(p.Revision).text(w.snap.BootID).end()
	for i := range wants {
		want := &wants[i]
		l.begin("want").target(want.Target).text(string(want.Key)).wish(want.Wish).text(string(want.Restart)).
			rivals(want.Rivals).text(w.instance(want.Target)).end()
	}
	for i := range p.Changes {
		c := &p.Changes[i]
		l.begin("change").target(c.Target).text(string(c.Key)).text(string(c.Layer)).value(c.From).value(c.To).end()
	}
	for i := range p.Refusals {
		r := &p.Refusals[i]
		l.begin("refusal").target(r.Target).text(string(r.Key)).text(string(r.Layer)).value(certain(r.From)).value(r.To).text(string(r.Code)).end()
	}
	for i := range p.Pending {
		q := &p.Pending[i]
		l.begin("pending").target(q.Target).text(string(q.Key)).value(certain(q.From)).value(q.To).text(string(q.Until)).end()
	}
	return "sha256:" + hex.EncodeToString(l.hash.Sum(nil))
}

// idLines hashes lines, each a JSON list.
type idLines struct {
	hash hash.Hash
	line []byte // so far
}

func (l *idLines) begin(first string) *idLines {
	l.line = appendText(append(l.line[:0], '['), first)
	return l
}

func (l *idLines) end() {
	l.line = append(l.line, "]\n"...)
	_, _ = l.hash.Write(l.line) // a hash never fails
}

func (l *idLines) text(s string) *idLines {
	l.line = appendText(append(l.line, ','), s)
	return l
}

func (l *idLines) target(t nf.Target) *idLines {
	l.line = appendText(append(l.line, `,{"kind":`...), t.Kind)
	for _, part := range [...]struct{ key, text string }{{`,"runtime":`, t.Runtime}, {`,"id":`, t.ID}, {`,"name":`, t.Name}} {
		if part.text != "" {
			l.line = appendText(append(l.line, part.key...), part.text)
		}
	}
	l.line = append(l.line, '}')
	return l
}

func (l *idLines) value(v nf.Value) *idLines {
	if n, ok := v.Number(); ok {
		l.line = strconv.AppendInt(append(l.line, ','), n, 10)
		return l
	}
	return l.other(v)
}

func (l *idLines) wish(w nf.Wish) *idLines {
	if w.IsRange() {
		return l.other(w)
	}
	return l.value(w.Value)
}

func (l *idLines) rivals(list []nf.Rival) *idLines {
	var wishes []nf.Wish
	for _, r := range list {
		wishes = append(wishes, r.Wish)
	}
	if wishes == nil {
		l.line = append(l.line, ",null"...)
		return l
	}
	return l.other(wishes)
}

// other adds a value as encoding/json writes it.
func (l *idLines) other(v any) *idLines {
	l.line = appendJSON(append(l.line, ','), v)
	return l
}

// appendText appends a JSON string.
func appendText(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return appendJSON(dst, s)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

func appendJSON(dst []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers can always be encoded
	}
	return append(dst, text...)
}

// certain returns v without the reason if it is unknown.
func certain(v nf.Value) nf.Value {
	if v.IsUnknown() {
		return nf.Unknown("")
	}
	return v
}
