package nf

import "time"

// KindRollout is the kind of a RolloutPlan in a policy repository.
const KindRollout = "Rollout"

// KindRolloutDocument is the kind of a RolloutDocument.
const KindRolloutDocument = "RolloutDocument"

// RolloutPlan says how a new revision reaches the nodes of a fleet: the Rollout of a policy repository, with its
// defaults filled in. DefaultRolloutPlan is that of a repository without one.
type RolloutPlan struct {
	Name string `json:"name,omitempty"` // metadata.name; empty for the default
	// Groups are selected by the labels of nodes: a node is of the first group that it matches. Nodes that
	// match none are of the group DefaultGroup, which has Canaries of its own.
	Groups []PlanGroup `json:"groups,omitempty"`
	// InOrder makes a group begin when the groups before it are complete. Otherwise all go side by side.
	InOrder bool `json:"inOrder,omitempty"`
	// Canaries is how many nodes of a group are in the first step, before all fractions; 0: there is no
	// such step.
	Canaries int `json:"canaries"`
	// Fractions are the steps after it: of the nodes of each group, rising, the last one is 1.
	Fractions []float64 `json:"fractions"`
	// Soak is how long a step is watched once its nodes have ended, before the next one begins, the next
	// group begins, or the roll-out is done. A step in which no node has begun needs none.
	Soak Seconds `json:"soak"`
	// Rate is the most nodes that begin in a second. It spreads the nodes of a step over their time.
	Rate float64 `json:"rate"`
	// Deadline is how long a step may take, besides the time over which its nodes begin: those that have not
	// begun by then are left behind and listed. Those that have begun and not ended count as failed.
	Deadline Seconds `json:"deadline"`
	// A roll-out is halted when the nodes that failed, of a group or of all groups, are more than
	// FailureCount and more than FailureFraction of those that have begun.
	FailureCount    int     `json:"failureCount"`
	FailureFraction float64 `json:"failureFraction"`
	// RefusalsFail counts nodes on which something was refused as failed. Failed, undone and stuck changes
	// always count, and nodes that say nothing for Silence after they have begun.
	RefusalsFail bool `json:"refusalsFail,omitempty"`
	// Silence is how long a node that has begun may say nothing.
	Silence Seconds `json:"silence"`
	// Restarts is how many nodes of a group may restart containers at the same time; 0: none may.
	Restarts int `json:"restarts"`
	// Windows are the times at which a step may begin; none: at any time.
	Windows []RolloutWindow `json:"windows,omitempty"`
	// PauseBefore names steps that wait for a person: 0 is that of the canaries, or the first
	// fraction if there are none.
	PauseBefore []int `json:"pauseBefore,omitempty"`
}

// DefaultGroup is the group of the nodes that match no group of a plan. No group of a plan has
// this name.
const DefaultGroup = "other"

// PlanGroup is a group of nodes.
type PlanGroup struct {
	Name  string            `json:"name"`
	Match map[string]string `json:"match"` // all of these labels; never empty
	// Canaries and Restarts are instead of those of the plan; null: those of the plan.
	Canaries *int `json:"canaries,omitempty"`
	Restarts *int `json:"restarts,omitempty"`
}

// RolloutWindow is a time of the day, on some days of the week, in a time zone. It may pass midnight: then
// End is before Start, and Days are those on which it starts.
type RolloutWindow struct {
	Days  []time.Weekday `json:"days,omitempty"` // sorted from Sunday; none: every day
	Start Seconds        `json:"start"`          // since midnight, whole minutes
	End   Seconds        `json:"end"`            // never equal to Start
	Zone  string         `json:"zone"`           // of the IANA database: UTC, Europe/Berlin
}

// Seconds is a duration in whole seconds, as documents have it.
type Seconds int64

// Duration returns the duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// DefaultRolloutPlan returns the plan of a repository that has none: 20 canaries of each
// group, then 1, 5, 20, 50 and 100 % of it.
func DefaultRolloutPlan() RolloutPlan {
	return RolloutPlan{
		Canaries: 20, Fractions: []float64{0.01, 0.05, 0.2, 0.5, 1}, Soak: 600, Rate: 100, Deadline: 1800,
		FailureCount: 2, FailureFraction: 0.01, Silence: 300, Restarts: 1,
	}
}

