package nf

import "time"

// Failure is a change that could not be made when it was last tried.
type Failure struct {
	Target   Target    `json:"target"`
	Key      Key       `json:"key"`
	Layer    Layer     `json:"layer"`
	To       Value     `json:"to"`       // what was to be set
	Instance string    `json:"instance"` // of the target at that time; the boot id for the node
	At       time.Time `json:"at"`       // when the run began
	Why      string    `json:"why"`
	Receipt  string    `json:"receipt"` // the id of the run's receipt
}

// Last returns what a plan says of the failure, beside the same change.
func (f Failure) Last() *LastFailure { return &LastFailure{f.At, f.Why, f.Receipt} }

// LastFailure says that a change could not be made when it was last tried.
type LastFailure struct {
	At      time.Time `json:"at"` // when the run began
	Why     string    `json:"why"`
	Receipt string    `json:"receipt"` // the id of the run's receipt
}
