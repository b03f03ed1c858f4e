package nf

import (
	"encoding/json"
	"fmt"
)

// Source is the place of a value in a policy: line and column count from 1, columns in
// characters.
type Source struct {
	Name   string `json:"name"` // metadata.name of the policy
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// String returns file:line:column.
func (s Source) String() string { return fmt.Sprintf("%s:%d:%d", s.File, s.Line, s.Column) }

// Restart says what to do about a level that only a restart brings.
type Restart string

// The values of spec.restart.
const (
	RestartRefuse Restart = "refuse"
	RestartStage  Restart = "stage"
	RestartAllow  Restart = "allow"
)

// Wish is the wanted value of a key: an exact one, or a range of numbers.
// Wishes are comparable with ==.
//
// In JSON an exact wish is its value, and a range is {"atLeast": 1000, "atMost":
// 2000} with one bound or both. What is read back gets its kind from its key: see
// Wish.As. The fields' names are those that Rival.MarshalJSON writes.
type Wish struct {
	Value   Value `json:"value"`             // exact; absent where bounds are given
	AtLeast int64 `json:"atLeast,omitempty"` // 0 is no lower bound
	AtMost  int64 `json:"atMost,omitempty"`  // 0 is no upper bound
}

// Exactly returns the wish for one value.
func Exactly(v Value) Wish { return Wish{Value: v} }

// IsRange reports whether the wish is a range of numbers.
func (w Wish) IsRange() bool { return w.AtLeast != 0 || w.AtMost != 0 }

// As returns w as a wish for that key: see Value.As.
func (w Wish) As(k Key) Wish {
	w.Value = w.Value.As(k)
	return w
}

// String returns the wish as text. Nothing compares texts.
func (w Wish) String() string {
	switch {
	case w.AtLeast != 0 && w.AtMost != 0:
		return fmt.Sprintf("%d..%d", w.AtLeast, w.AtMost)
	case w.AtLeast != 0:
		return fmt.Sprintf("at least %d", w.AtLeast)
	case w.AtMost != 0:
		return fmt.Sprintf("at most %d", w.AtMost)
	}
	return w.Value.String()
}

type rangeJSON struct {
	AtLeast int64 `json:"atLeast,omitempty"`
	AtMost  int64 `json:"atMost,omitempty"`
}

// MarshalJSON writes the wish as described at Wish.
func (w Wish) MarshalJSON() ([]byte, error) {
	if w.IsRange() {
		return json.Marshal(rangeJSON{w.AtLeast, w.AtMost})
	}
	return json.Marshal(w.Value)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (w *Wish) UnmarshalJSON(data []byte) error {
	var r rangeJSON
	if err := json.Unmarshal(data, &r); err == nil && r != (rangeJSON{}) {
		*w = Wish{AtLeast: r.AtLeast, AtMost: r.AtMost}
		return nil
	}
	*w = Wish{}
	return json.Unmarshal(data, &w.Value)
}

// Want is one key's desired value on one target, with the line that asked.
type Want struct {
	Target  Target  `json:"target"`
	Key     Key     `json:"key"`
	Wish    Wish    `json:"wish"`
	Restart Restart `json:"restart,omitempty"` // of a container's level
	Source  Source  `json:"policy"`
	// Rivals are other wishes of equal priority for the same key of the same
	// target, and wishes for other keys of the same value. Where there are any, the
	// want is a conflict and none is applied.
	Rivals []Rival `json:"rivals,omitempty"`
	// Lost are the wishes for the same key of policies with a lower priority.
	Lost []Rival `json:"-"`
}

// Rival is another wish for the value of a want: of a policy of equal priority for the same
// key, or of any policy for another key of that value, which Key then names.
type Rival struct {
	Key    Key    `json:"key,omitempty"`
	Wish   Wish   `json:"wish"`
	Source Source `json:"policy"`
}

// MarshalJSON writes the wish as a mapping of its parts, as in plans and receipts.
func (r Rival) MarshalJSON() ([]byte, error) {
	type parts Wish // without its methods
	return json.Marshal(struct {
		Key    Key    `json:"key,omitempty"`
		Wish   parts  `json:"wish"`
		Source Source `json:"policy"`
	}{r.Key, parts(r.Wish), r.Source})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Rival) UnmarshalJSON(data []byte) error {
	type parts Wish // without its methods
	var doc struct {
		Key    Key    `json:"key"`
		Wish   parts  `json:"wish"`
		Source Source `json:"policy"`
	}
	err := json.Unmarshal(data, &doc)
	*r = Rival{doc.Key, Wish(doc.Wish), doc.Source}
	return err
}

// Wants is everything that the policies want of one node, sorted by target and key, with
// warnings (about a policy that selects nothing, say).
type Wants struct {
	List     []Want    `json:"list"`
	Warnings []Warning `json:"warnings"`
	Restarts Restarts  `json:"restarts,omitzero"`
	Revision string    `json:"revision,omitempty"` // the policies' commit, or empty
}

// Restarts bounds the restarts of containers that one run may make.
type Restarts struct {
	Max int `json:"max,omitempty"` // 0 is one
	// Held says why no restart may be made now, such as being outside the agent's
	// restart window; empty if they may.
	Held string `json:"held,omitempty"`
}
