package nf

import "time"

// KindNodeStatus is the kind of a NodeStatus.
const KindNodeStatus = "NodeStatus"

// NodeStatus says what the agent of a node does, and what it has found: the NodeStatus document.
// Its slices are never nil.
type NodeStatus struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Node       string      `json:"node"`
	UpdatedAt  time.Time   `json:"updatedAt"`
	Agent      AgentInfo   `json:"agent"`
	Source     string      `json:"source"` // the URL or the directory of the policies
	URLs       []SourceURL `json:"urls"`   // of the repository; none for a directory
	Mode       string      `json:"mode"`
	Revision   *InForce    `json:"revision"` // null: none is in force
	LastLap    *LapStatus  `json:"lastLap"`  // null: the first one has not ended
	// CurrentLap is the lap that runs; null: none does.
	CurrentLap *CurrentLap `json:"currentLap"`
	// LastSuccess is when a lap last ended without an error; null: none has.
	LastSuccess *time.Time    `json:"lastSuccess"`
	Conditions  []Condition   `json:"conditions"`
	Changes     []Change      `json:"changes"` // that were found and not made
	Refusals    []Refusal     `json:"refusals"`
	Pending     []Pending     `json:"pending"`
	Stuck       []StuckChange `json:"stuck"`
	Fights      []Fight       `json:"fights"` // that were left
	Warnings    []Warning     `json:"warnings"`
	Errors      []string      `json:"errors"` // in the configuration, or in policies that are not in force: file:line:column: message
	Suspension  *Suspension   `json:"suspension"`
	Next        []NextLap     `json:"next"`    // the laps that are due, the next one first
	Summary     *Summary      `json:"summary"` // of the last lap that looked at the node; null: none has
	// Tables are the conntrack tables that are full or will be soon, the most urgent first.
	Tables []FillingTable `json:"tables"`
	// Fleet is the place of the node in its fleet; null: the configuration names none.
	Fleet *FleetPlace `json:"fleet"`
}

// FleetPlace is the place of a node in its fleet.
type FleetPlace struct {
	Channel string `json:"channel"`
	Server  string `json:"server,omitempty"` // that it is connected to, or was last
	// ConnectedSince is since when it is connected; null: it is not.
	ConnectedSince *time.Time `json:"connectedSince"`
	// HeardAt is when the roll-out document was last asked for and was good; null: not since the agent started.
	HeardAt *time.Time `json:"heardAt"`
	// Generation, Revision and State are those of the newest roll-out document that the node has had; 0 and empty:
	// it has had none.
	Generation uint64       `json:"generation"`
	Revision   string       `json:"revision"`
	State      RolloutState `json:"state"`
	Group      string       `json:"group"` // of the node in that roll-out
	// Progress is how far the node is with a revision; null: it knows of none.
	Progress *NodeProgress `json:"progress"`
	// BeginsAt is when the node begins, if only its part of the time of a step is left to wait for; else null.
	BeginsAt *time.Time `json:"beginsAt"`
	// Grant is the restart grant that the node acts on; null: none.
	Grant *RestartGrant `json:"grant"`
	// Error is why the node could not put what it is into the fleet's store; empty: it could.
	Error string `json:"error,omitempty"`
}

// AgentInfo identifies a running agent.
type AgentInfo struct {
	Version   string    `json:"version"`
	PID       int       `json:"pid"`
	StartedAt time.Time `json:"startedAt"`
}

// SourceURL says how the fetches from one URL of the repository go.
type SourceURL struct {
	URL       string     `json:"url"`       // as PublicURL returns it
	LastFetch *time.Time `json:"lastFetch"` // that succeeded; null: none has
	// Error is why the last fetch failed; empty if it did not.
	Error string `json:"error,omitempty"`
	// RetryAt is until when it is not tried while another URL works; null: it is tried in its turn.
	RetryAt *time.Time `json:"retryAt"`
}

// InForce is the revision that is in force.
type InForce struct {
	Commit string `json:"commit"` // empty for a directory
	URL    string `json:"url,omitempty"`
	Branch string `json:"branch,omitempty"`
	Tag    string `json:"tag,omitempty"`
	Signer string `json:"signer,omitempty"`
	// Since is when the agent first applied it.
	Since time.Time `json:"since"`
}

// CurrentLap is the lap that runs.
type CurrentLap struct {
	StartedAt time.Time `json:"startedAt"`
	Causes    []string  `json:"causes"`
}

// LapStatus is the last lap.
type LapStatus struct {
	StartedAt  time.Time `json:"startedAt"`
	FinishedAt time.Time `json:"finishedAt"`
	Causes     []string  `json:"causes"`
	Fetched    bool      `json:"fetched"` // it asked for a new revision
	Result     LapResult `json:"result"`
	Error      string    `json:"error,omitempty"`
	Receipt    string    `json:"receipt,omitempty"` // empty if nothing was changed
	Applied    int       `json:"applied"`
}

// LapResult says how a lap ended.
type LapResult string