// RolloutDocument is how far a revision has got in a fleet. The coordinator alone writes and signs it; nodes
// read it before they go on. Each write is a compare-and-set on the one before.
type RolloutDocument struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Channel    string `json:"channel"`
	// Generation is one more with each write. A node never takes a document with a lower one than it has
	// had: that is an older state of the store.
	Generation uint64 `json:"generation"`
	// Began is the generation with which this roll-out began. What nodes have reported before says nothing
	// of it.
	Began    uint64       `json:"began"`
	Revision string       `json:"revision"` // the commit that is rolled out
	Previous string       `json:"previous"` // the last one whose roll-out is done; empty: there is none
	State    RolloutState `json:"state"`
	Reason   string       `json:"reason,omitempty"`
	// Recovered is true of a roll-out that the coordinator has halted because the store has lost what it had:
	// nodes knew newer documents, or it knows far fewer nodes. No other roll-out begins until a person has
	// resumed or aborted this one.
	Recovered bool `json:"recovered,omitempty"`
	// PausedBefore is true of a roll-out that was halted while a person had paused it: the next one begins paused.
	PausedBefore bool   `json:"pausedBefore,omitempty"`
	Seed         string `json:"seed"` // of the order of the nodes, another one in each roll-out
	// Step is the present step: 0 is that of the canaries, or the first fraction if there are none; -1: none
	// has begun. Approved is the highest step that a person has approved; -1: none. With InOrder both are
	// those of the group that is under way.
	Step     int `json:"step"`
	Approved int `json:"approved"`
	// AwaitsApproval: the roll-out is paused because its next step waits for a person to approve it.
	AwaitsApproval bool `json:"awaitsApproval,omitempty"`
	// StepBegan is when the step began, or was resumed.
	StepBegan time.Time `json:"stepBegan"`
	// StepFrom is the generation before the step began: what has begun with an earlier one is of an earlier step.
	StepFrom uint64 `json:"stepFrom,omitempty"`
	// StepEnded is when the nodes of the step had ended, and its soak began; null: they have not.
	StepEnded *time.Time `json:"stepEnded"`
	// DoneAt is when the roll-out was done; null: it was not. A roll-out that is halted later keeps it.
	DoneAt *time.Time `json:"doneAt,omitempty"`
	// Groups are those of the plan, with the default one last. A node is of the first one that it matches.
	Groups []RolloutGroup `json:"groups"`
	// Spread is the time over which the nodes of a step begin, FetchSpread that over which all nodes fetch
	// the revision to see whether it changes anything for them, and RescueSpread that over which the nodes on
	// withdrawn revisions begin.
	Spread       Seconds `json:"spread"`
	FetchSpread  Seconds `json:"fetchSpread"`
	RescueSpread Seconds `json:"rescueSpread"`
	// Rescue is the fraction of the nodes on withdrawn revisions that take the revision of the roll-out before
	// all others: those whose position is below it. The others have the turn of their group.
	Rescue float64 `json:"rescue"`
	// Withdrawn are revisions that no node may begin. The newest is the last one.
	Withdrawn   []string        `json:"withdrawn,omitempty"`
	Coordinator string          `json:"coordinator"` // who wrote it
	Term        uint64          `json:"term"`        // one more each time that another coordinator takes over
	UpdatedAt   time.Time       `json:"updatedAt"`
	Plan        RolloutPlan     `json:"plan"`
	History     []RolloutRecord `json:"history,omitempty"` // of this roll-out, the newest is the last one
	// Nodes is how many nodes the store knew when the document was written. If it suddenly knows far fewer,
	// it has lost what they said.
	Nodes int `json:"nodes"`
	// Live is how many of them were heard of lately when the present step began. The roll-out waits while
	// fewer than half of them are: what the others make of the revision is not known.
	Live int `json:"live"`
	// Proof shows that the coordinator has signed the document with its generation: see FleetNode. It is known of
	// documents that were read from the store, and no part of them.
	Proof string `json:"-"`
}

