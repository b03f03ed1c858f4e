package nf

// Plan is the comparison of wants with facts: the Plan document. Its slices are never
// nil.
type Plan struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// ID covers the wants, the from values, the instance identities and each
	// rule's verdict.
	ID       string    `json:"id"`
	Node     string    `json:"node"`
	Revision string    `json:"revision"`
	Changes  []Change  `json:"changes"` // in an order whose every prefix is safe
	Refusals []Refusal `json:"refusals"`
	Pending  []Pending `json:"pending"`
	Warnings []Warning `json:"warnings"`
	// Stuck are the changes of earlier runs that hold back their targets.
	Stuck   []StuckChange `json:"stuck,omitempty"`
	Summary Summary       `json:"summary"`

	// InSync are the wants that the node meets already, for memory.
	InSync []Settled `json:"-"`
}

// Change is one step of a plan.
type Change struct {
	Target Target `json:"target"`
	Key    Key    `json:"key"`
	Layer  Layer  `json:"layer"`
	From   Value  `json:"from"`
	To     Value  `json:"to"`
	// Range is set if the value is not there before a change of this plan brings it, as
	// loading its module does. It is read then, and changed only if it is outside the
	// range, to the nearest bound. To is a bound until then. In the boot layer such a
	// change is made only if the live one is.
	Range Wish `json:"range,omitzero"`
	// Intermediate is set if a later change of the plan changes the same value again: the
	// rules allow no direct way. It is undone unless that one is made.
	Intermediate bool `json:"intermediate,omitempty"`
	// OneWay changes are never undone; Disruptive ones interrupt traffic.
	OneWay     bool   `json:"oneWay"`
	Disruptive bool   `json:"disruptive"`
	Cause      Cause  `json:"cause"`
	Source     Source `json:"policy"`
	// LastFailure is set if the change could not be made when it was last tried.
	LastFailure *LastFailure `json:"lastFailure,omitempty"`
	// Asked is the wish that the change is for.
	Asked Wish `json:"-"`
	// Instance is that of the target; the boot id for the node.
	Instance string `json:"-"`
}

// Cause is why a change is needed: the first that fits, in this order.
type Cause string

// The causes.
const (
	CauseNew     Cause = "new"     // no memory of the key
	CausePolicy  Cause = "policy"  // the want differs from the last asked
	CauseRestart Cause = "restart" // a new instance of the target
	CauseDrift   Cause = "drift"   // the machine moved
)

// Causes lists the causes.
func Causes() []Cause { return []Cause{CauseNew, CausePolicy, CauseRestart, CauseDrift} }

// Refusal is a difference that cannot be closed now.
type Refusal struct {
	Target Target `json:"target"`
	Key    Key    `json:"key"`
	Layer  Layer  `json:"layer"`
	From   Value  `json:"from"`
	To     Value  `json:"to"`
	Code   Code   `json:"code"`
	Reason string `json:"reason"`
	Remedy string `json:"remedy"`
	Until  Until  `json:"until"`
	Source Source `json:"policy"`
	// Asked is the wish of that line.
	Asked Wish `json:"-"`
	// Rivals are the other lines of a conflict.
	Rivals []Rival `json:"rivals,omitempty"`
}

// Pending is a difference that is saved for a restart, or waits for its target
// to start.
type Pending struct {
	Target Target `json:"target"`
	Key    Key    `json:"key"`
	From   Value  `json:"from"`
	To     Value  `json:"to"`
	Until  Until  `json:"until"`
	Reason string `json:"reason"`
	Source Source `json:"policy"`
	// MayRestart: the policies allow nfsync to restart the container for it, which it has not done yet.
	MayRestart bool `json:"-"`
}

// Warning is a remark that forbids nothing.
type Warning struct {
	Code    string  `json:"code"`
	Target  Target  `json:"target"`
	Key     Key     `json:"key,omitempty"`
	Message string  `json:"message"`
	Source  *Source `json:"policy,omitempty"`
}

// Summary counts a plan's entries.
type Summary struct {
	Changes  int `json:"changes"`
	Refusals int `json:"refusals"`
	Pending  int `json:"pending"`
	InSync   int `json:"inSync"`
}

// Settled is a want that the node meets.
type Settled struct {
	Target Target
	Key    Key
	Asked  Wish
	Value  Value
}