// The results of laps.
const (
	LapInSync    LapResult = "in-sync"   // there was nothing to change
	LapApplied   LapResult = "applied"   // something was changed
	LapRefused   LapResult = "refused"   // something was refused, the rest is as wanted
	LapFailed    LapResult = "failed"    // a change failed and was undone
	LapStuck     LapResult = "stuck"     // a change could be neither made nor undone
	LapObserved  LapResult = "observed"  // it only planned: mode observe, or suspended
	LapFallback  LapResult = "fallback"  // the last good revision was applied instead of the new one
	LapError     LapResult = "error"     // nothing could be applied
	LapCancelled LapResult = "cancelled" // the agent was stopped
	LapUnchanged LapResult = "unchanged" // the revision is the one in force: the node was not looked at
)

// LapResults lists the results of laps.
func LapResults() []LapResult {
	return []LapResult{LapInSync, LapApplied, LapRefused, LapFailed, LapStuck, LapObserved, LapFallback, LapError, LapCancelled, LapUnchanged}
}

// Fight is a value that something else has changed back again and again, and that nfsync has left
// to it until the want changes.
type Fight struct {
	Target Target    `json:"target"`
	Key    Key       `json:"key"`
	Layer  Layer     `json:"layer"`
	From   Value     `json:"from"`  // what it reads
	To     Value     `json:"to"`    // what is wanted
	Flips  int       `json:"flips"` // within the hour before Since
	Since  time.Time `json:"since"` // when it was left
	// SetBy is what else sets the value, as far as files and processes of the node show it: what
	// sets the present one first.
	SetBy []Writer `json:"setBy"`
}

// Writer is a line of a file, or a process, that sets a value of the node.
type Writer struct {
	Where string `json:"where"` // "/etc/sysctl.d/90-x.conf:3", "kube-proxy (process 812)"
	Value Value  `json:"value"` // that it sets; unknown if nobody says it
}

// NextLap is a lap that is due without an event.
type NextLap struct {
	Cause string    `json:"cause"`
	At    time.Time `json:"at"`
}

// Suspension keeps the agent from making changes.
type Suspension struct {
	Since  time.Time  `json:"since"`
	Until  *time.Time `json:"until"` // null: until nfsync resume
	Reason string     `json:"reason"`
	By     string     `json:"by"` // the user who asked
}

// Ended reports whether the suspension has ended by that time.
func (s *Suspension) Ended(now time.Time) bool { return s.Until != nil && !now.Before(*s.Until) }

// Confirmation says which run was confirmed.
type Confirmation struct {
	Run     string `json:"run"`
	Changes int    `json:"changes"` // that stay
}

// Condition is one of the conditions that kstatus describes, or one of nfsync's own.
type Condition struct {
	Type               ConditionType   `json:"type"`
	Status             ConditionStatus `json:"status"`
	Reason             string          `json:"reason"` // one word, for programs
	Message            string          `json:"message"`
	LastTransitionTime time.Time       `json:"lastTransitionTime"`
	ObservedRevision   string          `json:"observedRevision"`
}

// ConditionType is the type of a condition.
type ConditionType string

// The conditions.
const (
	Ready          ConditionType = "Ready"          // the policies are in force, and the last lap had no error
	Reconciling    ConditionType = "Reconciling"    // a newer revision is not in force, and the agent tries again by itself
	Stalled        ConditionType = "Stalled"        // a person has to do something first
	Drifted        ConditionType = "Drifted"        // something else has changed a value that is not changed back
	RestartPending ConditionType = "RestartPending" // a value waits for a restart of the node or of a container
	Suspended      ConditionType = "Suspended"      // nfsync suspend: no change is made
	TableFilling   ConditionType = "TableFilling"   // a conntrack table is full, or will be soon
	Published      ConditionType = "Published"      // what the node is was published; there is none if it is not to be
	// FleetUnreachable: the node cannot follow the roll-outs of its fleet; there is none if it belongs to none
	FleetUnreachable ConditionType = "FleetUnreachable"
)

// ConditionTypes lists the conditions.
func ConditionTypes() []ConditionType {
	return []ConditionType{Ready, Reconciling, Stalled, Drifted, RestartPending, Suspended, TableFilling, Published, FleetUnreachable}
}

// IsGood reports whether the condition is as it should be if it is true.
func (t ConditionType) IsGood() bool { return t == Ready || t == Published }

// ConditionStatus says whether a condition holds.
type ConditionStatus string

// The statuses of a condition.
const (
	ConditionTrue    ConditionStatus = "True"
	ConditionFalse   ConditionStatus = "False"
	ConditionUnknown ConditionStatus = "Unknown"
)

// Condition returns a condition of the status; one of status Unknown if there is none.
func (s *NodeStatus) Condition(t ConditionType) Condition {
	for _, c := range s.Conditions {
		if c.Type == t {
			return c
		}
	}
	return Condition{Type: t, Status: ConditionUnknown}
}