// RolloutGroup is a group of nodes in a roll-out.
type RolloutGroup struct {
	Name  string            `json:"name"`
	Match map[string]string `json:"match,omitempty"` // none: every node
	// Fraction is that of its nodes whose turn has come: those whose position is below it. It never falls
	// within a roll-out.
	Fraction float64 `json:"fraction"`
	// Before is what Fraction was before the present step.
	Before float64 `json:"before"`
	// Forgiven is how many failed nodes a person has accepted by resuming the roll-out. They do not halt it
	// again.
	Forgiven int `json:"forgiven,omitempty"`
	// Step is the step that the group is in, with InOrder another one than that of other groups; -1: it has
	// not begun.
	Step int `json:"step"`
}

// RolloutRecord is what has happened in a roll-out.
type RolloutRecord struct {
	At     time.Time     `json:"at"`
	What   string        `json:"what"` // "step 2 of 6 ended", "halted by ann: …"
	Counts RolloutCounts `json:"counts"`
}

// RolloutCounts counts nodes of a roll-out.
type RolloutCounts struct {
	Nodes      int `json:"nodes"`      // of the group, or of all
	Silent     int `json:"silent"`     // not heard of lately, and not begun: they do not count below
	Unaffected int `json:"unaffected"` // the revision changes nothing for them
	Waiting    int `json:"waiting"`    // their turn has not come, or they have not begun
	Begun      int `json:"begun"`      // at work
	Applied    int `json:"applied"`
	Refused    int `json:"refused"` // applied, but for what was refused
	Failed     int `json:"failed"`
	Lost       int `json:"lost"` // begun, and silent since: they are among the failed
}

// RolloutState says what a roll-out does.
type RolloutState string

// The states of roll-outs.
const (
	RolloutRolling RolloutState = "rolling" // the nodes of a step begin
	RolloutSoaking RolloutState = "soaking" // the nodes of a step have ended, and are watched
	RolloutPaused  RolloutState = "paused"  // a person, or a step that waits for approval, holds it: no node begins
	RolloutHalted  RolloutState = "halted"  // too many nodes failed, or a person has halted it: no node begins
	RolloutAborted RolloutState = "aborted" // a person has ended it: no node begins, and it cannot be resumed
	RolloutDone    RolloutState = "done"    // every node may take the revision
)

// RolloutStates lists the states of roll-outs.
func RolloutStates() []RolloutState {
	return []RolloutState{RolloutRolling, RolloutSoaking, RolloutPaused, RolloutHalted, RolloutAborted, RolloutDone}
}

// MayBegin reports whether nodes whose turn has come may begin.
func (s RolloutState) MayBegin() bool {
	return s == RolloutRolling || s == RolloutSoaking || s == RolloutDone
}

// RestartGrant allows a node to restart containers. The coordinator alone writes and signs it.
type RestartGrant struct {
	Channel    string `json:"channel"`
	Node       string `json:"node"`
	Generation uint64 `json:"generation"` // one more with each write of this node's grant
	// Until is when the grant ends; the zero time: it has ended. The node begins no restart after it.
	Until time.Time `json:"until"`
	// Revision is the commit whose restarts are allowed.
	Revision string `json:"revision"`
}

// FleetAsk is what an operator asks the coordinator to do.
type FleetAsk struct {
	Verb     AskVerb `json:"verb"`
	Revision string  `json:"revision,omitempty"` // of withdraw
	// Generation is that of the document that the operator has seen; 0: any.
	Generation uint64 `json:"generation,omitempty"`
	Reason     string `json:"reason,omitempty"`
	By         string `json:"by"` // the user who asks, as the client says
}

// AskVerb is what a FleetAsk asks for.
type AskVerb string

// The verbs.
const (
	AskPause    AskVerb = "pause"
	AskResume   AskVerb = "resume" // ends a pause or a halt
	AskHalt     AskVerb = "halt"
	AskAbort    AskVerb = "abort"
	AskApprove  AskVerb = "approve" // lets the step begin that waits for it
	AskWithdraw AskVerb = "withdraw"
	AskWake     AskVerb = "wake"    // wakes all nodes
	AskRelease  AskVerb = "release" // ends the grant of a node that has vanished; Revision is its name
)

// FleetAnswer is the answer to a FleetAsk.
type FleetAnswer struct {
	Document *RolloutDocument `json:"document"`        // as it is now; null: there is none
	Error    string           `json:"error,omitempty"` // why nothing was done; empty: it was
}
